"""`StewrdMemory`: its methods in both colours on every store, and how it is made."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MessageRole, MockLLM, TextBlock
from pydantic import SecretStr, ValidationError

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, InvalidInputError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore, RedisStore, Store
from tests.redis_server import RedisServer

from ..conftest import Way, sent, system, told, user
from .talking import (
    KEY,
    LAST,
    NOWHERE,
    TEXTS,
    Calls,
    Make,
    Memories,
    all_shown,
    answer,
    bare,
    heard,
    stamp_of,
    texts,
)

# -- its methods -----------------------------------------------------------------------


async def test_every_method(any_store: Store, memories: Memories, colour: str) -> None:
    calls, other = (Calls(memories(store=any_store), colour) for _ in range(2))
    assert await calls.get() == await calls.get_all() == []
    await calls.put(user("1"))
    await calls.put_messages([answer("2", additional_kwargs={"x": "ü\ud800"}), user("3")])
    await calls.put_messages([])
    # Two objects of one name are one.
    for asked in (calls.get(), other.get_all(), other.get(input="4", initial_token_count=9)):
        read = await asked
        assert texts(read) == ["1", "2", "3"]
        assert [one.role for one in read] == ["user", "assistant", "user"]
        assert bare(read)[1]["additional_kwargs"] == {"x": "ü\ud800"}
    await other.set([*await calls.get(), answer("4")])
    assert texts(await calls.get()) == ["1", "2", "3", "4"]
    await calls.set([user("5")])
    assert texts(await other.get()) == ["5"]
    await other.reset()
    assert await calls.get() == []
    await calls.reset()
    await calls.set([])
    assert await calls.get_all() == []


async def test_a_conversation_on_every_store(
    emulator: Emulator, any_store: Store, make: Make, memories: Memories, colour: str
) -> None:
    llm, calls = make(store=any_store), Calls(memories(tenant="t", store=any_store), colour)
    assert await calls.session() is None
    last = await calls.say(llm, *TEXTS)
    assert last.message.content == LAST and sent(emulator) == TEXTS
    facts = await calls.session()
    assert facts and [facts.session_id] == list(emulator.sessions)
    assert (facts.messages_used, facts.messages_left, facts.generation) == (6, 44, 1)
    for other in (memories(), memories(tenant="u"), memories("d", tenant="t")):
        elsewhere = Calls(other, colour)
        assert await elsewhere.session() is None and await elsewhere.get() == []
    await calls.reset()
    assert await calls.session() is None
    again = await calls.say(llm, "Who am I?")
    assert again.message.content == "You have not told me your name."
    assert [one.text for one in emulator.runs[-1].conversation.messages] == ["Who am I?"]


async def test_each_way_of_the_model_learns_the_name(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory, way: Way
) -> None:
    for text in TEXTS:
        memory.put(user(text))
        response = await way.ask(llm, memory.get())
        memory.put(response.message)
    assert response.message.content == LAST and heard(emulator) == [TEXTS]
    assert memory.session is not None
    plan = llm.explain([*memory.get(), user("And now?")])
    assert (plan.turn, plan.text) == ("continued", "And now?")


async def test_the_event_loop_goes_on_while_the_store_is_slow(
    server: RedisServer, memories: Memories
) -> None:
    slow = RedisStore(server.url, namespace="slow", timeout=10.0)
    memory = memories(store=slow)
    await memory.aput(user("1"))
    asked: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        memory.aget,
        memory.aget_all,
        memory.aget_session,
        lambda: memory.aput(user("2")),
        lambda: memory.aput_messages([user("3")]),
        lambda: memory.aset([user("4")]),
        memory.areset,
    ]
    for ask in asked:
        server.pause()
        try:
            going = asyncio.ensure_future(ask())
            # A call that held the loop would have failed when the loop is back.
            await asyncio.sleep(0.02)
            assert not going.done()
        finally:
            server.resume()
        await going
    assert await memory.aget() == []
    await slow.aclose()


# -- messages that can't be kept -------------------------------------------------------


async def test_what_can_not_be_kept_is_named_and_nothing_is(calls: Calls) -> None:
    await calls.put(user("Hi"))
    circle: dict[str, Any] = {}
    circle["round"] = circle
    for odd in ({"x": object()}, circle, {"\ud800": 1}):
        message = answer("x", additional_kwargs=odd)
        for put in (calls.put_messages, calls.set):
            with pytest.raises(InvalidInputError, match=r"Message 2 \(from the assistant\)"):
                await put([user("1"), message])
    assert texts(await calls.get()) == ["Hi"]


# -- whose is what ---------------------------------------------------------------------


async def test_what_was_read_is_the_readers_own(calls: Calls) -> None:
    kept = answer("1", additional_kwargs={"deep": {"er": 1}})
    await calls.put_messages([kept, user("2")])
    for read in (await calls.get(), await calls.get_all()):
        (block,) = read[1].blocks
        assert isinstance(block, TextBlock)
        block.text = "changed"  # as agents with a state do
        read[0].additional_kwargs["deep"]["er"] = 2
        read[0].role = MessageRole.USER
        read[0].blocks.append(user("more").blocks[0])
        del read[1]
    assert bare(await calls.get()) == bare([kept, user("2")])


async def test_what_was_put_stays_the_callers_own(calls: Calls) -> None:
    message = user("1")
    await calls.put(message)
    message.content = "changed"
    assert message.additional_kwargs == {}
    assert texts(await calls.get()) == ["1"]


# -- making one ------------------------------------------------------------------------


def test_a_random_name_is_nobody_elses(memories: Memories) -> None:
    first, second = memories(None), memories(None)
    assert len(first.conversation_id) == 32 and first.conversation_id != second.conversation_id
    first.put(user("1"))
    assert second.get() == [] and texts(memories(first.conversation_id).get()) == ["1"]


def test_names_may_be_numbers_and_uuids(memories: Memories) -> None:
    name = uuid.uuid4()
    memory = memories(name, tenant=7)
    assert (memory.conversation_id, memory.tenant) == (str(name), "7")
    memories(5).put(user("1"))
    assert texts(memories("5").get()) == ["1"]


@pytest.mark.parametrize("name", ["", " ", True, ["c"], 1.5])
def test_a_name_is_a_name(memories: Memories, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="conversation_id"):
        memories(name)
    with pytest.raises(ConfigurationError, match="tenant"):
        memories("c", tenant=name)


def test_which_conversation_it_is_stays(memory: StewrdMemory) -> None:
    for name in ("conversation_id", "tenant", "base_url"):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(memory, name, "other")


def test_defaults_take_key_address_store_and_tenant_of_the_model(
    emulator: Emulator, make: Make, memories: Memories
) -> None:
    llm = make(store=MemoryStore(), tenant="t", conversation_id="the model's own")
    memory = StewrdMemory.from_defaults(llm=llm, conversation_id="c")
    assert (memory.tenant, memory.base_url) == ("t", emulator.url)
    memory.put(user("My name is Ada."))
    llm.chat(memory.get())
    assert memory.session is not None
    theirs = StewrdMemory.from_defaults(llm=llm, conversation_id="c", tenant="u", store=None)
    assert theirs.tenant == "u" and theirs.session is None
    assert StewrdMemory.from_defaults(llm=llm).conversation_id != "c"


def test_defaults_bring_a_history_to_a_new_conversation_only(
    emulator: Emulator, llm: StewrdLLM
) -> None:
    history = [system("Be kind."), user("My name is Ada."), answer("Hello Ada.")]
    memory = StewrdMemory.from_defaults(history, llm, conversation_id="c")
    assert bare(memory.get()) == bare(history)
    memory.put(user("What is my name?"))
    assert llm.chat(memory.get()).message.content == "Your name is Ada."
    again = StewrdMemory.from_defaults([user("other")], llm=llm, conversation_id="c")
    assert texts(again.get()) == [*texts(history), "What is my name?"]


def test_defaults_of_another_model_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="MockLLM"):
        StewrdMemory.from_defaults(llm=MockLLM())  # type: ignore[arg-type]  # that is the error


def test_the_store_and_the_key_come_from_the_environment(
    emulator: Emulator, make: Make, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", emulator.api_key)
    monkeypatch.setenv("STEWRD_BASE_URL", emulator.url)
    name = request.node.name
    StewrdMemory(name).put(user("Hi"))
    here: dict[str, Any] = {"api_key": emulator.api_key, "base_url": emulator.url}
    memory = StewrdMemory(name, **here)
    make().chat(memory.get())
    assert memory.session is not None
    memory.reset()
    assert StewrdMemory(name).get() == []
    monkeypatch.setenv("STEWRD_STORE", "carrier-pigeon://")
    with pytest.raises(ConfigurationError, match="store"):
        StewrdMemory(name)


# -- the key ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", [KEY, SecretStr(KEY), lambda: KEY, lambda: SecretStr(KEY)])
def test_the_key_does_not_show(source: Any) -> None:
    memory = StewrdMemory("c", tenant="t", api_key=source, store=MemoryStore(), base_url=NOWHERE)
    memory.put(user("Hi"))
    shown = [repr(memory), str(memory), memory.to_json(), memory.model_dump_json(), memory.json()]
    shown += [repr(memory.get()), repr(memory.to_dict()), repr(memory.session)]
    assert all(KEY not in text for text in shown)
    assert stamp_of(memory.get()[0])["seal"] not in memory.to_json()


def test_a_refused_key_does_not_show() -> None:
    makers: list[Callable[..., StewrdMemory]] = [StewrdMemory, StewrdMemory.from_defaults]
    bad: list[dict[str, Any]] = [{"api_key": KEY + "\n\0"}, {"tenant": " "}, {"place": 5}]
    for make_memory in makers:
        for wrong in bad:
            with pytest.raises(ConfigurationError) as caught:
                make_memory(conversation_id="c", **{"api_key": KEY, **wrong})
            assert KEY not in all_shown(caught.value)
    with pytest.raises(ConfigurationError, match="STEWRD_API_KEY"):
        StewrdMemory("c")


def test_a_key_that_rotates_is_asked_for_each_time(memories: Memories) -> None:
    keys = ["sk-stw_one"]
    memory = memories(api_key=lambda: keys[0])
    memory.put(user("1"))
    keys[0] = "sk-stw_two"
    assert memory.get() == []
    keys[0] = "sk-stw_one"
    assert texts(memory.get()) == ["1"]


def test_an_answer_tells_nothing_of_the_memory(
    emulator: Emulator, llm: StewrdLLM, memories: Memories
) -> None:
    memory = memories("n4me", tenant="t3nant")
    memory.put(user("Hi"))
    response = llm.chat(memory.get())
    assert told(response)["session_id"] is not None
    bodies = [str(request.body) for request in emulator.requests]
    for text in (response.model_dump_json(), *bodies):
        assert "n4me" not in text and "t3nant" not in text and "seal" not in text


def test_an_option_of_other_memories_is_told_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"session_id.*conversation_id"):
        StewrdMemory.from_defaults(session_id="x", api_key=KEY)


def test_an_engine_can_make_one(
    emulator: Emulator, llm: StewrdLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", emulator.api_key)
    monkeypatch.setenv("STEWRD_BASE_URL", emulator.url)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory_cls=StewrdMemory)
    engine.chat("My name is Ada.")
    assert str(engine.chat("What is my name?")) == "Your name is Ada."
