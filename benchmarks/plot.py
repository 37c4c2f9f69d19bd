"""The plot: one request at a time as a ratio to the floor, and the rate with many in flight, on both loops."""

from pathlib import Path
from typing import Any, Final

from . import peers
from .entrants.floor import FLOOR
from .entrants.ours import SHARED_POOL
from .results import LoopResults, Results, alone_ratio

__all__ = ["draw"]

_OURS: Final = {"plain": "#8fc7b5", "uvloop": "#1b7f5f"}
_OTHERS: Final = {"plain": "#cfd4da", "uvloop": "#8a929c"}
_INK: Final = "#2b2f36"
_SOFT: Final = "#6a717b"
_FAINT: Final = "#e6e8eb"
_BAR: Final = 0.38


def draw(results: Results, path: Path) -> None:
    """Write the plot. Raises Skipped: if matplotlib is not installed."""
    matplotlib = peers.load("matplotlib")
    matplotlib.use("Agg")
    pyplot = peers.load("matplotlib.pyplot")
    names = _names(results)
    with pyplot.rc_context(
        {"font.family": "sans-serif", "font.size": 9, "text.color": _INK, "axes.labelcolor": _INK}
    ):
        figure, (left, right) = pyplot.subplots(
            1, 2, figsize=(11, 1.6 + 0.42 * len(names)), sharey=True, layout="constrained"
        )
        width = results.plan.width
        _bars(left, results, names, _ratios, "{:.2f}")
        _bars(right, results, names, lambda loop, name: _rate(loop, name, width), "{:.1f}")
        left.axvline(1.0, color=_INK, linewidth=0.8, linestyle=":")
        _title(left, "One order at a time", "median time as a multiple of the floor's; less is better")
        _title(right, f"{width} orders in flight", "thousands per second; more is better")
        left.set_yticks(range(len(names)), names)
        for label in left.get_yticklabels():
            label.set_fontweight("bold" if _is_ours(results, label.get_text()) else "normal")
        left.invert_yaxis()
        figure.legend(handles=_legend(results), loc="outside lower center", ncols=4, frameon=False)
        machine = results.machine
        where = f"{machine.cpu}, {machine.cores} cores, {machine.python}; server: {machine.server}"
        figure.suptitle(where, x=0.995, ha="right", fontsize=8, color=_SOFT)
        figure.savefig(path, dpi=150, facecolor="white")
        pyplot.close(figure)


def _title(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=20)
    axes.text(0, 1.0, unit, transform=axes.transAxes, fontsize=8.5, color=_SOFT, va="bottom")


def _names(results: Results) -> list[str]:
    """Every row that was timed, from the fastest to the slowest on the first loop that has it."""
    found: dict[str, float] = {}
    for loop in results.loops.values():
        for name in loop.http:
            ratio = alone_ratio(loop.http, name, FLOOR)
            if ratio is not None and name != SHARED_POOL:
                found.setdefault(name, ratio)
    return sorted(found, key=lambda name: found[name])


def _bars(axes: Any, results: Results, names: list[str], value_of: Any, form: str) -> None:
    for place, (loop_name, loop) in enumerate(results.loops.items()):
        offset = (place - (len(results.loops) - 1) / 2) * _BAR
        values = [value_of(loop, name) for name in names]
        colours = [(_OURS if _is_ours(results, name) else _OTHERS).get(loop_name, _INK) for name in names]
        heights = [number + offset for number in range(len(names))]
        bars = axes.barh(heights, [value or 0.0 for value in values], _BAR, color=colours)
        labels = ["" if value is None else form.format(value) for value in values]
        axes.bar_label(bars, labels, padding=3, fontsize=7.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.margins(x=0.1)


def _ratios(loop: LoopResults, name: str) -> float | None:
    return alone_ratio(loop.http, name, FLOOR)


def _rate(loop: LoopResults, name: str, width: int) -> float | None:
    row = loop.http.get(name)
    load = row.loads.get(width) if row is not None else None
    return load.rate / 1e3 if load is not None else None


def _is_ours(results: Results, name: str) -> bool:
    return any(name in loop.http and loop.http[name].ours for loop in results.loops.values())


def _legend(results: Results) -> list[Any]:
    patch = peers.load("matplotlib.patches").Patch
    return [
        patch(color=colours[loop], label=f"{whose}, {loop} loop")
        for whose, colours in (("this client", _OURS), ("floor and peers", _OTHERS))
        for loop in results.loops
        if loop in colours
    ]
