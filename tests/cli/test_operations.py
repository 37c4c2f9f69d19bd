"""Every operation of both APIs is reached from the command line."""

import json
from pathlib import Path

import pytest

from coinapi_ems_async.operations import OPERATIONS

from .conftest import ACCOUNT, Cli, Service, order

LOGIN = json.dumps({"PublicApiKey": "public-value", "PrivateApiKey": "private-value"})

# Operation -> the command that reaches it; {file} is a file that may be written.
COMMANDS: dict[str, list[str]] = {
    "orders_open": ["orders", "list", ACCOUNT],
    "order_new": order("--execute", "--client-order-id", "mine"),
    "order_status": ["orders", "status", "mine", "--exchange", ACCOUNT],
    "order_cancel": ["orders", "cancel", "--exchange", ACCOUNT, "--client-order-id", "mine", "--execute"],
    "order_cancel_all": ["orders", "cancel-all", "--exchange", ACCOUNT, "--execute"],
    "orders_history": ["orders", "history", "--start", "2020-01-01T00:00:00Z"],
    "balances": ["balances", ACCOUNT],
    "positions": ["positions"],
    "accounts_get": ["accounts", "list"],
    "account_save": ["accounts", "save", "KRAKEN/JANE", "--parameters", "-", "--execute"],
    "account_delete": ["accounts", "delete", "BITMEX/JOHN", "--execute"],
    "accounts_delete_all": ["accounts", "delete-all", "--execute"],
    "endpoints": ["endpoints", "--exchange", ACCOUNT],
    "exchanges": ["exchanges"],
    "locations": ["locations"],
    "certificate": ["certificate", "--output", "{file}"],
}


def test_no_operation_is_forgotten() -> None:
    assert set(COMMANDS) == set(OPERATIONS)
    assert len(COMMANDS) == 16


@pytest.mark.parametrize("as_json", [False, True])
def test_every_operation_is_exercised(cli: Cli, service: Service, tmp_path: Path, as_json: bool) -> None:
    for name, command in COMMANDS.items():
        service.do(service.sim.clear)
        arguments = [part.replace("{file}", str(tmp_path / "client.pem")) for part in command]
        ran = cli(*arguments, *(["--json"] if as_json else []), stdin=LOGIN)
        assert ran.code == 0, (name, ran)
        assert name in service.operations(), name
        if as_json:
            assert "error" not in ran.json
            assert ran.err == ""
        else:
            assert ran.out


def test_only_what_was_asked_for_is_changed(cli: Cli, service: Service) -> None:
    cli(*COMMANDS["accounts_get"])
    assert service.operations() == ["accounts_get"]


def test_json_has_the_names_of_the_wire(cli: Cli, service: Service) -> None:
    assert cli("locations", "--json").json[0].keys() == {"location_id", "region_name", "provider_name"}
    assert cli("--json", "endpoints").json[0].keys() >= {"exchange_id", "endpoint_url", "location_id"}
    balance = cli("balances", ACCOUNT, "--json").json[0]
    assert balance["exchange_id"] == ACCOUNT
    assert {"asset_id_coinapi", "balance", "available", "locked"} <= balance["data"][0].keys()
    ran = cli(*order("--execute", "--client-order-id", "names", "--json", amount="0.00000001"))
    assert '"amount_order":0.00000001' in ran.out, "no exponent"
    assert ran.json["outcome"] == "accepted"
    assert ran.json["report"]["side"] == "BUY"
    row = cli("orders", "history", "--start", "2020-01-01T00:00:00Z", "--json").json[0]
    assert row["clientOrderId"] == "names"
    assert "apikey" not in row
    sites = cli("sites", "--json").json
    assert {site["id"] for site in sites} == {"aws-us-east-1-prd", "aws-eu-west-1-prd"}
    assert sites[0]["health"] == "healthy"


def test_tables(cli: Cli, service: Service) -> None:
    assert "▶" in cli("sites").out
    assert "10,000" in cli("balances").out
    assert "flat" in cli("positions", "DERIBIT").out
    assert "No open orders." in cli("orders", "list").out
    cli(*order("--execute", "--client-order-id", "shown"))
    assert "KRAKEN_SPOT_BTC_USDT" in cli("orders", "list").out
    assert "RECEIVED" in cli("orders", "history", "--start", "2020-01-01T00:00:00Z").out
    assert "ROUTED" in cli("orders", "status", "shown").out
    cli(*order("--execute", amount="1", price="20000"))
    traded = cli("orders", "history", "--start", "2020-01-01T00:00:00Z").out
    assert "FILLED" in traded


def test_positions_of_derivatives(cli: Cli, service: Service) -> None:
    place = ["orders", "place", "--exchange", "DERIBIT", "--symbol", "DERIBIT_PERP_BTC_USDC", "--side", "sell"]
    assert cli(*place, "--amount", "1", "--price", "10700", "--execute").code == 0
    assert "SELL" in cli("positions", "DERIBIT").out
    assert cli("positions", "DERIBIT", "--json").json[0]["data"][0]["side"] == "SELL"


def test_an_exchange_that_is_down_is_not_shown_as_empty(cli: Cli, service: Service) -> None:
    service.do(lambda: service.sim.exchange_down(ACCOUNT))
    assert "not known to be empty" in cli("balances").out
    assert cli("balances", ACCOUNT).code == 6
