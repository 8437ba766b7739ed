"""The name that a memory leaves for the one call that it was asked for, and for no other."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import StoreError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.llama_index.pending import leave
from stewrd_integrations.llama_index.stamps import without

from ..conftest import Way, sent, system, told, user
from .talking import Calls, Memories, answer, in_an_engine, say

BARE = PromptTemplate("{text}")
WRAPPED = "Context information is below.\n---\nRome is a city.\n---\nQuery: {}\nAnswer: "


@pytest.fixture(autouse=True)
def _own_context() -> None:
    leave(None)


def used(memory: StewrdMemory) -> int:
    """How many messages the memory's session holds."""
    return memory.session.messages_used if memory.session else 0


# -- the call --------------------------------------------------------------------------


@in_an_engine
async def test_the_first_turn_has_its_name_in_each_way(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory, way: Way
) -> None:
    memory.get(input="Hi")
    await way.ask(llm, [system("Context"), user("Hi")])
    assert used(memory) == 2
    await way.ask(llm, [system("Context"), user("Hi")])
    assert used(memory) == 2, "it is for one call only"


@in_an_engine
async def test_it_survives_the_async_colour(llm: StewrdLLM, memory: StewrdMemory) -> None:
    """A memory that worked in a thread would leave its name there."""
    await memory.aget(input="Hi")
    assert await llm.apredict(BARE, text="Hi")
    assert used(memory) == 2


@pytest.mark.parametrize("predict", ["predict", "apredict", "stream", "astream"])
@in_an_engine
async def test_a_prediction_that_is_the_turn(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory, predict: str
) -> None:
    say(llm, memory, "My name is Ada.", "Hello")
    for text in ("Who am I?", "And?"):
        history = memory.get(input=text)
        prompt = ChatPromptTemplate([system("Rebuilt"), *history, user("{text}")])
        said = await _predicted(llm, predict, prompt, text=text)
        memory.put(user(text))
        memory.put(answer(said))
    assert sent(emulator)[-1] == "And?" and len(emulator.sessions) == 1
    assert used(memory) == 8


async def _predicted(llm: StewrdLLM, by: str, prompt: Any, **given: str) -> str:
    if by == "predict":
        return llm.predict(prompt, **given)
    if by == "apredict":
        return await llm.apredict(prompt, **given)
    if by == "stream":
        return "".join(llm.stream(prompt, **given))
    return "".join([token async for token in await llm.astream(prompt, **given)])


@in_an_engine
def test_what_is_sent_and_what_is_remembered(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    for text in ("My name is Ada.", "Who am I?", "Hi"):
        shown = memory.get(input=text)
        response = llm.chat([system("Be kind."), *shown, user(WRAPPED.format(text))])
        memory.put(user(text))
        memory.put(answer(response.message.content or ""))
    assert told(response)["turn"] == "continued" and used(memory) == 6
    assert sent(emulator)[-1] == WRAPPED.format("Hi")


@in_an_engine
def test_system_messages_of_the_memory_make_no_difference(
    llm: StewrdLLM, memory: StewrdMemory
) -> None:
    memory.put_messages([system("Be kind."), user("My name is Ada."), answer("Hello Ada.")])
    history = memory.get(input="Who am I?")
    prompt = ChatPromptTemplate([system("Rebuilt"), *history, user("Who am I?")])
    assert llm.predict(prompt) == "Your name is Ada."
    assert memory.session is not None


@in_an_engine
def test_looking_ahead_uses_nothing_up(llm: StewrdLLM, memory: StewrdMemory) -> None:
    memory.get(input="Hi")
    llm.explain([user("Hi")])
    llm.chat([user("Hi")])
    assert used(memory) == 2


# -- other calls -----------------------------------------------------------------------

OTHERS: list[list[ChatMessage]] = [
    [user("Hello")],
    [user("Hi there")],
    [user("Say Hi to Bo.")],
    [user("This is")],
    [user("Hi!")],
    [user("hi")],
    [system("Hi")],
    [user("Hi"), answer("Hello"), user("Bye")],
    [user("x"), answer("y"), user("Translate:\nHi")],
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda shown: str(shown[-1].content))
@in_an_engine
async def test_other_calls_on_the_way_to_a_first_turn(
    llm: StewrdLLM, memory: StewrdMemory, way: Way, other: list[ChatMessage]
) -> None:
    memory.get(input="Hi")
    await way.ask(llm, other)
    assert memory.session is None
    await way.ask(llm, [user("Hi")])
    assert used(memory) == 2, "the turn itself was not the one that was named"


@pytest.mark.parametrize("said", ["", " ", "\n", None, "."])
@pytest.mark.parametrize("other", ["Hi", "", ".", "One. Two.", "Wait . . . what?"])
@in_an_engine
def test_inputs_that_say_next_to_nothing(
    llm: StewrdLLM, memory: StewrdMemory, said: str | None, other: str
) -> None:
    memory.get(input=said)
    if other.strip():
        llm.chat([user(other)])
    llm.complete("Hi")
    assert (memory.session is not None) == (said == other == ".")


@in_an_engine
def test_condensers_and_their_kin_are_not_the_turn(llm: StewrdLLM, memory: StewrdMemory) -> None:
    say(llm, memory, "My name is Ada.")
    memory.get(input="Who am I?")
    llm.predict(PromptTemplate("Condense:\n{text}"), text="Who am I?")
    llm.predict(BARE, text="Who am I?")  # without the list it is none of the conversation
    llm.complete("Who am I?")
    assert used(memory) == 2


def predicted(llm: StewrdLLM, messages: list[ChatMessage]) -> str:
    """A call that has a name only if a memory left it one, stamps or not."""
    return llm.predict(ChatPromptTemplate(messages))


@in_an_engine
def test_another_list_is_not_the_turn(llm: StewrdLLM, memory: StewrdMemory) -> None:
    say(llm, memory, "My name is Ada.", "Hello")
    shown = memory.get(input="Hi")
    bare = [without(message) for message in shown]  # another's may read the same
    edited = [*shown[:-1], answer("Something else")]
    for other in ([], shown[:2], shown[2:], shown[::-1], edited, bare):
        predicted(llm, [*other, user("Hi")])
        assert used(memory) == 4
    predicted(llm, [*shown, user("Hello")])
    assert used(memory) == 4
    predicted(llm, [system("Rebuilt"), *shown, user("Hi")])
    assert used(memory) == 6


# -- an end to it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        lambda memory: memory.put(answer("Empty Response")),  # nothing was retrieved
        lambda memory: memory.put_messages([user("Hi"), answer("x")]),
        lambda memory: memory.set([]),
        lambda memory: memory.reset(),
        lambda memory: memory.get(),
        lambda memory: memory.get(input="Other"),
        lambda memory: asyncio.run(memory.aput(answer("x"))),
        lambda memory: asyncio.run(memory.aset([])),
        lambda memory: asyncio.run(memory.areset()),
        lambda memory: asyncio.run(memory.aget()),
    ],
)
@in_an_engine
def test_what_comes_after_has_no_name(
    llm: StewrdLLM, memory: StewrdMemory, end: Callable[[StewrdMemory], None]
) -> None:
    memory.get(input="Hi")
    end(memory)
    llm.chat([user("Hi")])
    assert memory.session is None


@in_an_engine
def test_what_the_user_said_is_put_before_a_stream_begins(
    llm: StewrdLLM, memory: StewrdMemory
) -> None:
    memory.get(input="Hi")
    memory.put(user("Hi"))
    memory.get_all()
    llm.chat([user("Hi")])
    assert used(memory) == 2


@in_an_engine
def test_a_put_in_another_thread_ends_it_everywhere(llm: StewrdLLM, memory: StewrdMemory) -> None:
    memory.get(input="Hi")
    with ThreadPoolExecutor(1) as threads:
        threads.submit(memory.put, answer("x")).result()
    llm.chat([user("Hi")])
    assert memory.session is None


@in_an_engine
def test_an_answer_that_was_refined_begins_no_session(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    """None of its calls is what stands in the memory as the answer."""
    roads = []
    for calls in (2, 2, 1, 1):
        prompt = ChatPromptTemplate([system("Step"), *memory.get(input="Hi"), user("Hi")])
        for _ in range(calls):
            refined = llm.predict(prompt)
        memory.put_messages([user("Hi"), answer(f"{refined} and more")])
        roads.append([run.road for run in emulator.runs[-calls:]])
    first, *others, last = roads
    assert first == ["session", "stateless"] and others == [["stateless"] * 2, ["stateless"]]
    # One call made the answer before, so the next may be the conversation's again.
    assert llm.explain([*memory.get(), user("Hi")]).turn != "stateless" and len(last) == 1


# -- two at once -----------------------------------------------------------------------


@in_an_engine
def test_two_memories_in_one_context(llm: StewrdLLM, memories: Memories) -> None:
    ada, bo = memories("ada"), memories("bo")
    ada.get(input="Hi")
    bo.get(input="Hi")
    llm.chat([user("Hi")])
    assert (used(ada), used(bo)) == (0, 2), "the last that was asked is at work"
    ada.put(answer("x"))
    bo.put(answer("x"))
    shown = ada.get(input="Hello")
    bo.put(answer("y"))  # does not end what another one left
    predicted(llm, [*shown, user("Hello")])
    assert (used(ada), used(bo)) == (2, 2)


@in_an_engine
def test_another_memory_with_nothing_to_say_takes_its_place(
    llm: StewrdLLM, memories: Memories
) -> None:
    ada, bo = memories("ada"), memories("bo")
    ada.get(input="Hi")
    bo.get()
    llm.chat([user("Hi")])
    assert ada.session is None and bo.session is None


@in_an_engine
async def test_tasks_never_meet(llm: StewrdLLM, memories: Memories) -> None:
    """Each request of a service is a task of its own; all say the same at once."""
    named = [memories(str(number)) for number in range(6)]
    ready = asyncio.Barrier(7) if hasattr(asyncio, "Barrier") else None

    async def turn(memory: StewrdMemory | None) -> None:
        if memory is not None:
            await memory.aget(input="Hi")
        if ready is not None:
            await ready.wait()
        await llm.achat([user("Hi")], sessions="always")

    await asyncio.gather(*map(turn, [*named, None]))
    assert [used(memory) for memory in named] == [2] * 6


@in_an_engine
async def test_a_task_that_was_there_before_does_not_see_it(
    llm: StewrdLLM, memory: StewrdMemory
) -> None:
    go = asyncio.Event()

    async def unrelated() -> None:
        await go.wait()
        await llm.achat([user("Hi")])

    task = asyncio.create_task(unrelated())
    await memory.aget(input="Hi")
    go.set()
    await task
    assert memory.session is None
    await llm.achat([user("Hi")])
    assert used(memory) == 2


@in_an_engine
def test_threads_never_meet(llm: StewrdLLM, memories: Memories) -> None:
    named = [memories(str(number)) for number in range(4)]
    ready = threading.Barrier(5)

    @in_an_engine
    def turn(memory: StewrdMemory | None) -> None:
        if memory is not None:
            memory.get(input="Hi")
        ready.wait(30)
        llm.chat([user("Hi")], sessions="always")

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(turn, [*named, None]))
    assert [used(memory) for memory in named] == [2] * 4


@in_an_engine
def test_one_call_of_all_copies_of_a_context(llm: StewrdLLM, memory: StewrdMemory) -> None:
    memory.get(input="Hi")
    copies = [contextvars.copy_context() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(copy.run, llm.chat, [user("Hi")]) for copy in copies]
        responses = [call.result() for call in calls]
    llm.chat([user("Hi")])
    assert used(memory) == 2
    assert memory.session is not None
    ids = [told(response)["session_id"] for response in responses]
    assert ids.count(memory.session.session_id) == 1


# -- failures --------------------------------------------------------------------------


@in_an_engine
async def test_a_memory_that_can_not_be_read_leaves_nothing(
    llm: StewrdLLM, calls: Calls, store: Any
) -> None:
    await calls.get(input="Hi")
    await calls.put(user("x"))
    (name,) = store._transcripts
    store.append(name, ["no message"], replace=True)
    with pytest.raises(StoreError):
        await calls.get(input="Hi")
    await llm.achat([user("Hi")])
    assert calls.memory.session is None
