"""The front of one server: records what it reads, applies delays and forced answers."""

from dataclasses import dataclass, field

from .api import Api
from .messages import Answer, Request, Route
from .records import Injection, Record, Records, client_order_id_of


@dataclass
class Front:
    """The service function of one server; `site` is "management" or the id of a location."""

    site: str
    api: Api
    records: Records
    injections: list[Injection]
    delay: float = 0.0
    _unmatched: tuple[str, ...] = field(default=(), init=False)

    def __call__(self, request: Request) -> Answer:
        """Answer one request; the delay of the site is part of the answer."""
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
            )
        )
        answer = self._answer(request, record, matched)
        answer.delay += self.delay
        answer.sent = record.answered
        return answer

    def _answer(self, request: Request, record: Record, matched: tuple[Route, tuple[str, ...]] | Answer) -> Answer:
        injection = next((one for one in self.injections if one.matches(record)), None)
        if injection is None:
            return self._real(request, matched)
        if injection.times is not None:
            injection.times -= 1
        real = self._real(request, matched) if injection.executes else None
        answer = injection.answer() if injection.forces or real is None else real
        answer.delay += injection.delay
        answer.headers |= injection.headers
        answer.hang = injection.hang
        answer.reset = injection.reset or (real is None and not injection.forces)
        return answer

    def _real(self, request: Request, matched: tuple[Route, tuple[str, ...]] | Answer) -> Answer:
        if isinstance(matched, Answer):
            return matched
        return self.api.run(request, *matched)
