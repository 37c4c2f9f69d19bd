"""Faults as texts: what they mean, and what is said about those that mean nothing."""

from typing import Any

import pytest

from coinapi_ems_async.models.enums import RejectReason
from coinapi_ems_async.simulator import FaultPlan, Injection, SiteFault, WireFault
from coinapi_ems_async.simulator.specs import read_fault


def plain(fault: object) -> dict[str, Any]:
    """The fields that differ from the least fault of its kind."""
    least: Any = WireFault(action="reset") if isinstance(fault, WireFault) else Injection()
    return {name: value for name, value in vars(fault).items() if value != getattr(least, name)}


@pytest.mark.parametrize(
    ("text", "meaning", "site"),
    [
        ("reset:response@120", {"after": 120}, None),
        ("fin:request", {"action": "fin", "direction": "request"}, None),
        ("freeze:connect,site=a,seconds=0.5", {"action": "freeze", "direction": "connect", "seconds": 0.5}, "a"),
        ("delay:response@0, seconds=2, times=forever", {"action": "delay", "seconds": 2.0, "times": None}, None),
        ("drip:response,seconds=.1,size=3,turn=2", {"action": "drip", "seconds": 0.1, "size": 3, "turn": 2}, None),
        (
            "reset:response,match=POST /v1/orders ,connection=3",
            {"match": b"POST /v1/orders", "connection": 3},
            None,
        ),
    ],
)
def test_on_the_wire(text: str, meaning: Any, site: str | None) -> None:
    found = read_fault(text)
    assert isinstance(found.fault, WireFault)
    assert (plain(found.fault), found.site) == (meaning, site)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("503:order_new", {"operation": "order_new", "status": 503}),
        ("504:any,execute=before,hide=1.5", {"status": 504, "execute": "before", "hide": 1.5}),
        (
            "504:order_new,reject=EXCHANGE_RESPONSE_TIMEOUT",
            {"operation": "order_new", "status": 504, "reject": RejectReason.EXCHANGE_RESPONSE_TIMEOUT},
        ),
        ("reset:order_new,times=3", {"operation": "order_new", "reset": True, "times": 3}),
        ("hang:probe,site=b", {"operation": "probe", "hang": True, "site": "b"}),
        ("refuse_stream:balances", {"operation": "balances", "refuse_stream": True}),
        ("real:balances,truncate=4,end=fin", {"operation": "balances", "truncate": 4, "end": "fin"}),
        (
            "real:order_new,goaway=equal,goaway_notice=true,goaway_cut=false",
            {"operation": "order_new", "goaway": "equal", "goaway_notice": True},
        ),
        ("200:any,body=odd,content_type=text/plain", {"body": "odd", "content_type": "text/plain"}),
        (
            "real:any,copies=2,pad=9,delay=1,stream_error=2",
            {"copies": 2, "pad": 9, "delay": 1.0, "stream_error": 2},
        ),
        ("real:any,client_order_id=x", {"client_order_id": "x"}),
        (
            "504:order_new,execute=after,lag=.5",
            {"operation": "order_new", "status": 504, "execute": "after", "lag": 0.5},
        ),
        ("429:any,retry_after=7", {"status": 429, "headers": {"Retry-After": "7"}}),
        ("real:order_new,about=another", {"operation": "order_new", "about": "another"}),
        (r"200:any,raw=HTTP/1.1 200\x00\r\n\r\n", {"raw": b"HTTP/1.1 200\0\r\n\r\n"}),
    ],
)
def test_in_an_answer(text: str, meaning: Any) -> None:
    found = read_fault(text)
    assert isinstance(found.fault, Injection)
    assert (plain(found.fault), found.site) == (meaning, None)


@pytest.mark.parametrize(
    ("text", "kind", "site"),
    [
        ("refuse:connect", "refuse", None),
        ("blackhole:connect,site=a", "blackhole", "a"),
        ("expired:certificate", "expired", None),
        ("wrong_host:certificate,site=b", "wrong_host", "b"),
        ("untrusted:certificate", "untrusted", None),
    ],
)
def test_to_a_site(text: str, kind: Any, site: str | None) -> None:
    assert read_fault(text) == (SiteFault(kind), site)


def test_drawn() -> None:
    assert read_fault("seed=7,rate=0.02").fault == FaultPlan(seed=7, rate=0.02)
    whole = "rate=1,seed=7,actions=reset+drip,directions=request,within=50,seconds=.2,match=POST"
    assert read_fault(whole).fault == FaultPlan(
        seed=7, rate=1, actions=("reset", "drip"), directions=("request",), within=50, seconds=0.2, match=b"POST"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "reset:response@120"),
        ("nonsense", "STATUS:OPERATION"),
        ("nonsense:there", "reset:response@120"),
        ("burn:response", "there are reset, fin, freeze, drip, delay"),
        ("503:response", "there are reset, fin"),
        ("503:order_amend", "order_new, order_status"),
        ("reset:nowhere", "(connect, request, response)"),
        ("100:order_new", "from 200 to 599"),
        ("503:order_new@5", "neither a direction"),
        ("reset:response@x", "after is a number from 0 up, not 'x'"),
        ("reset:response,burn=1", "'burn=1' is no name=value of it; there are after, turn, match"),
        ("reset:response,times", "there are after"),
        ("delay:response", "delay needs seconds"),
        ("delay:response,seconds=soon", "seconds is a number from 0 up, not 'soon'"),
        ("503:any,execute=later", "execute is one of never, before, after"),
        ("real:any,execute=after", "cannot be answered with what came of it"),
        ("burn:certificate", "there are valid, expired, wrong_host, untrusted"),
        ("blackhole:response", "there are reset, fin"),
        ("burn:connect", "there are refuse, blackhole, reset"),
        ("refuse:connect,times=3", "there are site"),
        ("504:any,reject=NO", "OTHER, EXCHANGE_UNREACHABLE"),
        ("real:any,goaway=equal,goaway_cut=yes", "true or false"),
        ("real:any,goaway=below,execute=before", "must not be executed"),
        ("seed=7", "rate must be given too"),
        ("seed=7,rate=2", "from 0 to 1"),
        ("seed=7,rate=0.1,actions=reset+burn", "one of reset, fin"),
        ("seed=7,rate=0.1,site=a", "'site=a' is no name=value"),
    ],
)
def test_texts_that_mean_nothing(text: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_fault(text)
    assert told in str(caught.value)
