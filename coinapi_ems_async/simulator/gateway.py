"""The EMS REST API of one site."""

from collections.abc import Callable, Mapping
from typing import Any

from coinapi_ems_async.models.enums import RejectReason

from .api import Api, Operation, World, healthy
from .clock import read_time
from .messages import Answer, Request, json_answer, route
from .orders import Order
from .rejects import message_reject, unreachable
from .reports import exchange_number
from .validation import Invalid, read_body, read_cancel, read_cancel_all, read_order


class Gateway(Api):
    """Answers the requests of one site (EMS REST, all operations)."""

    certificates = True
    routes = (
        route("POST", "/v1/orders", "order_new"),
        route("GET", "/v1/orders/status/{client_order_id}", "order_status"),
        route("POST", "/v1/orders/cancel", "order_cancel"),
        route("POST", "/v1/orders/cancel/all", "order_cancel_all"),
        route("GET", "/v1/orders", "orders_open"),
        route("GET", "/v1/orders/history", "orders_history"),
        route("GET", "/v1/orders/history/{time_start}/{time_end}", "orders_history"),
        route("GET", "/v1/balances", "balances"),
        route("GET", "/v1/positions", "positions"),
        route("GET", "/", "probe", needs_key=False),
        route("GET", "/health/live", "health", needs_key=False),
        route("GET", "/health/ready", "health", needs_key=False),
    )

    def __init__(self, world: World, site: str) -> None:
        super().__init__(world)
        self.site = site
        self._operations: Mapping[str, Operation] = {
            "order_new": self._order_new,
            "order_status": self._order_status,
            "order_cancel": self._order_cancel,
            "order_cancel_all": self._order_cancel_all,
            "orders_open": self._orders_open,
            "orders_history": self._orders_history,
            "balances": self._balances,
            "positions": self._positions,
            "probe": lambda _request, _parameters: Answer(404),
            "health": healthy,
        }

    def operations(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        return self._operations

    @property
    def _scope(self) -> str | None:
        return None if self.world.shared_orders else self.site

    def _reachable(self, exchange_id: str) -> bool:
        market = self.world.market
        return exchange_id in self.world.directory.served(self.site) and exchange_id not in market.down

    def _unreachable(self, request: Request, exchange_id: str) -> Answer:
        return unreachable(request, self.world.variants, exchange_id)

    def _order_new(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        world, ticket = self.world, read_order(read_body(request))
        if not self._reachable(ticket.exchange_id):
            return self._unreachable(request, ticket.exchange_id)
        moment = world.clock()
        world.market.advance(moment)
        earlier = world.market.by_client_id(ticket.client_order_id, self._scope)
        if earlier is not None and world.variants.duplicates == "reject":
            raise Invalid({"client_order_id": ["An order with this client_order_id already exists."]})
        if earlier is not None and world.variants.duplicates == "replay":
            return json_answer(world.writer.report(earlier))
        strict = world.variants.unsupported == "reject"
        order = world.market.place(ticket, self.site, moment, strict=strict)
        if world.journal is not None:
            world.journal.executed(ticket.client_order_id)
        if ticket.exchange_id in world.market.slow:
            reason = RejectReason.EXCHANGE_RESPONSE_TIMEOUT
            text = f"Exchange {ticket.exchange_id} did not respond in time"
            answer = message_reject(request, world.variants, 504, reason, ticket.exchange_id, text)
            answer.delay = world.pace.timeout
            return answer
        # Written now, given when the exchange has replied: until then no other answer may tell its reply.
        return json_answer(world.writer.report(order.replied()), delay=world.pace.reply)

    def _order_status(self, request: Request, parameters: tuple[str, ...]) -> Answer:
        self.world.market.advance(self.world.clock())
        order = self.world.market.by_client_id(parameters[0], self._scope)
        if order is None or self.world.hides(parameters[0]):
            return self._not_found(request, self.world.variants.status_miss, None, parameters[0])
        return json_answer(self.world.writer.report(order))

    def _order_cancel(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        world = self.world
        exchange_id, exchange_order_id, client_order_id = read_cancel(read_body(request))
        if not self._reachable(exchange_id):
            return self._unreachable(request, exchange_id)
        moment = world.clock()
        world.market.advance(moment)
        order = self._find(exchange_id, exchange_order_id, client_order_id)
        if order is None:
            wanted = client_order_id or exchange_order_id or ""
            return self._not_found(request, world.variants.cancel_miss, exchange_id, wanted)
        world.market.cancel(order, moment)
        return json_answer(world.writer.report(order))

    def _find(self, exchange_id: str, exchange_order_id: str | None, client_id: str | None) -> Order | None:
        market = self.world.market
        if client_id is not None:
            return market.by_client_id(client_id, self._scope, exchange_id)
        order = market.by_exchange_id(exchange_order_id or "", self._scope)
        if order is None and self.world.variants.exchange_order_id == "number":
            found = [one for one in market.open_orders({exchange_id}, self._scope) if one.exchange_order_id]
            order = next((one for one in found if str(exchange_number(one)) == exchange_order_id), None)
        return order if order is not None and order.exchange_id == exchange_id else None

    def _not_found(self, request: Request, status: int, exchange_id: str | None, wanted: str) -> Answer:
        reason, text = RejectReason.ORDER_ID_NOT_FOUND, f"Order with ID: {wanted} not found"
        return message_reject(request, self.world.variants, status, reason, exchange_id, text)

    def _order_cancel_all(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        world, exchange_id = self.world, read_cancel_all(read_body(request))
        if not self._reachable(exchange_id):
            return self._unreachable(request, exchange_id)
        moment = world.clock()
        world.market.advance(moment)
        orders = world.market.open_orders({exchange_id}, self._scope)
        for order in orders:
            world.market.cancel(order, moment)
        return self._cancel_all_answer(exchange_id, orders)

    def _cancel_all_answer(self, exchange_id: str, orders: list[Order]) -> Answer:
        kind = self.world.variants.cancel_all
        if kind == "empty":
            return Answer(200)
        if kind == "report" and orders:
            return json_answer(self.world.writer.report(orders[0]))
        body: dict[str, Any] = {"type": "message", "severity": "INFO"}
        if kind == "message_reject":
            body = {"type": "MESSAGE_REJECT"}
        return json_answer(body | {"exchange_id": exchange_id, "message": "Ok"})

    def _orders_open(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        world, exchange_id = self.world, request.first("exchange_id")
        if exchange_id and not self._reachable(exchange_id):
            return self._unreachable(request, exchange_id)
        served = {exchange_id} if exchange_id else world.directory.served(self.site)
        world.market.advance(world.clock())
        orders = world.market.open_orders(served - world.market.down, self._scope)
        seen = [order for order in orders if not world.hides(order.client_order_id)]
        return json_answer([world.writer.report(order) for order in seen])

    def _orders_history(self, request: Request, parameters: tuple[str, ...]) -> Answer:
        if not self.world.variants.history_configured:
            return json_answer({"message": "Orders log is not configured"}, status=400)
        start, end = self._window(request, parameters)
        world = self.world
        world.market.advance(world.clock())
        served, scope, key = world.directory.served(self.site), self._scope, world.guard.api_key
        rows = [
            world.writer.history_row(event, key)
            for event in world.market.events
            if start <= event.ticks < end and event.order.exchange_id in served and event.order.is_known_at(scope)
        ]
        return json_answer(rows)

    def _window(self, request: Request, parameters: tuple[str, ...]) -> tuple[int, int]:
        values = parameters or (request.first("time_start"), request.first("time_end"))
        errors, ticks = {}, []
        for name, value in zip(("time_start", "time_end"), values, strict=True):
            try:
                ticks.append(read_time(value or ""))
            except ValueError:
                text = f"The value '{value}' is not valid." if value else f"The {name} field is required."
                errors[name] = [text]
        if errors:
            raise Invalid(errors)
        return ticks[0], ticks[1]

    def _balances(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        ledger, write = self.world.market.ledger, self.world.writer.balances
        return self._snapshots(request, lambda name, up: write(name, ledger(name) if up else None))

    def _positions(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        positions, write = self.world.market.positions, self.world.writer.positions
        return self._snapshots(request, lambda name, up: write(name, positions(name) if up else None))

    def _snapshots(self, request: Request, write: Callable[[str, bool], dict[str, Any]]) -> Answer:
        world, wanted = self.world, request.first("exchange_id")
        if wanted and not self._reachable(wanted):
            return self._unreachable(request, wanted)
        world.market.advance(world.clock())
        served = world.directory.served(self.site)
        names = [wanted] if wanted else [name for name in world.directory.parameters if name in served]
        return json_answer([write(name, name not in world.market.down) for name in names])
