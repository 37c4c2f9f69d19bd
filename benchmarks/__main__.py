"""Run with `python -m benchmarks`; `--short` only proves that it runs."""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import msgspec

from coinapi_ems_async import EMSClient, NewOrder, Settings, Side
from coinapi_ems_async.models.orders import ExecutionReport
from coinapi_ems_async.models.reading import AnswerReader

from .measure import Call, Figures, compare
from .server import ORDER_ID, REPORT, canned_server

WIDTH = 64


def _order() -> NewOrder:
    return NewOrder(
        exchange_id="KRAKEN/JOHN",
        client_order_id=ORDER_ID,
        symbol_id_coinapi="KRAKEN_SPOT_BTC_USDT",
        side=Side.BUY,
        amount_order="0.045",
        price="10799.2",
    )


def _raw_aiohttp(session: aiohttp.ClientSession, url: str) -> Call:
    """What a bot would write by hand: a dict, aiohttp, and a plain decode without any check."""
    encode, decode = msgspec.json.encode, msgspec.json.decode

    async def call() -> object:
        body = encode(
            {
                "exchange_id": "KRAKEN/JOHN",
                "client_order_id": ORDER_ID,
                "symbol_id_coinapi": "KRAKEN_SPOT_BTC_USDT",
                "amount_order": 0.045,
                "price": 10799.2,
                "side": "BUY",
                "order_type": "LIMIT",
                "time_in_force": "GOOD_TILL_CANCEL",
            }
        )
        async with session.post(f"{url}/v1/orders", data=body, headers={"X-CoinAPI-Key": "key"}) as response:
            return decode(await response.read())

    return call


async def _place_orders(url: str, rounds: int, count: int) -> dict[str, Figures]:
    async with (
        EMSClient.self_hosted(url, settings=Settings(probe_interval=60, pool_size=128)) as ems,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128)) as session,
    ):

        async def ours() -> object:
            return await ems.orders.place(_order(), allow_duplicate_id=True)

        calls = {"raw aiohttp + msgspec": _raw_aiohttp(session, url), "orders.place over aiohttp": ours}
        return await compare(calls, rounds=rounds, count=count, width=WIDTH)


def _decoding(count: int) -> dict[str, float]:
    reader = AnswerReader(ExecutionReport)
    many = b"[" + b",".join([REPORT] * 1000) + b"]"
    return {
        "one report, us": _best(lambda: reader.one(REPORT), count) * 1e6,
        "1,000 open orders, ms": _best(lambda: reader.many(many), max(1, count // 500)) * 1e3,
    }


def _best(function: Callable[[], Any], count: int) -> float:
    def once() -> float:
        started = perf_counter()
        for _ in range(count):
            function()
        return (perf_counter() - started) / count

    return min(once() for _ in range(5))


def _import_milliseconds() -> float:
    def run(code: str) -> float:
        started = perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (perf_counter() - started) * 1e3

    def best(code: str) -> float:
        return min(run(code) for _ in range(5))

    return best("import coinapi_ems_async") - best("pass")


def _loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"plain": asyncio.new_event_loop}
    try:
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    except ImportError:
        print("uvloop is not installed: skipped")
    return loops


def main() -> None:
    parser = argparse.ArgumentParser(description="Our client beside raw aiohttp, in one run.")
    parser.add_argument("--short", action="store_true", help="only prove that it runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rounds, count = (2, 200) if arguments.short else (15, 1000)

    figures: dict[str, Any] = {"decoding": _decoding(200 if arguments.short else 5000)}
    figures["import, ms"] = _import_milliseconds()
    with canned_server() as url:
        for name, factory in _loops().items():
            with asyncio.Runner(loop_factory=factory) as runner:
                figures[name] = runner.run(_place_orders(url, rounds, count))
            _print_table(name, figures[name])
    for name, value in figures["decoding"].items():
        print(f"decoding {name}: {value:.2f}")
    print(f"import coinapi_ems_async: {figures['import, ms']:.0f} ms")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _print_table(loop: str, figures: dict[str, Figures]) -> None:
    first = next(iter(figures.values()))
    print(f"\n{loop} loop{'':20}   p50 us   p99 us     x p50   {WIDTH} in flight/s    x rate")
    for name, one in figures.items():
        print(
            f"{name:30} {one.p50:8.0f} {one.p99:8.0f} {one.p50 / first.p50:9.2f}"
            f" {one.rate:16.0f} {one.rate / first.rate:9.2f}"
        )


if __name__ == "__main__":
    main()
