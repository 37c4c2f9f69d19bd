"""Wrong input, wrong configuration, a service that is not there: one sentence, never a traceback."""

from pathlib import Path

import pytest

from coinapi_ems_async.simulator import Injection

from .conftest import ACCOUNT, SENTINEL, SYMBOL, Cli, Service, order

PLACE = ["orders", "place", "--exchange", ACCOUNT, "--side", "buy", "--amount", "1", "--price", "1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (order(amount="NaN"), "--amount must be a number of at most 64 digits, such as 0.045, got"),
        (order(amount="Infinity"), "--amount must be a number"),
        (order(amount="-1"), "--amount must be positive"),
        (order(amount="1,5"), "--amount must be a number"),
        (order(price="0"), "--price must be positive"),
        (order("--marketable", price="0"), "--price must be positive"),
        (order("--side", "short"), "--side must be one of"),
        (order("--tif", "DAY"), "--tif must be one of"),
        (order("--tif", "GTTE"), "--expire-time is missing"),
        (order("--expire-time", "2030-01-01T00:00:00Z"), "--expire-time goes only with"),
        (order("--tif", "GTTO", "--expire-time", "2030-01-01T00:00:00"), "--expire-time has no zone; write"),
        (order("--timeout", "-1"), "--timeout must be a positive number of seconds, not -1."),
        (order("--timeout", "nan"), "--timeout must be a positive number of seconds, not nan."),
        (["--timeout", "0", "orders", "cancel-all", "--exchange", ACCOUNT], "--timeout must be a positive"),
        (order("--tif", "GTTO", "--expire-time", "tomorrow"), "no ISO time"),
        (
            order("--tif", "GTTO", "--expire-time", "2020-01-01T00:00:00Z"),
            "--expire-time has passed: it is 2020-01-01T00:00:00.000Z, and now it is",
        ),
        (order("--not-after", "2030-01-01T00:00:00"), "no zone"),
        (order("--exec-inst", "HURRY"), "--exec-inst must be one of"),
        (order("--client-order-id", "a\nb"), "--client-order-id must be printable"),
        (order("--client-order-id", ""), "--client-order-id must have"),
        ([*PLACE], "exactly one of --symbol and --symbol-exchange, got neither"),
        ([*PLACE, "--symbol", SYMBOL, "--symbol-exchange", "X"], "got both"),
        (
            ["orders", "cancel", "--exchange", ACCOUNT],
            "one of --client-order-id and --exchange-order-id, got neither",
        ),
        (["bench", "--orders"], "--orders needs --exchange, --amount, --price."),
        (["orders", "history", "--start", "2020-01-01T00:00:00"], "no zone"),
        (["orders", "history", "--start", "2020-13-01T00:00:00Z"], "no ISO time"),
        (["orders", "place"], "--help"),
        (["orders", "list", "--timeout", "soon"], "--timeout"),
        (["nonsense"], "No such command"),
        (["sites", "--api-key", SENTINEL], "No such option"),
        (["certificate"], "--output"),
        (["balances", "--auth", "password"], "--auth"),
        (["simulate", "--site", "here"], "ID=MILLISECONDS"),
        (["simulate", "--site", "a=-5"], "ID=MILLISECONDS"),
        (["simulate", "--site", "a=1", "--site", "a=2"], "--site 'a' stands there twice"),
        (
            ["simulate", "--exchange", "NOWHERE"],
            "'NOWHERE' is no account of a known exchange; there are BINANCE, ",
        ),
        (["accounts", "save", "KRAKEN", "--execute"], "API key"),
    ],
)
def test_wrong_input_is_2(cli: Cli, arguments: list[str], said: str) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert said in ran.sentence
    told = cli(*arguments, "--json")
    assert told.code == 2
    assert told.err == ""
    assert told.json["error"]["exit_code"] == 2
    assert said in told.json["error"]["message"]


def test_text_that_looks_like_a_float_keeps_its_digits(cli: Cli) -> None:
    assert '"amount_order":0.10000000000000000001' in cli(*order("--json", amount="0.10000000000000000001")).out
    assert '"price":12000' in cli(*order("--json", price="1.2e4")).out


def test_an_unusual_id_is_noted(cli: Cli) -> None:
    ran = cli(*order("--client-order-id", "an unusual id"))
    assert ran.code == 0
    assert "outside" in ran.err


def test_no_key(cli: Cli) -> None:
    for command in (["balances"], ["accounts", "list"], ["sites"]):
        assert "set COINAPI_API_KEY" in cli(*command).sentence
        assert cli(*command, "--json").json["error"]["exit_code"] == 2


def test_key_files(cli: Cli, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COINAPI_API_KEY")
    file = tmp_path / "key"
    assert "cannot be read" in cli("sites", "--api-key-file", str(file)).sentence
    file.write_text("")
    assert "one line" in cli("sites", "--api-key-file", str(file)).sentence
    file.write_text("two words\n")
    assert cli("sites", "--api-key-file", str(file)).code == 2
    file.write_text(f"{SENTINEL}\n")
    assert cli("sites", "--api-key-file", str(file)).code == 0
    assert cli("--api-key-file", str(file), "accounts", "list").code == 0


@pytest.mark.parametrize("way", ["header", "query"])
def test_ways_to_show_the_key(cli: Cli, service: Service, way: str) -> None:
    assert cli("balances", ACCOUNT, "--auth", way).code == 0
    assert cli("bench", "--count", "1", "--auth", way).code == 0


def test_the_wrong_key(cli: Cli, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINAPI_API_KEY", "wrong-key-of-somebody")
    for command in (["balances"], ["accounts", "list"], ["sites"], order("--execute")):
        ran = cli(*command)
        assert ran.code == 6, ran
        assert "401" in ran.sentence or "credentials" in ran.sentence
        assert ran.sentence.count("check the") == 1
        assert "check the key in $COINAPI_API_KEY" in ran.sentence
        assert cli(*command, "--json").json["error"]["status"] == 401


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--management-url", "http://127.0.0.1:1"], 6, "refused"),
        (["--self-hosted", "http://127.0.0.1:1"], 6, "refused"),
        (["--management-url", "ftp://example.com"], 2, "not a URL"),
        (["--management-url", "https://user:pass-word@example.com"], 2, "plain base URL"),
        (["--management-url", "http://ems.example.com"], 2, "use https"),
        (["--management-url", "https://a.example", "--self-hosted", "http://127.0.0.1:1"], 2, "not both"),
        (["--self-hosted", "http://127.0.0.1:1", "--auth", "certificate"], 2, "--self-hosted"),
        (["--certificate-file", "x.pem"], 2, "--auth certificate"),
    ],
)
def test_wrong_places(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.setenv("COINAPI_API_KEY", SENTINEL)
    ran = cli(*arguments, "balances")
    assert ran.code == code
    assert said in ran.sentence
    assert "pass-word" not in ran.err
    told = cli("balances", *arguments, "--json")
    assert told.code == code
    assert told.json["error"]["exit_code"] == code


def test_a_self_hosted_server(cli: Cli, service: Service) -> None:
    url = next(iter(service.sim.site_urls.values()))
    assert cli("balances", ACCOUNT, "--self-hosted", url, "--auth", "header").code == 0
    assert "self-hosted" in cli("sites", "--self-hosted", url).out
    assert "no Managed Cloud API" in cli("accounts", "list", "--self-hosted", url).sentence


def test_an_account_that_no_site_serves(cli: Cli, service: Service) -> None:
    ran = cli("balances", "NOWHERE")
    assert ran.code == 6
    assert ran.sentence.startswith("error: GET /v1/balances: no known site serves NOWHERE; served are: ")
    assert "--exchange must have" in cli("accounts", "list", "--exchange", "").sentence


def test_no_endpoints(cli: Cli, service: Service) -> None:
    assert cli("accounts", "delete-all", "--execute").code == 0
    ran = cli("balances")
    assert ran.code == 6
    assert "names no endpoints" in ran.sentence
    assert "coinapi-ems accounts save" in ran.sentence
    assert cli("endpoints", "--json").json == []
    saved = cli(
        "accounts",
        "save",
        "KRAKEN",
        "--parameters",
        "-",
        "--execute",
        stdin='{"PublicApiKey":"aaaaaaa","PrivateApiKey":"bbbbbbb"}',
    )
    assert saved.code == 0, "an account can be added where there is none"
    assert cli("balances").code == 0


def test_a_time_that_is_over(cli: Cli, service: Service) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="balances", hang=True, times=None)))
    ran = cli("balances", "--timeout", "0.05")
    assert ran.code == 6
    assert "time" in ran.sentence
    assert cli("balances", "--timeout", "-1").code == 2


def test_options_stand_before_or_after_the_command(cli: Cli, service: Service) -> None:
    assert cli("--json", "locations").json == cli("locations", "--json").json
    assert cli("--loop", "uvloop", "locations").code == 0
    assert cli("locations", "--loop", "plain").code == 0


@pytest.mark.parametrize("transport", ["http1", "http2", "aiohttp"])
def test_every_transport_carries_a_command(cli: Cli, service: Service, transport: str) -> None:
    assert cli("balances", "--transport", transport).code == 0
    assert cli("balances", "--transport", "pigeon").code == 2
