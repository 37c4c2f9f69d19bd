"""What can befall the bytes between a client and a server: told as rules, or drawn from a seed."""

from dataclasses import dataclass
from random import Random
from typing import Final, Literal, get_args

Direction = Literal["connect", "request", "response"]
Action = Literal["reset", "fin", "freeze", "drip", "delay"]

DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(kw_only=True, eq=False)
class WireFault:
    """What happens on a connection when exactly `after` bytes of one direction have been forwarded.

    Directions are "request" (to the server), "response" (to the client) and "connect": when a client is let in,
    before the server hears of it. With `after` 0 it happens instead of the first byte, which so does not arrive.

    Actions:
        reset: both sides are cut with a reset, as soon as all that was forwarded is on its way.
        fin: this direction is shut in order, and the rest of it dropped; the other one goes on.
        freeze: nothing moves any more, either way, and nothing ends, for `seconds` or (None) until `thaw`.
        delay: this direction waits for `seconds`.
        drip: from here to the end of the connection, this direction moves `size` bytes every `seconds`.

    Bytes are counted from the start of the connection. With `turn`, from the start of that turn, and only in
    it: a turn begins with the first byte of a request that comes after bytes of a response; on an HTTP/1.1
    connection in clear text turn n is request n and its response. With `match`, from the start of each turn
    in whose request these bytes are found (in clear text; looked for as each piece of it arrives, and if they
    come later than `after` bytes, it happens then). `connection` restricts it to one, numbered from 1 as
    the proxy lets them in.

    `times` is how often it happens, None for ever; it counts down, and once on the same connection (with `turn`
    or `match`: in the same turn) is enough.

    Raises ValueError: if what is asked makes no sense.
    """

    action: Action
    direction: Direction = "response"
    after: int = 0
    turn: int | None = None
    match: bytes | None = None
    connection: int | None = None
    times: int | None = 1
    seconds: float | None = None
    size: int = 1

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"{self.action!r} is no action; there are {', '.join(ACTIONS)}")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"{self.direction!r} is no direction; there are {', '.join(DIRECTIONS)}")
        if self.after < 0 or self.size < 1 or (self.seconds is not None and not 0 <= self.seconds < 1e6):
            raise ValueError("after and seconds must be 0 or more, size 1 or more")
        if self.action in ("delay", "drip") and self.seconds is None:
            raise ValueError(f"{self.action} needs seconds")
        if self.direction == "connect":
            if self.action == "drip" or self.after or self.turn is not None or self.match is not None:
                raise ValueError("nothing has been said yet on connect: no drip, after, turn or match")
        elif min(one for one in (self.turn, self.connection, 1) if one is not None) < 1:
            raise ValueError("turns and connections are numbered from 1")

    @property
    def per_turn(self) -> bool:
        """Whether its bytes are counted from the start of a turn."""
        return self.turn is not None or self.match is not None


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """Faults drawn from a seed: turn n of a wire, over all its connections, always draws the same.

    `rate` is the share of turns that draw a fault; each has one of `actions`, in one of `directions`, after
    0 to `within` bytes of the turn: a turn with fewer bytes gets away. `seconds` is for how long a freeze or a
    delay lasts; a drip moves 16 bytes every `seconds` / 100. With `match` only turns whose request has these
    bytes in its first piece draw.

    Raises ValueError: if what is asked makes no sense.
    """

    seed: int
    rate: float
    actions: tuple[Action, ...] = ("reset", "fin", "freeze")
    directions: tuple[Direction, ...] = ("request", "response")
    within: int = 1_200
    seconds: float = 0.3
    match: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate is a share of the turns, from 0 to 1")
        if not self.actions or not self.directions or "connect" in self.directions or self.within < 0:
            raise ValueError("a plan needs actions, directions (request, response), and within from 0 up")
        for action in self.actions:
            for direction in self.directions:
                WireFault(action=action, direction=direction, seconds=self.seconds)

    def fault(self, number: int, wire: str = "") -> WireFault | None:
        """Return what the n-th turn (from 1) of the wire of this name draws."""
        random = Random(f"{self.seed}/{wire}/{number}")  # noqa: S311 - to be repeatable is what it is for
        if random.random() >= self.rate:
            return None
        action = random.choice(self.actions)
        return WireFault(
            action=action,
            direction=random.choice(self.directions),
            after=random.randint(0, self.within),
            seconds=self.seconds / 100 if action == "drip" else self.seconds,
            size=16,
        )

    def schedule(self, count: int, wire: str = "") -> list[WireFault | None]:
        """Return what the first `count` turns draw."""
        return [self.fault(number, wire) for number in range(1, count + 1)]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a proxy did: on which connection and turn, when (`time.monotonic()`), and how many bytes had been
    forwarded each way since the connection began."""

    time: float
    connection: int
    turn: int
    action: Action
    direction: Direction
    request_bytes: int
    response_bytes: int
    fault: WireFault
