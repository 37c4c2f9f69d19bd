"""What others wrote, fit to be shown: without our secrets, and on one line. Pure."""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

__all__ = ["NOTHING_HIDDEN", "Redaction", "one_line"]

_MARK: Final = b"<hidden>"
_SHORTEST: Final = 4
"""A shorter secret would blot out innocent text."""
_TOKENS: Final = 16
_MOST_SHOWN: Final = 500
_MOST_READ: Final = 16 * 1024
_ESCAPED: Final = re.compile(r"[\"&'+<>`]")


class Redaction:
    """The secrets of one client, and text without them.

    A secret is found as it is, in capitals or not, percent-encoded, and as JSON and HTML write it. One that is
    shorter than four characters is left.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, None] = {}
        self._tokens: dict[str, None] = {}
        self._forms: tuple[bytes, ...] | None = None
        for secret in secrets:
            self.hide(secret)

    def __repr__(self) -> str:
        return f"<Redaction of {len(self._secrets) + len(self._tokens)}>"

    def hide(self, secret: str) -> None:
        """Add a secret."""
        if len(secret) >= _SHORTEST and secret not in self._secrets:
            self._secrets[secret] = None
            self._forms = None

    def hide_token(self, token: str) -> None:
        """Add a secret that others follow, such as a bearer token: the last 16 are hidden."""
        if len(token) < _SHORTEST:
            return
        if token in self._tokens:
            del self._tokens[token]  # it becomes the newest
        else:
            self._forms = None
            if len(self._tokens) >= _TOKENS:
                del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = None

    def raw(self, body: bytes) -> bytes:
        """Return the bytes without the secrets."""
        if self._forms is None:
            forms = {form for secret in (*self._secrets, *self._tokens) for form in _forms_of(secret)}
            self._forms = tuple(sorted(forms, key=len, reverse=True))
        lower = body.lower() if self._forms else b""
        for form in self._forms:
            if form in lower:
                body = re.sub(re.escape(form), _MARK, body, flags=re.IGNORECASE)
                lower = body.lower()
        return body

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        return self.raw(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def line(self, text: str) -> str:
        """Return the text without the secrets as one line of at most 500 characters."""
        shown = self.text(text[:_MOST_READ])
        if len(text) > _MOST_READ:  # half a secret may stand at the end
            longest = len(self._forms[0]) if self._forms else 0
            shown = shown[: max(0, len(shown) - longest)] + "..."
        return one_line(shown)


def _forms_of(secret: str) -> set[bytes]:
    """Every way in which a server may write it, in small letters."""
    import html  # for what goes wrong only

    quoted = json.dumps(secret)[1:-1]
    escaped = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", secret.replace("\\", "\\\\"))
    forms = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quoted,
        quoted.replace("/", "\\/"),
        escaped,
        escaped.replace("/", "\\/"),
        html.escape(secret),
        repr(secret)[1:-1],
    }
    return {form.encode("utf-8", "surrogatepass").lower() for form in forms}


def one_line(text: str) -> str:
    """Return the text on one line of at most 500 characters, without anything that cannot be printed."""
    shown = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return shown if len(shown) <= _MOST_SHOWN else shown[: _MOST_SHOWN - 3] + "..."


NOTHING_HIDDEN: Final = Redaction()
"""For those who have no secrets."""
