"""The front of one server: records what it reads, applies delays and forced answers."""

from dataclasses import dataclass, field

from .api import Api
from .injections import Injection
from .messages import Answer, Request, Route
from .records import Record, Records, client_order_id_of


@dataclass
class Front:
    """The service function of one server; `site` is "management" or the id of a location.

    `limit`: requests that may be under way at once; one more is answered 429.
    """

    site: str
    api: Api
    records: Records
    injections: list[Injection]
    delay: float = 0.0
    limit: int | None = None
    _under_way: list[float] = field(default_factory=list, init=False)
    _unmatched: tuple[str, ...] = field(default=(), init=False)

    def __call__(self, request: Request) -> Answer:
        """Answer one request; the delay of the site is part of the answer."""
        self.api.world.catch_up()
        matched = self.api.match(request)
        operation, parameters = "unknown", self._unmatched
        if not isinstance(matched, Answer):
            operation, parameters = matched[0].operation, matched[1]
        record = self.records.note(
            Record(
                self.api.world.clock().now,
                self.site,
                operation,
                client_order_id_of(request, operation, parameters),
                request.connection,
                request.method,
                request.hidden_path,
                version=request.version,
            )
        )
        if self.api.world.journal is not None:
            self.api.world.journal.read(record)
        if self._is_full(record.time):
            answer = Answer(429, {"Retry-After": "1"})
        else:
            answer = self._answer(request, record, matched)
            answer.delay += self.delay
            if self.limit is not None:
                self._under_way.append(record.time + answer.delay)
        answer.sent = record.answered
        return answer

    def _is_full(self, now: float) -> bool:
        self._under_way = [until for until in self._under_way if until > now]
        return self.limit is not None and len(self._under_way) >= self.limit

    def _answer(self, request: Request, record: Record, matched: tuple[Route, tuple[str, ...]] | Answer) -> Answer:
        injection = next((one for one in self.injections if one.matches(record)), None)
        if injection is None:
            return self._real(request, matched)
        if injection.times is not None:
            injection.times -= 1
        real = self._real(request, matched) if injection.executes else None
        if injection.execute == "after":
            self.api.world.postpone(injection.lag, lambda: self._real(request, matched))
        if injection.hide and record.client_order_id is not None:
            self.api.world.hide(record.client_order_id, injection.hide)
        answer = real
        if answer is None or injection.forces:
            answer = injection.answer(request, self.api.world.variants)
        injection.damage(answer, record.client_order_id)
        says_something = injection.forces or (answer.fault is not None and answer.fault.silent)
        answer.reset = injection.reset or (real is None and not says_something)
        return answer

    def _real(self, request: Request, matched: tuple[Route, tuple[str, ...]] | Answer) -> Answer:
        if isinstance(matched, Answer):
            return matched
        return self.api.run(request, *matched)
