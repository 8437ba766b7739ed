"""Streams that end before their time: the next turn is right, on another session."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import UnknownOutcomeError
from stewrd_integrations.langchain import ChatStewrd

from .entrances import DIRECT, Say
from .talks import Tokens, talk, until

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:.*version='v1' is deprecated"),
]


def goes_on(stewrd: Emulator, model: ChatStewrd, messages: list[BaseMessage]) -> None:
    """The conversation goes on, on another session, as if nothing had been said."""
    left = stewrd.runs[-1].session_id
    messages = [*messages, HumanMessage("How many messages have I sent?")]
    answer = model.invoke(messages, conversation_id="c")
    assert answer.text == "You have sent me 2 messages, this one included."
    assert answer.response_metadata["road"] == "session"
    assert answer.response_metadata["session_id"] not in (None, left)


def begun(model: ChatStewrd) -> tuple[list[BaseMessage], list[BaseMessage]]:
    messages = talk(model, "My name is Ada.", conversation_id="c")
    return messages, [*messages, HumanMessage("Tell me a long story")]


def test_a_stream_that_is_left(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    chunks: Any = model.stream(more, conversation_id="c")
    next(chunks)
    chunks.close()
    goes_on(stewrd, model, messages)


def test_a_stream_that_is_broken_off(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    for _ in model.stream(more, conversation_id="c"):
        break
    goes_on(stewrd, model, messages)


def test_a_stream_whose_reader_fails(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    with pytest.raises(ZeroDivisionError):
        for _ in model.stream(more, conversation_id="c"):
            raise ZeroDivisionError
    gc.collect()
    goes_on(stewrd, model, messages)


def in_a_circle(chunks: Any) -> None:
    """Only the garbage collector gets at it."""
    circle: list[Any] = [chunks]
    circle.append(circle)


def test_a_stream_that_is_garbage(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    chunks: Any = model.stream(more, conversation_id="c")
    next(chunks)
    in_a_circle(chunks)
    del chunks
    gc.collect()
    goes_on(stewrd, model, messages)


async def test_an_async_stream_that_is_garbage(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    chunks: Any = model.astream(more, conversation_id="c")
    await anext(chunks)
    in_a_circle(chunks)
    del chunks
    gc.collect()
    await asyncio.sleep(0.1)  # its end is a task of the event loop
    goes_on(stewrd, model, messages)


async def test_an_async_stream_that_is_left_ends_at_once(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    messages, more = begun(model)
    chunks: Any = model.astream(more, conversation_id="c")
    await anext(chunks)
    await chunks.aclose()
    goes_on(stewrd, model, messages)  # without a look at the event loop in between


async def test_a_cancelled_task(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    stewrd.fail_next("slow", chunks=2)
    reading = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream(more, conversation_id="c"):
            reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on(stewrd, model, messages)


async def test_a_cancelled_invoke(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    stewrd.fail_next("slow")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(model.ainvoke(more, conversation_id="c"), 0.2)
    goes_on(stewrd, model, messages)


async def test_a_left_v3_stream(stewrd: Emulator, model: ChatStewrd) -> None:
    messages, more = begun(model)
    stewrd.fail_next("slow", chunks=2)
    events = await model.astream_events(more, version="v3", conversation_id="c")
    async for _ in events.text:
        break
    await events.aclose()
    goes_on(stewrd, model, messages)


@pytest.mark.parametrize("say", DIRECT)
async def test_a_stream_that_breaks_off_is_an_error(
    stewrd: Emulator, model: ChatStewrd, say: Say
) -> None:
    messages, more = begun(model)
    stewrd.fail_next("cut", chunks=2)
    tokens = Tokens()
    with pytest.raises(UnknownOutcomeError, match="not repeated"):
        await say(model, more, {"callbacks": [tokens]}, conversation_id="c")
    await until(lambda: tokens.failed)
    assert len(tokens.failed) == 1 and len(stewrd.runs) == 2
    goes_on(stewrd, model, messages)
