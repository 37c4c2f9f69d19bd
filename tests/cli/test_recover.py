"""Orders in a journal: killed, looked up, never sent again."""

import json
import time
from pathlib import Path

import pytest

from coinapi_ems_async.simulator import Injection

from .conftest import ACCOUNT, SENTINEL, Cli, Service, order, start


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "orders journal.db")


def kill_an_order(service: Service, journal: str, name: str) -> None:
    """Kill the command when a server has its order and has not answered."""
    before = service.operations().count("order_new")
    process = start(
        order("--execute", "--client-order-id", name, "--journal", journal),
        COINAPI_API_KEY=SENTINEL,
        COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url,
    )
    end = time.monotonic() + 20
    while service.operations().count("order_new") == before:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=20)


def test_a_killed_order_is_found(cli: Cli, service: Service, journal: str) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", hang=True, execute="before")))
    kill_an_order(service, journal, "killed")
    told = cli("orders", "recover", "--journal", journal, "--json")
    assert told.code == 0
    (found,) = told.json["orders"]
    assert (found["client_order_id"], found["exchange_id"], found["generation"]) == ("killed", ACCOUNT, 1)
    assert found["order"]["client_order_id"] == "killed"
    assert found["outcome"]["outcome"] == "accepted"
    assert told.json["counts"] == {"accepted": 1}
    again = cli("orders", "recover", "--journal", journal)
    assert again.code == 0
    assert "holds no unresolved order" in again.out
    twice = cli(*order("--execute", "--client-order-id", "killed", "--journal", journal))
    assert twice.code == 4
    assert service.operations().count("order_new") == 1


def test_one_that_nobody_knows_is_5(cli: Cli, service: Service, journal: str) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", status=503)))
    ran = cli(*order("--execute", "--client-order-id", "lost", "--journal", journal))
    assert ran.code == 5
    assert f"`coinapi-ems orders recover --journal '{journal}'`" in ran.err
    other = cli(*order("--execute", "--client-order-id", "other", "--journal", journal))
    assert other.code == 0
    assert "1 earlier order of unknown outcome is in the journal" in other.err
    told = cli("orders", "recover", "--journal", journal, "--timeout", "0.5")
    assert told.code == 5
    assert "1 unknown" in told.out
    assert "do NOT send" in told.err


def test_a_batch_keeps_a_journal_too(cli: Cli, service: Service, journal: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    rows = [
        {"exchange_id": ACCOUNT, "symbol_id_coinapi": "KRAKEN_SPOT_BTC_USDT", "side": "buy", "amount_order": "0.1"}
        | {"price": "9000", "client_order_id": name}
        for name in ("found", "lost", "taken")
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def inject(name: str, *, executed: bool) -> None:
        fault = Injection(
            operation="order_new", client_order_id=name, reset=True, execute="before" if executed else "never"
        )
        service.do(lambda: service.sim.inject(fault))

    inject("found", executed=True)
    inject("lost", executed=False)
    told = cli("orders", "place-many", str(file), "--journal", journal, "--execute", "--json")
    assert told.code == 5
    found, lost, taken = told.json["orders"]
    assert (found["outcome"], found["settled"]["outcome"]) == ("unknown", "accepted")
    assert (lost["outcome"], "settled" in lost) == ("unknown", False)
    assert taken["outcome"] == "accepted"
    assert told.json["counts"] == {"accepted": 2, "unknown": 1}
    assert "orders recover --journal" in told.json["advice"]
    left = cli("orders", "recover", "--journal", journal, "--timeout", "0.5", "--json").json["orders"]
    assert [one["client_order_id"] for one in left] == ["lost"]


def test_wrong_journals(cli: Cli, service: Service, journal: str, tmp_path: Path) -> None:
    missing = cli("orders", "recover", "--journal", journal)
    assert missing.code == 2
    assert "there is no journal" in missing.sentence
    assert not Path(journal).exists()
    other = tmp_path / "other"
    other.write_text("not a database")
    for command in (["orders", "recover"], order("--execute")):
        for path, said in ((str(other), "is not a journal"), (str(tmp_path), "is not a plain file")):
            ran = cli(*command, "--journal", path)
            assert ran.code == 2
            assert said in ran.sentence
    nowhere = cli(*order("--execute", "--journal", str(tmp_path / "none" / "x")))
    assert nowhere.code == 2
    assert "needs a directory" in nowhere.sentence
    assert service.operations().count("order_new") == 0


def test_a_journal_that_another_process_has(cli: Cli, service: Service, journal: str) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", hang=True)))
    process = start(
        order("--execute", "--journal", journal),
        COINAPI_API_KEY=SENTINEL,
        COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url,
    )
    try:
        end = time.monotonic() + 20
        while "order_new" not in service.operations():
            assert time.monotonic() < end
            time.sleep(0.02)
        ran = cli("orders", "recover", "--journal", journal)
    finally:
        process.kill()
        process.communicate(timeout=20)
    assert ran.code == 2
    assert "in use by another process" in ran.sentence
