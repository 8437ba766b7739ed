"""The name that a memory leaves counts within the engine that asked, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import StewrdError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.llama_index.pending import leave

from ..conftest import system, told, user
from .talking import Memories, answer, in_an_engine, span

BARE = PromptTemplate("{text}")


@pytest.fixture(autouse=True)
def _own_context() -> None:
    leave(None)


def used(memory: StewrdMemory) -> int:
    """How many messages the memory's session holds."""
    return memory.session.messages_used if memory.session else 0


@in_an_engine
def hand_out(memory: StewrdMemory, text: str) -> None:
    """An engine that streams asks its memory, and calls the model elsewhere and later."""
    memory.get(input=text)


@in_an_engine
def answered(llm: StewrdLLM, text: str) -> str:
    """An engine with another memory."""
    return llm.predict(ChatPromptTemplate([system("My PIN is 4711."), user(text)]))


def test_whoever_comes_next_in_a_thread_does_not_take_it(
    llm: StewrdLLM, memory: StewrdMemory
) -> None:
    hand_out(memory, "Hi")
    answered(llm, "Hi")
    llm.chat([system(""), user("Hi")])
    assert memory.session is None


async def test_whoever_comes_next_in_a_task_does_not_take_it(
    llm: StewrdLLM, memory: StewrdMemory
) -> None:
    @in_an_engine
    async def stream() -> asyncio.Task[None]:
        await memory.aget(input="Hi")
        return asyncio.create_task(Writing().awrite_response_to_history(memory))

    class Writing(StreamingAgentChatResponse):
        @span
        async def awrite_response_to_history(self, *_: Any) -> None:
            await go.wait()
            await llm.apredict(BARE, text="Hi")

    go = asyncio.Event()
    written = await stream()
    answered(llm, "Hi")
    assert memory.session is None
    go.set()
    await written
    assert used(memory) == 2, "the stream itself has its turn"


def test_outside_of_any_span_nothing_is_left(llm: StewrdLLM, memory: StewrdMemory) -> None:
    memory.get(input="Hi")
    llm.chat([user("Hi")])
    assert memory.session is None


@in_an_engine
def test_a_session_that_another_call_took_is_not_gone_on_with(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    """Should one find a way all the same, its words are never shown to the conversation."""
    memory.get(input="Hi")
    first = llm.predict(ChatPromptTemplate([system("My PIN is 4711."), user("Hi")]))
    assert llm.predict(BARE, text="Hi") == first
    memory.put(user("Hi"))
    memory.put(answer(first))
    assert memory.session is None
    for text in ("And?", "So?"):
        llm.chat([*memory.get(), user(text)])
        assert "4711" not in str(emulator.runs[-1].conversation)


def test_a_message_that_was_edited_after_its_turn_is_an_edit(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    memory.put(user("My name is Ada."))
    shown = memory.get()
    shown.append(llm.chat(shown).message)
    shown[0].blocks = user("My name is Eve.").blocks
    response = llm.chat([*shown, user("What is my name?")])
    assert response.message.content == "Your name is Eve."
    assert told(response)["turn"] == "replayed"


@in_an_engine
def test_another_tenant_is_refused_at_the_first_turn(
    emulator: Emulator, make: Callable[..., StewrdLLM], memories: Memories
) -> None:
    memory = memories("chat", tenant="ada")
    memory.get(input="Hi")
    with pytest.raises(StewrdError, match="tenant"):
        make(tenant="bo").predict(BARE, text="Hi")
    assert not emulator.requests


def test_what_is_wrong_is_no_value_error_for_synthesizers(
    emulator: Emulator, llm: StewrdLLM
) -> None:
    with pytest.raises(StewrdError, match="100,000") as raised:
        llm.predict(BARE, text="x" * 100_001)
    assert not isinstance(raised.value, ValueError)
    assert not emulator.requests


@in_an_engine
def test_another_engine_within_does_not_take_it(llm: StewrdLLM, memory: StewrdMemory) -> None:
    """A retriever that asks another engine, say, with the words of the user."""
    memory.get(input="Hi")
    in_an_engine(answered)(llm, "Hi")
    assert memory.session is None
    llm.predict(BARE, text="Hi")
    assert used(memory) == 2


def test_what_an_engine_began_does_not_take_it_later(llm: StewrdLLM, memory: StewrdMemory) -> None:
    """A worker that was started within a turn has its context for ever."""

    @in_an_engine
    def turn() -> contextvars.Context:
        memory.get(input="Hi")
        return contextvars.copy_context()

    turn().run(llm.chat, [user("Hi")])
    assert memory.session is None
