"""What must hold whatever befell the wire and the servers: I1 to I7, over the servers' log and the client's word.

Pure functions, for tests of the client and of bots that use it: they take what the servers read, how often each
order was executed, and what the client told, and return every contradiction in words. Over the simulator:

    calls: list[CallRecord] = []
    async with EMSClient(sim.api_key, management_url=sim.management_url, on_call=calls.append) as ems:
        ...
    check(sim.requests, sim.executions, map(recorded, calls))

    I1  No order is executed twice, over all sites.
    I2  NotSent: executed never, and nothing of it left but what servers proved not to have processed.
    I3  Accepted, or rejected by the exchange: executed once. Refused by the service: never, and read by it.
    I4  Unknown, or the caller went away: executed once or never.
    I5  A cancel of one order is read at most twice for each call, not counting those that a server refused with
        an answer, and a cancel-all once.
    I6  No request goes to a site that does not serve the account.
    I7  The key is shown to no host that was not listed.

The client's own log must fit as well: servers read no more copies of an order than attempts were committed, and
no less than they answered; a second copy needs a server's word that it did nothing with the first; Unknown needs a
committed attempt, and an order's answer must have come whole.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qs

from .matrix import UNPROCESSED
from .outcomes import AttemptRecord, NotSent, NotSentReason, Outcome, Phase, Rejected, Unknown

if TYPE_CHECKING:
    from .observer import CallRecord

__all__ = ["Ended", "Read", "Told", "check", "contradictions", "recorded", "told", "violations"]

Ended = Literal["accepted", "rejected", "refused", "not sent", "not processed", "unknown", "cancelled", "read"]
"""How a call ended for its caller: `rejected` by the exchange, `refused` by the service; `not processed` is the
NotSent of servers that proved it; `cancelled` means that the caller went away; `read` is a value or an error."""

_ONCE: tuple[Ended, ...] = ("accepted", "rejected")
_UNSENT: tuple[Ended, ...] = ("not sent", "not processed")
_NEVER: tuple[Ended, ...] = ("refused", *_UNSENT)
_DISOWNED = tuple(row.value for row in UNPROCESSED)
_CHANGES = ("order_new", "order_cancel", "order_cancel_all")
_SENT_AWAY = (421, 490)
_SHOWN = 20


class Read(Protocol):
    """One request that a server has read whole, such as the simulator's `Record`."""

    @property
    def site(self) -> str:
        """The id of the site."""
        ...

    @property
    def operation(self) -> str:
        """Such as `order_new`."""
        ...

    @property
    def client_order_id(self) -> str | None:
        """The order it names."""
        ...


class Told(NamedTuple):
    """What the client told about one call. attempts: None if not known, as of calls that were cancelled."""

    operation: str
    ended: Ended
    client_order_id: str | None = None
    exchange_id: str | None = None
    attempts: tuple[AttemptRecord, ...] | None = None

    @property
    def committed(self) -> int:
        """Attempts of which a byte may have left."""
        return sum(one.phase is not Phase.WAITING for one in self.attempts or ())

    @property
    def disowned(self) -> int:
        """Attempts that the server said it has not processed (HTTP/2)."""
        return sum((one.failure or "").startswith(_DISOWNED) for one in self.attempts or ())

    @property
    def sent_away(self) -> int:
        """Attempts to which a server said that it was the wrong one, or could not pass the request on."""
        return sum(one.status in _SENT_AWAY for one in self.attempts or ())

    @property
    def answered(self) -> int:
        """Attempts to which a whole answer came."""
        return sum(one.phase is Phase.ANSWERED for one in self.attempts or ())


_Named = TypeVar("_Named", Told, Read)


def recorded(record: "CallRecord") -> Told:
    """Return what the client's `on_call` hook was told of a call."""
    attempts: tuple[AttemptRecord, ...] | None = record.attempts
    ended: Ended = "read"
    if record.operation in _CHANGES:
        ended = _recorded_end(record)
        attempts = None if ended == "cancelled" else attempts
    return Told(record.operation, ended, record.client_order_id, record.exchange_id, attempts)


def _recorded_end(record: "CallRecord") -> Ended:
    last = record.attempts[-1] if record.attempts else None
    if record.ended == "accepted":
        return "accepted"
    if record.ended == "unknown":
        return "unknown"
    if record.ended == "rejected":
        return "rejected" if any(one.status in range(200, 300) for one in record.attempts) else "refused"
    if record.ended == "not sent":
        return "not processed" if last is not None and (last.failure or "").startswith(_DISOWNED) else "not sent"
    return "cancelled"  # or a bug: what became of it is not known


def told(operation: str, outcome: Outcome | None, *, client_order_id: str | None, exchange_id: str | None) -> Told:
    """Return what an outcome says; None: the caller went away."""
    attempts = None if outcome is None else outcome.attempts
    return Told(operation, _ended(outcome), client_order_id, exchange_id, attempts)


def _ended(outcome: Outcome | None) -> Ended:
    if outcome is None:
        return "cancelled"
    if isinstance(outcome, Rejected):
        return "refused" if outcome.report is None else "rejected"
    if isinstance(outcome, NotSent):
        return "not processed" if outcome.reason is NotSentReason.NOT_PROCESSED else "not sent"
    return "unknown" if isinstance(outcome, Unknown) else "accepted"


def check(
    requests: Iterable[Read],
    executions: Callable[[str], int],
    calls: Iterable[Told],
    *,
    capable: Mapping[str, Collection[str]] | None = None,
    key_seen_at: Collection[str] = (),
    listed: Collection[str] = (),
) -> None:
    """Raise AssertionError with what contradicts I1 to I7; the arguments are those of `violations`."""
    found = violations(requests, executions, calls, capable=capable, key_seen_at=key_seen_at, listed=listed)
    if found:
        more = [f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise AssertionError("\n".join([*found[:_SHOWN], *more]))


def violations(
    requests: Iterable[Read],
    executions: Callable[[str], int],
    calls: Iterable[Told],
    *,
    capable: Mapping[str, Collection[str]] | None = None,
    key_seen_at: Collection[str] = (),
    listed: Collection[str] = (),
) -> list[str]:
    """Return every contradiction, none if all is well.

    requests: everything that all servers have read. executions: how often an order was given to an exchange.
    calls: what the client told. capable: account -> ids of the sites that serve it. key_seen_at: hosts that were
    shown the key. listed: those that may be.
    """
    requests, calls = list(requests), list(calls)
    orders = _by_order(call for call in calls if call.operation == "order_new")
    read = Counter(one.client_order_id for one in requests if one.operation == "order_new")
    names = orders.keys() | {name for name in read if name is not None}
    found = [
        line
        for name in sorted(names)
        for line in _of_order(name, orders.get(name, []), executions(name), read[name])
    ]
    found += [line for call in calls for line in contradictions(call)]
    found += _of_cancels(requests, calls)
    found += _of_places(requests, calls, capable or {})
    found += [f"I7: the key was shown to {host}" for host in sorted(set(key_seen_at) - set(listed))]
    return found


def _of_order(name: str, calls: list[Told], executed: int, read: int) -> Iterator[str]:
    """I1 to I4 of one id, which an order is sent under once."""
    if executed > 1:
        yield f"I1: {name} was executed {executed} times"
    if not calls and read > 1:
        yield f"I1: {name} was read {read} times, and nobody told of it"
    if len(calls) != 1:
        return
    (call,) = calls
    if call.ended in _ONCE and executed != 1:
        yield f"I3: {name} ended as {call.ended}, and was executed {executed} times: {_story(call)}"
    if call.ended in _NEVER and executed:
        rule = "I3" if call.ended == "refused" else "I2"
        yield f"{rule}: {name} ended as {call.ended}, and was executed {executed} times: {_story(call)}"
    if call.attempts is None:
        if read > 2:  # of one a server may have said that it did nothing with it
            yield f"I1: {name} was read {read} times, and ended as {call.ended}"
        return
    if call.ended == "not sent" and read > call.disowned:
        yield f"I2: {name} ended as not sent, and was read {read} times: {_story(call)}"
    if read > call.committed:
        yield f"I1: {name} was read {read} times, after {call.committed} committed attempts: {_story(call)}"
    if read < call.answered:
        yield f"I3: {name} was answered {call.answered} times, and read {read} times: {_story(call)}"


def contradictions(call: Told) -> Iterator[str]:
    """Yield what of a change's end does not follow from the marks of its own attempts."""
    if call.attempts is None:
        return
    if call.ended in _UNSENT and call.committed > call.disowned:
        yield f"I2: {call.client_order_id} ended as not sent after a commit: {_story(call)}"
    if call.ended == "unknown" and call.committed == call.disowned:
        yield f"I4: {call.client_order_id} ended as unknown without a commit: {_story(call)}"
    if call.operation == "order_new" and call.committed > 1 + call.disowned + call.sent_away:
        yield f"I1: {call.client_order_id} was committed {call.committed} times: {_story(call)}"
    # A cancel of unknown outcome is settled by a read of the order's status, which is no attempt of its own.
    if call.ended in (*_ONCE, "refused") and not call.answered and call.operation != "order_cancel":
        yield f"I3: {call.client_order_id} ended as {call.ended} without a whole answer: {_story(call)}"


def _of_cancels(requests: list[Read], calls: list[Told]) -> Iterator[str]:
    """I5: what servers read, against the calls that may have sent it."""
    reads = _by_order(one for one in requests if one.operation == "order_cancel")
    mine = _by_order(one for one in calls if one.operation == "order_cancel")
    for name, found in reads.items():
        asked = mine.get(name, [])
        refused = max(
            sum(_is_refusal(getattr(one, "status", None)) for one in found),
            sum(_is_refusal(attempt.status) for one in asked for attempt in one.attempts or ()),
        )
        # Of a cancelled call nobody knows what was disowned: its one repetition is allowed for.
        disowned = sum(1 if one.attempts is None else one.disowned for one in asked)
        if len(found) - refused - disowned > 2 * len(asked):
            said = f"{len(found)} cancels of {name} were read and {refused} refused, of {len(asked)} calls"
            yield f"I5: {said}: {' | '.join(map(_story, asked))}"
    copies = sum(one.operation == "order_cancel_all" for one in requests)
    sent = [one for one in calls if one.operation == "order_cancel_all"]
    may = sum((one.ended not in _UNSENT) + one.disowned for one in sent)
    if copies > may:
        yield f"I5: {copies} cancel-alls were read, for {may} calls that may have sent one"


def _by_order(them: Iterable[_Named]) -> dict[str, list[_Named]]:
    """Return what names an order, by its id."""
    found: dict[str, list[_Named]] = {}
    for one in them:
        if one.client_order_id is not None:
            found.setdefault(one.client_order_id, []).append(one)
    return found


def _is_refusal(status: int | None) -> bool:
    return status is not None and 400 <= status < 500


def _of_places(requests: list[Read], calls: list[Told], capable: Mapping[str, Collection[str]]) -> Iterator[str]:
    """I6: of orders, by the account they were sent for; of other requests, by the one in their query."""
    accounts = {one.client_order_id: one.exchange_id for one in calls if one.operation == "order_new"}
    for one in requests:
        query = parse_qs(str(getattr(one, "path", "")).partition("?")[2])
        named = query.get("exchange_id", [None])[0]
        account = named if one.client_order_id is None else accounts.get(one.client_order_id)
        if account is not None and one.site not in capable.get(account, (one.site,)):
            what = one.operation if one.client_order_id is None else f"{one.operation} of {one.client_order_id}"
            yield f"I6: {what} for {account} was read at {one.site}"


def _story(call: Told) -> str:
    return "; ".join(map(str, call.attempts or ())) or "no attempt"
