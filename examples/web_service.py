"""A web service that owns the event loop: the client opens and closes with the application.

`python examples/web_service.py` starts it, asks it once, and stops it again.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from coinapi_ems_async import EMSClient, EMSError
from coinapi_ems_async.simulator import Simulator

CLIENT = web.AppKey("ems", EMSClient)


async def show_balances(request: web.Request) -> web.Response:
    ems = request.app[CLIENT]
    try:
        balances = await ems.balances.get(request.query.get("exchange_id"))
    except EMSError as error:
        return web.json_response({"error": str(error)}, status=502)
    rows = [
        (one.exchange_id, row.asset_id_coinapi, str(row.balance)) for one in balances for row in one.data or ()
    ]
    return web.json_response(rows)


async def show_health(request: web.Request) -> web.Response:
    health = request.app[CLIENT].health()
    sites = {site.id: site.health for site in health.sites}
    return web.json_response({"sites": sites, "unresolved": health.unresolved})


def application(api_key: str, management_url: str) -> web.Application:
    async def client(app: web.Application) -> AsyncIterator[None]:
        async with EMSClient(api_key, management_url=management_url) as app[CLIENT]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(client)
    app.router.add_get("/balances", show_balances)
    app.router.add_get("/health", show_health)
    return app


async def main() -> None:
    async with Simulator() as sim:
        runner = web.AppRunner(application(sim.api_key, sim.management_url))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            for path in ("/balances?exchange_id=KRAKEN/JOHN", "/health"):
                async with session.get(path) as response:
                    print(path, response.status, await response.text())
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
