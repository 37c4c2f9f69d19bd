"""Without the packages of the extra `simulator`: what needs them says so, the rest works."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import asyncio, logging, sys
import aiohttp

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("trustme", "cryptography", "h2"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in [name for name in sys.modules if name.partition(".")[0] in ("trustme", "cryptography", "h2")]:
    del sys.modules[name]
sys.meta_path.insert(0, Refuse())
logging.basicConfig(level=logging.DEBUG)

from coinapi_ems_async.simulator import Simulator

try:
    Simulator(tls=True)
except ImportError as error:
    print(error)
    assert error.__suppress_context__
try:
    Simulator(http2=True)
except ImportError as error:
    print(error)

async def main():
    async with Simulator(sites={"here": 0.0}) as sim, aiohttp.ClientSession() as session:
        headers = {"X-CoinAPI-Key": sim.api_key}
        async with session.get(sim.management_url + "/v1/certificate/pem", headers=headers) as answer:
            print(answer.status, (await answer.json())["error"])
        async with session.get(sim.management_url + "/v1/locations", headers=headers) as answer:
            print(answer.status)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.site_urls["here"].rpartition(":")[2]))
        writer.write(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
        print((await reader.readline()).decode().strip())
        writer.close()
        await writer.wait_closed()

asyncio.run(main())
"""


def test_the_missing_extra_is_named() -> None:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=dict(os.environ) | {"PYTHONPATH": path},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    at_once, no_http2, refused, served, greeted = ran.stdout.splitlines()
    assert "h2" in no_http2
    assert greeted.startswith("HTTP/1.1 400")
    for said in (at_once, no_http2, refused):
        assert 'pip install "coinapi-ems-async[simulator]"' in said
    assert refused.startswith("501 the simulator makes certificates with")
    assert served == "200"
    assert "Traceback" not in ran.stderr
