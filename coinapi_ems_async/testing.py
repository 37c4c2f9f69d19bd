"""What your own tests need beside the simulator (`simulator`) and its fixtures for pytest (`pytest_plugin`).

`aioresponses` answers calls of the Managed Cloud API in place of a server:

    with aioresponses() as mocked:
        mocked.get(f"{url}/v1/locations", payload=[...], response_class=MockedResponse)
        locations = await ems.locations.list()

Without `response_class` aioresponses 0.7.9 fails on aiohttp 3.14, whose responses want a `stream_writer` that
it does not give.
"""

from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter

__all__ = ["MockedResponse"]


class _NothingWritten(AbstractStreamWriter):
    """The writer of a request that was never sent."""

    output_size = 0
    buffer_size = 0
    length = 0

    async def write(self, chunk: Any) -> None:
        """Drop it."""

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Drop it."""

    async def drain(self) -> None:
        """Nothing to wait for."""

    def enable_compression(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to compress."""

    def enable_chunking(self) -> None:
        """Nothing to chunk."""

    async def write_headers(self, status_line: str, headers: Any) -> None:
        """Drop them."""

    def send_headers(self) -> None:
        """Nothing to send."""


class MockedResponse(aiohttp.ClientResponse):
    """A response that can be built without the writer of its request; pass it as `response_class`."""

    def __init__(self, method: str, url: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", _NothingWritten())
        super().__init__(method, url, **kwargs)
