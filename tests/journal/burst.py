"""A bot in a process of its own, to be killed: it opens, says so, and places orders until it is."""

import asyncio
import sys

from coinapi_ems_async import EMSClient, Settings

from ..conftest import an_order

AT_ONCE = 8


async def place_for_ever(ems: EMSClient) -> None:
    while True:
        await ems.orders.submit(an_order(amount_order="0.001"))


async def main(management_url: str, journal: str, sync: str) -> None:
    settings = Settings(journal_sync="disk" if sync == "disk" else "process")
    async with EMSClient(management_url=management_url, journal=journal, settings=settings) as ems:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(place_for_ever(ems))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
