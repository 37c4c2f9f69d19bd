"""`coinapi-ems simulate`: the whole service on this machine, until it is interrupted."""

import asyncio
import logging
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from .commands import LOCAL, command
from .context import Invocation, read_key
from .exits import Failure
from .simulate_options import (
    DEFAULT_SITES,
    AuthFail,
    PaceChoice,
    SimulateOptions,
    read_faults,
    read_site,
    read_variants,
)
from .tables import table

if TYPE_CHECKING:
    from ..simulator import Simulator
    from ..simulator.specs import Spec

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "simulate", LOCAL)(simulate)


async def simulate(
    run: Invocation,
    site: SimulateOptions.Site = None,
    exchange: SimulateOptions.Exchange = None,
    management_port: SimulateOptions.ManagementPort = 0,
    tls: SimulateOptions.Tls = False,
    api_key_file: SimulateOptions.ApiKeyFile = None,
    require_bearer_file: SimulateOptions.RequireBearerFile = None,
    per_site_orders: SimulateOptions.PerSiteOrders = False,
    down: SimulateOptions.Down = None,
    slow: SimulateOptions.Slow = None,
    auth_fail: SimulateOptions.AuthFail = None,
    faults: SimulateOptions.Faults = None,
    variant: SimulateOptions.Variant = None,
    pace: SimulateOptions.Pace = PaceChoice.FAST,
    seed: SimulateOptions.Seed = None,
    log: SimulateOptions.Log = False,
) -> None:
    """Run a simulator of the whole service, until Ctrl-C.

    It serves both APIs on this machine: exchanges with order books, balances and positions, on which orders
    really fill. Paste the line it prints into another terminal, and every command, or your own program, talks
    to the simulator. It can be made to misbehave as the service might, and the network before it.
    """
    options: dict[str, Any] = {
        "api_key": _secret(run, api_key_file, "API key"),
        "require_bearer": _secret(run, require_bearer_file, "bearer token"),
        "management_port": management_port,
        "shared_orders": not per_site_orders,
        "variants": read_variants(variant),
        "tls": tls,
        "seed": seed,
    }
    if exchange:
        options["exchanges"] = exchange
    specs = read_faults(faults)
    simulator = _made(site or DEFAULT_SITES, pace, options | _wires(specs))
    _break(simulator, down or (), slow or (), auth_fail)
    _inject(simulator, specs)
    with _stopping() as stopped:
        try:
            await _start(simulator, management_port)
            await _strike(simulator, specs)
            line = _environment(simulator.environment(), api_key_file)
            _tell(run, simulator.management_url, simulator.site_urls, line, faults or [])
            if log:
                logging.getLogger("coinapi_ems_async.simulator").setLevel(logging.INFO)
            await stopped.wait()
        finally:
            await simulator.stop()


def _secret(run: Invocation, file: Path | None, what: str) -> str | None:
    if file is None:
        return None
    found = read_key(file, what=what)
    run.out.hide(found)
    return found


def _made(sites: Sequence[str], pace: PaceChoice, options: dict[str, Any]) -> "Simulator":
    from ..simulator import Pace, Simulator

    walk = Pace.captured() if pace is PaceChoice.CAPTURED else Pace()
    try:
        return Simulator(sites=dict(map(read_site, sites)), pace=walk, **options)
    except (ValueError, ImportError) as error:
        raise Failure(f"{error}.") from None


def _break(simulator: "Simulator", down: Sequence[str], slow: Sequence[str], fail: AuthFail | None) -> None:
    served = simulator.accounts
    for option, names, strike in (
        ("--down", down, simulator.exchange_down),
        ("--slow", slow, simulator.exchange_slow),
    ):
        for name in names:
            if name not in served:
                raise Failure(f"{option} {name!r} is none of the accounts that are served: {', '.join(served)}.")
            strike(name)
    simulator.auth_fail = None if fail is None else fail.status


def _wires(specs: "Sequence[Spec]") -> dict[str, Any]:
    """What the simulator must have for faults on the wire."""
    from ..simulator import FaultPlan, WireFault

    plan = next((one.fault for one in specs if isinstance(one.fault, FaultPlan)), None)
    return {"plan": plan, "proxied": any(isinstance(one.fault, WireFault) for one in specs)}


def _inject(simulator: "Simulator", specs: "Sequence[Spec]") -> None:
    from ..simulator import Injection, WireFault

    for fault, site in specs:
        try:
            if isinstance(fault, Injection):
                simulator.inject(fault)
            elif isinstance(fault, WireFault):
                for name in simulator.site_urls if site is None else [site]:
                    simulator.wire(name).inject(fault)
        except KeyError:
            raise _unknown(site or getattr(fault, "site", None), simulator) from None


async def _strike(simulator: "Simulator", specs: "Sequence[Spec]") -> None:
    from ..simulator import SiteFault

    for fault, site in specs:
        if isinstance(fault, SiteFault):
            try:
                for name in simulator.site_urls if site is None else [site]:
                    await simulator.strike(name, fault)
            except KeyError:
                raise _unknown(site, simulator) from None
            except RuntimeError:
                raise Failure(f"--faults {fault.kind!r} is for servers with a certificate: add --tls.") from None


def _unknown(site: str | None, simulator: "Simulator") -> Failure:
    return Failure(f"--faults names {site!r}, which is none of the sites: {', '.join(simulator.site_urls)}.")


async def _start(simulator: "Simulator", port: int) -> None:
    try:
        await simulator.start()
    except OSError as error:
        raise Failure(f"the port {port} cannot be used: {error.strerror}.") from None


def _environment(values: dict[str, str], key_file: Path | None) -> str:
    """The line to paste; a key that was given is the user's own and is not shown."""
    quoted = {name: shlex.quote(value) for name, value in values.items()}
    if key_file is not None:
        quoted["COINAPI_API_KEY"] = f'"$(cat {shlex.quote(str(key_file.absolute()))})"'
    return "export " + " ".join(f"{name}={value}" for name, value in quoted.items())


def _tell(run: Invocation, management: str, sites: dict[str, str], line: str, faults: Sequence[str]) -> None:
    data: dict[str, Any] = {"management_url": management, "sites": sites, "export": line}
    if faults:
        data["faults"] = list(faults)
    addresses = table("server", "address")
    addresses.add_row(Text("Managed Cloud API", style="bold"), management)
    for name, url in sites.items():
        addresses.add_row(Text(name, style="name"), url)
    for fault in faults:
        addresses.add_row(Text("fault", style="faint"), fault)
    run.out.show(data, addresses, "Paste this into another terminal:\n")
    if not run.out.json:
        run.out.line(line)
        run.out.show(None, Text("\nCtrl-C ends it.", style="faint"))


@contextmanager
def _stopping() -> Iterator[asyncio.Event]:
    """Lend an event that the first Ctrl-C, or a request to terminate, sets."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
