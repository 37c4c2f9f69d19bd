"""What a bot does after a crash: its journal knows of which orders nobody heard again, the servers know the rest.

Runs against the embedded simulator. The crash is a real one: the bot runs in a process of its own, and is killed
in the middle of its orders.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from coinapi_ems_async import Accepted, EMSClient, NewOrder, Side, Unknown
from coinapi_ems_async.simulator import Pace, Simulator


def an_order() -> NewOrder:
    return NewOrder(
        exchange_id="KRAKEN/JOHN",
        symbol_id_coinapi="KRAKEN_SPOT_BTC_USDT",
        side=Side.BUY,
        amount_order="0.001",
        price="10700",
    )


async def trade(journal: str) -> None:
    """The bot: $COINAPI_API_KEY and $COINAPI_EMS_MANAGEMENT_URL say where."""
    async with EMSClient(journal=journal) as ems:
        while True:
            print("five orders", flush=True)
            await asyncio.gather(*(ems.orders.submit(an_order()) for _ in range(5)))


async def crash(sim: Simulator, journal: Path) -> None:
    """Let the bot trade, and kill it while it sends orders for the fourth time."""
    bot = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(journal)), env=os.environ | sim.environment(), stdout=subprocess.PIPE
    )
    assert bot.stdout is not None
    for _ in range(4):
        assert await bot.stdout.readline() == b"five orders\n"
    await asyncio.sleep(0.01)  # time enough to send them, and too little to be answered
    bot.kill()
    await bot.wait()


async def start_again(sim: Simulator, journal: Path) -> None:
    """What a bot does first whenever it starts."""
    async with EMSClient(sim.api_key, management_url=sim.management_url, journal=journal) as ems:
        for order in await ems.orders.recover():
            match order.outcome:
                case Accepted(report=report):
                    print(f"{order.client_order_id}: it is in the book: {report.status if report else ''}")
                case Unknown(message=message):
                    print(f"{order.client_order_id}: {message}; look at the exchange, then forget it")
                    ems.orders.forget(order.client_order_id)
                case _:
                    print(f"{order.client_order_id}: {order.outcome}")
        print("unresolved now:", len(ems.orders.unresolved))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "orders.journal"
        async with Simulator(pace=Pace(reply=0.02)) as sim:
            await crash(sim, journal)
            await start_again(sim, journal)
            sent = [request.client_order_id for request in sim.requests if request.operation == "order_new"]
            assert len(set(sent)) == len(sent)  # nothing was sent twice


if __name__ == "__main__":
    asyncio.run(trade(sys.argv[1]) if len(sys.argv) > 1 else main())
