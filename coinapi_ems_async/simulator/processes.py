"""One process for each site of a simulator."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from .certificates import Authority
from .process import Loop, ProcessEnded, SimulatorProcess
from .records import MANAGEMENT, Record
from .simulator import DEFAULT_EXCHANGES, DEFAULT_SITES
from .stage import Stage

__all__ = ["ProcessEnded", "ProcessPerSite", "SimulatorProcess"]


class ProcessPerSite(Stage):
    """One process for each site, and one for the management server that names them: `with`, or `async with`.

    The sites share no orders. `process` gives a site's own, to be stopped, killed, or faulted; "management" that
    of the management server. With `tls` all have the same authority.

    Args:
        sites, exchanges, api_key, seed, tls: those of `Simulator`.
        hosts: site -> address to listen on, such as 127.0.0.11.
        cpus: cores the servers may use (Linux); None: all.
        loop: their event loop.
        arguments: more arguments of `Simulator`, for every process.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, float] = DEFAULT_SITES,
        exchanges: Sequence[str] | Mapping[str, Sequence[str]] = DEFAULT_EXCHANGES,
        api_key: str | None = None,
        seed: int | None = None,
        tls: bool = False,
        hosts: Mapping[str, str] | None = None,
        cpus: Collection[int] | None = None,
        loop: Loop = "plain",
        **arguments: Any,
    ) -> None:
        self._common: dict[str, Any] = arguments | {
            "api_key": api_key or os.urandom(16).hex(),
            "tls": tls,
            "authority": Authority().secrets if tls else None,
            "cpus": cpus,
            "loop": loop,
        }
        self._sites = dict(sites)
        self._exchanges = dict.fromkeys(sites, exchanges) if not isinstance(exchanges, Mapping) else exchanges
        self._processes = {
            site: SimulatorProcess(
                sites={site: delay},
                exchanges=self._exchanges.get(site, ()),
                seed=None if seed is None else seed + place,
                host=(hosts or {}).get(site, "127.0.0.1"),
                **self._common,
            )
            for place, (site, delay) in enumerate(self._sites.items())
        }
        self._stack = ExitStack()

    def start(self) -> None:
        """Start all processes, and wait until they serve."""
        with ExitStack() as stack:
            for process in self._processes.values():
                stack.callback(process.stop)
                process.launch()
            for process in self._processes.values():
                process.ready()
            management = SimulatorProcess(
                sites=self._sites,
                exchanges=self._exchanges,
                elsewhere={site: self._processes[site].site_urls[site] for site in self._sites},
                **self._common,
            )
            stack.enter_context(management)
            self._processes[MANAGEMENT] = management
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """End all processes."""
        self._stack.close()

    def process(self, site: str) -> SimulatorProcess:
        """Return the process of a site.

        Raises KeyError: if there is no such site.
        """
        return self._processes[site]

    @property
    def api_key(self) -> str:
        """The key callers must show."""
        return self._processes[MANAGEMENT].api_key

    @property
    def management_url(self) -> str:
        """The base URL of the management server."""
        return self._processes[MANAGEMENT].management_url

    @property
    def site_urls(self) -> dict[str, str]:
        """The base URL of each site."""
        return self._processes[MANAGEMENT].site_urls

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority, in PEM; empty without TLS."""
        return self._processes[MANAGEMENT].ca_pem

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point a client at these servers."""
        return self._processes[MANAGEMENT].environment()

    def requests(self) -> list[Record]:
        """Return what the servers have read, oldest first; connections are numbered per site.

        Sites that were killed are left out, unless there is a `journal`.
        """
        found = [record for process in self._telling() for record in process.requests()]
        return sorted(found, key=lambda record: record.time)

    def executions(self, client_order_id: str) -> int:
        """Return how many orders with this id were given to an exchange, over all sites.

        Sites that were killed are left out, unless there is a `journal`.
        """
        return sum(process.executions(client_order_id) for process in self._telling())

    def _telling(self) -> list[SimulatorProcess]:
        return [process for process in self._processes.values() if process.tells]
