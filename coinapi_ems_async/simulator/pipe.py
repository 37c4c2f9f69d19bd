"""One direction of a proxied connection: it holds back, lets through, counts, and ends."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Literal, Protocol, cast

from .timers import Timer
from .wire_faults import Direction, WireFault

_HOLD: Final = 1_048_576  # bytes held back before the source is read no more

Ending = Literal["fin", "reset"]


class Side(asyncio.Protocol):
    """One of the two transports; what it reads flows into `out`."""

    def __init__(self, made: "Callable[[Side], None]", lost: "Callable[[Side], None]") -> None:
        self.out: Pipe
        self.back: Pipe
        self.transport: asyncio.Transport | None = None
        self._made = made
        self._lost = lost

    @property
    def ready(self) -> bool:
        """Whether it can be written to."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self.out.feed(data)

    def eof_received(self) -> bool:
        """Pass on, and keep the other direction."""
        self.out.finish("fin")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end, and take no more."""
        self.back.stop()
        self.out.finish("fin" if exc is None else "reset")
        self._lost(self)

    def pause_writing(self) -> None:
        """Let the other side wait."""
        self.back.full = True
        self.back.regulate()

    def resume_writing(self) -> None:
        """Let it go on."""
        self.back.full = False
        self.back.regulate()


class Wire(Protocol):
    """What a pipe needs from the connection it belongs to."""

    frozen: bool

    def heard(self, pipe: "Pipe", data: bytes) -> None:
        """Note what has arrived."""
        ...

    def coming(self, pipe: "Pipe") -> tuple[WireFault, int] | None:
        """Return the next fault in a direction, and how many bytes may pass before."""
        ...

    def struck(self, fault: WireFault, pipe: "Pipe") -> None:
        """Take a fault whose byte has come, and do what it says."""
        ...

    def finished(self, ending: Ending) -> None:
        """Note that a direction has ended."""
        ...


class Pipe:
    """Moves what `source` reads to `sink`.

    `total` and `in_turn` count the bytes forwarded on this connection and in its present turn.
    """

    def __init__(self, wire: Wire, direction: Direction, source: Side, sink: Side) -> None:
        self.direction = direction
        self.total = 0
        self.in_turn = 0
        self.full = False
        self.ended = False
        self._wire = wire
        self._source = source
        self._sink = sink
        self._paused = False
        self._held = bytearray()
        self._ending: Ending | None = None
        self._timer: Timer | None = None
        self._drip: WireFault | None = None
        source.out = self
        sink.back = self

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        if self.ended:
            return
        self._wire.heard(self, data)
        if self._held or self._drip is not None or not self._open:
            self._held += data
            self.flow()
        else:
            self._forward(data)
        self.regulate()

    def finish(self, ending: Ending) -> None:
        """End, when all that is held has gone through."""
        if self._ending is None or ending == "reset":
            self._ending = ending
        self.flow()

    def flow(self) -> None:
        """Move what is held, if nothing holds it."""
        if self._open and self._drip is None and self._held:
            data = bytes(self._held)
            self._held.clear()
            self._forward(data)
        elif self._open and self._held:
            self._timer = Timer(asyncio.get_running_loop(), self._drip_seconds, self._drop)
        if self._ending is not None and self._open and not self._held:
            self._end(self._ending)
        self.regulate()

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._timer = Timer(asyncio.get_running_loop(), seconds, self._resume)

    def drip(self, fault: WireFault) -> None:
        """Let only drops through from now on."""
        self._drip = fault

    def shut(self) -> None:
        """End this direction in order, and drop what comes."""
        self._held.clear()
        self._end("fin")

    def stop(self) -> None:
        """Move no more."""
        self.ended = True
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.regulate()

    def regulate(self) -> None:
        """Read from the source only what can be moved or held."""
        transport = self._source.transport
        if transport is None or transport.is_closing():
            return
        wanted = self.ended or not (self.full or len(self._held) > _HOLD)
        if wanted == self._paused:
            self._paused = not wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    @property
    def _open(self) -> bool:
        return not (self.ended or self._wire.frozen or self._timer is not None) and self._sink.ready

    @property
    def _drip_seconds(self) -> float:
        return 0.0 if self._drip is None else self._drip.seconds or 0.0

    def _resume(self) -> None:
        self._timer = None
        self.flow()

    def _drop(self) -> None:
        self._timer = None
        if not self._open or self._drip is None:
            return
        piece, rest = bytes(self._held[: self._drip.size]), self._held[self._drip.size :]
        self._held.clear()
        self._forward(piece)
        if not self.ended:
            self._held += rest
            self.flow()

    def _forward(self, data: bytes) -> None:
        while data:
            coming = self._wire.coming(self)
            if coming is None or coming[1] > len(data):
                self._write(data)
                return
            fault, room = coming
            self._write(data[:room])
            data = data[room:]
            self._wire.struck(fault, self)
            if self._drip is not None or not self._open:
                break
        if not self.ended:
            self._held[:0] = data
            self.flow()

    def _write(self, data: bytes) -> None:
        if data and self._sink.transport is not None:
            self._sink.transport.write(data)
            self.total += len(data)
            self.in_turn += len(data)

    def _end(self, ending: Ending) -> None:
        if self.ended:
            return
        self.stop()
        if ending == "fin" and self._sink.ready and self._sink.transport is not None:
            with contextlib.suppress(OSError):  # the peer may be gone already
                self._sink.transport.write_eof()
        self._wire.finished(ending)
