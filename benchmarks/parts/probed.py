"""Orders while eight sites are probed every half second: what the probes add to the tail."""

from typing import Any, Final

from coinapi_ems_async import EMSClient, Settings
from coinapi_ems_async.errors import ConfigurationError

from ..canned import new_order
from ..figures import percentile
from ..measure import one_at_a_time
from ..peers import Skipped
from ..results import Plan, Probed
from ..servers import Server

__all__ = ["measure_probed"]

_INTERVAL: Final = 0.5
_SETTINGS: Final = Settings(
    probe_interval=_INTERVAL, probe_interval_others=_INTERVAL, probe_interval_slow=_INTERVAL
)


async def measure_probed(server: Server, transport: Any, plan: Plan) -> Probed:
    """Return the figures of single orders. Raises Skipped: if there is no such transport."""
    async with _client(server, transport) as ems:
        order = new_order()

        async def place() -> object:
            return await ems.orders.place(order, allow_duplicate_id=True)

        turns = [await one_at_a_time(place, plan.probed_seconds) for _ in range(plan.rounds)]
        sites = len(ems.sites)
    times = [time for turn in turns for time in turn]
    return Probed(
        transport=transport,
        sites=sites,
        p50=percentile(times, 0.5),
        p99=percentile(times, 0.99),
        rounds=[percentile(turn, 0.99) / percentile(turn, 0.5) for turn in turns],
    )


def _client(server: Server, transport: Any) -> EMSClient:
    try:
        return EMSClient("key", management_url=server.management, transport=transport, settings=_SETTINGS)
    except ConfigurationError as error:
        raise Skipped(str(error)) from None
