"""Orders: what is sent, what is only shown, and the exit status of every way they can end."""

import signal
import time

import pytest

from coinapi_ems_async.simulator import Injection

from .conftest import ACCOUNT, EAST, SENTINEL, SYMBOL, WEST, Cli, Service, order, start


def test_without_execute_nothing_is_sent(cli: Cli, service: Service) -> None:
    for command in (
        order(),
        ["orders", "cancel", "--exchange", ACCOUNT, "--exchange-order-id", "x"],
        ["orders", "cancel-all", "--exchange", ACCOUNT],
        ["accounts", "delete-all"],
        ["bench", "--orders", "--exchange", ACCOUNT, "--symbol", SYMBOL, "--amount", "1", "--price", "1"],
    ):
        ran = cli(*command)
        assert ran.code == 0
        assert "add --execute" in ran.out
        told = cli(*command, "--json").json
        assert told["executed"] is False
        assert "add --execute" in told["message"]
    assert service.operations() == []


def test_the_request_is_shown_as_it_would_travel(cli: Cli) -> None:
    when = "2099-01-31T12:00:00+02:00"
    more = ["--tif", "gtto", "--expire-time", when, "--exec-inst", "moc,AUCTION_ONLY", "--json"]
    ran = cli(*order(*more, amount="1.10", price="10799.20"))
    assert '"amount_order":1.10,"price":10799.20' in ran.out
    request = ran.json["request"]
    assert (request["method"], request["path"]) == ("POST", "/v1/orders")
    assert request["body"]["time_in_force"] == "GOOD_TILL_TIME_OMS"
    assert request["body"]["expire_time"] == "2099-01-31T10:00:00.0000000Z"
    assert request["body"]["exec_inst"] == ["MAKER_OR_CANCEL", "AUCTION_ONLY"]
    assert request["body"]["client_order_id"] == ran.json["client_order_id"]


def test_accepted_is_0(cli: Cli, service: Service) -> None:
    ran = cli(*order("--execute", "--client-order-id", "mine"))
    assert ran.code == 0
    assert "ACCEPTED" in ran.out
    assert "on the wire" in ran.out
    assert service.do(lambda: service.sim.executions("mine")) == 1


def test_an_exchange_symbol(cli: Cli, service: Service) -> None:
    place = ["orders", "place", "--exchange", ACCOUNT, "--symbol-exchange", "XBT/USDT", "--side", "sell"]
    ran = cli(*place, "--amount", "1", "--price", "20000", "--execute", "--json")
    assert ran.json["report"]["symbol_id_coinapi"] == SYMBOL


def test_rejected_is_3(cli: Cli, service: Service) -> None:
    ran = cli(*order("--execute", amount="90000000"))
    assert ran.code == 3
    assert "Insufficient funds" in ran.sentence
    told = cli(*order("--execute", "--json", amount="90000000"))
    assert told.code == 3
    assert told.json["outcome"] == "rejected"
    assert told.json["reason"] == "exchange"
    assert told.json["error"]["exit_code"] == 3
    assert told.json["error"]["type"] == "OrderRejected"


def test_a_cancel_of_an_unknown_order_is_3(cli: Cli, service: Service) -> None:
    ran = cli("orders", "cancel", "--exchange", ACCOUNT, "--client-order-id", "nobody", "--execute", "--json")
    assert ran.code == 3
    assert ran.json["reason"] == "not known here"


def test_not_sent_is_4(cli: Cli, service: Service) -> None:
    late = cli(*order("--execute", "--not-after", "2020-01-01T00:00:00Z", "--client-order-id", "late"))
    assert late.code == 4
    assert "NOT SENT" in late.out
    for site in (EAST, WEST):
        service.wait(lambda site=site: service.sim.stop_site(site))  # type: ignore[misc]  # a lambda with a default is beyond inference
    dead = cli(*order("--execute", "--client-order-id", "late", "--json"))
    assert dead.code == 4
    assert dead.json["outcome"] == "not_sent"
    assert dead.json["error"]["exit_code"] == 4
    assert service.do(lambda: service.sim.executions("late")) == 0


def test_unknown_is_5_and_says_what_to_do(cli: Cli, service: Service) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", reset=True, times=2)))
    ran = cli(*order("--execute", "--client-order-id", "lost"))
    assert ran.code == 5
    assert "OUTCOME UNKNOWN" in ran.out
    assert "do NOT send it again" in ran.err
    for command in ("status", "wait"):
        assert f"`coinapi-ems orders {command} lost --exchange {ACCOUNT}`" in ran.err
    told = cli(*order("--execute", "--client-order-id", "lost too", "--json"))
    assert told.code == 5
    assert told.json["outcome"] == "unknown"
    assert told.json["evidence"]
    assert "do NOT send it again" in told.json["advice"]
    assert "orders status 'lost too'" in told.json["advice"]
    assert "settled" not in told.json
    assert service.do(lambda: service.sim.executions("lost")) == 0
    assert service.operations().count("order_new") == 2


def test_what_became_of_an_unknown_order_decides(cli: Cli, service: Service) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", reset=True, execute="before", times=3)))
    ran = cli(*order("--execute", "--client-order-id", "found"))
    assert ran.code == 0
    assert ran.out.index("OUTCOME UNKNOWN") < ran.out.index("found out since:") < ran.out.index("ACCEPTED")
    assert "do NOT" not in ran.err
    told = cli(*order("--execute", "--client-order-id", "found-too", "--json"))
    assert (told.code, told.json["outcome"]) == (0, "unknown")
    assert told.json["settled"]["outcome"] == "accepted"
    assert told.json["settled"]["report"]["client_order_id"] == "found-too"
    assert not {"error", "advice"} & set(told.json)
    refused = cli(*order("--execute", amount="90000000"))
    assert refused.code == 3
    assert "Insufficient funds" in refused.sentence
    assert service.do(lambda: service.sim.executions("found")) == 1
    assert service.operations().count("order_new") == 3


def test_an_unknown_cancel_all_names_what_to_read(cli: Cli, service: Service) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_cancel_all", status=500)))
    ran = cli("orders", "cancel-all", "--exchange", ACCOUNT, "--execute")
    assert ran.code == 5
    assert f"coinapi-ems orders list {ACCOUNT}" in ran.err


def test_cancel_all_points_to_the_open_orders(cli: Cli, service: Service) -> None:
    ran = cli("orders", "cancel-all", "--exchange", ACCOUNT, "--execute")
    assert ran.code == 0
    assert f"coinapi-ems orders list {ACCOUNT}" in ran.err


def test_failed_reads_are_6(cli: Cli, service: Service) -> None:
    for command in (["orders", "status", "nobody"], ["accounts", "delete", "KRAKEN/NOBODY", "--execute"]):
        assert cli(*command).code == 6
        told = cli(*command, "--json")
        assert told.code == 6
        assert told.json["error"]["exit_code"] == 6
        assert told.json["error"]["status"] == 404
    assert "proves nothing" in cli("orders", "status", "nobody").sentence


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupted_is_130_and_warns_of_what_was_sent(cli: Cli, service: Service, as_json: bool) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", hang=True)))
    more = ["--json"] if as_json else []
    process = start(
        order("--execute", "--client-order-id", "held", *more),
        COINAPI_API_KEY=SENTINEL,
        COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url,
    )
    end = time.monotonic() + 20
    while "order_new" not in service.operations():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    service.do(service.sim.release)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, (out, err)
    told = out if as_json else err
    assert "interrupted" in told
    assert "do NOT send it again" in told
    assert "orders status held" in told
    assert "Traceback" not in err


@pytest.mark.parametrize("presses", [2, 3, 6])
@pytest.mark.parametrize("loop", ["plain", "uvloop"])
@pytest.mark.parametrize("as_json", [False, True])
def test_pressed_again_it_ends_at_once_with_the_same_words(
    service: Service, presses: int, loop: str, as_json: bool
) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", hang=True)))
    process = start(
        order("--execute", "--client-order-id", "held", "--loop", loop, *(["--json"] if as_json else [])),
        COINAPI_API_KEY=SENTINEL,
        COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url,
    )
    end = time.monotonic() + 20
    while "order_new" not in service.operations():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    heard = next(line for line in process.stderr if "the caller went away" in line)  # it closes, and waits
    for _ in range(presses - 1):
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, (out, err)
    told = out if as_json else err
    assert told.count("do NOT send it again") == 1, (out, err)
    assert "orders status held" in told
    assert (err if as_json else out) == ""
    assert "Traceback" not in heard + err
    assert "Task" not in heard + err


def test_bench(cli: Cli, service: Service) -> None:
    reads = cli("bench", "--count", "5", "--json").json
    assert reads["kind"] == "reads"
    assert {site["count"] for site in reads["sites"].values()} == {5}
    assert len(reads["sites"]) == 2
    cli(*order("--execute", "--client-order-id", "one"))
    assert cli("bench", "--count", "2", "--client-order-id", "one").code == 0
    assert "p99" in cli("bench", "--count", "2", "--exchange", ACCOUNT).out
    cli("orders", "cancel-all", "--exchange", ACCOUNT, "--execute")


def test_bench_of_orders(cli: Cli, service: Service) -> None:
    options = ["--exchange", ACCOUNT, "--symbol", SYMBOL, "--amount", "0.01", "--price", "9000", "--execute"]
    told = cli("bench", "--orders", "--count", "3", *options, "--json")
    assert told.json["kind"] == "orders"
    assert sum(site["count"] for site in told.json["sites"].values()) == 3
    assert service.operations().count("order_new") == 3
    assert service.operations().count("order_cancel") == 3
    assert not service.do(lambda: [one for one in service.sim.orders if not one.is_final])
    service.do(lambda: service.sim.exchange_slow(ACCOUNT))
    unknown = cli("bench", "--orders", "--count", "3", *options)
    assert unknown.code == 5
    assert "do NOT send it again" in unknown.sentence
    assert service.operations().count("order_new") == 4, "the first unknown outcome ends the run"
