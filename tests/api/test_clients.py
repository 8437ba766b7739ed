"""Both clients over a real socket: what goes out, what comes in, and what is left open."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient
from stewrd_integrations.api.responses import LONGEST_BODY
from stewrd_integrations.errors import (
    ConfigurationError,
    EmptyAnswerError,
    InvalidInputError,
    MalformedResponseError,
    NeverSentError,
    StewrdError,
    TimedOutError,
)
from stewrd_integrations.types import (
    AgentRequest,
    Done,
    File,
    Reply,
    Session,
    Token,
    Tool,
    ToolEnd,
    ToolOutput,
    ToolStart,
    Usage,
)

from .conftest import KEY, Way, without_jitter
from .wire import CUT, HANG, REPLY, RESET, STREAM, Action, RawServer, answer, event, sse

TOOL = Tool("add", "Adds.", {"type": "object"})


def test_what_goes_out(raw_server: RawServer, way: Way) -> None:
    raw_server.script(sse(*STREAM) if way.streamed else answer(200, REPLY))
    assert way.go(raw_server.url, default_headers={"X-Trace": "1"}).message == "Hello."
    [request] = raw_server.requests
    assert request.method == "POST"
    assert request.path == ("/v1/sessions/sess-1/messages" if way.in_session else "/v1/agent")
    assert request.json == (
        {"message": "hi", "stream": True} if way.streamed else {"message": "hi"}
    )
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"].startswith(
        "text/event-stream" if way.streamed else "application/json"
    )
    assert request.headers["user-agent"].startswith("stewrd-integrations/")
    assert request.headers["x-trace"] == "1"


def test_sessions(raw_server: RawServer, colour: Any) -> None:
    raw_server.script(answer(201, {"id": "s-1", "object": "session", "status": "active"}))
    assert colour.call(raw_server.url, "create_session") == Session("s-1")
    [request] = raw_server.requests
    assert (request.path, request.body) == ("/v1/sessions", b"")


def test_tools_and_files(raw_server: RawServer, colour: Any) -> None:
    calls = [{"id": "c1", "name": "add", "arguments": {"a": 1}}]
    asking = {"id": "r1", "tool_calls": calls, "_compute_instance": "i=1"}
    raw_server.script(answer(200, asking), answer(200, REPLY))
    files = [File("a.txt", "x")]
    reply = colour.call(
        raw_server.url, "run_agent", "hi", capabilities=["chat"], files=files, tools=[TOOL]
    )
    outputs = [ToolOutput("c1", "4")]
    last = colour.call(
        raw_server.url,
        "submit_tool_outputs",
        reply.id,
        outputs,
        compute_instance=reply.compute_instance,
    )
    assert last.message == "Hello."
    assert raw_server.requests[0].json["files"] == [{"name": "a.txt", "content": "x"}]
    assert raw_server.requests[1].path == "/v1/agent/r1/tool-outputs"
    assert raw_server.requests[1].json["_compute_instance"] == "i=1"


def test_perform_and_stream(raw_server: RawServer, colour: Any) -> None:
    raw_server.script(answer(200, REPLY), sse(*STREAM))
    request = AgentRequest("hi", ("chat",))
    assert colour.call(raw_server.url, "perform", request, session_id=None).id == "req-1"
    events: list[Any] = []
    colour.listen(raw_server.url, "stream", request, session_id="s1", into=events)
    assert [r.path for r in raw_server.requests] == ["/v1/agent", "/v1/sessions/s1/messages"]
    assert events == [
        Token("Hel"),
        ToolStart("research", "Searching…"),
        ToolEnd("research"),
        Token("lo."),
        Done(Reply(id="req-1", message="Hello.", usage=Usage(tokens=12))),
    ]


@pytest.mark.parametrize(
    ("done", "reply"),
    [
        ({"request_id": "r", "duration_ms": 5}, Reply(id="r", message="Hel", duration_ms=5)),
        (
            {"message": "x", "usage": {"credits_this_request": 1}},
            Reply(message="x", usage=Usage(credits=1)),
        ),
        (
            {"response": {"id": "r", "message": "x"}, "usage": {"tokens_used": 2}},
            Reply(id="r", message="x", usage=Usage(tokens=2)),
        ),
        ({"message": ""}, Reply(message="Hel")),
    ],
)
def test_the_shapes_of_done(raw_server: RawServer, stream: Way, done: Any, reply: Reply) -> None:
    noise = event("new", {}) + event("token", {}) + event("tool_start", {}) + b"data: [DONE]\n\n"
    raw_server.script(sse(STREAM[0], noise, event("done", done), event("error", {"code": "late"})))
    assert stream.go(raw_server.url) == reply


@pytest.mark.parametrize("done", [{"message": ""}, {"message": " \n"}, {}])
def test_a_stream_of_nothing_is_no_answer(raw_server: RawServer, stream: Way, done: Any) -> None:
    raw_server.script(sse(event("done", {"request_id": "r", **done})))
    with pytest.raises(EmptyAnswerError):
        stream.go(raw_server.url)


def test_json_that_answers_a_stream(raw_server: RawServer, stream: Way) -> None:
    files = [{"name": "a.csv"}]
    raw_server.script(answer(200, REPLY), answer(200, {**REPLY, "message": "", "files": files}))
    events: list[Any] = []
    stream.go(raw_server.url, into=events)
    assert [type(e) for e in events] == [Token, Done]
    events.clear()
    stream.go(raw_server.url, into=events)
    assert [type(e) for e in events] == [Done]


def test_chunks_cut_anywhere(raw_server: RawServer, stream: Way) -> None:
    raw = event("token", {"text": "é中😀"}) + b"".join(STREAM)
    raw = raw.replace(b"\\u00e9", "é".encode()).replace(b"\n", b"\r\n")
    pieces: list[Any] = [raw[i : i + 7] for i in range(0, len(raw), 7)]
    raw_server.script(sse(*pieces))
    assert stream.go(raw_server.url).message == "Hello."


def test_wrong_input_is_refused_before_the_stream_begins() -> None:
    for client in (StewrdClient(api_key=KEY), AsyncStewrdClient(api_key=KEY)):
        with pytest.raises(InvalidInputError):
            client.stream_agent("")
        with pytest.raises(InvalidInputError):
            client.stream(AgentRequest("hi", tools=(TOOL,)))


# What is left open


def test_an_abandoned_stream_is_closed_at_once(raw_server: RawServer) -> None:
    raw_server.script([*sse(STREAM[0])[:-1], HANG])
    with StewrdClient(api_key=KEY, base_url=raw_server.url) as client:
        events = client.stream_agent("hi")
        assert next(iter(events)) == Token("Hel")
        events.close()
        assert raw_server.left.wait(2)
        assert list(events) == []


async def test_an_abandoned_async_stream_is_closed_at_once(raw_server: RawServer) -> None:
    raw_server.script([*sse(STREAM[0])[:-1], HANG])
    async with AsyncStewrdClient(api_key=KEY, base_url=raw_server.url) as client:
        events = client.stream_message("s1", "hi")
        assert await events.__aiter__().__anext__() == Token("Hel")
        await events.aclose()
        assert await asyncio.to_thread(raw_server.left.wait, 2)


DRIP: list[Action] = [0.05, b" "] * 9
LATE: list[Action] = [b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *DRIP, HANG]


def test_every_response_is_closed(raw_server: RawServer) -> None:
    """By us, and not by the garbage collector: the hook keeps the responses alive."""
    seen: list[httpx.Response] = []
    own = httpx.Client(event_hooks={"response": [seen.append]})
    raw_server.script([*sse(*STREAM)[:-1], HANG], LATE)
    client = StewrdClient(api_key=KEY, base_url=raw_server.url, http_client=own, timeout=0.2)
    events = client.stream_agent("hi")
    next(events)
    events.close()
    with pytest.raises(TimedOutError):
        client.run_agent("hi")
    assert [response.is_closed for response in seen] == [True, True]
    own.close()


async def test_every_async_response_is_closed(raw_server: RawServer) -> None:
    seen: list[httpx.Response] = []

    async def keep(response: httpx.Response) -> None:
        seen.append(response)

    raw_server.script([*sse(*STREAM)[:-1], HANG], LATE)
    async with httpx.AsyncClient(event_hooks={"response": [keep]}) as own:
        client = AsyncStewrdClient(
            api_key=KEY, base_url=raw_server.url, http_async_client=own, timeout=0.2
        )
        events = client.stream_agent("hi")
        await events.__anext__()
        await events.aclose()
        with pytest.raises(TimedOutError):
            await client.run_agent("hi")
    assert [response.is_closed for response in seen] == [True, True]


@pytest.mark.parametrize("name", ["run_agent", "stream_agent"])
async def test_cancelling_closes_the_response(raw_server: RawServer, name: str) -> None:
    raw_server.script([*sse(STREAM[0])[:-1], HANG])
    async with AsyncStewrdClient(api_key=KEY, base_url=raw_server.url) as client:

        async def run() -> None:
            if name == "run_agent":
                await client.run_agent("hi")
            else:
                async for _ in client.stream_agent("hi"):
                    pass

        task = asyncio.create_task(run())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(raw_server.left.wait, 2)
        raw_server.script(answer(200, REPLY), answer(200, REPLY))
    assert len(raw_server.requests) == 1


async def test_many_async_calls_share_a_loop(raw_server: RawServer) -> None:
    raw_server.script([0.05, *answer(200, REPLY)])
    async with AsyncStewrdClient(api_key=KEY, base_url=raw_server.url) as client:
        replies = await asyncio.gather(*(client.run_agent("hi") for _ in range(20)))
    assert {reply.message for reply in replies} == {"Hello."}


def test_connections_are_kept(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY))
    with StewrdClient(api_key=KEY, base_url=raw_server.url) as client:
        client.run_agent("hi")
        client.run_agent("hi")
    assert raw_server.connections == 1


def test_a_closed_client() -> None:
    client = StewrdClient(api_key=KEY)
    client.close()
    client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        client.run_agent("hi")


async def test_a_closed_async_client() -> None:
    client = AsyncStewrdClient(api_key=KEY)
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.run_agent("hi")


# A client of the user's own


def test_own_http_client_is_used_and_never_closed(raw_server: RawServer) -> None:
    raw_server.script(answer(302, location="/x"), answer(200, REPLY))
    own = httpx.Client(headers={"X-Own": "1"}, follow_redirects=True, auth=("user", "password"))
    with StewrdClient(api_key=KEY, base_url=raw_server.url, http_client=own) as client:
        with pytest.raises(StewrdError, match="never followed"):
            client.run_agent("hi")
        assert client.run_agent("hi").message == "Hello."
    assert not own.is_closed
    own.close()
    assert raw_server.requests[0].headers["x-own"] == "1"
    assert raw_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(ConfigurationError, match="http_client"):
        StewrdClient(api_key=KEY, base_url=raw_server.url, http_client=own).run_agent("hi")


async def test_own_async_http_client(raw_server: RawServer) -> None:
    raw_server.script(answer(302, location="/x"), answer(200, REPLY))
    async with httpx.AsyncClient(headers={"X-Own": "1"}, follow_redirects=True) as own:
        async with AsyncStewrdClient(
            api_key=KEY, base_url=raw_server.url, http_async_client=own
        ) as client:
            with pytest.raises(StewrdError, match="never followed"):
                await client.run_agent("hi")
            await client.run_agent("hi")
        assert not own.is_closed
    assert raw_server.requests[0].headers["x-own"] == "1"
    with pytest.raises(ConfigurationError, match="http_async_client"):
        await AsyncStewrdClient(api_key=KEY, http_async_client=own).run_agent("hi")


def test_the_wrong_kind_of_http_client() -> None:
    with pytest.raises(ConfigurationError):
        StewrdClient(api_key=KEY, http_client=httpx.AsyncClient())  # type: ignore[arg-type]  # so
    with pytest.raises(ConfigurationError):
        AsyncStewrdClient(api_key=KEY, http_async_client=httpx.Client())  # type: ignore[arg-type]  # so


@pytest.mark.parametrize(
    ("error", "expected", "sent", "count"),
    [
        (httpx.ConnectTimeout, NeverSentError, False, 3),
        (httpx.PoolTimeout, NeverSentError, False, 3),
        (httpx.UnsupportedProtocol, ConfigurationError, False, 1),
        (httpx.LocalProtocolError, ConfigurationError, False, 1),
        (httpx.InvalidURL, ConfigurationError, False, 1),
        (httpx.WriteTimeout, TimedOutError, True, 1),
        (httpx.ProxyError, NeverSentError, False, 3),
    ],
)
def test_errors_no_server_can_cause(error: Any, expected: Any, sent: bool, count: int) -> None:
    seen = []

    def fail(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        raise error(f"Bearer {KEY}")

    own = httpx.Client(transport=httpx.MockTransport(fail))
    client = without_jitter(StewrdClient(api_key=KEY, http_client=own))
    with pytest.raises(expected, match=error.__name__) as caught:
        client.run_agent("hi")
    assert (caught.value.sent, len(seen)) == (sent, count)
    assert_no_key(caught.value)


# Settings


def test_names_derived_from_the_key() -> None:
    one, two = StewrdClient(api_key=KEY), AsyncStewrdClient(api_key=KEY)
    assert (one.project, one.secret) == (two.project, two.secret)
    assert (len(bytes.fromhex(one.project)), len(one.secret)) == (16, 32)
    assert StewrdClient(api_key="other").project != one.project
    assert StewrdClient(api_key="other").secret != one.secret
    elsewhere = StewrdClient(api_key=KEY, base_url="https://x.example")
    assert elsewhere.project != one.project
    keys = iter(["a", "b"])
    rotating = StewrdClient(api_key=lambda: next(keys))
    assert rotating.secret != rotating.secret


def test_a_callable_key_is_asked_at_each_request(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY))
    keys = iter(["one", "two", "bad key"])
    with StewrdClient(api_key=lambda: next(keys), base_url=raw_server.url) as client:
        client.run_agent("hi")
        client.run_agent("hi")
        with pytest.raises(ConfigurationError):
            client.run_agent("hi")
    assert [r.headers["authorization"] for r in raw_server.requests] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": "5"},
        {"timeout": True},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"default_headers": {"Authorization": "x"}},
        {"default_headers": {"host": "x"}},
        {"default_headers": {"X Y": "x"}},
        {"default_headers": {"X-Y": "hidden\r\nX: y"}},
        {"default_headers": {"X-Y": "hidden "}},
        {"default_headers": {"X-Y": 7}},
        {"base_url": "http://example.com"},
    ],
)
def test_wrong_options(options: Any) -> None:
    for make in (StewrdClient, AsyncStewrdClient):
        with pytest.raises(ConfigurationError) as caught:
            make(api_key=KEY, **options)
        assert "hidden" not in str(caught.value)


def test_no_limit_of_time(raw_server: RawServer, way: Way) -> None:
    raw_server.script(sse(*STREAM) if way.streamed else answer(200, REPLY))
    assert way.go(raw_server.url, timeout=None).message == "Hello."


# The key


def locals_of(error: BaseException) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals["__name__"].startswith("stewrd_integrations"):
            yield from map(repr, frame.f_locals.values())
            yield from (repr(vars(v)) for v in frame.f_locals.values() if hasattr(v, "__dict__"))


def assert_no_key(error: BaseException, *, echoed: bool = False) -> None:
    assert error.__cause__ is None and error.__context__ is None
    shown = [str(error), repr(error), repr(error.args), repr(vars(error))]
    # Where the server itself sends the key back, the frames that read it hold what it sent.
    shown += [] if echoed else locals_of(error)
    assert not [text for text in shown if KEY in text or "SECRET" in text]


@pytest.mark.parametrize(
    "script",
    [
        answer(401, {"error": {"code": "invalid_api_key", "message": f"no such key: {KEY}"}}),
        answer(200, {"id": KEY, "echo": KEY}),
        answer(200, f"<html>{KEY}".encode()),
        [RESET],
        sse(event("error", {"code": KEY, "message": KEY})),
        sse(f"event: done\ndata: {KEY}\xff\n\n".encode("latin-1")),
        sse(f"event: done\ndata: {KEY}\n\n".encode()),
        sse(STREAM[0]),
        [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n", CUT],
    ],
)
def test_the_key_is_in_no_error_and_no_log(
    raw_server: RawServer, way: Way, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    raw_server.script(script)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger().addHandler(handler)
        with pytest.raises(StewrdError) as caught:
            way.go(raw_server.url)
        logging.getLogger().removeHandler(handler)
    assert raw_server.requests
    assert "httpcore" in caplog.text or "httpx" in caplog.text
    assert KEY not in caplog.text + stream.getvalue()
    assert_no_key(
        caught.value, echoed=any(KEY.encode() in a for a in script if isinstance(a, bytes))
    )


def test_the_key_is_in_no_repr() -> None:
    for client in (StewrdClient(api_key=KEY), AsyncStewrdClient(api_key=KEY)):
        shown = repr(client) + repr(vars(client)) + repr(vars(client._settings))
        assert KEY not in shown
        assert "**********" in repr(client)


def test_the_deadline_of_a_stream_is_our_own(raw_server: RawServer) -> None:
    raw_server.script(sse(STREAM[0], 0.1, *STREAM[1:]))
    now = [0.0]
    with StewrdClient(api_key=KEY, base_url=raw_server.url, timeout=10) as client:
        settings = client._settings
        settings.patience = replace(settings.patience, clock=lambda: now[0])
        events = client.stream_agent("hi")
        assert next(events) == Token("Hel")
        now[0] = 11
        with pytest.raises(TimedOutError):
            next(events)


def test_a_packed_body_does_not_fill_the_memory(raw_server: RawServer, way: Way) -> None:
    packed = gzip.compress(b" " * (LONGEST_BODY + 2**20))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    raw_server.script([head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed])
    with pytest.raises(MalformedResponseError, match="longer than 64 MiB"):
        way.go(raw_server.url)


async def test_early_answers_do_not_keep_a_call_alive(raw_server: RawServer) -> None:
    raw_server.script([b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.1] * 60)
    client = AsyncStewrdClient(api_key=KEY, base_url=raw_server.url, timeout=1.0)
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        await client.run_agent("hello")
    assert time.monotonic() - began < 4
    await client.aclose()
