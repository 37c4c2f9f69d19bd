"""Run with `python -m benchmarks.sites`; `--short` only proves that it runs."""

import argparse
import asyncio
import gc
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from ..cores import Cores, raise_file_limit
from ..machine import this_machine
from ..peers import Skipped
from .calibration import measured_floor
from .findings import NOISE_LIMIT, SHORT, Floor, Plan, Report, read_floor, read_found, write_floor, write_found
from .plot import draw
from .render import as_markdown, as_text
from .rig import RigError
from .scenarios import ALL, Scenario, Stage

_PLOTTED = "wall-clock"


class TooNoisy(RuntimeError):
    """The floor of the rig is too high for its figures to mean anything."""


async def measure(
    folder: Path, plan: Plan, wanted: Sequence[Scenario], *, resume: bool, anyway: bool, cpus: Sequence[int] | None
) -> Report:
    """Make a run, each scenario's findings written as soon as there are any.

    The report has what an earlier run into the folder found too, if it went by the same plan; with `resume` that
    is not measured anew.
    Raises TooNoisy: if the machine is, unless it is a short run or `anyway`. RigError: if the rig fails.
    """
    report = Report(machine=this_machine("the simulator, a process for each site"), plan=plan, found={})
    known = {one.name: found for one in ALL if (found := read_found(folder, one.name, plan)) is not None}
    missing = [one for one in wanted if not resume or one.name not in known]
    async with Stage(folder, plan, cpus) as stage:
        report.floor = (read_floor(folder) if resume else None) or await measured_floor(stage)
        report.forced = _check(report.floor, plan, anyway)
        write_floor(folder, report.floor)
        for scenario in missing:
            _say(f"{scenario.name}: {scenario.what}")
            begun = monotonic()
            found = await scenario.run(stage)
            found.seconds = monotonic() - begun
            write_found(folder, found)
            known[scenario.name] = found
    report.found = {one.name: known[one.name] for one in ALL if one.name in known}
    return report


def _check(floor: Floor, plan: Plan, anyway: bool) -> bool:
    """Return whether the run goes on although it should not."""
    if floor.p99 <= NOISE_LIMIT or plan.short:
        return False
    told = (
        f"the floor of the rig has a p99 of {floor.p99:.1f} ms, more than {NOISE_LIMIT:.0f}: the machine is busy"
    )
    if not anyway:
        raise TooNoisy(f"{told}; --anyway goes on and says so in the report")
    _say(told)
    return True


def write_report(folder: Path, report: Report) -> None:
    """Write report.json, report.md and, if matplotlib is installed, the plot."""
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    (folder / "report.md").write_text(as_markdown(report))
    found = report.found.get(_PLOTTED)
    if found is not None and found.history is not None:
        try:
            draw(found, folder / f"{_PLOTTED}.png")
        except Skipped as reason:
            _say(f"plot: {reason}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sites", description="Choice of a site, and failover, beside what others do."
    )
    parser.add_argument("--short", action="store_true", help="only prove that it runs")
    parser.add_argument("--out", type=Path, default=Path("sites-report"), metavar="DIR", help="where to write")
    parser.add_argument(
        "--only", type=_scenarios, metavar="NAMES", help="some of: " + ", ".join(x.name for x in ALL)
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep what an earlier run by the same plan has found"
    )
    parser.add_argument("--repeats", type=int, metavar="K", help="repeat each failure K times at most")
    parser.add_argument("--wall", type=float, metavar="S", help="seconds of the run by the clock on the wall")
    parser.add_argument("--flap", type=float, metavar="S", help="seconds of the scenario of that name")
    parser.add_argument("--anyway", action="store_true", help="go on where the machine is too busy, and say so")
    return parser


def _scenarios(text: str) -> list[Scenario]:
    names = {name for name in text.split(",") if name}
    if strangers := names - {one.name for one in ALL}:
        raise argparse.ArgumentTypeError(f"no such scenario: {', '.join(sorted(strangers))}")
    return [one for one in ALL if one.name in names]


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = SHORT if arguments.short else Plan()
    changes: dict[str, Any] = {name: getattr(arguments, name) for name in ("wall", "flap")}
    if arguments.repeats is not None:
        changes |= {"many": min(plan.many, arguments.repeats), "some": min(plan.some, arguments.repeats)}
    return msgspec.structs.replace(plan, **{name: one for name, one in changes.items() if one is not None})


def main() -> None:
    arguments = _parser().parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=folder / "client.log", level=logging.INFO, format="%(created).3f %(message)s")
    cores = Cores()
    cores.pin_client()
    raise_file_limit()
    gc.freeze()  # as in any long-lived process, what was imported is not looked through again
    try:
        report = asyncio.run(
            measure(
                folder,
                _plan(arguments),
                arguments.only or [one for one in ALL if one.is_brief or not arguments.short],
                resume=arguments.resume,
                anyway=arguments.anyway,
                cpus=None if cores.server is None else [cores.server],
            )
        )
    except (RigError, TooNoisy) as error:
        sys.exit(str(error))
    write_report(folder, report)
    print(as_text(report), end="")
    if any(found.violations for found in report.found.values()):
        sys.exit("a rule was broken")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
