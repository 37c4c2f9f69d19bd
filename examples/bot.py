"""The smallest bot: place an order, follow it, cancel it. Runs against the embedded simulator."""

import asyncio

from coinapi_ems_async import EMSClient, NewOrder, Side
from coinapi_ems_async.simulator import Simulator


async def trade(ems: EMSClient) -> None:
    order = NewOrder(
        exchange_id="KRAKEN/JOHN",
        symbol_id_coinapi="KRAKEN_SPOT_BTC_USDT",
        side=Side.BUY,
        amount_order="0.045",
        price="10700",
    )
    report = await ems.orders.place(order)  # raises OrderRejected, OrderNotSent or OrderUnknown
    print(f"placed: {report.status}, {report.amount_open} open at {report.price}")
    report = await ems.orders.status(order.client_order_id)
    if report.is_open:
        await ems.orders.cancel(exchange_id=order.exchange_id, client_order_id=order.client_order_id)
    final = await ems.orders.wait_final(order.client_order_id)  # a cancel's report is the last one known before it
    print(f"then:   {final.status}")


async def main() -> None:
    async with Simulator() as sim, EMSClient(sim.api_key, management_url=sim.management_url) as ems:
        best = ems.sites[0]
        print(f"nearest of {len(ems.sites)} sites: {best.id}, {(best.latency or 0) * 1000:.1f} ms")
        await trade(ems)


if __name__ == "__main__":
    asyncio.run(main())
