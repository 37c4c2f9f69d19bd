"""Text without secrets: every way to write one, and nothing else is touched."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async.redaction import NOTHING_HIDDEN, Redaction, one_line

SECRET = 'k3y+of/Somebody\'s\\"x"=&<>'
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4, max_size=40)


def dotnet(secret: str) -> str:
    """As System.Text.Json writes it."""
    return json.dumps(secret)[1:-1].replace('\\"', "\\u0022").replace("+", "\\u002B").replace("'", "\\u0027")


FORMS = {
    "as it is": SECRET,
    "in capitals": SECRET.upper(),
    "percent-encoded": quote(SECRET, safe=""),
    "percent-encoded in small letters": quote(SECRET, safe="").lower(),
    "as a path": quote(SECRET),
    "in JSON": json.dumps(SECRET),
    "in JSON with escaped slashes": json.dumps(SECRET).replace("/", "\\/"),
    "in .NET's JSON": dotnet(SECRET).replace("&", "\\u0026").replace("<", "\\u003C").replace(">", "\\u003E"),
    "in HTML": html.escape(SECRET),
    "quoted by Python": repr(SECRET.encode()),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_hidden(form: str) -> None:
    redaction = Redaction([SECRET])
    shown = redaction.text(f"the key {form} is bad, {form}")
    assert shown.count("<hidden>") == 2
    assert "omebody" not in shown.lower()
    assert redaction.raw(f"<{form}>".encode()).count(b"<hidden>") == 1


@given(secret=VISIBLE, before=st.text(), after=st.text())
def test_any_secret_in_any_text(secret: str, before: str, after: str) -> None:
    redaction = Redaction([secret])
    for form in (secret, quote(secret, safe="")):
        for shown in (redaction.text(before + form + after), redaction.line(before + form + after)):
            assert form not in shown.replace("<hidden>", "\0")


@given(st.text(st.characters(codec=None)))
def test_other_text_stays(text: str) -> None:
    assert Redaction(["there is none of this"]).text(text) == text
    assert NOTHING_HIDDEN.text(text) == text


@pytest.mark.parametrize("secret", ["", "abc"])
def test_what_is_too_short_is_no_secret(secret: str) -> None:
    redaction = Redaction([secret])
    redaction.hide_token(secret)
    assert redaction.text("abcdef") == "abcdef"


def test_the_longer_secret_is_hidden_first() -> None:
    assert Redaction(["1234", "123456"]).text("x123456x") == "x<hidden>x"


def test_secrets_stay_and_of_tokens_the_last_16() -> None:
    redaction = Redaction(["the-key"])
    for number in range(17):
        redaction.hide_token("token-00")  # used all the time: never the oldest
        redaction.hide_token(f"token-{number:02}")
    assert redaction.text("the-key token-00 token-01 token-16") == "<hidden> <hidden> token-01 <hidden>"
    redaction.hide("another")
    assert redaction.text("another") == "<hidden>"


def test_no_repr_shows_a_secret() -> None:
    assert repr(Redaction([SECRET])) == "<Redaction of 1>"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" one\r\n\ttwo \x85three\u2028four", "one two three four"),
        ("\x1b[31mred\x00\x07", "[31mred"),
        ("half a pair \ud800", "half a pair"),
        ("ümläut – 日本", "ümläut – 日本"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 497 + "..."),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
    assert NOTHING_HIDDEN.line(text) == line


@pytest.mark.parametrize("at", [490, 497, 500, 16_380])
def test_no_half_of_a_secret_is_left_where_the_line_is_cut(at: int) -> None:
    secret = "s3cr3t-of-a-client"
    for filler in ("x", " "):
        shown = Redaction([secret]).line(filler * at + secret + "y" * 20_000)
        assert "s3cr" not in shown
        assert len(shown) <= 500
