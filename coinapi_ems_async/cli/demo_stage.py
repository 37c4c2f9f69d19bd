"""What the steps of the demo stand on: telling, following, checking."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from ..client import EMSClient
from ..models.enums import Side, TimeInForce
from ..models.orders import ExecutionReport, NewOrder
from ..outcomes import Accepted, Outcome
from ..sites.health import Health
from .demo_views import walk_table
from .exits import Exit, Failure
from .output import Output

if TYPE_CHECKING:
    from ..simulator import Simulator

__all__ = ["ACCOUNT", "SYMBOL", "Stage"]

ACCOUNT: Final = "KRAKEN/JOHN"
SYMBOL: Final = "KRAKEN_SPOT_BTC_USDT"
_PATIENCE: Final = 6.0
_LOOK: Final = 0.03


class Stage:
    """One performance: the simulator, the client, the output, and every order that was submitted."""

    def __init__(
        self, out: Output, simulator: "Simulator", ems: EMSClient, *, sites: Mapping[str, float], fast: bool
    ) -> None:
        self.out = out
        self.sim = simulator
        self.ems = ems
        self.nearest_first: list[str] = sorted(sites, key=lambda site: sites[site])
        self.sent: list[str] = []
        self._slow = not fast and out.console.is_terminal and not out.json
        self._number = 0
        self._step = ""

    # Telling

    def title(self) -> None:
        """Begin."""
        if not self.out.json:
            self.out.console.print()
            self.out.console.rule("[bold]coinapi-ems demo[/]  one account, three sites, one client", style="faint")

    def begin(self, step: str, title: str, about: str) -> None:
        """Begin a step."""
        self._number += 1
        self._step = step
        if not self.out.json:
            self.out.console.print(Text.assemble("\n", (f"{self._number:>2}  ", "faint"), (title, "bold")))
            self.out.console.print(Text(f"    {about}", style="faint"))

    def tell(self, data: Mapping[str, Any], *views: RenderableType) -> None:
        """Write what a step showed: one JSON object, or views."""
        self.out.show({"step": self._step, "number": self._number, "ok": True, **data}, *map(_indented, views))

    def show(self, *views: RenderableType) -> None:
        """Show something to people in the middle of a step."""
        if not self.out.json:
            self.out.console.print(*map(_indented, views), sep="\n")

    async def pause(self, seconds: float = 0.35) -> None:
        """Leave a moment for reading, if somebody reads."""
        if self._slow:
            await asyncio.sleep(seconds)

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Lend a function that replaces what is shown; without a terminal only the last one is printed."""
        if self.out.json:
            yield lambda view: None
            return
        if not self.out.console.is_terminal:
            last: list[RenderableType] = []
            yield lambda view: last.__setitem__(slice(None), [view])
            self.show(*last)
            return
        with self.out.live() as draw:
            yield lambda view: draw(_indented(view))

    # Checking

    def expect(self, true: bool, claim: str) -> None:
        """Raises Failure: unless the claim is true."""
        if not true:
            raise Failure(f"the demo failed at '{self._step}': it is not true that {claim}.", Exit.INTERNAL)

    async def eventually(self, true: Callable[[], bool], claim: str) -> None:
        """Wait for a claim to come true. Raises Failure: if it does not in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while not true():
            if loop.time() > end:
                break
            await asyncio.sleep(_LOOK)
        self.expect(true(), claim)

    def reads(self, client_order_id: str) -> list[str]:
        """Return at which sites a server read a new order of this id."""
        return [
            record.site
            for record in self.sim.requests
            if record.operation == "order_new" and record.client_order_id == client_order_id
        ]

    def expect_once(self, client_order_id: str, site: str) -> None:
        """Raises Failure: unless this site alone read the order, once, and it was executed once."""
        self.expect(self.reads(client_order_id) == [site], f"only {site} read the order, and once")
        self.expect(self.sim.executions(client_order_id) == 1, "the order was executed exactly once")

    async def recovered(self, site: str) -> None:
        """Wait until orders go to a site again. Raises Failure: if they do not in time."""
        await self.eventually(
            lambda: set(self.ems.choices().values()) == {site} and self.ems.sites[0].health is Health.HEALTHY,
            f"orders go to {site} again",
        )

    # Trading

    def lose_an_answer(self) -> None:
        """Let the next order reach its exchange, and its connection end before the answer."""
        from ..simulator import Injection

        self.sim.inject(Injection(operation="order_new", reset=True, execute="before"))

    def order(self, side: Side, amount: str, price: str, *, tif: str = TimeInForce.GOOD_TILL_CANCEL) -> NewOrder:
        """Return a new order, and note its id for the final count."""
        order = NewOrder(
            exchange_id=ACCOUNT,
            symbol_id_coinapi=SYMBOL,
            side=side,
            amount_order=amount,
            price=price,
            time_in_force=tif,
        )
        self.sent.append(order.client_order_id)
        return order

    async def accepted(self, order: NewOrder) -> Accepted:
        """Submit an order. Raises Failure: if it is not accepted."""
        return self.accept(await self.ems.orders.submit(order))

    def accept(self, outcome: Outcome) -> Accepted:
        """Return the outcome. Raises Failure: if it is not Accepted."""
        self.expect(isinstance(outcome, Accepted), f"the request was accepted ({outcome!r})")
        assert isinstance(outcome, Accepted)  # noqa: S101  # for the type checker
        return outcome

    async def follow(self, client_order_id: str, *until: str) -> ExecutionReport:
        """Read an order's status again and again, and show its walk, until it is one of `until`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        with self.live() as show:
            while True:
                report = await self.ems.orders.status(client_order_id, exchange_id=ACCOUNT)
                show(walk_table(report))
                if report.status in until or loop.time() > end:
                    break
                await asyncio.sleep(_LOOK)
        self.expect(report.status in until, f"the order became {' or '.join(until)} (it is {report.status})")
        return report


def _indented(view: RenderableType) -> RenderableType:
    return Padding(view, (0, 0, 0, 2), expand=False)


def statuses(report: ExecutionReport) -> Sequence[str]:
    """Return the walk of an order as plain texts."""
    return [str(step.status) for step in report.history]
