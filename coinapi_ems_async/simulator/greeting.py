"""A peer in clear text that has not yet said which HTTP it speaks."""

import asyncio
from typing import cast

from .endings import cut
from .frames import PREFACE
from .secure import SecureHost


class Greeting(asyncio.Protocol):
    """Tells HTTP/2 with prior knowledge by its preface, and hands the transport to who speaks the language."""

    def __init__(self, host: SecureHost) -> None:
        self._host = host
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the peer's first words."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._host.entered(self)

    def data_received(self, data: bytes) -> None:
        """Hand over as soon as the language is known."""
        self._heard += data
        if len(self._heard) < len(PREFACE) and PREFACE.startswith(self._heard):
            return
        speaker = self._host.speaker("h2" if self._heard.startswith(PREFACE) else None)
        self._transport.set_protocol(speaker)
        speaker.connection_made(self._transport)
        self._host.gone(self)
        speaker.data_received(self._heard)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end."""
        self._host.gone(self)

    def abort(self) -> None:
        """Cut the connection with a reset."""
        cut(self._transport)
