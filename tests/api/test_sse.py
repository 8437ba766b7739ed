"""The parser of server-sent events: by table, by fuzz, and against httpx-sse."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.api.events import EventDecoder
from stewrd_integrations.api.requests import Kind
from stewrd_integrations.api.responses import Answer
from stewrd_integrations.api.sse import MAX_EVENT, EventParser
from stewrd_integrations.errors import MalformedResponseError
from stewrd_integrations.types import Token, ToolEnd

Pair = tuple[str, str]


def parse(*chunks: bytes) -> list[Pair]:
    parser = EventParser()
    return [pair for chunk in chunks for pair in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("event: a\ndata: 1\n\n", [("a", "1")]),
        ("event: a\r\ndata: 1\r\n\r\n", [("a", "1")]),
        ("event: a\rdata: 1\r\r", [("a", "1")]),
        ("event: a\rdata: 1\n\r\n", [("a", "1")]),
        ("data: 1\n\ndata: 2\n\n", [("message", "1"), ("message", "2")]),
        ("event:a\ndata:1\n\n", [("a", "1")]),
        ("event:  a\ndata:  1\n\n", [(" a", " 1")]),
        ("event: a\ndata:  1\r\n\r\n", [("a", " 1")]),
        ("event: a\ndata: \n\n", []),
        (
            "event: a\ndata: 1\n\nevent: b\ndata: 2\n\ndata: 3\n\n",
            [("a", "1"), ("b", "2"), ("message", "3")],
        ),
        ("event: a\ndata: 1\n\nevent: b\ndata: 2\n", [("a", "1")]),
        ("event: a\ndata: 1\ndata: 2\n\nevent: b\ndata: 3\n\n", [("a", "1\n2"), ("b", "3")]),
        ("data: 1\ndata: 2\n\n", [("message", "1\n2")]),
        ("data\ndata: 2\n\n", [("message", "\n2")]),
        ("data: a: b\n\n", [("message", "a: b")]),
        (": comment\n\n: more\ndata: 1\n:\n\n", [("message", "1")]),
        ("id: 1\nretry: 5\n\n: ping\n\n: ping\n\n", []),
        ("event: a\n\ndata: 1\n\n", [("message", "1")]),
        ("event: a\ndata:\n\n", []),
        ("event: a\nevent: b\ndata: 1\n\n", [("b", "1")]),
        ("unknown: 1\nDATA: 1\n\n", []),
        ("\ufeffdata: 1\n\n", [("message", "1")]),
        ("\ufeff\ufeffdata: 1\n\n", []),
        ("\n\n\n", []),
        (
            "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n",
            [("message", "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg")],
        ),
        ("data: 中文 😀\n\n", [("message", "中文 😀")]),
        ("data: 1\n", []),
    ],
)
def test_a_stream_in_one_piece_and_in_bytes(text: str, events: list[Pair]) -> None:
    raw = text.encode()
    assert parse(raw) == events
    assert parse(*(raw[i : i + 1] for i in range(len(raw)))) == events
    first = b"data: 0\n\n"
    if not text.startswith("\ufeff"):  # which is none after the beginning
        assert parse(first, raw) == parse(first + raw) == [("message", "0"), *events]


def test_an_event_is_there_before_the_next_byte() -> None:
    assert parse(b"data: 1\r\r") == [("message", "1")]
    assert parse(b"data: 1\r", b"\n", b"", b"\r", b"\n", b"data: 2\n\n") == [
        ("message", "1"),
        ("message", "2"),
    ]


@pytest.mark.parametrize("raw", [b"data: \xff\n", b": \xc3\n", b"data: \xed\xa0\x80\n"])
def test_bytes_that_are_not_utf_8(raw: bytes) -> None:
    with pytest.raises(MalformedResponseError, match="UTF-8") as caught:
        parse(raw)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("line", [b"data: ", b"", b"x"])
def test_a_line_without_end(line: bytes) -> None:
    with pytest.raises(MalformedResponseError, match="over 1048576 bytes"):
        parse(line, *[b"x" * 65_536] * 17)


def test_an_event_that_is_too_long_in_a_chunk_of_its_own() -> None:
    event = b"event: token\ndata: %s\n\n" % (b"x" * MAX_EVENT)
    with pytest.raises(MalformedResponseError, match="over 1048576 bytes"):
        parse(b"data: 0\n\n", event)


def test_an_event_of_many_lines() -> None:
    lines = [b"data: " + b"x" * 1000 + b"\n"]
    assert len(parse(*lines * 1000, b"\n")) == 1
    with pytest.raises(MalformedResponseError):
        parse(*lines * 1100)


def test_comments_do_not_add_up() -> None:
    assert parse(*[b": " + b"x" * 60_000 + b"\n"] * 20, b"data: 1\n\n") == [("message", "1")]
    assert MAX_EVENT == 1024 * 1024
    comment, event = b": " + b"x" * 60_000 + b"\n", b"event: a\ndata: 1\n\n"
    assert parse(b"data: 0\n\n", *[comment, event] * 80)[1:] == [("a", "1")] * 80


@pytest.mark.parametrize(
    ("raw", "rest"),
    [
        (b"", ("", "")),
        (b"event: done\ndata: {}\n", ("done", "{}")),
        (b"event: done\ndata: {}", ("done", "{}")),
        (b"event: done\ndata: {\ndata: }", ("done", "{\n}")),
        (b"event: done\ndata: {}\n\n", ("", "")),
        (b"event: done\ndata: \xe4\xb8", ("done", "")),
    ],
)
def test_what_the_end_cut_off(raw: bytes, rest: Pair) -> None:
    parser = EventParser()
    list(parser.feed(raw))
    assert parser.rest() == rest


NAMES = st.sampled_from(["token", "done", "tool_start", "x"])
VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
EVENTS = st.lists(st.tuples(NAMES, st.lists(VALUES, min_size=1, max_size=3)), max_size=5)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Pair]]:
    lines: list[str] = []
    events = draw(EVENTS)
    for name, values in events:
        lines += draw(st.sampled_from([[], [": ping"], ["retry: 5"]]))
        lines += [f"event: {name}", *(f"data: {value}" for value in values), ""]
    end = draw(ENDS)
    text = "".join(line + end for line in lines)
    return text.encode(), [(name, "\n".join(values)) for name, values in events]


@st.composite
def chunked(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@given(st.data())
def test_chunks_make_no_difference(data: Any) -> None:
    raw, events = data.draw(streams())
    assert parse(*data.draw(chunked(raw))) == events


@given(st.data(), st.binary(max_size=200))
def test_any_bytes_in_any_chunks(data: Any, raw: bytes) -> None:
    assert _outcome([raw]) == _outcome(data.draw(chunked(raw)))


PARTS = (
    "event: ",
    "token",
    "data: ",
    "data:",
    '{"text": 1}',
    " ",
    ":",
    "x",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
)
LINES = st.lists(st.sampled_from([*map(str.encode, PARTS), b"\xff"]), max_size=20).map(b"".join)


@given(st.data(), st.lists(LINES | st.just(b"event: token\ndata: {}\n\n"), max_size=6))
def test_events_in_chunks_of_their_own(data: Any, events: list[bytes]) -> None:
    first, raw = b"data: 0\n\n", b"".join(events)
    whole = _outcome([first + raw])
    assert _outcome([first, *events]) == whole
    assert _outcome([first, *data.draw(chunked(raw))]) == whole


@pytest.mark.parametrize("begun", [b"event: a\n", b"data: 1\n", b"da", b": 1\n", b"\r"])
def test_an_event_in_a_chunk_of_its_own_after_the_beginning_of_another(begun: bytes) -> None:
    chunks = [b"data: 0\n\n", begun, b"event: token\ndata: {}\n\n", b"\n", b"data: 2\n\n"]
    assert parse(*chunks) == parse(b"".join(chunks))


def _outcome(chunks: list[bytes]) -> tuple[list[Pair], bool]:
    parser, events = EventParser(), []
    try:
        for chunk in chunks:
            for pair in parser.feed(chunk):
                events.append(pair)
    except MalformedResponseError:
        return events, True
    return events, False


@given(streams())
def test_httpx_sse_reads_the_same(stream: tuple[bytes, list[Pair]]) -> None:
    raw, _ = stream
    lines, decoder = SSELineDecoder(), SSEDecoder()
    text = raw.decode()
    theirs = [
        decoder.decode(line) for line in [*(lines.decode(text) if text else []), *lines.flush()]
    ]
    # Theirs also reports an event for a lone retry, which has no data.
    assert parse(raw) == [(e.event, e.data) for e in theirs if e is not None and e.data]


def test_a_character_that_is_parted_between_tokens() -> None:
    decoder: EventDecoder = EventDecoder(Answer[None](Kind.RUN, 200))
    events = [*decoder.feed(b'event: token\ndata: {"text": "a\\ud83d"}\n\n')]
    events += decoder.feed(b'event: token\ndata: {"text": "\\ude00b"}\n\n')
    events += decoder.feed(b'event: token\ndata: {"text": "\\udc00"}\n\n')
    events += decoder.feed(b'event: token\ndata: {"text": "\\ud83d"}\n\n')
    events += decoder.feed(b'event: token\ndata: {"text": "c"}\n\n')
    assert events == [Token("a"), Token("\U0001f600b"), Token("\ufffd"), Token("\ufffdc")]


def test_what_came_before_an_error_is_handed_out_and_leaves_no_trace() -> None:
    decoder: EventDecoder = EventDecoder(Answer[None](Kind.RUN, 200))
    said = b'event: token\ndata: {"text": "secret"}\n\n'
    events = decoder.feed(said + b'event: tool_end\ndata: {"tool": "secret"}\n\n' + said[:-4])
    assert next(events) == Token("secret")
    assert list(events) == [ToolEnd("secret")]
    events = decoder.feed(b'"}\n\nevent: token\ndata: [\n\n')
    assert next(events) == Token("secret")
    with pytest.raises(MalformedResponseError, match="token event") as caught:
        next(events)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = repr([{**frame.f_locals, "events": None} for frame in frames[1:]])
    assert len(frames) == 2
    assert "secret" not in shown
