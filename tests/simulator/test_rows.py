"""Every way an attempt of the client can end, made by the simulator: a table, and a real client as witness.

Most of it is told in the texts of `coinapi-ems simulate --faults`, so that it can be had from there too.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pytest

from coinapi_ems_async import EMSClient, Settings, operations
from coinapi_ems_async.calls import Call
from coinapi_ems_async.matrix import MATRIX, Kind, Move, Row
from coinapi_ems_async.simulator import Injection, Simulator, SimulatorProcess, SiteFault, WireFault
from coinapi_ems_async.simulator.specs import read_fault

from ..conftest import ACCOUNT, EAST, an_order
from .helpers import INSTANT, until

Transport = Literal["http1", "http2"]
Held = Sequence["asyncio.Future[Any]"]
BOTH: Final[Sequence[Transport]] = ("http1", "http2")
REJECT: Final = "reject=EXCHANGE_RESPONSE_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to make a row, with the faults as texts.

    `make` does what no text can say, and returns calls that wait. `kept`: an order is placed before on the
    connection. `call` and `options` are arguments of the call and of the simulator, `settings` of the client.
    """

    row: Row
    faults: tuple[str, ...] = ()
    make: Callable[[Simulator, EMSClient], Awaitable[Held]] | None = None
    over: Sequence[Transport] = BOTH
    kept: bool = False
    tls: bool = False
    timeout: float = 5.0
    call: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = " ".join(self.faults) or getattr(self.make, "__name__", "") or "without a fault"
        return f"{self.row.name} by {told}"


async def fill_the_pool(sim: Simulator, ems: EMSClient) -> Held:
    """Keep every connection busy with orders that are not answered."""
    sim.inject(Injection(operation="order_new", hang=True, status=418, times=2))
    asking = [asyncio.ensure_future(ems.orders.submit(an_order(), timeout=2)) for _ in range(2)]
    await until(lambda: sum(one.operation == "order_new" for one in sim.requests) == 2)
    return asking


async def when_ejected(sim: Simulator, ems: EMSClient) -> Held:
    """Wait until the client has made up its mind about the site: on the way there it gives up who waits."""
    await until(lambda: ems.sites[0].health == "ejected")
    return []


async def refuse_callers(sim: Simulator, ems: EMSClient) -> Held:
    sim.auth_fail = 403
    return []


async def exchange_down(sim: Simulator, ems: EMSClient) -> Held:
    sim.exchange_down(ACCOUNT)
    return []


async def exchange_slow(sim: Simulator, ems: EMSClient) -> Held:
    sim.exchange_slow(ACCOUNT)
    return []


QUICK: Final = {"connect_timeout": 0.3}
PROXIED: Final = {"proxied": True}

WAYS: Final = [
    # Before the commit point
    # Only over TLS may the table of sites name hosts beyond this machine.
    Way(
        row=Row.NAME_LOOKUP, tls=True, make=when_ejected, options={"elsewhere": {EAST: "https://nowhere.invalid"}}
    ),
    Way(row=Row.REFUSED, faults=("refuse:connect",)),
    Way(row=Row.CONNECT_TIMEOUT, faults=("blackhole:connect",), settings=QUICK),
    # A server of HTTP/2 says nothing then.
    Way(
        row=Row.CONNECT_TIMEOUT,
        faults=("freeze:connect,times=forever",),
        over=["http2"],
        settings=QUICK,
        options=PROXIED,
    ),
    *(
        Way(row=Row.TLS_VERIFICATION, faults=(f"{kind}:certificate",), tls=True)
        for kind in ("expired", "wrong_host", "untrusted")
    ),
    *(
        Way(
            row=Row.TLS_HANDSHAKE,
            faults=(f"{action}:connect,times=forever",),
            tls=True,
            options=PROXIED,
            settings=QUICK,
        )
        for action in ("fin", "reset", "freeze")
    ),
    Way(row=Row.TLS_HANDSHAKE, faults=("reset:response@700,times=forever",), tls=True, options=PROXIED),
    Way(row=Row.POOL_WAIT, make=fill_the_pool, timeout=0.2, settings={"pool_size": 2, "order_share": 1}),
    Way(row=Row.GIVEN_UP, faults=("blackhole:connect",), settings={"connect_timeout": 20.0}, timeout=15.0),
    Way(row=Row.STALE_CONNECTION, faults=("fin:connect,times=forever",), over=["http1"], options=PROXIED),
    Way(row=Row.ABANDONED, faults=("blackhole:connect",), timeout=0.1),
    Way(row=Row.LATE, call={"not_after": 1_500_000_000.0}),
    # After it, without a complete answer
    Way(row=Row.LOST, faults=("reset:order_new",)),
    Way(row=Row.LOST, faults=("reset:order_new,execute=before",)),
    Way(row=Row.LOST, faults=("reset:order_new,execute=after,lag=0.1",)),
    Way(row=Row.LOST, faults=("reset:request@300,match=POST /v1/orders ",), over=["http1"], options=PROXIED),
    Way(row=Row.LOST_REUSED, faults=("reset:order_new,execute=before",), kept=True),
    Way(
        row=Row.LOST_REUSED,
        faults=("fin:response,match=POST /v1/orders ",),
        over=["http1"],
        kept=True,
        options=PROXIED,
    ),
    Way(row=Row.NO_ANSWER, faults=("hang:order_new",), timeout=0.3),
    Way(row=Row.NO_ANSWER, faults=("hang:order_new,execute=before",), timeout=0.3),
    Way(
        row=Row.NO_ANSWER,
        faults=("freeze:response,match=POST /v1/orders ",),
        over=["http1"],
        timeout=0.3,
        options=PROXIED,
    ),
    Way(row=Row.CUT_ANSWER, faults=("real:order_new,truncate=40,end=fin",)),
    Way(row=Row.CUT_ANSWER, faults=("real:order_new,truncate=40,end=reset",)),
    Way(row=Row.CUT_ANSWER, faults=("real:order_new,truncate=40",), settings={"stall_timeout": 0.2}),
    Way(row=Row.CUT_ANSWER, faults=("reset:response@20,match=POST /v1/orders ",), over=["http1"], options=PROXIED),
    Way(row=Row.MALFORMED, faults=(r"200:order_new,raw=nonsense\r\n\r\n,execute=before",), over=["http1"]),
    Way(row=Row.MALFORMED, faults=("real:order_new,pad=9000",), settings={"max_body": 8_000}),
    Way(row=Row.GOAWAY_UNPROCESSED, faults=("real:order_new,goaway=below",), over=["http2"]),
    Way(row=Row.GOAWAY_UNPROCESSED, faults=("real:order_new,goaway=zero",), over=["http2"]),
    Way(row=Row.GOAWAY_UNPROCESSED, faults=("real:order_new,goaway=zero,goaway_notice=true",), over=["http2"]),
    *(
        Way(
            row=Row.GOAWAY_LOST,
            faults=(f"real:order_new,goaway={told},goaway_cut=true,execute={run}",),
            over=["http2"],
        )
        for told in ("equal", "above")
        for run in ("before", "never")
    ),
    Way(row=Row.REFUSED_STREAM, faults=("refuse_stream:order_new",), over=["http2"]),
    Way(row=Row.STREAM_RESET, faults=("real:order_new,stream_error=2,execute=before",), over=["http2"]),
    Way(row=Row.STREAM_RESET, faults=("real:order_new,stream_error=11",), over=["http2"]),
    # A complete answer
    Way(row=Row.SUCCESS),
    Way(row=Row.SUCCESS, faults=("real:order_new,copies=2",), over=["http1"]),
    Way(row=Row.SUCCESS, faults=("real:order_new,goaway=equal",), over=["http2"]),
    Way(row=Row.SUCCESS, faults=("real:order_new,hide=5,end=fin",)),
    *(
        Way(row=Row.UNREADABLE, faults=(f"{told},execute=before",))
        for told in ("200:order_new,body=<html>", "202:order_new", "204:order_new", "200:order_new,body={}")
    ),
    Way(row=Row.OUT_OF_STEP, faults=("real:order_new,about=another",)),
    *(
        Way(row=row, faults=(f"{told},execute={execute}",))
        for execute in ("never", "before")
        for row, told in [
            (Row.REDIRECT_KEEPING, "307:order_new"),
            (Row.REDIRECT_KEEPING, "308:order_new"),
            (Row.REDIRECT, "301:order_new"),
            (Row.REDIRECT, "302:order_new"),
            (Row.REDIRECT, "303:order_new"),
            (Row.VALIDATION, "400:order_new"),
            (Row.VALIDATION, "400:order_new,reject=OTHER"),
            (Row.AUTHENTICATION, "401:order_new"),
            (Row.AUTHENTICATION, "403:order_new"),
            (Row.NOT_KNOWN_HERE, "404:order_new,reject=ORDER_ID_NOT_FOUND"),
            (Row.NOT_ROUTED, "404:order_new"),
            (Row.NOT_ROUTED, "405:order_new"),
            (Row.MISDIRECTED, "421:order_new"),
            (Row.RATE_LIMITED, "429:order_new,retry_after=1"),
            (Row.EXCHANGE_UNREACHABLE, "490:order_new"),
            (Row.EXCHANGE_UNREACHABLE, "490:order_new,reject=EXCHANGE_UNREACHABLE"),
            (Row.SERVER_ERROR, "500:order_new"),
            (Row.UNAVAILABLE, "502:order_new"),
            (Row.UNAVAILABLE, "503:order_new,retry_after=1"),
            (Row.EXCHANGE_TIMEOUT, f"504:order_new,{REJECT}"),
            (Row.GATEWAY_TIMEOUT, "504:order_new"),
            (Row.OTHER_REFUSAL, "418:order_new"),
            (Row.OTHER_FAILURE, "599:order_new"),
        ]
    ),
    Way(row=Row.AUTHENTICATION, make=refuse_callers),
    Way(row=Row.EXCHANGE_UNREACHABLE, make=exchange_down),
    Way(row=Row.EXCHANGE_TIMEOUT, make=exchange_slow),
]


def test_the_table_is_whole() -> None:
    assert {way.row for way in WAYS} | {Row.NO_SITE} == set(Row)


@pytest.mark.parametrize(
    ("way", "transport"),
    [pytest.param(way, over, id=f"{way} over {over}") for way in WAYS for over in way.over],
)
async def test_an_attempt_ends_in_its_row(way: Way, transport: Transport) -> None:
    options: dict[str, Any] = {"sites": {EAST: 0.0}, "pace": INSTANT, "tls": way.tls}
    settings: dict[str, Any] = {
        "warm_connections": 0,
        "late_answer": 0.1,
        "close_wait": 0.1,
        "open_within": 1.0,
    }
    async with Simulator(**(options | way.options)) as sim:
        async with EMSClient(
            sim.api_key,
            management_url=sim.management_url,
            transport=transport,
            settings=Settings(**(settings | way.settings)),
            ssl_context=sim.ssl_context() if way.tls else None,
        ) as ems:
            if way.kept:
                await ems.orders.place(an_order())
            held = await break_it(way, sim, ems)
            order = an_order()
            request = operations.new_order(order)
            call = await ems.dispatcher.new_order(request, timeout=way.timeout, **way.call)
            sim.release()
            await asyncio.gather(*held)
            assert call.tries[0].row is way.row, call.records
            check(way, call, sim.executions(order.client_order_id))


async def break_it(way: Way, sim: Simulator, ems: EMSClient) -> Held:
    for text in way.faults:
        fault = read_fault(text).fault
        if isinstance(fault, Injection):
            sim.inject(fault)
        elif isinstance(fault, WireFault):
            sim.wire(EAST).inject(fault)
        elif isinstance(fault, SiteFault):
            await sim.strike(EAST, fault)
    return () if way.make is None else await way.make(sim, ems)


def check(way: Way, call: Call, executions: int) -> None:
    """What was not sent was not executed; nothing was executed twice."""
    first = call.tries[0]
    assert executions <= 1
    if first.attempt.committed is None and call.sent == 0:
        assert executions == 0
    if MATRIX[way.row].for_kind(Kind.NEW_ORDER) in (Move.UNKNOWN, Move.REJECTED):
        assert len(call.tries) == 1


@pytest.mark.parametrize("transport", BOTH)
async def test_no_site_is_no_attempt(transport: Transport) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url, transport=transport) as ems:
            request = operations.new_order(an_order(exchange_id="NOWHERE/JOHN"))
            call = await ems.dispatcher.new_order(request, timeout=1)
            assert (call.tries, call.outcome is not None) == ([], True)


@pytest.mark.parametrize(
    ("number", "row"), [(signal.SIGSTOP, Row.NO_ANSWER), (signal.SIGKILL, Row.REFUSED)], ids=["stopped", "killed"]
)
async def test_a_process_that_is_stopped_or_killed(number: signal.Signals, row: Row) -> None:
    async with SimulatorProcess(sites={EAST: 0.0}, pace=INSTANT) as sim:
        settings = Settings(warm_connections=0, late_answer=0.1, close_wait=0.1)
        async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
            sim.signal(number)
            call = await ems.dispatcher.new_order(operations.new_order(an_order()), timeout=0.5)
            assert call.tries[0].row is row
