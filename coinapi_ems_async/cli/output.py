"""What reaches the terminal: JSON or tables on stdout, one sentence on stderr; never a secret."""

import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, cast
from urllib.parse import quote

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.theme import Theme

from .data import as_json
from .exits import Exit

__all__ = ["THEME", "Output"]

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
_SHORTEST_SECRET: Final = 6  # a shorter one would blot out innocent text; no key is that short


class _Clean:
    """Standard output, with the secrets blotted out of what is written."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        self._clean = clean

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)  # the one there is now: tests replace it

    def write(self, text: str) -> int:
        return sys.stdout.write(self._clean(text))


class Output:
    """Writes answers and errors, as JSON with `json`.

    hide: adds a secret that is blotted out of everything written from then on.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self.console = Console(theme=THEME, highlight=False, file=cast(IO[str], _Clean(self.clean)))
        self._errors = Console(theme=THEME, highlight=False, stderr=True, soft_wrap=True)
        self._secrets: list[str] = []

    def hide(self, secret: str) -> None:
        """Blot a secret out of errors, logs and JSON, in clear or percent-encoded."""
        if len(secret) >= _SHORTEST_SECRET:
            self._secrets += [secret, quote(secret, safe="")]

    def clean(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "<hidden>")
        return text

    def data(self, value: Any) -> None:
        """Write one JSON document on one line."""
        sys.stdout.write(self.clean(as_json(value)) + "\n")
        sys.stdout.flush()

    def show(self, value: Any, *views: RenderableType) -> None:
        """Write `value` as JSON, or the views for people."""
        if self.json:
            self.data(value)
            return
        for view in views:
            self.console.print(view)

    def line(self, text: str) -> None:
        """Write one line as it is, never wrapped: something to be pasted."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def note(self, text: str, style: str = "faint") -> None:
        """Tell people something beside the answer, on stderr."""
        self._errors.print(f"[{style}]{escape(self.clean(text))}[/]")

    def fail(self, sentence: str, status: Exit, data: Mapping[str, Any] | None = None) -> None:
        """Write why it failed: on stderr for people, as {"error": ...} on stdout with `json`."""
        if self.json:
            fields = data or {"type": "Failure", "message": sentence, "exit_code": int(status)}
            self.data({"error": fields})
            return
        self._errors.print(f"[bad]error:[/] {escape(self.clean(sentence))}")

    def trace(self, text: str) -> None:
        """Write a traceback, for `--debug`."""
        sys.stderr.write(self.clean(text))
