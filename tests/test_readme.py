"""What README shows must run, and what it names must exist."""

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coinapi_ems_async import EMSClient
from coinapi_ems_async.simulator import Simulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_there_are_two_command_lines_for_a_fresh_machine() -> None:
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].endswith("coinapi-ems demo")
    assert lines[1].endswith("pytest -q")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_is_python(block: str) -> None:
    assert compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_bot_on_the_simulator_runs() -> None:
    (block,) = (block for block in BLOCKS if "Simulator(" in block and "asyncio.run" in block)
    assert "executed 1 time" in run(block)


async def test_the_bot_runs_with_what_the_simulator_tells_the_environment() -> None:
    (block,) = (block for block in BLOCKS if "async with EMSClient() as ems" in block)
    process_environment = os.environ.copy()
    async with Simulator(sites={"near": 0.0}) as sim:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            block,
            env=process_environment | sim.environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors
        assert output == b"ROUTED at near\n"


def test_what_it_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_what_it_names_of_the_client_is_there() -> None:
    groups = {"orders", "balances", "positions", "accounts", "exchanges", "locations", "endpoints", "certificate"}
    client = EMSClient("key")
    named = set(re.findall(r"\bems\.(\w+)(?:\.(\w+))?", README))
    assert {group for group, _ in named} >= groups
    for group, name in named:
        assert hasattr(client, group), group
        assert not name or hasattr(getattr(client, group), name), f"{group}.{name}"


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "@@" not in README
    assert "TODO" not in README
