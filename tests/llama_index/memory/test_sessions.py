"""The session behind a memory: its facts, and what `set` and `reset` make of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from llama_index.core.llms import ChatMessage

from stewrd_integrations.emulator import Answer, Context, Emulator
from stewrd_integrations.emulator.builtin import default_agent
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

from ..conftest import Way, sent, told, user
from .talking import TEXTS, Calls, Make, Memories, answer, say, texts

Old = Sequence[ChatMessage]

# -- its facts -------------------------------------------------------------------------


async def test_the_facts_of_a_session(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory, calls: Calls
) -> None:
    assert await calls.session() is None
    for turn, text in enumerate(TEXTS, 1):
        before = datetime.now(timezone.utc)
        await calls.say(llm, text)
        facts = await calls.session()
        assert facts and [facts.session_id] == list(emulator.sessions)
        assert (facts.messages_used, facts.messages_left) == (2 * turn, 50 - 2 * turn)
        assert timedelta(0) <= facts.idle_deadline - before - timedelta(minutes=30)
        assert facts.idle_deadline <= datetime.now(timezone.utc) + timedelta(minutes=30)
    assert memory.session == await memory.aget_session() == facts


async def test_a_session_that_the_server_has_dropped_gets_a_successor(
    emulator: Emulator, llm: StewrdLLM, calls: Calls
) -> None:
    await calls.say(llm, "My name is Ada.", "Hello")
    first = await calls.session()
    emulator.advance(3_600)
    response = await calls.say(llm, "Who am I?")
    assert response.message.content == "Your name is Ada." and told(response)["turn"] == "recreated"
    second = await calls.session()
    assert first and second and second.session_id != first.session_id
    assert (second.messages_used, second.generation) == (2, 2)


def test_a_session_that_has_been_idle_is_none(
    make: Make, store: MemoryStore, memory: StewrdMemory
) -> None:
    say(make(store=store, idle_timeout=0.2), memory, "Hi")
    time.sleep(0.2)
    assert memory.session is None


def test_a_turn_without_a_session_has_none(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    say(llm, memory, *TEXTS, sessions="never")
    assert memory.session is None and emulator.sessions == {}


def test_a_long_conversation_goes_on_in_another_session(
    make: Make, store: MemoryStore, memory: StewrdMemory
) -> None:
    llm = make(store=store, session_message_limit=4)
    say(llm, memory, "My name is Ada.", "Hello")
    assert memory.session and memory.session.messages_left == 0
    response = say(llm, memory, "Who am I?")
    assert response.message.content == "Your name is Ada."
    assert memory.session.generation == 2 and len(memory.get()) == 6


# -- set -------------------------------------------------------------------------------


async def test_a_list_that_goes_on_keeps_the_session(
    emulator: Emulator, llm: StewrdLLM, calls: Calls, way: Way
) -> None:
    await calls.say(llm, *TEXTS[:2])
    await calls.set(await calls.get())  # as an engine that was given the history does
    await calls.set([*await calls.get_all(), user("My pet is Rex.")])
    response = await way.ask(llm, await calls.get())
    assert told(response)["turn"] == "continued" and sent(emulator)[-1] == "My pet is Rex."
    await calls.put(response.message)
    assert len(await calls.get()) == 6


def edited(old: Old) -> Old:
    return [user("My name is Bo."), *old[1:]]


def cut(old: Old) -> Old:
    return old[:2]


def trimmed(old: Old) -> Old:
    return old[2:]


def swapped(old: Old) -> Old:
    return [*old[2:], *old[:2]]


def nothing(old: Old) -> Old:
    return []


@pytest.mark.parametrize("change", [edited, cut, trimmed, swapped, nothing])
async def test_any_other_list_forgets_the_session(
    emulator: Emulator,
    llm: StewrdLLM,
    store: MemoryStore,
    calls: Calls,
    change: Callable[[Old], Old],
) -> None:
    await calls.say(llm, "My name is Ada.", "My pet is Rex.", "My city is Rome.", "Hello")
    (old,) = emulator.sessions
    new = [*change(await calls.get())]
    await calls.set(new)
    assert await calls.session() is None and store.inventory().bindings == ()
    assert texts(await calls.get()) == texts(new)
    for _ in range(2):
        response = await calls.say(llm, "Who am I?")
        said = [one.text for one in emulator.runs[-1].conversation.messages]
        assert said == texts((await calls.get())[:-1]), "the old context came back"
        assert told(response)["session_id"] != old
    assert len(emulator.heard(old)) == 8


async def test_the_forgotten_list_is_forgotten_when_it_comes_back(
    emulator: Emulator, llm: StewrdLLM, calls: Calls
) -> None:
    await calls.say(llm, "My name is Ada.", "Hello")
    (first,) = emulator.sessions
    old = await calls.get()
    await calls.set([user("x"), answer("y")])
    await calls.set(old)
    response = await calls.say(llm, "Who am I?")
    assert response.message.content == "Your name is Ada."
    assert told(response)["turn"] != "continued" and told(response)["session_id"] != first


# -- reset -----------------------------------------------------------------------------


async def test_reset_forgets_the_session_too(
    emulator: Emulator, llm: StewrdLLM, store: MemoryStore, memories: Memories, colour: str
) -> None:
    calls = Calls(memories(tenant="t"), colour)
    await calls.say(llm, "My name is Ada.", "My pet is Rex.")
    old = await calls.get()
    await calls.reset()
    assert await calls.get() == [] and await calls.session() is None
    assert store.inventory().bindings == () and emulator.active_sessions == 1
    response = await calls.say(llm, "Who am I?")
    assert response.message.content == "You have not told me your name."
    again = llm.chat([*old, user("Who am I?")])
    assert again.message.content == "Your name is Ada." and told(again)["turn"] != "continued"


async def test_reset_spares_the_other_tenant_and_the_other_name(
    llm: StewrdLLM, memories: Memories, colour: str
) -> None:
    mine, theirs = memories(tenant="a"), [memories(tenant="b"), memories("d", tenant="a")]
    for memory in (mine, *theirs):
        say(llm, memory, "My name is Ada.", "Hello")
    await Calls(mine, colour).reset()
    for memory in theirs:
        response = say(llm, memory, "Who am I?")
        assert response.message.content == "Your name is Ada."
        assert told(response)["turn"] == "continued"


# -- while a call is in flight ---------------------------------------------------------


class Slow:
    """The usual agent, which thinks slowly until it is told to answer."""

    def __init__(self) -> None:
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    def __call__(self, context: Context) -> str | Answer:
        if "slowly" in context.message:
            self.is_asked.set()
            assert self.may_answer.wait(30)
        return default_agent(context)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def emulator(slow: Slow) -> Iterator[Emulator]:
    with serve(agent=slow) as running:
        yield running


@pytest.mark.parametrize("change", ["reset", "set"])
async def test_a_call_in_flight_brings_nothing_back(
    emulator: Emulator, llm: StewrdLLM, calls: Calls, slow: Slow, change: str
) -> None:
    await calls.say(llm, "My name is Ada.", "Hello")
    await calls.put(user("Think slowly."))
    shown = await calls.get()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(llm.chat, shown)
        assert await asyncio.to_thread(slow.is_asked.wait, 30)
        if change == "reset":
            await calls.reset()
        else:
            await calls.set([user("x"), answer("y")])
        slow.may_answer.set()
        late = await asyncio.wrap_future(call)
    await calls.put(late.message)  # as an engine that knows nothing of it does
    assert await calls.session() is None
    for _ in range(2):
        response = await calls.say(llm, "Who am I?")
        assert response.message.content == "You have not told me your name."
        assert told(response)["session_id"] != told(late)["session_id"]
