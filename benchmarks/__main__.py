"""Run with `python -m benchmarks`; `--short` only proves that it runs."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from . import peers
from .cores import Cores, raise_file_limit
from .entrants import ENTRANTS, Entrant, Target
from .entrants.ours import TRANSPORTS
from .machine import this_machine
from .parts.decoding import measure_decoding
from .parts.first import SERVER_IDLE, measure_first_orders
from .parts.importing import measure_importing
from .parts.journal import measure_journal
from .parts.probed import measure_probed
from .parts.rounds import measure_rounds
from .peers import Skipped
from .plot import draw
from .results import SHORT, LoopResults, Plan, Probed, Results
from .servers import Server, running_server
from .servers.base import Certificates, made_certificates
from .table import report

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_OTHER_FILES = 1000
"""Open files allowed for beside the connections of a crowd."""


class Run:
    """One run: what it goes by, and what it has found so far."""

    def __init__(self, plan: Plan, entrants: Sequence[Entrant], certificates: Certificates | None) -> None:
        self.plan = plan
        self.entrants = entrants
        self.certificates = certificates
        self.skipped: list[str] = []

    @property
    def authority(self) -> bytes | None:
        """The certificate that clients trust."""
        return self.certificates.authority if self.certificates is not None else None

    def skip(self, line: str) -> None:
        """Name what cannot take part, once."""
        if line not in self.skipped:
            self.skipped.append(line)
            _say(f"skipped: {line}")

    def widths(self, files: int) -> tuple[int, ...]:
        """Return how many in flight to measure; a crowd needs a connection for each, of each entrant."""
        plan = self.plan
        wide = [entrant for entrant in self.entrants if entrant.connected and entrant.takes(plan.crowd)]
        needed = len(wide) * (plan.crowd + plan.width) + _OTHER_FILES
        if needed <= files:
            return 1, plan.width, plan.crowd
        self.skip(f"{plan.crowd:,} in flight: it takes {needed:,} open files, and {files:,} are allowed")
        self.plan = msgspec.structs.replace(plan, crowd=0)
        return 1, plan.width

    async def loop(self, server: Server, idle_server: Server, widths: Sequence[int]) -> LoopResults:
        """Measure everything that depends on the loop, on the one that runs."""
        plan, target = self.plan, Target(server.clear, server.h2)
        _say(f"  http, {plan.rounds} rounds")
        found = LoopResults(http=await measure_rounds(self.entrants, target, plan, widths, self.skip))
        if server.tls is not None:
            _say(f"  https, {plan.tls_rounds} rounds")
            plan = msgspec.structs.replace(plan, rounds=plan.tls_rounds)
            target = Target(server.tls, server.tls, self.authority)
            over_tls = [entrant for entrant in self.entrants if entrant.tls]
            found.https = await measure_rounds(over_tls, target, plan, (1, plan.width), self.skip)
        _say("  first orders, and orders while sites are probed")
        transports = [one for one in TRANSPORTS if any(entrant.name == f"ours-{one}" for entrant in self.entrants)]
        found.first = dict(await measure_first_orders(idle_server, self.authority, transports, self.plan.repeats))
        found.probed = await self._probed(server, transports)
        if "http1" in transports:
            found.journal = await measure_journal(Target(server.clear, server.h2), self.plan)
        return found

    async def _probed(self, server: Server, transports: Sequence[str]) -> Probed | None:
        """Over http1; over another transport only if that is not to be had."""
        for transport in transports:
            try:
                return await measure_probed(server, transport, self.plan)
            except Skipped as reason:
                self.skip(f"orders over {transport} while sites are probed: {reason}")
        return None


def measure(run: Run, loops: Mapping[str, LoopFactory], cores: Cores, kind: str | None) -> Results:
    """Make the whole run. Raises Skipped: if the server asked for cannot be had."""
    widths = run.widths(raise_file_limit())
    cores.pin_client()
    with (
        running_server(cores, run.certificates, kind=kind) as server,
        running_server(cores, run.certificates, kind="own", idle=SERVER_IDLE) as idle_server,
    ):
        results = Results(this_machine(server.name), run.plan, skipped=run.skipped)
        results.decoding = measure_decoding(run.plan.repeats)
        results.importing = measure_importing(run.plan.repeats)
        for name, factory in loops.items():
            _say(f"{name} loop")
            with asyncio.Runner(loop_factory=factory) as runner:
                results.loops[name] = runner.run(run.loop(server, idle_server, widths))
    return results


def available_loops(wanted: Sequence[str], skip: Callable[[str], None]) -> dict[str, LoopFactory]:
    """Return the event loops asked for by name, less those that are not installed."""
    loops: dict[str, LoopFactory] = {}
    if "plain" in wanted:
        loops["plain"] = asyncio.new_event_loop
    if "uvloop" in wanted:
        try:
            loops["uvloop"] = cast(LoopFactory, peers.load("uvloop").new_event_loop)
        except Skipped as reason:
            skip(f"uvloop: {reason}")
    return loops


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Our client beside every peer.")
    parser.add_argument("--short", action="store_true", help="only prove that it runs")
    parser.add_argument("--entrants", type=_names, help="some of: " + ", ".join(one.name for one in ENTRANTS))
    parser.add_argument(
        "--loops", type=_names, default=["plain", "uvloop"], help="plain, uvloop, or both as plain,uvloop"
    )
    parser.add_argument("--rounds", type=int, help=f"rounds of each setting, {Plan().rounds} by default")
    parser.add_argument("--server", choices=["nginx", "own"], help="nginx where installed, else our own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it as a PNG")
    parser.add_argument("--report", type=Path, metavar="FILE", help="measure nothing, show what --json wrote")
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = SHORT if arguments.short else Plan()
    if arguments.rounds is None:
        return plan
    return msgspec.structs.replace(plan, rounds=arguments.rounds, tls_rounds=arguments.rounds)


def _chosen(wanted: Sequence[str] | None) -> list[Entrant]:
    known = {entrant.name: entrant for entrant in ENTRANTS}
    if wanted is None:
        return list(ENTRANTS)
    if strangers := set(wanted) - set(known):
        sys.exit(f"no such entrant: {', '.join(sorted(strangers))}; there are {', '.join(known)}")
    return [entrant for entrant in ENTRANTS if entrant.name in wanted or entrant.name == "floor"]


def _results(arguments: argparse.Namespace) -> Results:
    if arguments.report is not None:
        return msgspec.json.decode(arguments.report.read_bytes(), type=Results)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        certificates = made_certificates(Path(folder))
        run = Run(_plan(arguments), _chosen(arguments.entrants), certificates)
        if certificates is None:
            run.skip("https: trustme is not installed")
        loops = available_loops(arguments.loops, run.skip)
        return measure(run, loops, Cores(), arguments.server)


def main() -> None:
    arguments = _parser().parse_args()
    try:
        results = _results(arguments)
        print(report(results), end="")
        if arguments.json is not None:
            arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
        if arguments.plot is not None:
            draw(results, arguments.plot)
    except Skipped as reason:
        sys.exit(f"{reason}")


def _say(line: Any) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
