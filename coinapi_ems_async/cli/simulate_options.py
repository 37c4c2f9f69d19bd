"""The switches of `coinapi-ems simulate`, and how they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_type_hints

import typer

from .exits import Failure

if TYPE_CHECKING:
    from ..simulator import Variants
    from ..simulator.specs import Spec

__all__ = [
    "ACCOUNTS",
    "AuthFail",
    "PaceChoice",
    "SimulateOptions",
    "read_faults",
    "read_sites",
    "read_variants",
]

DEFAULT_SITES: Final = ("aws-us-east-1-prd=40", "aws-eu-west-1-prd=15", "aws-us-west-2-prd=5")
ACCOUNTS: Final = ("KRAKEN", "KRAKEN/JOHN", "BITMEX/JOHN", "DERIBIT")
"""What the simulator serves by itself; it is loaded only when it runs."""
_SERVERS: Final = "Servers"
_FAULTS: Final = "Faults"
_WIRE: Final = "Wire"


class AuthFail(StrEnum):
    """The status with which every caller is refused."""

    UNAUTHORIZED = "401"
    FORBIDDEN = "403"

    @property
    def status(self) -> Literal[401, 403]:
        """The status as a number."""
        return 401 if self is AuthFail.UNAUTHORIZED else 403


class PaceChoice(StrEnum):
    """How fast an order walks."""

    FAST = "fast"
    CAPTURED = "captured"


@dataclass(kw_only=True)
class SimulateOptions:
    """What the simulator is to be like, as it was typed."""

    site: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=MILLISECONDS",
            help=f"A site and its delay there and back; may be repeated. By default {', '.join(DEFAULT_SITES)}.",
            rich_help_panel=_SERVERS,
        ),
    ] = None
    exchange: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXCHANGE",
            help=f"An exchange account every site serves; may be repeated. By default {', '.join(ACCOUNTS)}.",
            rich_help_panel=_SERVERS,
        ),
    ] = None
    management_port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port of the Managed Cloud API; 0: any.", rich_help_panel=_SERVERS),
    ] = 0
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="https everywhere, with a certificate authority of its own.", rich_help_panel=_SERVERS
        ),
    ] = False
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The key callers must show; by default one is made up and shown.",
            rich_help_panel=_SERVERS,
        ),
    ] = None
    require_bearer_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A token that callers must show as Authorization: Bearer, besides the key.",
            rich_help_panel=_SERVERS,
        ),
    ] = None
    per_site_orders: Annotated[
        bool,
        typer.Option(
            "--per-site-orders",
            help="Each site knows only the orders placed through it.",
            rich_help_panel=_SERVERS,
        ),
    ] = False
    down: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXCHANGE",
            help="An account that cannot be reached: 490, no order gets there; may be repeated.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    slow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXCHANGE",
            help="An account that answers new orders too late: 504, yet each gets there; may be repeated.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    auth_fail: Annotated[
        AuthFail | None, typer.Option(help="Refuse every caller with this status.", rich_help_panel=_FAULTS)
    ] = None
    faults: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="What is to go wrong; may be repeated. On the wire, after so many bytes: reset:response@120 "
            "(or fin, freeze, delay, drip; request, connect). To a site: refuse:connect, blackhole:connect, "
            "expired:certificate. In an answer: 503:order_new, 504:order_new,"
            "execute=before, reset:order_new, real:balances,truncate=40,end=fin. Drawn: seed=7,rate=0.02. More "
            "by ,NAME=VALUE, such as ,times=3 (or forever) or ,site=ID; a wrong NAME lists them all.",
            rich_help_panel=_FAULTS,
        ),
    ] = None
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="How the wire looks where its descriptions disagree, such as cancel_all=empty; may be repeated. "
            "A wrong NAME lists them all with their values.",
            rich_help_panel=_WIRE,
        ),
    ] = None
    pace: Annotated[
        PaceChoice,
        typer.Option(
            help="How fast an order walks: a few milliseconds a step, or about 0.2 s as captured.",
            rich_help_panel=_WIRE,
        ),
    ] = PaceChoice.FAST
    seed: Annotated[
        int | None,
        typer.Option(help="Makes the ids the exchanges give out repeatable.", rich_help_panel=_WIRE),
    ] = None
    log: Annotated[bool, typer.Option("--log", help="Write a line on stderr for each request.")] = False


def read_site(text: str) -> tuple[str, float]:
    """Return a site's id and its delay in seconds.

    Raises Failure: if the text has another form.
    """
    name, _, delay = text.rpartition("=")
    try:
        seconds = float(delay) / 1000
    except ValueError:
        seconds = -1.0
    if not name or not 0 <= seconds < 60:
        raise Failure(f"--site {text!r} is not of the form ID=MILLISECONDS, such as aws-eu-west-1-prd=15.")
    return name, seconds


def read_sites(given: Sequence[str] | None) -> dict[str, float]:
    """Return the delays of sites, seconds, by their ids; those of the default sites if none is given.

    Raises Failure: if a text has another form, or an id stands there twice.
    """
    found: dict[str, float] = {}
    for name, delay in map(read_site, given or DEFAULT_SITES):
        if name in found:
            raise Failure(f"--site {name!r} stands there twice; give each site an id of its own.")
        found[name] = delay
    return found


def read_faults(given: Sequence[str] | None) -> "list[Spec]":
    """Return the faults that texts ask for.

    Raises Failure: if one has no form that is known, asks for what there is not, or is a second seed.
    """
    from ..simulator import FaultPlan
    from ..simulator.specs import read_fault

    found: list[Spec] = []
    for text in given or ():
        try:
            spec = read_fault(text)
        except ValueError as error:
            raise Failure(f"--faults {text!r}: {error}.") from None
        if isinstance(spec.fault, FaultPlan) and any(isinstance(one.fault, FaultPlan) for one in found):
            raise Failure(f"--faults {text!r}: there is a seed already.")
        found.append(spec)
    return found


def read_variants(given: Sequence[str] | None) -> "Variants":
    """Return the variants that texts of the form NAME=VALUE ask for.

    Raises Failure: if a name or a value is none of those there are, which it lists.
    """
    from ..simulator import Variants

    choices, found = _choices(Variants), {}
    for text in given or ():
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in choices:
            known = ", ".join(f"{one}={'|'.join(values)}" for one, values in choices.items())
            raise Failure(f"--variant {text!r} names no variant; there are: {known}.")
        if value not in choices[name]:
            raise Failure(f"--variant {text!r} has no such value; {name} is one of: {', '.join(choices[name])}.")
        found[name] = choices[name][value]
    return Variants(**found)


def _choices(variants: type["Variants"]) -> dict[str, Mapping[str, Any]]:
    """The values of each field, by the texts that ask for them."""
    hints = get_type_hints(variants)
    return {
        field.name: {"false": False, "true": True}
        if hints[field.name] is bool
        else {str(value): value for value in get_args(hints[field.name])}
        for field in fields(variants)
    }
