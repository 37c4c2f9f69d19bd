"""The house keeps its order: arrows go down only, and pure rooms stay pure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import coinapi_ems_async

ROOT = Path(coinapi_ems_async.__file__).parent
MODULES = {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in ROOT.rglob("*.py")}

# Each floor may use those below it and its own.
FLOORS = [
    {"errors", "_version", "settings", "budget", "redaction"},
    {"models", "outcomes", "matrix"},
    {"operations", "answers", "auth"},
    {"transport"},
    {"sites", "supervisor"},
    {
        "doubts",
        "ledger",
        "calls",
        "observer",
        "invariants",
        "hedging",
        "rounds",
        "orphans",
        "reconcile",
        "dispatch",
        "management",
        "journal",
    },
    {"resources", "config", "session"},
    {"client"},
]
PURE = [
    *("errors", "matrix", "outcomes", "operations", "answers", "simulator/exchange", "simulator/book"),
    *("simulator/ledger", "simulator/market", "simulator/reducing", "simulator/support"),
    *("doubts", "hedging", "invariants", "redaction", "transport/idle", "journal/entries"),
    *(
        f"sites/{name}"
        for name in ("directory", "effects", "estimator", "flags", "health", "rhythm", "selector", "urls")
    ),
    *(name for name in MODULES if name.startswith("models/")),
]
IMPURE = {"aiohttp", "asyncio", "anyio", "socket", "ssl", "time", "threading", "os"}


def imports(name: str, *, types_too: bool = False) -> Iterator[str]:
    """Absolute names of what a module imports when it is loaded or used; those for type checkers only apart."""
    tree = ast.parse(MODULES[name].read_text())
    package = ["coinapi_ems_async", *name.split("/")[:-1]]
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types_too
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names) if node.module is None else [stem]


def floor(name: str) -> int | None:
    room = name.removeprefix("coinapi_ems_async.").replace("/", ".").split(".")[0]
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_go_down(name: str) -> None:
    mine = floor(name)
    for used in imports(name):
        if not used.startswith("coinapi_ems_async.") or mine is None:
            continue
        theirs = floor(used)
        assert theirs is not None, f"{name} uses {used}, which has no floor"
        # An error may look at a refusal's body when it is asked to.
        assert theirs <= mine or (name, used) == ("errors", "coinapi_ems_async.models.rejects"), (
            f"{name} uses {used}"
        )


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_leans_on_the_simulator_or_the_command_line(name: str) -> None:
    room, allowed = name.split("/")[0], {("cli", "simulator"), ("pytest_plugin", "simulator")}
    for used in imports(name, types_too=True):
        for closed in ("simulator", "cli", "testing", "pytest_plugin"):
            inside = f"{used}.".startswith(f"coinapi_ems_async.{closed}.")
            assert not inside or room == closed or (room, closed) in allowed, f"{name} uses {used}"


@pytest.mark.parametrize("name", PURE)
def test_pure_rooms_do_no_input_or_output_and_read_no_clock(name: str) -> None:
    allowed = {"os"} if name == "models/ids" else set()  # urandom: a fresh id is random by its nature
    assert {used.split(".")[0] for used in imports(name)} & IMPURE == allowed


def test_the_simulator_shares_only_names_and_the_life_cycle() -> None:
    shared = {
        "coinapi_ems_async.models.enums",
        "coinapi_ems_async.models.lifecycle",
        "coinapi_ems_async.simulator",
    }
    for name in MODULES:
        if name.startswith("simulator/"):
            for used in imports(name):
                if used.startswith("coinapi_ems_async"):
                    assert any(used == one or used.startswith(f"{one}.") for one in shared), f"{name} uses {used}"


def test_files_are_of_a_size_to_be_read() -> None:
    sizes = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: size for name, size in sizes.items() if size > 600} == {}
