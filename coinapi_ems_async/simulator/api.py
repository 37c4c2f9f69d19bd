"""What the two APIs share: the world behind them, and the way from a request to an operation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .auth import Guard
from .clock import Moment
from .directory import Directory
from .journal import Journal
from .market import Market
from .messages import Answer, Request, Route, find_route
from .rejects import unsupported_media_type, validation_problem
from .reports import Writer
from .validation import Invalid, WrongMediaType
from .variants import Pace, Variants

Operation = Callable[[Request, tuple[str, ...]], Answer]


@dataclass(kw_only=True)
class World:
    """Everything the servers of one simulator share."""

    market: Market
    directory: Directory
    guard: Guard
    variants: Variants
    pace: Pace
    clock: Callable[[], Moment]
    shared_orders: bool = True
    journal: Journal | None = None
    _hidden: dict[str, float] = field(default_factory=dict)
    _postponed: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def postpone(self, seconds: float, run: Callable[[], object]) -> None:
        """Run an operation when so much time has passed; whoever looks at the world catches up first."""
        self._postponed.append((self.clock().now + seconds, run))

    def catch_up(self) -> None:
        """Run the operations whose time has come."""
        now = self.clock().now if self._postponed else 0.0
        due = [one for one in self._postponed if one[0] <= now]
        for one in due:
            self._postponed.remove(one)
            one[1]()

    def hide(self, client_order_id: str, seconds: float) -> None:
        """Keep an order out of status reads and of the lists of open orders for so long."""
        self._hidden[client_order_id] = self.clock().now + seconds

    def hides(self, client_order_id: str) -> bool:
        """Whether an order is still kept out of what is read."""
        until = self._hidden.get(client_order_id)
        if until is None or self.clock().now < until:
            return until is not None
        del self._hidden[client_order_id]
        return False

    @property
    def writer(self) -> Writer:
        """The writer of the present variants."""
        return Writer(self.variants)


class Api:
    """Routes requests to operations; subclasses name them."""

    routes: tuple[Route, ...] = ()
    certificates = False

    def __init__(self, world: World) -> None:
        self.world = world

    def operations(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        raise NotImplementedError

    def match(self, request: Request) -> tuple[Route, tuple[str, ...]] | Answer:
        """Return the route of a request and the parameters in its path, else the framework's refusal."""
        return find_route(self.routes, request)

    def run(self, request: Request, route: Route, parameters: tuple[str, ...]) -> Answer:
        """Check the caller, run the operation, and turn bad input into its answer."""
        if route.needs_key:
            refusal = self.world.guard.check(request, certificates=self.certificates)
            if refusal is not None:
                return refusal
        try:
            return self.operations()[route.operation](request, parameters)
        except WrongMediaType:
            return unsupported_media_type()
        except Invalid as invalid:
            return self.invalid(invalid)

    def invalid(self, invalid: Invalid) -> Answer:
        """Return the answer to a request with bad fields."""
        return validation_problem(invalid.errors, self.world.variants)


def healthy(_request: Request, _parameters: tuple[str, ...]) -> Answer:
    """Answer a health check, as the service's containers do."""
    return Answer(200, {"Content-Type": "text/plain"}, b"Healthy")
