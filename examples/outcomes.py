"""What a bot does with each of the four outcomes. Runs against the embedded simulator, made to misbehave."""

import asyncio

from coinapi_ems_async import Accepted, EMSClient, NewOrder, NotSent, Rejected, Side, Unknown
from coinapi_ems_async.simulator import Simulator


def an_order(amount: str) -> NewOrder:
    return NewOrder(
        exchange_id="KRAKEN/JOHN",
        symbol_id_coinapi="KRAKEN_SPOT_BTC_USDT",
        side=Side.BUY,
        amount_order=amount,
        price="10700",
    )


async def submit(ems: EMSClient, order: NewOrder) -> None:
    match await ems.orders.submit(order):
        case Accepted(report=report):
            print("accepted:", report.status if report else None)
        case Rejected(reason=reason, message=message):
            print(f"rejected ({reason}): {message}; a new order may be sent")
        case NotSent(reason=reason):
            print(f"not sent ({reason}); the same order may be sent again")
        case Unknown(message=message):
            print(f"unknown: {message}; it may be in the book: look, do not send")
            report = await ems.orders.status(order.client_order_id, exchange_id=order.exchange_id)
            print("  looked:", report.status, "- unresolved now:", len(ems.orders.unresolved))


async def main() -> None:
    async with Simulator() as sim, EMSClient(sim.api_key, management_url=sim.management_url) as ems:
        await submit(ems, an_order("0.045"))
        await submit(ems, an_order("100000000"))  # more than the account holds
        sim.exchange_slow("KRAKEN/JOHN")  # the service answers 504, though the exchange has the order
        await submit(ems, an_order("0.05"))
        for site in sim.site_urls:
            await sim.stop_site(site)
        await submit(ems, an_order("0.06"))


if __name__ == "__main__":
    asyncio.run(main())
