"""Streams that go quiet: how long that is borne, and how the conversation goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from stewrd_integrations import AsyncStewrdClient, StewrdClient
from stewrd_integrations.api.calls import STALL, Silence
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, TimedOutError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore
from tests.api.wire import RawServer

KEY = "sk-stw_" + "a" * 24
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
TOKEN = b'event: token\ndata: {"text": "Hi"}\n\n'
DONE = b'event: done\ndata: {"request_id": "r", "message": "Hi"}\n\n'
PING = b": keep-alive\n\n"
SHORT: dict[str, Any] = {"stall_timeout": 0.8}


@pytest.fixture
def stewrd() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


# -- the clients -----------------------------------------------------------------------


def read(url: str, into: list[Any], **options: Any) -> None:
    with (
        StewrdClient(api_key=KEY, base_url=url, **options) as client,
        client.stream_agent("Hi") as events,
    ):
        into.extend(events)


def aread(url: str, into: list[Any], **options: Any) -> None:
    async def main() -> None:
        async with (
            AsyncStewrdClient(api_key=KEY, base_url=url, **options) as client,
            client.stream_agent("Hi") as events,
        ):
            async for event in events:
                into.append(event)

    asyncio.run(main())


COLOURS = pytest.mark.parametrize("listen", [read, aread], ids=["sync", "async"])


@COLOURS
@pytest.mark.parametrize("said", [(HEAD,), (HEAD + TOKEN,), (HEAD + TOKEN, 0.01, PING)])
def test_a_stream_that_falls_silent(
    server: RawServer, listen: Callable[..., None], said: tuple[Any, ...]
) -> None:
    server.script((*said, "hang"))
    events: list[Any] = []
    with pytest.raises(TimedOutError, match=r"silent.*stall_timeout") as caught:
        listen(server.url, events, **SHORT)
    assert (caught.value.charged, caught.value.sent) == ("likely", True)
    assert len(events) == (TOKEN in said[0])
    assert len(server.requests) == 1
    assert server.left.wait(5), "the request was not ended"


@COLOURS
def test_a_server_that_does_not_even_begin(server: RawServer, listen: Callable[..., None]) -> None:
    server.script(("hang",))
    with pytest.raises(TimedOutError) as caught:
        listen(server.url, [], **SHORT)
    assert caught.value.charged == "maybe"
    assert len(server.requests) == 1


@COLOURS
def test_comments_are_nothing_said(server: RawServer, listen: Callable[..., None]) -> None:
    server.script((HEAD + TOKEN, *(0.05, PING) * 80, DONE))
    events: list[Any] = []
    with pytest.raises(TimedOutError, match=r"more than 0\.8 seconds .*kept alive"):
        listen(server.url, events, **SHORT)
    assert len(events) == 1


@COLOURS
@pytest.mark.parametrize(
    "said",
    [b'event: trace\ndata: {"step": "reading"}\n\n', b'event: tool_end\ndata: {"tool": "x"}\n\n'],
)
def test_whatever_else_it_says_is_something(
    server: RawServer, listen: Callable[..., None], said: bytes
) -> None:
    server.script((HEAD, *(0.25, said) * 8, DONE))
    events: list[Any] = []
    listen(server.url, events, stall_timeout=1.5)
    assert events[-1].reply.message == "Hi"


@COLOURS
def test_without_a_limit_only_the_whole_call_has_one(
    server: RawServer, listen: Callable[..., None]
) -> None:
    server.script((HEAD + TOKEN, "hang"), (HEAD, 0.4, PING, 0.1, DONE))
    with pytest.raises(TimedOutError):
        listen(server.url, [], stall_timeout=None, timeout=0.3)
    events: list[Any] = []
    listen(server.url, events, stall_timeout=None, timeout=None)
    assert events[-1].reply.message == "Hi"


def test_time_that_the_caller_takes_is_no_silence(server: RawServer) -> None:
    server.script((HEAD + TOKEN, 0.05, PING, 0.05, TOKEN, 0.05, PING, DONE))
    with (
        StewrdClient(api_key=KEY, base_url=server.url, **SHORT) as client,
        client.stream_agent("Hi") as events,
    ):
        next(events)
        time.sleep(1.2)
        assert next(events).text == "Hi"  # type: ignore[union-attr]  # it is a Token


def test_an_answer_in_one_piece_is_not_a_stream(
    stewrd: Emulator,
) -> None:
    stewrd.fail_next("slow", on="agent", seconds=0.6)
    with StewrdClient(api_key=stewrd.api_key, base_url=stewrd.url, **SHORT) as client:
        assert client.run_agent("Hello").message


def test_silence_begins_anew_with_every_word() -> None:
    now = 0.0
    silence = Silence(10.0, lambda: now)
    for now, chunk, fails in (
        (9.0, PING, False),
        (10.0, PING * 3, False),
        (10.5, b": a\r\n: b\r\n\r\n", True),
        (11.0, PING + TOKEN, False),
        (21.0, PING, False),
        (21.5, b"", True),
    ):
        assert (silence.exceeded(chunk) is not None) == fails, now


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "5", True])
@pytest.mark.parametrize("make", [StewrdClient, AsyncStewrdClient, ChatStewrd, StewrdLLM])
def test_what_is_no_time_is_refused(make: Callable[..., Any], wrong: Any) -> None:
    # pydantic takes "5" and True for numbers, as it does for every option of the models.
    if make in (ChatStewrd, StewrdLLM) and wrong in ("5", True):
        assert make(api_key=KEY, stall_timeout=wrong).stall_timeout == float(wrong)
        return
    with pytest.raises(ConfigurationError, match="stall_timeout"):
        make(api_key=KEY, stall_timeout=wrong)


def test_research_may_take_minutes_between_two_events() -> None:
    assert STALL >= 300
    for make in (ChatStewrd, StewrdLLM):
        assert make(api_key=KEY).stall_timeout == STALL
        assert make(api_key=KEY, stall_timeout=None).stall_timeout is None


# -- the models ------------------------------------------------------------------------

Stream = Callable[[Any, "list[tuple[str, str]]"], str]


def by_langchain(model: Any, messages: list[tuple[str, str]]) -> str:
    return "".join(chunk.text for chunk in model.stream(messages))


def by_langchain_async(model: Any, messages: list[tuple[str, str]]) -> str:
    async def main() -> str:
        try:
            return "".join([chunk.text async for chunk in model.astream(messages)])
        finally:
            await model.aclose()

    return asyncio.run(main())


def _chat(messages: list[tuple[str, str]]) -> list[ChatMessage]:
    return [ChatMessage(role=role, content=text) for role, text in messages]


def by_llama_index(model: Any, messages: list[tuple[str, str]]) -> str:
    return "".join(piece.delta or "" for piece in model.stream_chat(_chat(messages)))


def by_llama_index_async(model: Any, messages: list[tuple[str, str]]) -> str:
    async def main() -> str:
        try:
            pieces: AsyncIterator[Any] = await model.astream_chat(_chat(messages))
            return "".join([piece.delta or "" async for piece in pieces])
        finally:
            await model.aclose()

    return asyncio.run(main())


MODELS = pytest.mark.parametrize(
    ("make", "stream"),
    [
        (ChatStewrd, by_langchain),
        (ChatStewrd, by_langchain_async),
        (StewrdLLM, by_llama_index),
        (StewrdLLM, by_llama_index_async),
    ],
    ids=["LangChain", "LangChain async", "LlamaIndex", "LlamaIndex async"],
)


@MODELS
@pytest.mark.parametrize("after", [0, 3])
def test_the_session_is_given_up_and_the_conversation_goes_on(
    stewrd: Emulator, make: Callable[..., Any], stream: Stream, after: int
) -> None:
    model = make(
        api_key=stewrd.api_key,
        base_url=stewrd.url,
        store=MemoryStore(),
        conversation_id="ada",
        **SHORT,
    )
    messages = [("user", "My name is Ada.")]
    messages += [("assistant", stream(model, messages)), ("user", "What is my name?")]
    first = stewrd.runs[-1].session_id
    stewrd.fail_next("slow", on="message", seconds=30.0, chunks=after)

    with pytest.raises(TimedOutError) as caught:
        stream(model, messages)
    assert (caught.value.charged, caught.value.retryable) == ("likely", False)
    assert len(stewrd.runs) == 2, "it was sent again by itself"

    assert stream(model, messages) == "Your name is Ada."
    last = stewrd.runs[-1]
    assert last.session_id not in (None, first)
    assert [(said.role, said.text) for said in last.conversation.messages] == messages
    assert stewrd.overlaps == []


@MODELS
def test_a_stream_that_says_something_now_and_then_is_borne(
    make: Callable[..., Any], stream: Stream
) -> None:
    with Emulator(chunk_delay=0.25) as stewrd:
        model = make(api_key=stewrd.api_key, base_url=stewrd.url, stall_timeout=1.2)
        assert stream(model, [("user", "My name is Ada.")]) == "Nice to meet you, Ada."
