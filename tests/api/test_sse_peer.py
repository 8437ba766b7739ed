"""Our parser of event streams against httpx-sse, where that keeps to the standard.

It does so for lines, fields, comments and events. Where it does not, or where we choose to differ,
a test below says which of the two is right:

- a byte order mark at the beginning: it belongs to no field, httpx-sse loses the first one by it;
- bytes that are not UTF-8: httpx-sse puts U+FFFD in, we refuse, as an answer must not be guessed;
- a CR at the end of a chunk: it ends the line, httpx-sse waits for what comes next;
- an event without data: there is none, httpx-sse reports one for a lone ``id`` or ``retry``;
- an event whose data is empty: the standard has one, we have no use for it;
- the last event, if the input ends before its blank line: we can ask for it (``rest``);
- sizes: httpx-sse keeps whatever comes.
"""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, aconnect_sse, connect_sse
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.api import sse as ours
from stewrd_integrations.api.events import EventDecoder
from stewrd_integrations.api.requests import Kind
from stewrd_integrations.api.responses import Answer
from stewrd_integrations.api.sse import MAX_EVENT, MAX_IDLE, MAX_STREAM, EventParser
from stewrd_integrations.errors import (
    APIStatusError,
    MalformedResponseError,
    StewrdError,
    TimedOutError,
)
from stewrd_integrations.types import Done, Event

from .conftest import Way
from .wire import HANG, STREAM, Action, RawServer, answer, event, sse

Pair = tuple[str, str]


def parsed(chunks: Sequence[bytes]) -> list[Pair]:
    parser = EventParser()
    return [pair for chunk in chunks for pair in parser.feed(chunk)]


class Chunks(httpx.SyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Any:
        yield from self._chunks


def theirs(chunks: Sequence[bytes]) -> list[Pair]:
    """What httpx-sse reads, without its events that have no data."""
    head = {"content-type": "text/event-stream; charset=utf-8"}
    response = httpx.Response(200, headers=head, stream=Chunks(chunks))
    return [(each.event, each.data) for each in EventSource(response).iter_sse() if each.data]


BOM = "\ufeff"
LINES = st.sampled_from(
    [
        *("data", "data:", "data: ", "data:  x", "data: a:b", "data:1", "data: {}", ":", ": ping"),
        *("event: token", "event:done", "event", "event: ", "id: 1", "id", "id: a\0b", "retry: 5"),
        *("retry: x", "", "", "", " data: 1", "DATA: 1", "data : 1", "\u2028data: 1", "data\0: 1"),
        *("data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", "data: \U0001f600\u4e2d", f"{BOM}data: 1"),
    ]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r", "\r\n\r\n", "\n\r", "\r\r\n"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def soups(draw: st.DrawFn) -> bytes:
    """Streams that are UTF-8 and begin with no byte order mark, but are else anything."""
    pieces = draw(st.lists(st.tuples(LINES | TEXTS, ENDS), max_size=14))
    text = "".join(line + end for line, end in pieces) + draw(st.sampled_from(["", "data: cut"]))
    return text.lstrip(BOM).encode()


@st.composite
def cut(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    if draw(st.booleans()):
        return [raw[place : place + 1] for place in range(len(raw))]
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@given(soups(), st.data())
def test_both_read_the_same_events(raw: bytes, data: Any) -> None:
    expected = theirs([raw])
    assert parsed([raw]) == expected
    chunks = data.draw(cut(raw))
    assert parsed(chunks) == expected
    assert theirs([chunk for chunk in chunks if chunk]) == expected


def event_of(raw: bytes) -> list[Event | str]:
    decoder: EventDecoder = EventDecoder(Answer[None](Kind.RUN, 200))
    events: list[Event | str] = []
    try:
        events += decoder.feed(raw)
        events.append(decoder.end())
    except StewrdError as error:
        events.append(error.message)
    return events


@given(st.binary(max_size=300) | soups())
def test_whatever_comes_ends_in_events_or_in_an_error_of_ours(raw: bytes) -> None:
    last = event_of(raw)[-1]
    assert isinstance(last, Done) or str(last).startswith(("The stream", "The data", "An event"))


# -- where they differ -----------------------------------------------------------------


def test_a_byte_order_mark_belongs_to_no_field() -> None:
    raw = f"{BOM}data: 1\n\n".encode()
    assert parsed([raw]) == [("message", "1")]
    assert parsed([raw[:1], raw[1:2], raw[2:]]) == [("message", "1")]
    assert theirs([raw]) == []


def test_bytes_that_are_not_utf_8_are_not_guessed() -> None:
    raw = b"data: \xff\n\n"
    with pytest.raises(MalformedResponseError, match="not UTF-8"):
        parsed([raw])
    assert theirs([raw]) == [("message", "\ufffd")]


def test_a_cr_ends_its_line_at_once() -> None:
    parser = EventParser()
    assert list(parser.feed(b"data: 1\r\r")) == [("message", "1")]
    assert list(parser.feed(b"\ndata: 2\n\n")) == [("message", "2")], "the LF was that CR's"


@pytest.mark.parametrize("raw", [b"id: 1\n\n", b"retry: 5\n\n", b"event: x\n\n", b"data:\n\n"])
def test_without_data_there_is_no_event(raw: bytes) -> None:
    assert parsed([raw]) == []
    head = {"content-type": "text/event-stream"}
    response = httpx.Response(200, headers=head, stream=Chunks([raw]))
    assert len(list(EventSource(response).iter_sse())) == 1


# -- sizes -----------------------------------------------------------------------------

BLOCK = 2**16
ENDLESS = {
    "a line": (b"", b"x" * BLOCK, MAX_EVENT),
    "a comment": (b":", b"x" * BLOCK, MAX_EVENT),
    "a field's name": (b"event: ", b"x" * BLOCK, MAX_EVENT),
    "data": (b"", (b"data: " + b"x" * 58 + b"\n") * 1024, MAX_EVENT),
    "comments": (b"", (b": " + b"x" * 61 + b"\n") * 1024, MAX_IDLE),
    "blank lines": (b"", b"\n" * BLOCK, MAX_IDLE),
    "blank lines of CR": (b"", b"\r\n" * (BLOCK // 2), MAX_IDLE),
    "unknown fields": (b"", (b"x" * 63 + b"\n") * 1024, MAX_IDLE),
    "empty events": (b"", b"data:\n\n" * (BLOCK // 7), MAX_IDLE),
    "names of events": (b"", b"event:x\n" * (BLOCK // 8), MAX_IDLE),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused(kind: str) -> None:
    start, block, limit = ENDLESS[kind]
    parser, sent = EventParser(), 0
    list(parser.feed(start))
    with pytest.raises(MalformedResponseError, match=rf"over {limit} bytes") as caught:
        while sent <= 2 * limit:
            sent += len(block)
            list(parser.feed(block))
    assert caught.value.charged == "likely"
    assert caught.value.__context__ is None


def test_events_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_STREAM == 64 * 2**20
    monkeypatch.setattr(ours, "MAX_STREAM", 2**20)
    decoder: EventDecoder = EventDecoder(Answer[None](Kind.RUN, 200))
    block, count = event("token", {"text": "ab"}) * 100, 0
    with pytest.raises(MalformedResponseError, match="The stream is over"):
        while count < 2**20:
            count += len(list(decoder.feed(block)))
    assert count * len(block) // 100 <= 2**20


def test_comments_between_events_begin_anew_with_each() -> None:
    parser = EventParser()
    padding = (b": " + b"x" * 1021 + b"\n") * 64
    for _ in range(3):
        for _ in range(MAX_IDLE // len(padding) - 2):
            assert list(parser.feed(padding)) == []
        assert list(parser.feed(b"data: 1\n\n")) == [("message", "1")]


def test_a_chunk_that_was_packed_well_takes_no_more_than_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A packed chunk may unpack to thousands of times its size, all of it tiny lines."""
    monkeypatch.setattr(ours, "MAX_IDLE", 2**16)
    chunk = b"ab\n" * 2**21
    parser = EventParser()
    tracemalloc.start()
    with pytest.raises(MalformedResponseError):
        list(parser.feed(chunk))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(chunk) // 2


@pytest.mark.parametrize("kind", ["a line", "comments", "blank lines", "data"])
def test_over_a_socket_the_connection_is_closed(
    raw_server: RawServer, stream: Way, kind: str
) -> None:
    start, block, limit = ENDLESS[kind]
    blocks: list[Action] = [block] * (limit // len(block) + 2)
    begun = sse(event("token", {"text": "a"}), start or b"\n")[:-1]
    raw_server.script([*begun, *blocks, HANG])
    into: list[Event] = []
    with pytest.raises(MalformedResponseError, match="over"):
        stream.go(raw_server.url, into)
    assert len(into) == 1, "what came before was handed out"
    assert raw_server.left.wait(10)


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd", "compress", "gzip,deflate"])
@pytest.mark.parametrize("media", ["application/json", "text/event-stream"])
def test_odd_packings_are_refused_unread(
    raw_server: RawServer, way: Way, packing: str, media: str
) -> None:
    bomb = gzip.compress(gzip.compress(b" " * 2**20))
    raw_server.script(answer(200, bomb, content_type=media, content_encoding=packing))
    with pytest.raises(MalformedResponseError, match="packed in a way") as caught:
        way.go(raw_server.url)
    assert caught.value.charged == "likely"
    assert raw_server.requests[0].headers["accept-encoding"] == "gzip, deflate"


def test_a_refusal_that_is_packed_oddly_is_a_refusal(raw_server: RawServer, way: Way) -> None:
    raw_server.script(answer(401, b"x", content_encoding="br"))
    with pytest.raises(APIStatusError, match="HTTP 401"):
        way.go(raw_server.url)


def test_a_usual_packing_is_unpacked(raw_server: RawServer, stream: Way) -> None:
    packed = gzip.compress(b"".join(STREAM))
    head = sse(content_type="text/event-stream\r\nContent-Encoding: gzip")[0]
    raw_server.script([head, *(packed[i : i + 7] for i in range(0, len(packed), 7)), "cut"])
    assert stream.go(raw_server.url).message == "Hello."


def test_a_packing_of_the_users_own_choice_is_asked_for(raw_server: RawServer, way: Way) -> None:
    raw_server.script(answer(401))
    with pytest.raises(APIStatusError, match="HTTP 401"):
        way.go(raw_server.url, default_headers={"accept-encoding": "identity"})
    assert raw_server.requests[0].headers["accept-encoding"] == "identity"


def test_slow_bytes_end_with_the_deadline(raw_server: RawServer, stream: Way) -> None:
    drops: list[Action] = [0.02, b":"] * 900
    raw_server.script(sse(*drops))
    with pytest.raises(TimedOutError, match="not complete within"):
        stream.go(raw_server.url, timeout=1.0)
    assert raw_server.left.wait(10)


async def test_their_own_way_to_connect_reads_ours_too(raw_server: RawServer) -> None:
    """The very bytes that our clients are tested with are a stream to others as well."""
    raw_server.script(sse(*STREAM))
    with httpx.Client() as http, connect_sse(http, "POST", raw_server.url) as source:
        sync = [(each.event, each.data) for each in source.iter_sse()]
    async with httpx.AsyncClient() as other, aconnect_sse(other, "POST", raw_server.url) as their:
        assert [(each.event, each.data) async for each in their.aiter_sse()] == sync
    assert parsed([b"".join(STREAM)]) == sync
