"""Tables and pictures that fit the terminal they are shown in."""

from collections.abc import Collection, Sequence
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .stats import bar, sparkline

__all__ = ["Bar", "Sheet", "Sparkline"]

_ANY_WIDTH: Final = 10_000
_SHORTEST: Final = 10


class Sheet:
    """A table in the house's dress.

    Nothing in it is broken in two as long as it fits; if it does not, the columns of `spare` are left out one
    after another, and only then cells are folded.

    right: columns of numbers.
    spare: columns that can be spared, the first to go first.
    wrap: columns of prose, which may take more than one line.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        right: Collection[str] = (),
        spare: Sequence[str] = (),
        wrap: Collection[str] = (),
    ) -> None:
        self._columns = columns
        self._right = right
        self._spare = spare
        self._wrap = wrap
        self._rows: list[tuple[Sequence[RenderableType], str | None]] = []

    def add_row(self, *cells: RenderableType, style: str | None = None) -> None:
        """Add a row; cells missing at its end are empty."""
        self._rows.append((cells, style))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._table(self._widths(console, options)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        endless = options.update(width=_ANY_WIDTH)
        widths = self._widths(console, options)
        for count in range(len(self._spare) + 1):
            made = self._table(widths, without=self._spare[:count])
            if Measurement.get(console, endless, made).minimum <= options.max_width:
                yield made
                return
        yield self._table(None, without=self._spare)

    def _widths(self, console: Console, options: ConsoleOptions) -> list[int]:
        """What each column takes if nothing in it is broken."""
        endless, widths = options.update(width=_ANY_WIDTH), []
        for place, name in enumerate(self._columns):
            cells = [cells[place] for cells, _ in self._rows if place < len(cells)]
            widths.append(max(Measurement.get(console, endless, cell).maximum for cell in (name, *cells)))
        return widths

    def _table(self, widths: Sequence[int] | None, *, without: Collection[str] = ()) -> Table:
        """The table; `widths`: what its columns take, unless they hold prose; None: cells are folded."""
        made = Table(box=box.SIMPLE_HEAD, header_style="head", padding=(0, 1, 0, 0))
        kept = [place for place, name in enumerate(self._columns) if name not in without]
        for place, name in ((place, self._columns[place]) for place in kept):
            whole = None if widths is None or name in self._wrap else widths[place]
            made.add_column(
                name,
                justify="right" if name in self._right else "left",
                overflow="fold",
                no_wrap=whole is not None,
                min_width=whole,
            )
        for cells, style in self._rows:
            made.add_row(*(cells[place] for place in kept if place < len(cells)), style=style)
        return made


class Bar:
    """A bar as long as there is room for, up to `width` characters for `most`."""

    def __init__(self, value: float, most: float, width: int, style: str = "name") -> None:
        self._value = value
        self._most = most
        self._width = width
        self._style = style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_SHORTEST, options.max_width), min(self._width, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield bar(self._value, self._most, min(self._width, options.max_width), self._style)


class Sparkline:
    """Every sample as a block; where there is no room for all, the greatest of each few."""

    def __init__(self, samples: Sequence[float], style: str = "name") -> None:
        self._samples = samples
        self._style = style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        whole = min(len(self._samples), options.max_width)
        return Measurement(min(_SHORTEST, whole), whole)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        count = len(self._samples)
        width = min(count, options.max_width)
        edges = [place * count // width for place in range(width + 1)]
        greatest = [max(self._samples[edges[at] : edges[at + 1]]) for at in range(width)]
        yield Text("") if not greatest else sparkline(greatest, self._style)
