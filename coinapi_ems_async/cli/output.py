"""What reaches the terminal: JSON or tables on stdout, one sentence on stderr; never a secret."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final, cast

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.theme import Theme

from ..redaction import Redaction
from .data import as_json
from .exits import Exit

__all__ = ["THEME", "Output", "forsake_stdout", "unwritten"]

THEME: Final = Theme(
    {
        "good": "green",
        "bad": "red",
        "warn": "yellow",
        "faint": "bright_black",
        "name": "cyan",
        "number": "bold",
        "head": "bold",
    }
)
LEFT: Final = ""
_SHOW_CURSOR: Final = b"\x1b[?25h\n"
_SHORTEST_SECRET: Final = 6  # a shorter one would blot out innocent text; no key is that short


# What a terminal without Unicode shows in place of our pictures; anything else becomes a question mark.
_PLAIN: Final = str.maketrans("▶✓─█▉▊▋▌▍▎▏▁▂▃▄▅▆▇", ">+-####--..__--===")


def without_unicode(text: str, encoding: str) -> str:
    """Return the text with what `encoding` lacks replaced by plainer characters."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text


def forsake_stdout() -> None:
    """Write no more: the reader of our standard output, such as `head`, is gone.

    The command goes on and its exit status tells how it ended, as if nobody had left.
    """
    with contextlib.suppress(OSError, ValueError):  # no file behind it
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, sys.stdout.fileno())
        os.close(void)


def write_out(text: str) -> str | None:
    """Write to standard output at once; returns why it could not be written, None if all is well.

    A reader that has left is no trouble, and told as LEFT. Nothing is raised: what became of an order must not
    be lost because a disk is full.
    """
    try:
        sys.stdout.write(without_unicode(text, sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()
    except BrokenPipeError:
        forsake_stdout()
        return LEFT
    except OSError as error:
        forsake_stdout()
        return error.strerror or type(error).__name__
    return None


def unwritten(why: str) -> str:
    """Return the sentence for an answer that is lost."""
    return f"the answer could not be written to standard output: {why}."


class _Clean:
    """Standard output, with the secrets blotted out of what is written."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)  # the one there is now: tests replace it

    def write(self, text: str) -> int:
        """Write it at once, without secrets."""
        self._write(text)
        return len(text)


class _Errors:
    """Standard error. That it cannot be written changes nothing: what a command does must not depend on it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        """Write it at once, or drop it."""
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
        return len(text)

    def flush(self) -> None:
        """All is written already."""


class Output:
    """Writes answers and errors, as JSON with `json`.

    hide: adds a secret that is blotted out of everything written from then on. lost: why something could not be
    written to standard output, None if all was. is_read: whether what is written there still arrives; false also
    where a reader, such as `head`, has left, which is no failure. What cannot be written to stderr is dropped.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self.console = Console(theme=THEME, highlight=False, file=cast(IO[str], _Clean(self._write)))
        self.lost: str | None = None
        self.is_read = True
        self._is_live = False
        self._errors = Console(theme=THEME, highlight=False, file=cast(IO[str], _Errors()), soft_wrap=True)
        self._redaction = Redaction()

    def _write(self, text: str) -> None:
        told = write_out(self.clean(text))
        self.is_read = self.is_read and told is None
        self.lost = told or self.lost

    def hide(self, secret: str) -> None:
        """Blot a secret out of errors, logs and JSON, in clear or encoded."""
        if len(secret) >= _SHORTEST_SECRET:
            self._redaction.hide(secret)

    def clean(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._redaction.text(text)

    def data(self, value: Any) -> None:
        """Write one JSON document on one line."""
        text = self.clean(as_json(value))
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # only inside of strings, where an escape means the same
            text = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in text)
        self._write(text + "\n")

    def show(self, value: Any, *views: RenderableType) -> None:
        """Write `value` as JSON, or the views for people."""
        if self.json:
            self.data(value)
            return
        for view in views:
            self.console.print(view)

    def line(self, text: str) -> None:
        """Write one line as it is, never wrapped: something to be pasted."""
        self._write(text + "\n")

    def note(self, text: str, style: str = "faint") -> None:
        """Tell people something beside the answer, on stderr."""
        # A note must not fall into a picture that is drawn over again: it goes above it.
        console = self.console if self._is_live and self._errors.is_terminal else self._errors
        console.print(f"[{style}]{escape(self.clean(text))}[/]")

    def advise(self, text: str, style: str = "bold bad") -> None:
        """Note what to do about an answer; with `json` the answer says it, so only if that is lost."""
        if not self.json or self.lost:
            self.note(text, style)

    @contextlib.contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Lend a function that replaces what is shown; for a terminal only."""
        with Live(console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            self._is_live = True
            try:
                yield lambda view: live.update(view, refresh=True)
            finally:
                self._is_live = False

    def fail(self, sentence: str, status: Exit, data: Mapping[str, Any] | None = None) -> None:
        """Write why it failed: on stderr for people, as {"error": ...} on stdout with `json`.

        On stderr with `json` as well if stdout cannot be written.
        """
        if self.json:
            fields = data or {"type": "Failure", "message": sentence, "exit_code": int(status)}
            self.data({"error": fields})
            if not self.lost:
                return
        self._errors.print(f"[bad]error:[/] {escape(self.clean(sentence))}")

    def break_off(self, sentence: str, status: Exit) -> None:
        """Say why it ends here and now, past all buffers: for a signal's handler, which may have cut a write."""
        number, said = 2, f"error: {sentence}"
        if self.json:
            error = {"type": "Failure", "message": sentence, "exit_code": int(status)}
            number, said = 1, json.dumps({"error": error})
        with contextlib.suppress(OSError):
            os.write(number, f"{self.clean(said)}\n".encode(errors="replace"))

    def restore(self) -> None:
        """Leave the terminal as it was, past all buffers: for a signal's handler too."""
        if self._is_live:
            with contextlib.suppress(OSError):
                os.write(1, _SHOW_CURSOR)

    def trace(self, text: str) -> None:
        """Write a traceback, for `--debug`."""
        _Errors().write(self.clean(text))
