import pytest

from coinapi_ems_async import ConfigurationError, EMSClient, Settings
from coinapi_ems_async.sites.urls import check_base_url, is_loopback, may_name, normalise


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Host.Example/", "https://host.example"),
        ("HTTPS://host.example:443", "https://host.example"),
        ("http://host.example:80/", "http://host.example"),
        ("https://host.example:8443//", "https://host.example:8443"),
        ("https://host.example/ems/", "https://host.example/ems"),
        ("https://host.example.", "https://host.example"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        (
            "https://1314.51253.51.ec2.eu-west-1.amazonaws.com/",
            "https://1314.51253.51.ec2.eu-west-1.amazonaws.com",
        ),
    ],
)
def test_a_base_url_has_one_spelling(url: str, expected: str) -> None:
    assert normalise(url) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host.example",
        "ftp://host.example",
        "https://",
        "https:///path",
        "https://user:secret@host.example",
        "https://host.example?apikey=secret",
        "https://host.example/#secret",
        "https://host.example\r\nX: 1",
        "https://host .example",
        "https://host.example:port",
        "https://host.example:99999",
        "https://host.example\\@evil.example",
        "https://[::1",
        "https://host.example:0",
        "https://h,evil.example",
        "https://h|x",
        "https://ｈost.example",
        "https://[v1.x]",
        None,
        5,
    ],
)
def test_a_malformed_url_is_refused_without_telling_its_secrets(url: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalise(url)  # type: ignore[arg-type]  # what is tested
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("https://host.example", True),
        ("http://127.0.0.1:1234", True),
        ("http://localhost", True),
        ("http://[::1]", True),
        ("http://10.0.0.5", True),
        ("http://192.168.1.1", True),
        ("http://172.31.0.1", True),
        ("http://[fd00::1]", True),
        ("http://8.8.8.8", False),
        ("http://203.0.113.5", False),
        ("http://198.18.0.1", False),
        ("http://host.example", False),
        ("http://localhost.evil.example", False),
    ],
)
def test_a_key_travels_in_clear_only_at_home(url: str, admitted: bool) -> None:
    if admitted:
        assert check_base_url(url, allow_plain=False) == normalise(url)
    else:
        with pytest.raises(ConfigurationError, match="plain http"):
            check_base_url(url, allow_plain=False)
    assert check_base_url(url, allow_plain=True) == normalise(url)


def test_discovery_over_plain_loopback_names_loopback_only() -> None:
    home = "http://127.0.0.1:5000"
    assert may_name(home, "http://127.0.0.1:6000", allow_plain=True)
    assert not may_name(home, "https://host.example", allow_plain=True)
    near = "http://10.0.0.5"
    assert may_name(near, "http://10.0.0.5:8080", allow_plain=False)
    assert not may_name(near, "https://host.example", allow_plain=False)
    assert not may_name(near, "http://10.0.0.6", allow_plain=False)
    assert may_name(near, "https://host.example", allow_plain=True)
    far = "https://management.example"
    assert may_name(far, "https://host.example", allow_plain=False)
    assert not may_name(far, "http://10.0.0.5", allow_plain=False)
    assert may_name(far, "http://10.0.0.5", allow_plain=True)


def test_loopback() -> None:
    assert is_loopback("http://127.8.8.8:1")
    assert is_loopback("https://localhost")
    assert not is_loopback("https://host.example")


@pytest.mark.parametrize("url", ["http://public.example", "nonsense", "https://u:p@h"])
def test_a_client_refuses_a_wrong_url_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError):
        EMSClient("key", management_url=url)
    with pytest.raises(ConfigurationError):
        EMSClient.self_hosted(url)


def test_plain_http_can_be_allowed() -> None:
    assert "new" in repr(EMSClient.self_hosted("http://public.example", settings=Settings(allow_plain_http=True)))
