"""The plot: what the client believed of each site over time, with its changes of choice and what it ejected."""

from pathlib import Path
from typing import Any, Final

from .. import peers
from .findings import Found
from .ours import EJECTED, SUSPECT

__all__ = ["draw"]

_COLOURS: Final = ("#1b7f5f", "#3b6ea8", "#b5762a", "#7b5aa6", "#6a717b")
_INK: Final = "#2b2f36"
_SOFT: Final = "#6a717b"
_FAINT: Final = "#e6e8eb"
_ALARM: Final = "#c0392b"


def draw(found: Found, path: Path) -> None:
    """Draw the history of a scenario. Raises Skipped: if matplotlib is not installed."""
    matplotlib = peers.load("matplotlib")
    matplotlib.use("Agg")
    pyplot = peers.load("matplotlib.pyplot")
    with pyplot.rc_context(
        {"font.family": "sans-serif", "font.size": 9, "text.color": _INK, "axes.labelcolor": _INK}
    ):
        figure, (upper, lower) = pyplot.subplots(
            2, 1, figsize=(11, 5.2), sharex=True, layout="constrained", height_ratios=(5, 1)
        )
        sites = list(found.history.estimates) if found.history is not None else []
        colours = {site: _COLOURS[number % len(_COLOURS)] for number, site in enumerate(sites)}
        _estimates(upper, found, colours)
        _marks(upper, found)
        _states(lower, found, colours)
        figure.savefig(path, dpi=150, facecolor="white")
        pyplot.close(figure)


def _estimates(axes: Any, found: Found, colours: dict[str, str]) -> None:
    history = found.history
    assert history is not None
    times = [at - found.begun for at in history.times]
    for site, colour in colours.items():
        values = [float("nan") if one is None else one for one in history.estimates[site]]
        axes.plot(times[-len(values) :], values, color=colour, linewidth=1.4, label=site)
    floors = found.tables.get("True floors, ms", [])
    if floors and times:
        end = times[-1]
        for column, site in enumerate(floors[0][1:], 1):
            steps = [(float(row[0]), float(row[column])) for row in floors[1:]]
            axes.step(
                [*(at for at, _ in steps), end],
                [*(floor for _, floor in steps), steps[-1][1]],
                where="post",
                color=colours.get(site, _SOFT),
                linewidth=0.8,
                linestyle=":",
            )
    axes.set_title("Estimated round trips", loc="left", fontsize=11, fontweight="bold", pad=20)
    said = "ms; dotted: the true floor; dashed line: change of the first choice; triangle: ejected"
    axes.text(0, 1.0, said, transform=axes.transAxes, fontsize=8.5, color=_SOFT, va="bottom")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False, ncols=2, fontsize=8)
    _plain(axes)


def _marks(axes: Any, found: Found) -> None:
    history = found.history
    assert history is not None
    for event in history.switches:
        axes.axvline(event.at - found.begun, color=_INK, linewidth=0.9, linestyle="--")
    top = axes.get_ylim()[1]
    for event in history.entries(EJECTED):
        axes.plot([event.at - found.begun], [0.04 * top], marker="v", color=_ALARM, markersize=8)


def _states(axes: Any, found: Found, colours: dict[str, str]) -> None:
    """A bar for each site: thick where it is the first choice, red where ejected, pale where suspect."""
    history = found.history
    assert history is not None
    end = history.times[-1] - found.begun if history.times else 0.0
    for row, (site, colour) in enumerate(colours.items()):
        chosen = [(one.at - found.begun, one.after) for one in history.events if one.site is None]
        _spans(axes, row, [(at, after == site) for at, after in chosen], end, colour, 0.6)
        states = [(one.at - found.begun, one.after) for one in history.events if one.site == site]
        _spans(axes, row, [(at, after == SUSPECT) for at, after in states], end, "#e8b6ae", 0.25)
        _spans(axes, row, [(at, after == EJECTED) for at, after in states], end, _ALARM, 0.25)
    axes.set_yticks(range(len(colours)), list(colours), fontsize=7)
    axes.set_ylim(len(colours) - 0.5, -0.5)
    axes.set_xlabel("seconds; the first choice, and what was suspect (pale) or ejected (red)")
    _plain(axes)


def _spans(axes: Any, row: int, steps: list[tuple[float, bool]], end: float, colour: str, height: float) -> None:
    ends = [*(at for at, _ in steps[1:]), end]
    bars = [(at, until - at) for (at, holds), until in zip(steps, ends, strict=False) if holds]
    axes.broken_barh(bars, (row - height / 2, height), facecolors=colour)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(length=0)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
