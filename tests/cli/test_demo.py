"""The demo, whole, as users run it."""

import json
import time
from typing import Any

from .conftest import start

NEAREST_FIRST = ["aws-us-west-2-prd", "aws-eu-west-1-prd", "aws-us-east-1-prd"]
STEPS = [
    "ranking",
    "balances_before",
    "order_filled",
    "order_refused",
    "order_canceled",
    "balances_after",
    "lost_answer",
    "failover",
    "cancel_all",
    "latency",
    "proof",
]


def run_demo(*arguments: str) -> tuple[str, str, float]:
    began = time.monotonic()
    process = start(["demo", *arguments])
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, (out, err)
    return out, err, time.monotonic() - began


def test_the_demo_as_json() -> None:
    out, err, seconds = run_demo("--json")
    assert err == ""
    assert seconds < 20
    steps: dict[str, Any] = {one["step"]: one for one in map(json.loads, out.splitlines())}
    assert list(steps) == STEPS
    assert all(one["ok"] is True for one in steps.values())
    check_trading(steps)
    check_lost_answer(steps["lost_answer"])
    check_failover(steps["failover"])
    assert [one["id"] for one in steps["ranking"]["sites"]] == NEAREST_FIRST
    latency = steps["latency"]["sites"]
    medians = [latency[site]["p50_milliseconds"] for site in NEAREST_FIRST]
    assert medians == sorted(medians)
    proof = steps["proof"]
    assert proof["orders"] == proof["read"]
    assert (proof["executions_each"], proof["unresolved"]) == (1, 0)


def check_trading(steps: dict[str, Any]) -> None:
    filled = steps["order_filled"]
    assert (filled["site"], filled["executions"]) == (NEAREST_FIRST[0], 1)
    assert filled["statuses"] == ["RECEIVED", "ROUTING", "ROUTED", *["PARTIALLY_FILLED"] * 2, "FILLED"]
    assert steps["order_refused"]["message"] == "EOrder:Insufficient funds"
    assert steps["order_refused"]["reason"] == "exchange"
    assert steps["order_canceled"]["statuses"][-2:] == ["PENDING_CANCEL", "CANCELED"]
    assert steps["balances_after"]["changes"] == {"BTC": 4.5, "USDT": -48604.5}
    assert (steps["cancel_all"]["open_before"], steps["cancel_all"]["open_after"]) == (3, 0)


def check_lost_answer(step: dict[str, Any]) -> None:
    assert (step["site"], step["executions"]) == (NEAREST_FIRST[0], 1)
    assert (step["outcome"], step["resolved"]) == ("unknown", "accepted")
    assert [one["phase"] for one in step["attempts"]] == ["committed"]


def check_failover(step: dict[str, Any]) -> None:
    best, second, third = NEAREST_FIRST
    assert (step["killed"], step["site"], step["executions"]) == (best, second, 1)
    assert step["orders_read"] == {best: 0, second: 1, third: 0}
    *refused, last = step["attempts"]
    assert {one["site"] for one in refused} == {best}
    assert {one["phase"] for one in refused} == {"waiting"}
    assert (last["site"], last["phase"], last["status"]) == (second, "answered", 200)


def test_the_demo_for_people() -> None:
    out, err, seconds = run_demo("--fast")
    assert err == ""
    assert seconds < 20
    assert "each executed exactly once" in out
    assert "▶" in out
    assert max(map(len, out.splitlines())) <= 100
