"""Answers that tests force on the servers, and what is done to them on their way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from coinapi_ems_async.models.enums import RejectReason

from .messages import JSON, REFUSED_STREAM, Answer, End, Fault, GoAway, Request
from .numbers import write_json
from .records import OPERATIONS, OperationName, Record
from .rejects import message_reject
from .variants import Variants


@dataclass(kw_only=True)
class Injection:
    """An answer forced on requests that match `operation`, `site` and `client_order_id` (None: any).

    `body` may be bytes, text, or a value that becomes JSON; None with status 200 means the real answer,
    to which `headers` are added. `reject` makes the body a MessageReject with that reason.
    `execute="before"` runs the real operation first and throws its answer away, `execute="after"` runs it `lag`
    seconds after the request was read, when the answer has long gone; the real answer of a None body is always
    executed. `delay` (seconds) comes on top of the site's. `reset` cuts the
    connection instead of answering, `hang` keeps silent until the simulator releases the request; with
    these two `execute` alone decides whether the operation runs, and a released request that has neither
    run nor got a forced answer is cut. `times` is how many requests it takes, None for ever; it counts
    down. A forced answer asks for no key.

    Damage to an answer, forced or real:
        raw: bytes written as they are in its place.
        truncate: only so many bytes of the body are sent, although the head announces all.
        copies: how often it is sent; 2: a second time right behind the first.
        about: the client_order_id in the body is replaced by this one: the report of another order.
        pad: so many blanks are added to the body, which leaves JSON what it was.
        end: what becomes of the connection then: "keep", "fin" (closed in order) or "reset" (cut as soon
            as everything before is on its way).
    `hide`: an order that is executed is unknown to status reads and to the list of open orders for so many
    seconds.

    HTTP/2 only; an injection with one of these passes over requests that came by HTTP/1.1:
        refuse_stream: RST_STREAM with REFUSED_STREAM, and the request is not executed.
        stream_error: RST_STREAM with this code; `execute` alone decides whether the operation runs.
        goaway: a GOAWAY whose last stream is told relative to this request's: "zero" or "below" (the
            request is neither executed nor answered), "equal" or "above" (the answer follows in the same
            write). Streams above the last one are from then on neither executed nor answered; those up to
            it are, then the connection ends. The servers do not lie: the stream told is never below one
            that has been handed to an operation and is not answered yet.
        goaway_notice: a GOAWAY that names the highest of all streams goes before, at once.
        goaway_cut: the connection ends right behind the GOAWAY, without the answer; `execute` alone decides
            whether the operation runs.
    With `truncate`, the response's head and so much of its body go before the RST_STREAM or GOAWAY: such a
    stream has run, whatever it is then told.

    Raises ValueError: if `operation` is not one of `OPERATIONS`, or if what is asked contradicts itself.
    """

    operation: OperationName | None = None
    site: str | None = None
    client_order_id: str | None = None
    status: int = 200
    body: bytes | str | Mapping[str, Any] | list[Any] | None = None
    reject: RejectReason | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    execute: Literal["never", "before", "after"] = "never"
    lag: float = 0.0
    times: int | None = 1
    delay: float = 0.0
    reset: bool = False
    hang: bool = False
    raw: bytes | None = None
    truncate: int | None = None
    copies: int = 1
    pad: int = 0
    about: str | None = None
    end: End = "keep"
    hide: float = 0.0
    refuse_stream: bool = False
    stream_error: int | None = None
    goaway: GoAway | None = None
    goaway_notice: bool = False
    goaway_cut: bool = False

    def __post_init__(self) -> None:
        if self.operation is not None and self.operation not in OPERATIONS:
            raise ValueError(f"{self.operation!r} is not the name of an operation")
        if self.end not in get_args(End):
            raise ValueError(f"an answer ends with {', '.join(get_args(End))}, not {self.end!r}")
        if self.goaway not in (None, *get_args(GoAway)):
            raise ValueError(f"a GOAWAY is {', '.join(get_args(GoAway))}, not {self.goaway!r}")
        if self.goaway is None and (self.goaway_notice or self.goaway_cut):
            raise ValueError("goaway_notice and goaway_cut belong to a goaway")
        if min(self.copies - 1, self.pad, self.truncate or 0, self.hide, self.lag) < 0:
            raise ValueError("copies must be 1 or more; pad, truncate, hide and lag 0 or more")
        if self.fault is not None and self.fault.disowns and self.fault.silent and self.execute != "never":
            raise ValueError("a request that is disowned to the client must not be executed")
        if self.execute == "after" and not (self.forces or self.is_silent):
            raise ValueError("what is executed after the answer cannot be answered with what came of it")
        if self.lag and self.execute != "after":
            raise ValueError('lag needs an order that is executed later: execute="after"')
        if self.hide and not self.executes and self.execute != "after":
            raise ValueError('hide needs an order that is executed: execute="before"')

    @property
    def forces(self) -> bool:
        """Whether it brings an answer of its own."""
        return self.body is not None or self.status != 200 or self.raw is not None or self.reject is not None

    @property
    def is_silent(self) -> bool:
        """Whether it keeps the server from answering."""
        return self.reset or self.hang or (self.fault is not None and self.fault.silent)

    @property
    def executes(self) -> bool:
        """Whether the real operation runs before the answer."""
        return self.execute == "before" or not (self.forces or self.is_silent or self.execute == "after")

    @property
    def fault(self) -> Fault | None:
        """The damage to the answer; None if there is none."""
        fault = Fault(
            raw=self.raw,
            truncate=self.truncate,
            copies=self.copies,
            end=self.end,
            stream_error=REFUSED_STREAM if self.refuse_stream else self.stream_error,
            goaway=self.goaway,
            goaway_notice=self.goaway_notice,
            goaway_cut=self.goaway_cut,
        )
        return None if fault == _NO_FAULT else fault

    @property
    def needs_http2(self) -> bool:
        """Whether only HTTP/2 can express it."""
        return self.refuse_stream or self.stream_error is not None or self.goaway is not None

    def matches(self, record: Record) -> bool:
        """Whether it applies to this request and is not used up."""
        return (
            self.times != 0
            and self.operation in (None, record.operation)
            and self.site in (None, record.site)
            and self.client_order_id in (None, record.client_order_id)
            and (record.version == "2" or not self.needs_http2)
        )

    def answer(self, request: Request, variants: Variants) -> Answer:
        """Return the forced answer, without its delay."""
        if self.reject is not None:
            text = "The exchange did not accept the request"
            answer = message_reject(request, variants, self.status, self.reject, _exchange_id(request), text)
            answer.headers |= self.headers
            return answer
        body = self.body
        if isinstance(body, str):
            content = body.encode()
        elif body is None:
            content = b""
        else:
            content = body if isinstance(body, bytes) else write_json(body)
        headers = {"Content-Type": self.content_type} if content else {}
        return Answer(self.status, headers | dict(self.headers), content)

    def damage(self, answer: Answer, client_order_id: str | None) -> None:
        """Do to an answer, forced or real, what is to be done to it; the id is that of the request."""
        if self.about is not None and client_order_id is not None:
            answer.body = answer.body.replace(write_json(client_order_id), write_json(self.about))
        answer.delay += self.delay
        answer.headers |= self.headers
        answer.body += b" " * self.pad
        answer.hang = self.hang
        answer.fault = self.fault


_NO_FAULT = Fault()


def _exchange_id(request: Request) -> str | None:
    try:
        body = request.json
    except ValueError:
        return request.first("exchange_id")
    found = body.get("exchange_id") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None
