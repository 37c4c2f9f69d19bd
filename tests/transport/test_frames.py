"""Frames out of bytes, and header blocks into bytes; hpack is the witness for the latter."""

from itertools import pairwise

import pytest
from hpack import Decoder, HeaderTuple, NeverIndexedHeaderTuple
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import operations
from coinapi_ems_async.auth import Credentials
from coinapi_ems_async.models.orders import CancelAll
from coinapi_ems_async.operations import Request
from coinapi_ems_async.transport.frames import (
    ACK,
    DATA,
    GOAWAY,
    PING,
    USER_AGENT,
    Frame,
    FrameError,
    FrameSplitter,
    Goodbye,
    RequestBlocks,
)

KEY = "sentinel-of-the-key"
CANCEL = operations.cancel_all(CancelAll(exchange_id="KRAKEN"))
OPEN = operations.of_exchange(operations.ORDERS_OPEN)

THREE = (
    PingFrame(0, opaque_data=b"12345678", flags=("ACK",)).serialize(),
    DataFrame(2**31 - 1, data=b"x" * 70_000).serialize(),
    DataFrame(7).serialize(),
)


def test_frames_come_out_as_they_went_in() -> None:
    splitter = FrameSplitter(70_000)
    assert list(splitter.feed(b"".join(THREE))) == [
        Frame(PING, ACK, 0, THREE[0]),
        Frame(DATA, 0, 2**31 - 1, THREE[1]),
        Frame(DATA, 0, 7, THREE[2]),
    ]


@given(st.lists(st.integers(0, sum(map(len, THREE))), max_size=8))
def test_the_segments_do_not_matter(cuts: list[int]) -> None:
    data = b"".join(THREE)
    edges = [0, *sorted(cuts), len(data)]
    splitter = FrameSplitter(70_000)
    found = [frame for begin, end in pairwise(edges) for frame in splitter.feed(data[begin:end])]
    assert [frame.raw for frame in found] == list(THREE)


def test_the_reserved_bit_is_ignored() -> None:
    raw = THREE[2][:5] + b"\x80\x00\x00\x07"
    assert [frame.stream for frame in FrameSplitter(100).feed(raw)] == [7]


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"\x00\x00\x65\x00\x00\x00\x00\x00\x01"])
def test_a_frame_too_large_is_refused_by_its_head(data: bytes) -> None:
    splitter = FrameSplitter(100)
    frames = splitter.feed(THREE[0] + data[:9])
    assert next(frames).kind == PING
    with pytest.raises(FrameError, match="bytes"):
        next(frames)


def test_the_largest_frame_passes() -> None:
    raw = DataFrame(1, data=b"x" * 100).serialize()
    assert [frame.raw for frame in FrameSplitter(100).feed(raw)] == [raw]


def goaway(last: int, code: int = 0, extra: bytes = b"", stream: int = 0) -> Frame:
    raw = GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=extra).serialize()
    return Frame(GOAWAY, 0, stream, raw)


def test_a_goodbye_is_read() -> None:
    assert Goodbye.read(goaway(5, 11)) == Goodbye(5, 11)
    assert Goodbye.read(goaway(2**31 - 1, 0, b"bye")) == Goodbye(2**31 - 1, 0)


@pytest.mark.parametrize("frame", [goaway(5, stream=3), goaway(5)._replace(raw=goaway(5).raw[:-1])])
def test_a_goodbye_that_cannot_be_read_is_refused(frame: Frame) -> None:
    with pytest.raises(FrameError):
        Goodbye.read(frame)


# Header blocks


def fields(block: bytes, decoder: Decoder | None = None) -> list[HeaderTuple]:
    return list((decoder or Decoder()).decode(block, raw=True))


def encoded(blocks: RequestBlocks, request: Request, bearer: str | None = None) -> bytes:
    blocks.prepare(blocks.of(request, bearer))
    return blocks.encode(())


def test_everything_a_request_carries() -> None:
    blocks = RequestBlocks(
        "https://site.example:8443/prefix", Credentials((("X-CoinAPI-Key", KEY),), query="apikey=other")
    )
    assert CANCEL.body is not None
    assert fields(encoded(blocks, CANCEL, bearer="token")) == [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/prefix/v1/orders/cancel/all?apikey=other"),
        (b":authority", b"site.example:8443"),
        (b"user-agent", USER_AGENT.encode()),
        (b"accept", b"application/json"),
        (b"x-coinapi-key", KEY.encode()),
        (b"authorization", b"Bearer token"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(CANCEL.body)).encode()),
    ]


def test_a_read_carries_nothing_of_a_body() -> None:
    found = fields(encoded(RequestBlocks("http://10.0.0.5", Credentials()), OPEN))
    assert found[0] == (b":method", b"GET")
    assert {name for name, _ in found}.isdisjoint({b"content-type", b"content-length", b"authorization"})


@pytest.mark.parametrize(
    ("url", "scheme", "authority"),
    [
        ("https://site.example", b"https", b"site.example"),
        ("https://site.example:443", b"https", b"site.example"),
        ("http://site.example:443", b"http", b"site.example:443"),
        ("http://10.0.0.5:80/x", b"http", b"10.0.0.5"),
        ("http://[::1]:8080", b"http", b"[::1]:8080"),
    ],
)
def test_the_authority_leaves_the_usual_port_out(url: str, scheme: bytes, authority: bytes) -> None:
    found = dict(fields(encoded(RequestBlocks(url, Credentials()), OPEN)))
    assert (found[b":scheme"], found[b":authority"]) == (scheme, authority)


@pytest.mark.parametrize("operation", operations.OPERATIONS.values(), ids=lambda operation: operation.name)
def test_every_method_and_path_arrives(operation: operations.Operation) -> None:
    blocks = RequestBlocks("http://10.0.0.5", Credentials())
    target = operation.path.replace("{client_order_id}", "a%2Fb")
    for _ in range(2):  # the second time it is one kept from before
        found = fields(encoded(blocks, Request(operation=operation, target=target)))
        assert found[0] == (b":method", operation.method.encode())
        assert found[2] == (b":path", target.encode())


def test_a_target_of_its_own_is_not_kept_for_the_next() -> None:
    blocks = RequestBlocks("http://10.0.0.5", Credentials())
    paths = [
        dict(fields(encoded(blocks, request)))[b":path"]
        for request in (
            operations.of_exchange(operations.ORDERS_OPEN, "KRAKEN"),
            OPEN,
            operations.of_exchange(operations.ORDERS_OPEN, "BITMEX"),
        )
    ]
    assert paths == [b"/v1/orders?exchange_id=KRAKEN", b"/v1/orders", b"/v1/orders?exchange_id=BITMEX"]


@pytest.mark.parametrize("length", [1, 126, 127, 128, 254, 255, 5000, 70_000])
def test_values_of_any_length_arrive(length: int) -> None:
    request = Request(operation=operations.ORDERS_OPEN, target="/" + "x" * (length - 1))
    decoder = Decoder(max_header_list_size=100_000)
    block = encoded(RequestBlocks("http://10.0.0.5", Credentials()), request)
    assert dict(fields(block, decoder))[b":path"] == request.target.encode()


def test_secrets_are_never_indexed_and_nothing_is_kept_at_the_peer() -> None:
    blocks = RequestBlocks("http://10.0.0.5", Credentials((("X-CoinAPI-Key", KEY),)))
    decoder = Decoder()
    for _ in range(2):
        found = fields(encoded(blocks, CANCEL, bearer="token"), decoder)
        hidden = [name for name, value in found if KEY.encode() == value or b"token" in value]
        assert hidden == [field[0] for field in found if isinstance(field, NeverIndexedHeaderTuple)]
        assert len(hidden) == 2
        assert not decoder.header_table.dynamic_entries


def test_a_peer_that_wants_a_smaller_table_gets_its_answer_once() -> None:
    blocks = RequestBlocks("http://10.0.0.5", Credentials())
    first, second = encoded(blocks, OPEN), encoded(blocks, OPEN)
    assert first == b"\x20" + second
    blocks.header_table_size = 0
    assert [encoded(blocks, OPEN), encoded(blocks, OPEN)] == [first, second]


@pytest.mark.parametrize("value", ["", "sec\r\nret", "sec\nret", "sec\x00ret", "secrät", " secret", "secret "])
def test_what_a_header_cannot_carry_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        RequestBlocks("http://10.0.0.5", Credentials((("X-CoinAPI-Key", value),)))
    assert "sec" not in str(caught.value)


def test_a_bearer_or_target_that_a_header_cannot_carry_is_refused() -> None:
    blocks = RequestBlocks("http://10.0.0.5", Credentials())
    with pytest.raises(ValueError, match="visible ASCII"):
        blocks.of(OPEN, bearer="to\nken")
    with pytest.raises(ValueError, match="visible ASCII"):
        blocks.of(Request(operation=operations.ORDERS_OPEN, target="/ä"), None)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(RequestBlocks("http://10.0.0.5", Credentials((("X-CoinAPI-Key", KEY),))))
