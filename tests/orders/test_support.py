"""What exchanges offer: the tables as data, what is said when an order asks for more, and marketable orders."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Literal

import pytest

from coinapi_ems_async import (
    Accepted,
    ConfigurationError,
    EMSClient,
    ExecInst,
    InvalidRequest,
    NewOrder,
    OrderStatus,
    Settings,
    Side,
    TimeInForce,
)
from coinapi_ems_async.models.support import SUPPORT, lacking, support_of
from coinapi_ems_async.resources.advice import Advice
from coinapi_ems_async.simulator import Pace, Simulator

from ..conftest import ACCOUNT, EAST, SYMBOL, an_order
from .helpers import asked

# Both tables as they are printed, independent of how the package holds them.
TIMES_IN_FORCE = """
BINANCE              | GTC |      | GTTO | FOK | IOC
BINANCEUAT           | GTC |      | GTTO | FOK | IOC
BINANCEJE            | GTC |      | GTTO | FOK | IOC
BINANCEUS            | GTC |      | GTTO | FOK | IOC
BINANCEFTS           | GTC |      | GTTO | FOK | IOC
BINANCEFTSUAT        | GTC |      | GTTO | FOK | IOC
BINANCEFTSC          | GTC |      | GTTO | FOK | IOC
BINANCEFTSCUAT       | GTC |      | GTTO | FOK | IOC
BINANCEOPTV          | GTC |      | GTTO | FOK | IOC
BINANCEOPTVUAT       | GTC |      | GTTO | FOK | IOC
BITMEX               | GTC |      | GTTO | FOK | IOC
BITMEXUAT            | GTC |      | GTTO | FOK | IOC
BITSTAMP             | GTC |      | GTTO | FOK | IOC
COINBASE             | GTC |      | GTTO | FOK | IOC
GEMINI               | GTC |      | GTTO | FOK | IOC
POLONIEX             | GTC |      | GTTO | FOK | IOC
LMAXDIGITAL          | GTC |      | GTTO | FOK | IOC
LMAXDIGITALUAT       | GTC |      | GTTO | FOK | IOC
DERIBIT              | GTC |      | GTTO | FOK | IOC
DERIBITUAT           | GTC |      | GTTO | FOK | IOC
BITFINEX             | GTC | GTTE | GTTO | FOK | IOC
HITBTC               | GTC | GTTE | GTTO | FOK | IOC
DYDX                 | GTC | GTTE | GTTO | FOK | IOC
BLOCKCHAINEXCHANGE   | GTC | GTTE | GTTO |     | IOC
KRAKEN               | GTC |      | GTTO |     | IOC
KRAKENFTS            | GTC |      | GTTO |     | IOC
"""
INSTRUCTIONS = """
BINANCE              | MOC
BINANCEUAT           | MOC
BINANCEJE            | MOC
BINANCEUS            | MOC
BINANCEFTS           | MOC
BINANCEFTSUAT        | MOC
BINANCEFTSC          | MOC
BINANCEFTSCUAT       | MOC
BINANCEOPTV          | MOC
BINANCEOPTVUAT       | MOC
BITFINEX             | MOC
BITMEX               | MOC
BITMEXUAT            | MOC
BLOCKCHAINEXCHANGE   | MOC
COINBASE             | MOC
KRAKEN               | MOC
KRAKENFTS            | MOC
POLONIEX             | MOC
GEMINI               | MOC | AO | IOI
DERIBIT              | MOC | DNI
DERIBITUAT           | MOC | DNI
DYDX                 | MOC | DNI
LMAXDIGITAL          | COD | NCOD
LMAXDIGITALUAT       | COD | NCOD
BITSTAMP             |
HITBTC               |
"""
SHORT: dict[str, TimeInForce | ExecInst] = {
    "GTC": TimeInForce.GOOD_TILL_CANCEL,
    "GTTE": TimeInForce.GOOD_TILL_TIME_EXCHANGE,
    "GTTO": TimeInForce.GOOD_TILL_TIME_OMS,
    "FOK": TimeInForce.FILL_OR_KILL,
    "IOC": TimeInForce.IMMEDIATE_OR_CANCEL,
    "MOC": ExecInst.MAKER_OR_CANCEL,
    "AO": ExecInst.AUCTION_ONLY,
    "IOI": ExecInst.INDICATION_OF_INTEREST,
    "COD": ExecInst.CANCEL_ON_DISCONNECT,
    "NCOD": ExecInst.DO_NOT_CANCEL_ON_DISCONNECT,
    "DNI": ExecInst.DO_NOT_INCREASE,
}


def rows(table: str) -> dict[str, set[TimeInForce | ExecInst]]:
    found: dict[str, set[TimeInForce | ExecInst]] = {}
    for line in table.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        found[name] = {SHORT[cell] for cell in cells if cell}
    return found


def test_every_row_is_what_is_printed() -> None:
    times, instructions = rows(TIMES_IN_FORCE), rows(INSTRUCTIONS)
    assert set(SUPPORT) == set(times) == set(instructions)
    assert len(SUPPORT) == 26
    for name, row in SUPPORT.items():
        assert row.times_in_force == times[name], name
        assert row.instructions == instructions[name], name
        assert TimeInForce.IMMEDIATE_OR_CANCEL in row.times_in_force, "what `marketable` rests on"


@pytest.mark.parametrize("name", sorted(SUPPORT))
def test_what_an_exchange_lacks_is_what_its_rows_lack(name: str) -> None:
    offered = rows(TIMES_IN_FORCE)[name] | rows(INSTRUCTIONS)[name]
    for account in (name, f"{name}/JOHN", f"{name}.7"):
        assert support_of(account) is SUPPORT[name]
        for time_in_force in TimeInForce:
            for instruction in ExecInst:
                wanted = (time_in_force, instruction)
                missing = tuple(one for one in wanted if one not in offered)
                assert lacking(account, time_in_force, [instruction]) == missing
        assert lacking(account, TimeInForce.GOOD_TILL_CANCEL) == ()


@pytest.mark.parametrize("account", ["NEWPLACE", "NEWPLACE/KRAKEN", "KRAKENX", "kraken", "/", "KRAKENJOHN"])
def test_of_an_unlisted_exchange_nothing_is_known(account: str) -> None:
    assert support_of(account) is None
    assert lacking(account, TimeInForce.FILL_OR_KILL, list(ExecInst)) == ()


# What is said before an order is sent


@asynccontextmanager
async def a_client(unsupported: Literal["warn", "error", "ignore"]) -> AsyncIterator[tuple[Simulator, EMSClient]]:
    async with Simulator(sites={EAST: 0.0}, pace=Pace(reply=0, book=0, cancel=0), seed=7) as sim:
        settings = Settings(unsupported=unsupported)
        async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
            yield sim, ems


def fill_or_kill(**changes: Any) -> NewOrder:
    return an_order(time_in_force="FILL_OR_KILL", price="20000", **changes)


async def test_a_warning_is_logged_once_for_each_exchange_and_feature(caplog: pytest.LogCaptureFixture) -> None:
    async with a_client("warn") as (sim, ems):
        with caplog.at_level(logging.WARNING, "coinapi_ems_async.orders"):
            for account in (ACCOUNT, "KRAKEN", ACCOUNT):
                await ems.orders.place(fill_or_kill(exchange_id=account))
            assert len(caplog.records) == 1
            await ems.orders.submit(an_order(exec_inst=["DO_NOT_INCREASE"]))
            await ems.orders.submit_many([an_order(exec_inst=["MAKER_OR_CANCEL", "AUCTION_ONLY"])])
            await ems.orders.submit(fill_or_kill(exec_inst=["DO_NOT_INCREASE"]))
            await ems.orders.place(an_order(exec_inst=["MAKER_OR_CANCEL"]))
        said = [record.getMessage() for record in caplog.records]
        assert [text.partition(",")[0] for text in said] == [
            "KRAKEN does not offer FILL_OR_KILL",
            "KRAKEN does not offer DO_NOT_INCREASE",
            "KRAKEN does not offer AUCTION_ONLY",
        ]
        assert {record.name for record in caplog.records} == {"coinapi_ems_async.orders"}
        assert len(asked(sim)) == 7, "all were sent"


async def test_an_error_comes_before_anything_is_sent() -> None:
    async with a_client("error") as (sim, ems):
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="KRAKEN does not offer FILL_OR_KILL, says") as caught:
                await ems.orders.place(fill_or_kill(client_order_id="mine"))
            assert caught.value.client_order_id == "mine"
            with pytest.raises(InvalidRequest, match="DO_NOT_INCREASE, CANCEL_ON_DISCONNECT"):
                await ems.orders.submit(an_order(exec_inst=["DO_NOT_INCREASE", "CANCEL_ON_DISCONNECT"]))
            with pytest.raises(InvalidRequest, match="FILL_OR_KILL"):
                await ems.orders.submit_many([an_order(), fill_or_kill()])
        assert asked(sim) == []
        assert isinstance(await ems.orders.submit(an_order(client_order_id="mine")), Accepted)
        deribit = {"exchange_id": "DERIBIT", "symbol_id_coinapi": "DERIBIT_PERP_BTC_USDC"}
        await ems.orders.submit(fill_or_kill(exec_inst=["DO_NOT_INCREASE"], **deribit))
        assert len(asked(sim)) == 2


async def test_nothing_is_said_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    async with a_client("ignore") as (sim, ems):
        await ems.orders.place(fill_or_kill())
        assert len(asked(sim)) == 1
    assert not [one for one in caplog.records if "offer" in one.getMessage()]


def test_an_unlisted_exchange_passes_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    for unsupported in ("warn", "error"):
        Advice(unsupported).check(fill_or_kill(exchange_id="NEWPLACE/X", exec_inst=list(ExecInst)))
    assert caplog.records == []


def test_what_is_remembered_is_bounded() -> None:
    advice = Advice("error")
    for number in range(10_000):
        advice.check(an_order(exchange_id=f"KRAKEN/{number}"))
    assert len(advice._passed) <= 4_096


@pytest.mark.parametrize("value", ["Warn", "", "raise", None, 1, True])
def test_the_setting_is_one_of_three(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Settings\.unsupported must be"):
        Settings(unsupported=value)
    with pytest.raises(ConfigurationError, match=r"Settings\.good_till_time_text must be"):
        Settings(good_till_time_text=value)


# Marketable orders


def marketable(**changes: Any) -> NewOrder:
    fields: dict[str, Any] = {
        "exchange_id": ACCOUNT,
        "symbol_id_coinapi": SYMBOL,
        "side": Side.BUY,
        "amount_order": "0.045",
        "worst_price": "10900.5",
    }
    return NewOrder.marketable(**(fields | changes))


def test_a_marketable_order_is_immediate_or_cancel() -> None:
    order = marketable()
    assert order.time_in_force is TimeInForce.IMMEDIATE_OR_CANCEL
    assert order.price == Decimal("10900.5")
    assert order.client_order_id != marketable().client_order_id
    assert order == an_order(
        client_order_id=order.client_order_id, price="10900.5", time_in_force="IMMEDIATE_OR_CANCEL"
    )
    assert marketable(client_order_id="mine").client_order_id == "mine"
    other = marketable(symbol_id_coinapi=None, symbol_id_exchange="XBT/USDT")
    assert other.symbol_id_exchange == "XBT/USDT"


@pytest.mark.parametrize("name", sorted(SUPPORT))
def test_fill_or_kill_is_refused_where_the_table_lacks_it(name: str) -> None:
    account = f"{name}/JOHN"
    assert marketable(exchange_id=account).time_in_force is TimeInForce.IMMEDIATE_OR_CANCEL
    if name in ("KRAKEN", "KRAKENFTS", "BLOCKCHAINEXCHANGE"):
        with pytest.raises(InvalidRequest, match=f"{account} does not offer FILL_OR_KILL.*force=True"):
            marketable(exchange_id=account, fill_or_kill=True)
    else:
        assert marketable(exchange_id=account, fill_or_kill=True).time_in_force is TimeInForce.FILL_OR_KILL
    forced = marketable(exchange_id=account, fill_or_kill=True, force=True)
    assert forced.time_in_force is TimeInForce.FILL_OR_KILL


def test_an_unlisted_exchange_may_offer_anything() -> None:
    assert marketable(exchange_id="NEWPLACE", fill_or_kill=True).time_in_force is TimeInForce.FILL_OR_KILL


BAD: dict[str, tuple[Callable[[], NewOrder], str]] = {
    "a float": (lambda: marketable(worst_price=1.5), "worst_price is the float 1.5"),
    "no price": (lambda: marketable(worst_price=None), "worst_price must be"),
    "zero": (lambda: marketable(worst_price=0), "worst_price must be positive"),
    "no account": (lambda: marketable(exchange_id=None), "exchange_id must be text"),
    "no symbol": (lambda: marketable(symbol_id_coinapi=None), "exactly one of symbol_id"),
    "a side": (lambda: marketable(side="LONG"), "side must be one of"),
    "an empty id": (lambda: marketable(client_order_id=""), "client_order_id must have"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_marketable_order_is_checked(name: str) -> None:
    make, said = BAD[name]
    with pytest.raises(InvalidRequest, match=said):
        make()


async def test_a_marketable_order_takes_and_never_rests(sim: Simulator, ems: EMSClient) -> None:
    order = marketable(amount_order="5", worst_price="10802")
    await ems.orders.place(order)
    final = await ems.orders.wait_final(order.client_order_id, timeout=20)
    assert final.status is OrderStatus.CANCELED
    assert final.amount_filled == 4, "two house quotes of two each are that good"
    assert await ems.orders.open(ACCOUNT) == []
