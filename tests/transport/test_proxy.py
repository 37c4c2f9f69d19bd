"""Behind a proxy: only when asked, only over aiohttp, and with a warning."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from coinapi_ems_async import Accepted, ConfigurationError, EMSClient, Settings
from coinapi_ems_async.transport.choice import site_transport

from ..conftest import an_order
from ..wire import Reply, ScriptedServer, Seen, answer, report

QUIET = Settings(probe_interval=60, probe_interval_others=60, close_wait=0.5)


def accept(seen: Seen) -> Reply:
    return answer(report(seen))


@asynccontextmanager
async def a_proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """Forwards plain requests; yields its URL and the request lines it has read."""
    lines: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, _, rest = head.partition("\r\n")
        method, url, version = line.split(" ")
        lines.append(line)
        parts = urlsplit(url)
        length = next(
            (int(one[16:]) for one in rest.split("\r\n") if one.lower().startswith("content-length: ")), 0
        )
        body = await reader.readexactly(length)
        inner, outer = await asyncio.open_connection(parts.hostname, parts.port)
        outer.write(f"{method} {parts.path} {version}\r\n{rest}".encode("latin-1") + body)
        reply = await inner.readuntil(b"\r\n\r\n")
        size = int(reply.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        writer.write(reply.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + await inner.readexactly(size))
        await writer.drain()
        for one in (outer, writer):
            one.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines
    finally:
        server.close()
        await server.wait_closed()


async def test_a_proxy_carries_everything_over_aiohttp(caplog: pytest.LogCaptureFixture) -> None:
    async with a_proxy() as (proxy, lines), ScriptedServer(accept) as server:
        with caplog.at_level(logging.WARNING):
            async with EMSClient.self_hosted(server.url, proxy=proxy, settings=QUIET) as ems:
                assert isinstance(await ems.orders.submit(an_order()), Accepted)
                assert type(ems._ready().roster.entries[server.url].pool).__name__ == "AiohttpPool"
        assert f"POST {server.url}/v1/orders HTTP/1.1" in lines
        assert len(server.seen) == 1
        assert "through a proxy: over aiohttp, not over http1" in caplog.text


async def test_the_environments_proxy_counts_only_when_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_proxy() as (proxy, lines), ScriptedServer(accept) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.setenv("no_proxy", "")
        async with EMSClient.self_hosted(server.url, settings=QUIET) as ems:
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
        assert lines == []
        async with EMSClient.self_hosted(server.url, settings=QUIET, trust_env=True) as ems:
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
        assert lines


def test_without_a_proxy_in_the_environment_trusting_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert site_transport("http1", "https://a.example", None, trust_env=True) == "http1"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert site_transport("http1", "https://a.example", None, trust_env=False) == "http1"
    assert site_transport("http1", "https://a.example", None, trust_env=True) == "aiohttp"
    assert site_transport("http2", "http://a.example", None, trust_env=True) == "http2"
    monkeypatch.setenv("NO_PROXY", "a.example")
    assert site_transport("http1", "https://a.example", None, trust_env=True) == "http1"


@pytest.mark.parametrize("wrong", ["proxy.example:3128", "socks5://proxy.example", "http://", 7])
def test_a_malformed_proxy_is_refused_without_being_shown(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=r"http://proxy\.example:3128"):
        EMSClient("key", proxy=wrong)  # type: ignore[arg-type]  # what is tested


def test_the_password_of_a_proxy_is_not_shown() -> None:
    client = EMSClient("key", proxy="http://user:sesame@proxy.example:3128")
    assert "sesame" not in f"{client!r} {client._config!r} {vars(client)}"
