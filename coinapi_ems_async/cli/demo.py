"""`coinapi-ems demo`: a trading session against the embedded simulator, every claim checked."""

import logging
import time
from typing import Annotated, Final

import typer

from ..client import EMSClient
from ..settings import Settings
from . import demo_steps as steps
from .commands import LOCAL, command
from .context import Invocation
from .demo_stage import Stage

__all__ = ["register"]

# Delay of each site, there and back, seconds.
SITES: Final = {"aws-us-east-1-prd": 0.040, "aws-eu-west-1-prd": 0.015, "aws-us-west-2-prd": 0.005}
_EXCHANGES: Final = ("KRAKEN/JOHN",)

# Livelier than the defaults, because nobody watches a demo for a minute.
_SETTINGS: Final = Settings(probe_interval=0.2, probe_interval_others=0.3, probe_interval_slow=0.5)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "demo", LOCAL)(demo)


async def demo(
    run: Invocation,
    fast: Annotated[bool, typer.Option("--fast", help="Without the pauses for reading.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulated exchange's order ids.")] = 1,
) -> None:
    """Show what this client does, on an embedded simulator: no account, no key, no network.

    Sites are found and ranked; an order is followed to its fill, one is refused, one is canceled; an
    answer is lost and the order found; the best site is killed and the next order takes the second; everything
    open is canceled; round trips are measured.
    Every claim is checked against what the simulated servers read and did: the exit status is 0 only if all
    of it is true.
    """
    from ..simulator import Pace, Simulator

    if not run.options.debug:  # the demo itself tells that a site is gone
        logging.getLogger("coinapi_ems_async").setLevel(logging.ERROR)
    pace = Pace(reply=0.005, book=0.15, cancel=0.10, replenish=0.30)
    async with Simulator(sites=SITES, exchanges=_EXCHANGES, pace=pace, seed=seed) as simulator:
        ems = EMSClient(simulator.api_key, management_url=simulator.management_url, settings=_SETTINGS)
        stage = Stage(run.out, simulator, ems, sites=SITES, fast=fast)
        run.out.hide(simulator.api_key)
        stage.title()
        began = time.monotonic()
        try:
            await steps.rank_sites(stage)
            before = await steps.read_balances(stage)
            fills = await steps.fill_an_order(stage)
            await steps.be_refused(stage)
            await steps.cancel_an_order(stage)
            await steps.compare_balances(stage, before, fills)
            await steps.lose_an_answer(stage)
            await steps.lose_the_best_site(stage)
            await steps.cancel_everything(stage)
            await steps.measure(stage)
            steps.prove(stage, time.monotonic() - began)
        finally:
            await ems.aclose()
