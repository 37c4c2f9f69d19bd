"""The steps of the demo, in order; each shows something and checks that it is true."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rich.panel import Panel
from rich.text import Text

from ..auth import ApiKeyHeader
from ..client import EMSClient
from ..models.balances import BalanceData
from ..models.enums import Side, TimeInForce
from ..models.lifecycle import OrderStatus
from ..models.orders import Fill
from ..outcomes import Accepted, NotSent, Outcome, Phase, Rejected, Unknown
from ..sites.health import Health
from .demo_stage import ACCOUNT, Stage, statuses
from .demo_views import balance_changes, latency_table, proof_table, ranking_table, tick
from .order_view import attempts_table
from .stats import summarise

__all__ = [
    "be_refused",
    "cancel_an_order",
    "cancel_everything",
    "compare_balances",
    "fill_an_order",
    "lose_an_answer",
    "lose_the_best_site",
    "measure",
    "prove",
    "rank_sites",
    "read_balances",
]

Balances = Mapping[str, BalanceData]
_ORDERS_EACH: Final = 25
_KILLS: Final = 3


async def rank_sites(stage: Stage) -> None:
    """Open the client and watch the sites find their places."""
    stage.begin("ranking", "Finding the sites", "Discovered from the Managed Cloud API, probed, nearest first.")
    ems = stage.ems
    opening = asyncio.create_task(ems.open())
    with stage.live() as show:
        while not opening.done():
            show(ranking_table(ems.sites, settled=False))
            await asyncio.sleep(0.03)
        await opening
        show(ranking_table(ems.sites))
        await stage.eventually(
            lambda: [site.id for site in ems.sites] == stage.nearest_first,
            "the sites are ranked by their distance",
        )
        show(ranking_table(ems.sites))
        await stage.pause(0.6)
        views = ems.sites
        show(ranking_table(views))
    stage.expect(all(site.health is Health.HEALTHY for site in views), "every site is healthy")
    stage.tell({"sites": views, "chosen": views[0].id}, tick(f"orders go to {views[0].id}"))


async def read_balances(stage: Stage) -> Balances:
    """Read the account's balances."""
    stage.begin("balances_before", f"Balances of {ACCOUNT}", "One read from the best site.")
    found = await _balances(stage)
    stage.expect(not any(row.locked for row in found.values()), "nothing is locked yet")
    stage.tell({"exchange_id": ACCOUNT, "balances": list(found.values())}, balance_changes(found))
    await stage.pause()
    return found


async def _balances(stage: Stage) -> Balances:
    rows = await stage.ems.balances.get(ACCOUNT)
    stage.expect(len(rows) == 1 and bool(rows[0].data), f"{ACCOUNT} has balances")
    return {row.asset_id_coinapi or "": row for row in rows[0].data or ()}


async def fill_an_order(stage: Stage) -> list[Fill]:
    """Place an order larger than the book's best price holds, and follow it to its fill."""
    stage.begin(
        "order_filled", "Buy 4.5 BTC at 10,801", "The book holds 2 at that price: it fills in three steps."
    )
    order = stage.order(Side.BUY, "4.5", "10801")
    outcome = await stage.accepted(order)
    best = stage.nearest_first[0]
    stage.expect(outcome.site == best, f"the order went to {best}")
    report = await stage.follow(order.client_order_id, OrderStatus.FILLED)
    fills = report.fills or []
    stage.expect(sum(fill.amount or 0 for fill in fills) == order.amount_order, "the fills add up to the order")
    stage.expect_once(order.client_order_id, best)
    data: dict[str, Any] = {
        "client_order_id": order.client_order_id,
        "site": outcome.site,
        "statuses": statuses(report),
    }
    data |= {"report": report, "timing": outcome.timing, "executions": 1}
    stage.tell(data, tick(f"filled, accepted by {outcome.site} {_took(outcome)}, executed once"))
    await stage.pause()
    return fills


def _took(outcome: Outcome) -> str:
    total = outcome.timing.total if outcome.timing else None
    return "" if total is None else f"in {total * 1000:.1f} ms"


async def be_refused(stage: Stage) -> None:
    """Place an order the account cannot pay for."""
    stage.begin("order_refused", "Buy 100,000 BTC at 10,801", "A billion dollars that the account does not have.")
    outcome = await stage.ems.orders.submit(stage.order(Side.BUY, "100000", "10801"))
    stage.expect(isinstance(outcome, Rejected), f"the order was rejected ({outcome!r})")
    assert isinstance(outcome, Rejected)  # noqa: S101  # for the type checker
    stage.expect("nsufficient funds" in outcome.message, "it was rejected for lack of funds")
    stage.expect(outcome.report is not None and outcome.report.is_rejected, "the exchange's own report says so")
    stage.expect(len(outcome.attempts) == 1, "it was not tried again")
    data: dict[str, Any] = {
        "client_order_id": outcome.client_order_id,
        "site": outcome.site,
        "reason": outcome.reason,
    }
    data |= {"status": outcome.status, "message": outcome.message, "attempts": outcome.attempts}
    view = Text.assemble("\n  ", ("REJECTED", "bold bad"), f"  by the exchange: {outcome.message}\n")
    stage.tell(data, view, tick("a refusal is a value with its proof, and is never tried again"))
    await stage.pause()


async def cancel_an_order(stage: Stage) -> None:
    """Place an order that rests in the book, and cancel it."""
    stage.begin("order_canceled", "Buy 1 BTC at 10,000, then cancel", "Below the market: it rests in the book.")
    order = stage.order(Side.BUY, "1", "10000")
    await stage.accepted(order)
    client_order_id = order.client_order_id
    await stage.eventually(
        lambda: any(
            one.status == OrderStatus.NEW for one in stage.sim.orders if one.client_order_id == client_order_id
        ),
        "the order rests in the book",
    )
    opened = await stage.ems.orders.open(ACCOUNT)
    stage.expect([one.client_order_id for one in opened] == [client_order_id], "it is the only open order")
    stage.accept(await stage.ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=client_order_id))
    report = await stage.follow(client_order_id, OrderStatus.CANCELED)
    stage.expect(not report.amount_filled, "nothing of it was filled")
    stage.expect(not await stage.ems.orders.open(ACCOUNT), "no order is open any more")
    data: dict[str, Any] = {"client_order_id": client_order_id, "statuses": statuses(report), "report": report}
    stage.tell(data, tick("canceled, nothing filled, its money unlocked"))
    await stage.pause()


async def compare_balances(stage: Stage, before: Balances, fills: list[Fill]) -> None:
    """Read the balances again: what changed is what was filled, to the digit."""
    stage.begin("balances_after", "Balances now", "What changed is what was filled, to the digit.")
    after = await _balances(stage)
    bought = sum((fill.amount or Decimal(0) for fill in fills), Decimal(0))
    paid = sum(((fill.amount or Decimal(0)) * (fill.price or Decimal(0)) for fill in fills), Decimal(0))
    change = {
        name: (row.balance or Decimal(0)) - (before[name].balance or Decimal(0)) for name, row in after.items()
    }
    changed = {name: difference for name, difference in change.items() if difference}
    stage.expect(changed == {"BTC": bought, "USDT": -paid}, "the balances changed by the fills and nothing else")
    stage.expect(not any(row.locked for row in after.values()), "nothing is locked")
    stage.tell({"balances": list(after.values()), "changes": changed}, balance_changes(before, after))
    await stage.pause()


async def lose_an_answer(stage: Stage) -> None:
    """Let the connection die between an order and its answer: it is looked for, found, and never sent again."""
    best = stage.nearest_first[0]
    stage.begin(
        "lost_answer", "An answer is lost", "The order arrives, and its connection ends before the answer."
    )
    stage.lose_an_answer()
    order = stage.order(Side.BUY, "0.5", "10801", tif=TimeInForce.IMMEDIATE_OR_CANCEL)
    client_order_id = order.client_order_id
    outcome = await stage.ems.orders.submit(order)
    stage.expect(isinstance(outcome, Unknown), f"the outcome is unknown ({outcome!r})")
    assert isinstance(outcome, Unknown)  # noqa: S101  # for the type checker
    stage.show(attempts_table(outcome.attempts))
    again = await stage.ems.orders.submit(order)
    stage.expect(isinstance(again, NotSent), f"it is not sent under its id a second time ({again!r})")
    found = stage.accept(await stage.ems.orders.resolve(client_order_id))
    stage.expect(client_order_id not in stage.ems.orders.unresolved, "it is unknown no more")
    stage.expect_once(client_order_id, best)
    report = await stage.follow(client_order_id, OrderStatus.FILLED)
    stage.expect(report.amount_filled == report.amount_order, "all of it was filled")
    data: dict[str, Any] = {"client_order_id": client_order_id, "site": best, "attempts": outcome.attempts}
    data |= {"outcome": "unknown", "evidence": [str(one) for one in outcome.evidence], "resolved": "accepted"}
    said = "unknown, then found by reading its status; never sent again; executed exactly once"
    stage.tell(data | {"resolved_by": found.site, "executions": stage.sim.executions(client_order_id)}, tick(said))
    await stage.recovered(best)
    await stage.pause()


async def lose_the_best_site(stage: Stage) -> None:
    """Kill the best site and place the next order at once: it goes to the second, and is executed once."""
    best, second = stage.nearest_first[:2]
    stage.begin("failover", f"{best} dies", "The next order finds out, proves that nothing was sent, and goes on.")
    outcome = await _order_on_a_dead_site(stage, best)
    *refused, last = outcome.attempts
    stage.expect(outcome.site == last.site == second, f"{second} took the order")
    stage.expect(bool(refused) and {one.site for one in refused} == {best}, f"{best} was tried first")
    stage.expect({one.phase for one in refused} == {Phase.WAITING}, f"nothing of the order was sent to {best}")
    client_order_id = outcome.client_order_id or ""
    stage.show(attempts_table(outcome.attempts))
    report = await stage.follow(client_order_id, OrderStatus.FILLED)
    stage.expect(report.amount_filled == report.amount_order, "all of it was filled")
    stage.expect_once(client_order_id, second)
    reads = stage.reads(client_order_id)
    counts = {site: reads.count(site) for site in stage.nearest_first}
    data: dict[str, Any] = {
        "killed": best,
        "client_order_id": client_order_id,
        "site": outcome.site,
        "attempts": outcome.attempts,
    }
    stage.tell(
        data | {"orders_read": counts, "executions": stage.sim.executions(client_order_id)},
        proof_table(counts, stage.sim.executions(client_order_id)),
        tick(f"accepted by {outcome.site} {_took(outcome)} all told; executed exactly once"),
    )
    await stage.pause(0.6)


async def _order_on_a_dead_site(stage: Stage, best: str) -> Accepted:
    """Kill the site, then order. A probe may notice the death before the order does: then once more."""
    for _ in range(_KILLS):
        await stage.sim.stop_site(best)
        outcome = await stage.accepted(stage.order(Side.BUY, "0.5", "10801", tif=TimeInForce.IMMEDIATE_OR_CANCEL))
        if len(outcome.attempts) > 1:
            break
        await _bring_back(stage, best)
    return outcome


async def _bring_back(stage: Stage, site: str) -> None:
    await stage.sim.start_site(site)
    await stage.recovered(site)


async def cancel_everything(stage: Stage) -> None:
    """Leave three orders in the book and cancel them with one call."""
    stage.begin(
        "cancel_all", "Three orders rest, one call cancels them", "Through the second site, which is now the best."
    )
    orders = [stage.order(Side.BUY, "1", price) for price in ("10100", "10200", "10300")]
    for outcome in await asyncio.gather(*map(stage.accepted, orders)):
        stage.expect(outcome.site == stage.nearest_first[1], "the order went to the second site")
    opened = await stage.ems.orders.open(ACCOUNT)
    stage.expect(len(opened) == len(orders), "all three are open")
    told = stage.accept(await stage.ems.orders.submit_cancel_all(exchange_id=ACCOUNT))
    left = len(orders)
    for _ in range(100):
        left = len(await stage.ems.orders.open(ACCOUNT))
        if not left:
            break
        await asyncio.sleep(0.02)
    stage.expect(left == 0, "no order is open")
    data: dict[str, Any] = {
        "open_before": len(opened),
        "open_after": left,
        "message": told.message,
        "site": told.site,
    }
    stage.tell(data, tick(f"{len(opened)} open, then cancel-all ({told.message}), then {left} open"))
    await stage.pause()


async def measure(stage: Stage) -> None:
    """Bring the dead site back, and time orders at every site."""
    best = stage.nearest_first[0]
    stage.begin(
        "latency", f"{best} is back; round trips of orders", f"{_ORDERS_EACH} orders at each site, one at a time."
    )
    await _bring_back(stage, best)
    timed = await asyncio.gather(*(_time_orders(stage, site) for site in stage.nearest_first))
    samples = dict(zip(stage.nearest_first, timed, strict=True))
    figures = {site: summarise(found) for site, found in samples.items()}
    medians = [figures[site].p50 for site in stage.nearest_first]
    stage.expect(medians == sorted(medians), "the nearest site has the shortest round trips")
    stage.tell({"sites": {site: one.data() for site, one in figures.items()}}, latency_table(samples, figures))
    await stage.pause()


async def _time_orders(stage: Stage, site: str) -> list[float]:
    """Orders that never rest, at one site only: each round trip in seconds, encoding and decoding included."""
    url, samples = stage.sim.site_urls[site], []
    async with EMSClient.self_hosted(url, auth=ApiKeyHeader(), api_key=stage.sim.api_key) as ems:
        await ems.orders.open(ACCOUNT)
        for _ in range(_ORDERS_EACH):
            order = stage.order(Side.BUY, "0.01", "9000", tif=TimeInForce.IMMEDIATE_OR_CANCEL)
            outcome = stage.accept(await ems.orders.submit(order))
            total = outcome.timing.total if outcome.timing else None
            stage.expect(total is not None, "the round trip was timed")
            samples.append(total or 0.0)
            stage.expect_once(order.client_order_id, site)
    return samples


def prove(stage: Stage, seconds: float) -> None:
    """Count, for every order of the demo, what the servers read and executed."""
    stage.begin("proof", "The servers' own count", "Every order above, as the simulated servers recorded it.")
    stage.expect(all(len(stage.reads(one)) == 1 for one in stage.sent), "each order was read by one server, once")
    stage.expect(all(stage.sim.executions(one) == 1 for one in stage.sent), "each order was executed exactly once")
    stage.expect(not stage.ems.orders.unresolved, "no order is of unknown outcome")
    count = len(stage.sent)
    text = Text.assemble(
        (f"{count} orders", "bold"),
        " sent, ",
        ("each executed exactly once", "bold good"),
        f", none unknown.\nEvery step checked, in {seconds:.1f} s.",
    )
    data: dict[str, Any] = {
        "orders": count,
        "read": count,
        "executions_each": 1,
        "unresolved": 0,
        "seconds": round(seconds, 3),
    }
    stage.tell(data, Panel.fit(text, border_style="good", padding=(0, 2)))
