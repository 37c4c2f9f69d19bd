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
    AuthFail,
    PaceChoice,
    SimulateOptions,
    read_faults,
    read_sites,
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


async def simulate(run: Invocation, given: SimulateOptions) -> None:
    """Run a simulator of the whole service, until Ctrl-C.

    It serves both APIs on this machine: exchanges with order books, balances and positions, on which orders
    really fill. Paste the line it prints into another terminal, and every command, or your own program, talks
    to the simulator. It can be made to misbehave as the service might, and the network before it.
    """
    specs = read_faults(given.faults)
    simulator = _made(given, _settings(run, given) | _wires(specs))
    _break(simulator, given.down or (), given.slow or (), given.auth_fail)
    _inject(simulator, specs)
    with _stopping() as stopped:
        try:
            await _start(simulator, given.management_port)
            await _strike(simulator, specs)
            _tell(run, simulator, given)
            if given.log:
                logging.getLogger("coinapi_ems_async.simulator").setLevel(logging.INFO)
            if run.out.is_read:  # else nobody knows where it is
                await stopped.wait()
        finally:
            await simulator.stop()


def _settings(run: Invocation, given: SimulateOptions) -> dict[str, Any]:
    """The simulator's own arguments, but for its sites, its pace and what faults need."""
    found: dict[str, Any] = {
        "api_key": _secret(run, given.api_key_file, "API key"),
        "require_bearer": _secret(run, given.require_bearer_file, "bearer token"),
        "management_port": given.management_port,
        "shared_orders": not given.per_site_orders,
        "variants": read_variants(given.variant),
        "tls": given.tls,
        "seed": given.seed,
    }
    if given.exchange:
        found["exchanges"] = given.exchange
    return found


def _secret(run: Invocation, file: Path | None, what: str) -> str | None:
    if file is None:
        return None
    found = read_key(file, what=what)
    run.out.hide(found)
    return found


def _made(given: SimulateOptions, settings: dict[str, Any]) -> "Simulator":
    from ..simulator import Pace, Simulator

    sites = read_sites(given.site)
    pace = Pace.captured() if given.pace is PaceChoice.CAPTURED else Pace()
    try:
        return Simulator(sites=sites, pace=pace, **settings)
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


def _tell(run: Invocation, simulator: "Simulator", given: SimulateOptions) -> None:
    line = _environment(simulator.environment(), given.api_key_file)
    faults, sites = given.faults or [], simulator.site_urls
    data: dict[str, Any] = {"management_url": simulator.management_url, "sites": sites, "export": line}
    if faults:
        data["faults"] = faults
    addresses = table("server", "address")
    addresses.add_row(Text("Managed Cloud API", style="bold"), simulator.management_url)
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
    before = signal.getsignal(signal.SIGINT)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGINT, before)
