"""Files of orders, waiting for an order's end, and marketable orders, from the command line."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from coinapi_ems_async.cli.exits import Failure
from coinapi_ems_async.cli.order_files import read_orders
from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.simulator import Injection

from .conftest import ACCOUNT, SENTINEL, SYMBOL, Cli, Service, order, start

HEADER = "exchange_id,symbol_id_coinapi,side,amount_order,price,client_order_id"


def row(client_order_id: str, **changes: Any) -> dict[str, Any]:
    fields = {"exchange_id": ACCOUNT, "symbol_id_coinapi": SYMBOL, "side": "buy", "amount_order": "0.045"}
    return fields | {"price": "9000", "client_order_id": client_order_id} | changes


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.txt"


# Files


def test_json_lines_are_read_to_the_digit() -> None:
    text = (
        '{"exchange_id":"K","symbol_id_exchange":"X","side":"Sell","amount_order":0.10,"price":10799.2000000000001}\n'
        "\n"
        '{"exchange_id":"K","symbol_id_coinapi":"S","side":"BUY","amount_order":3,"price":"2","time_in_force":"ioc",'
        '"exec_inst":["moc","AUCTION_ONLY"],"client_order_id":"mine","expire_time":null}\r\n'
        '{"exchange_id":"K","symbol_id_coinapi":"S","side":"BUY","amount_order":3,"price":2,"exec_inst":"MOC, AO",'
        '"time_in_force":"GTTO","expire_time":"2099-01-01T00:00:00Z"}'
    )
    first, second, third = read_orders(text, "-")
    assert (first.line, second.line, third.line) == (1, 3, 4)
    assert (str(first.order.amount_order), str(first.order.price)) == ("0.10", "10799.2000000000001")
    assert first.order.side is Side.SELL
    assert first.order.client_order_id != second.order.client_order_id == "mine"
    assert second.order.time_in_force == "IMMEDIATE_OR_CANCEL"
    assert second.order.exec_inst == third.order.exec_inst == ("MAKER_OR_CANCEL", "AUCTION_ONLY")
    assert third.order.expire_time is not None


def test_csv_is_read_to_the_digit() -> None:
    text = (
        "\n"
        "exchange_id, symbol_id_coinapi, side, amount_order, price, time_in_force, exec_inst, client_order_id\n"
        "KRAKEN/JOHN, S, buy, 0.10, 9000.00, , , a\n"
        ",,,,,,,\n"
        'KRAKEN/JOHN, S, sell, 1, 2, GTC, "MOC,AO",\n'
        '"KRAKEN/JOHN","S","sell","1","2","ioc","","c"\r\n'
    )
    first, second, third = read_orders(text, "-")
    assert (first.line, second.line, third.line) == (3, 5, 6)
    assert str(first.order.price) == "9000.00"
    assert second.order.exec_inst == ("MAKER_OR_CANCEL", "AUCTION_ONLY")
    assert (first.order.client_order_id, third.order.client_order_id) == ("a", "c")
    assert len(second.order.client_order_id) == 36


GOOD = json.dumps(row("good"))
WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", "holds no orders"),
    "blanks": ("\n \n", "holds no orders"),
    "a header alone": (HEADER, "holds no orders"),
    "broken JSON": (f"{GOOD}\n\n{{'a': 1}}", "line 3: no JSON: "),
    "an array": (f"[{GOOD}]", "line 1: expected one JSON object a line"),
    "a field that is unknown": (
        lines(row("a", quantity=1)),
        "line 1: unknown fields 'quantity'; there are",
    ),
    "null": (f"null\n{GOOD}", "line 1: expected one JSON object a line"),
    "null later": (f"{GOOD}\nnull", "line 2: expected one JSON object a line"),
    "a text": ('\n"order"\n', "line 2: expected one JSON object a line"),
    "no price": (f"{GOOD}\n" + lines(row("a", price=None)), "line 2: no price"),
    "a field twice": ('{"price": 1, "price": 2}', "line 1: a field stands there twice"),
    "NaN": (lines(row("a", price=float("nan"))), "line 1: NaN is no number"),
    "a number that is none": (lines(row("a", price="1,5")), "line 1: price must be"),
    "a number that is a list": (lines(row("a", price=[1])), "line 1: price must be"),
    "zero": (lines(row("a", amount_order=0)), "line 1: amount_order must be positive"),
    "a side": (lines(row("a", side="long")), "line 1: side must be one of"),
    "a time": (lines(row("a", expire_time="soon")), "line 1: expire_time 'soon' is no ISO time"),
    "a time without zone": (
        lines(row("a", expire_time="2099-01-01T00:00:00", time_in_force="GTTO")),
        "line 1: expire_time has no zone; write 2099-01-01T00:00:00Z for UTC",
    ),
    "a time that has passed": (
        f"{GOOD}\n" + lines(row("a", expire_time="2020-01-01T00:00:00Z", time_in_force="GTTO")),
        "line 2: expire_time has passed: it is 2020-01-01T00:00:00.000Z",
    ),
    "an id twice": (f"{GOOD}\n{GOOD}", "line 2: the client_order_id of line 1 again"),
    "deep JSON": ('{"price":' + "[" * 200_000 + "\n", "line 1: no JSON"),
    "a column that is unknown": ("exchange;side\nK;buy\n", "line 1: unknown columns 'exchange;side'"),
    "a column that is missing": ("exchange_id,side,price\nK,buy,1\n", "line 1: no column amount_order"),
    "a column twice": (f"{HEADER},price\n", "line 1: a column stands there twice"),
    "too few cells": (f"{HEADER}\nK,S,buy,1\n", "line 2: 4 cells under 6 columns"),
    "too many cells": (f"{HEADER}\n\nK,S,buy,1,5,2,a\n", "line 3: 7 cells under 6 columns"),
    "an empty cell": (f"{HEADER}\nK,S,buy,,2,a\n", "line 2: no amount_order"),
    "a quote that never ends": (f'{HEADER}\nK,S,buy,1,2,a\nK,S,"buy,1,2,b\n', "line 3: no CSV"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_told_by_its_line(name: str) -> None:
    text, said = WRONG[name]
    with pytest.raises(Failure) as caught:
        read_orders(text, "orders.csv")
    assert said in caught.value.sentence
    assert caught.value.sentence.startswith("orders.csv")
    assert caught.value.sentence.endswith(".")
    assert len(caught.value.sentence) < 600


def test_a_quoted_cell_may_span_lines() -> None:
    text = f'{HEADER}\nK,S,"buy\n",1,2,a\nK,S,buy,0,2,b\n'
    with pytest.raises(Failure, match=r"^-: line 4: amount_order must be positive"):
        read_orders(text, "-")


def test_several_wrong_lines_are_told_at_once() -> None:
    text = lines(*(row(f"id-{number}", price=number % 2) for number in range(20)))
    with pytest.raises(Failure) as caught:
        read_orders(text, "f")
    assert [number for number in range(1, 21) if f"line {number}:" in caught.value.sentence] == [1, 3, 5, 7, 9]
    assert caught.value.sentence.endswith("; and 5 more.")


# place-many


def test_a_wrong_file_sends_nothing(cli: Cli, service: Service, file: Path) -> None:
    file.write_text(lines(row("fine"), row("a", price=0)))
    for command in (["orders", "place-many", str(file)], ["orders", "place-many", str(file), "--execute"]):
        ran = cli(*command)
        assert ran.code == 2
        assert "line 2: price must be positive" in ran.sentence
        told = cli(*command, "--json")
        assert told.code == 2
        assert "line 2" in told.json["error"]["message"]
    assert service.operations() == []


def test_a_file_that_cannot_be_read(cli: Cli, file: Path) -> None:
    assert "No such file" in cli("orders", "place-many", str(file)).sentence
    file.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8 text" in cli("orders", "place-many", str(file)).sentence
    assert cli("orders", "place-many").code == 2


def test_without_execute_the_orders_are_shown(cli: Cli, service: Service, file: Path) -> None:
    file.write_text("\ufeff" + f"{HEADER},time_in_force\n{ACCOUNT},{SYMBOL},buy,0.0450,9000.10,a,FOK\n")
    ran = cli("orders", "place-many", str(file))
    assert ran.code == 0
    assert "add --execute" in ran.out
    assert "buy 0.045" in ran.out
    assert "KRAKEN does not offer FILL_OR_KILL" in ran.err
    told = cli("orders", "place-many", str(file), "--json").json
    assert told["executed"] is False
    assert told["orders"][0]["line"] == 2
    assert told["orders"][0]["request"]["body"]["price"] == 9000.10
    assert service.operations() == []


def test_a_batch_from_standard_input(cli: Cli, service: Service) -> None:
    text = lines(*(row(f"id-{number}") for number in range(20)))
    ran = cli("orders", "place-many", "-", "--execute", "--limit", "3", stdin=text)
    assert ran.code == 0
    assert "20 accepted" in ran.out
    assert "id-19" in ran.out
    names = [f"id-{number}" for number in range(20)]
    assert service.do(lambda: [service.sim.executions(name) for name in names]) == [1] * 20


def test_every_outcome_is_told_and_the_worst_is_the_exit_status(cli: Cli, service: Service, file: Path) -> None:
    def ran(*rows: dict[str, Any], more: tuple[str, ...] = ()) -> Any:
        file.write_text(lines(*rows))
        return cli("orders", "place-many", str(file), "--execute", *more)

    poor = row("poor", amount_order="90000000")
    nowhere = row("nowhere", exchange_id="NOWHERE/X")
    assert ran(row("one"), nowhere).code == 4
    assert ran(row("two"), poor | {"client_order_id": "poor-0"}, nowhere).code == 3
    lost = Injection(operation="order_new", reset=True, client_order_id="lost", times=None)
    service.do(lambda: service.sim.inject(lost))
    mixed = ran(row("three"), poor, nowhere, row("lost"))
    assert mixed.code == 5
    assert "1 accepted" in mixed.out
    assert "1 UNKNOWN" in mixed.out
    assert "The outcome of lost is UNKNOWN: do NOT send them again" in mixed.err
    assert "line 2: rejected" in mixed.err
    told = ran(row("four"), poor | {"client_order_id": "poor-2"}, nowhere, row("lost"), more=("--json",))
    assert told.code == 5
    data = told.json
    assert [(one["line"], one["outcome"]) for one in data["orders"]] == [
        (1, "accepted"),
        (2, "rejected"),
        (3, "not_sent"),
        (4, "unknown"),
    ]
    assert data["counts"] == {"accepted": 1, "rejected": 1, "not_sent": 1, "unknown": 1}
    assert data["orders"][3]["error"]["exit_code"] == 5
    assert "do NOT send them again" in data["advice"]


def test_limits_of_a_batch(cli: Cli, service: Service, file: Path) -> None:
    file.write_text(lines(row("a")))
    command = ["orders", "place-many", str(file), "--execute"]
    assert "limit must be" in cli(*command, "--limit", "0").sentence
    assert cli(*command, "--not-after", "2099-01-01T00:00:00").code == 2
    assert cli(*command, "--not-after", "2020-01-01T00:00:00Z").code == 4
    assert "order_new" not in service.operations()


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_batch_tells_what_was_sent(cli: Cli, service: Service, file: Path, as_json: bool) -> None:
    file.write_text(lines(*(row(f"id-{number}") for number in range(6))))
    held = Injection(operation="order_new", hang=True, client_order_id="id-2", execute="before")
    service.do(lambda: service.sim.inject(held))
    process = start(
        ["orders", "place-many", str(file), "--execute", "--limit", "1", *(["--json"] if as_json else [])],
        COINAPI_API_KEY=SENTINEL,
        COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url,
    )
    end = time.monotonic() + 30
    while service.operations().count("order_new") < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stream = process.stdout if as_json else process.stderr
    assert stream is not None
    said = next(line for line in stream if "interrupted" in line)
    service.do(service.sim.release)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, (said, out, err)
    assert "Traceback" not in err
    assert "interrupted: 2 orders had ended, 3 were never sent" in said
    assert "The outcome of id-2 is UNKNOWN" in said
    if as_json:
        told = json.loads(said)
        assert [one["outcome"] for one in told["orders"]] == ["accepted"] * 2 + [None] * 4
        assert told["unresolved"] == ["id-2"]
    else:
        assert "id-1" in out
    assert service.operations().count("order_new") == 3


# wait


def test_waiting_for_the_end(cli: Cli, service: Service) -> None:
    assert cli(*order("--execute", "--marketable", "--client-order-id", "mine", price="20000")).code == 0
    ran = cli("orders", "wait", "mine", "--exchange", ACCOUNT)
    assert ran.code == 0
    assert "FILLED" in ran.out
    assert "FILLED, 0.045 filled" in ran.err
    told = cli("orders", "wait", "mine", "--json")
    assert told.json["status"] == "FILLED"
    assert told.err == ""


def test_an_order_that_does_not_end_in_time_is_6(cli: Cli, service: Service) -> None:
    cli(*order("--execute", "--client-order-id", "resting"))
    ran = cli("orders", "wait", "resting", "--timeout", "0.3")
    assert ran.code == 6
    assert "its last status was NEW; it goes on all the same: wait longer with --timeout" in ran.sentence
    told = cli("orders", "wait", "resting", "--timeout", "0.3", "--json")
    assert told.code == 6
    assert told.json["error"]["type"] == "DeadlineExceeded"
    assert told.json["error"]["report"]["status"] == "NEW"
    assert cli("orders", "wait", "nobody", "--timeout", "0.3").sentence.count("proves nothing") == 1
    nobody = cli("orders", "wait", "nobody", "--timeout", "0.3", "--json")
    assert nobody.code == 6
    assert nobody.json["error"]["report"] is None
    assert cli("orders", "wait", "", "--json").code == 2


def test_a_rejected_order_is_3(cli: Cli, service: Service) -> None:
    cli(*order("--execute", "--client-order-id", "poor", amount="90000000"))
    ran = cli("orders", "wait", "poor")
    assert ran.code == 3
    assert "Insufficient funds" in ran.out


# Marketable


def test_marketable_orders(cli: Cli) -> None:
    def body(*more: str) -> Any:
        return cli(*order(*more, "--json")).json["request"]["body"]

    assert body("--marketable")["time_in_force"] == "IMMEDIATE_OR_CANCEL"
    assert body("--fill-or-kill", "--force")["time_in_force"] == "FILL_OR_KILL"
    assert body("--marketable", "--fill-or-kill", "--exchange", "DERIBIT")["time_in_force"] == "FILL_OR_KILL"
    assert body()["time_in_force"] == "GOOD_TILL_CANCEL"
    assert "KRAKEN does not offer FILL_OR_KILL" in cli(*order("--tif", "FOK")).err
    assert "note" not in cli(*order("--exec-inst", "moc")).err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--fill-or-kill"],
            "KRAKEN/JOHN does not offer FILL_OR_KILL, says the service's table: write --marketable",
        ),
        (["--marketable", "--tif", "GTC"], "do not go with --tif"),
        (["--fill-or-kill", "--expire-time", "2099-01-01T00:00:00Z"], "do not go with --expire-time"),
        (["--marketable", "--exec-inst", "MOC"], "do not go with --exec-inst"),
        (["--force"], "--force goes only with --fill-or-kill"),
        (["--marketable", "--price", "-1"], "must be positive"),
    ],
)
def test_what_does_not_go_together_is_2(cli: Cli, more: list[str], said: str) -> None:
    ran = cli(*order(*more))
    assert ran.code == 2
    assert said in ran.sentence
