"""How a model learns from messages which conversation they are of, and whom it believes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.llama_index.stamps import of, without
from stewrd_integrations.stores import MemoryStore

from ..conftest import Way, told, user
from .talking import TEXTS, Calls, Make, Memories, answer, bare, heard, say, stamp_of, texts

# -- which name counts -----------------------------------------------------------------


async def test_precedence(make: Make, store: MemoryStore, memories: Memories, way: Way) -> None:
    llm, memory = make(store=store, conversation_id="constructor"), memories("stamp")
    memory.put(user("Hi"))
    names = ("stamp", "keyword", "constructor")

    def named() -> list[str]:
        return [name for name in names if memories(name).session is not None]

    await way.ask(llm, memory.get())
    assert named() == ["stamp"]
    await way.ask(llm, memory.get(), conversation_id="keyword")
    assert named() == ["stamp", "keyword"]
    await way.ask(llm, [user("Hi")])
    assert named() == list(names)


async def test_a_list_of_two_conversations_is_neither(
    emulator: Emulator, make: Make, store: MemoryStore, memories: Memories, way: Way
) -> None:
    llm = make(store=store, conversation_id="constructor")
    ada, bo = memories("ada"), memories("bo")
    say(llm, ada, "My name is Ada.")
    say(llm, bo, "My pet is Rex.")
    both = [*ada.get(), *bo.get(), user("What is my pet?")]
    response = await way.ask(llm, both)
    assert response.message.content == "Your pet is Rex."
    assert told(response)["road"] == "stateless" and "unnamed" in told(response)["reason"]
    said = emulator.runs[-1].conversation.messages
    assert [one.text for one in said] == texts(both)
    for memory in (ada, bo):
        assert told(say(llm, memory, "Hello"))["turn"] == "continued"
    # A name that the call gives is the name all the same.
    await way.ask(llm, both, conversation_id="both")
    assert memories("both").session is not None and memories("constructor").session is None


async def test_one_stamp_on_a_list_is_enough(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory, way: Way
) -> None:
    say(llm, memory, *TEXTS[:2])
    shown = [without(message) for message in memory.get()]
    for at in range(len(shown)):
        stamped = [*shown[:at], memory.get()[at], *shown[at + 1 :], user("Hello")]
        assert llm.explain(stamped).turn == "continued"
    assert llm.explain([*shown, user("Hello")], sessions="never").session_id is None


# -- tenants ---------------------------------------------------------------------------


@pytest.mark.parametrize(("of_memory", "of_call"), [("a", "b"), (None, "b"), ("7", "8")])
async def test_another_tenant_is_refused(
    emulator: Emulator, make: Make, memories: Memories, way: Way, of_memory: Any, of_call: str
) -> None:
    memory = memories(tenant=of_memory)
    memory.put(user("Hi"))
    for llm, who in ((make(tenant=of_call), {}), (make(), {"tenant": of_call})):
        with pytest.raises(InvalidInputError, match="tenant") as caught:
            await way.ask(llm, memory.get(), **who)
        assert repr(of_memory) in str(caught.value) and repr(of_call) in str(caught.value)
    assert emulator.requests == []


@pytest.mark.parametrize("other", ["b", None])
async def test_messages_of_two_tenants_are_refused(
    emulator: Emulator, llm: StewrdLLM, memories: Memories, way: Way, other: str | None
) -> None:
    shown = []
    for tenant in ("a", other):
        memory = memories(tenant=tenant)
        memory.put(user("Hi"))
        shown += memory.get()
    calls: list[Any] = [{}, {"conversation_id": "x"}, {"tenant": "a"}]
    for who in calls:
        with pytest.raises(InvalidInputError, match="tenant"):
            await way.ask(llm, shown, **who)
    assert emulator.requests == []


def test_the_same_tenant_in_another_form_is_the_same(make: Make, memories: Memories) -> None:
    memory = memories(tenant=7)
    memory.put(user("Hi"))
    make(tenant="7").chat(memory.get(), tenant=7)


# -- stamps that are not true ----------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "victim"},
        {"tenant": "victim"},
        {"tenant": None},
        {"seal": "0" * 32},
        {"seal": ""},
        {"seal": "\ud800ü"},
        {"seal": None},
        {"name": 5},
        {"tenant": ["t"]},
    ],
    ids=str,
)
async def test_a_stamp_from_elsewhere_is_ignored(
    emulator: Emulator, llm: StewrdLLM, memories: Memories, way: Way, changes: Any
) -> None:
    memory = memories(tenant="t")
    memory.put(user("Hi"))
    stamp = {**stamp_of(memory.get()[0]), **changes}
    shown = [ChatMessage("Hi", additional_kwargs={"stewrd": {"conversation": stamp}})]
    await way.ask(llm, shown)
    await way.ask(llm, shown, tenant="other")
    for name, tenant in (("c", "t"), ("victim", "t"), ("c", "victim"), ("c", None)):
        assert memories(name, tenant=tenant).session is None


async def test_what_a_forged_stamp_says_is_not_remembered(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    """Else a stranger could make the agent and the history differ."""
    stamp = {"name": "c", "tenant": None, "seal": "0" * 32, "said": "Something else"}
    shown = [ChatMessage("Hi", additional_kwargs={"stewrd": {"conversation": stamp}})]
    response = await way.ask(llm, shown, conversation_id="c")
    again = await way.ask(llm, [user("Hi"), response.message, user("And?")], conversation_id="c")
    assert told(again)["turn"] == "continued"


def test_a_stamp_of_another_project_is_ignored(llm: StewrdLLM, memories: Memories) -> None:
    other = memories(api_key="sk-stw_other")
    other.put(user("Hi"))
    assert stamp_of(other.get()[0])["name"] == "c"
    llm.chat(other.get())
    assert other.session is None and memories().session is None


def test_a_stored_stamp_says_nothing(
    llm: StewrdLLM, memories: Memories, store: MemoryStore
) -> None:
    """Who can write to the store is told apart from who holds the key."""
    memory, victim = memories(), memories("victim")
    victim.put(user("x"))
    memory.put(user("Hi"))
    (name, *_) = [key for key, (lines, _) in store._transcripts.items() if "Hi" in lines[0]]
    line = json.loads(store._transcripts[name][0][0])
    line["additional_kwargs"] = victim.get()[0].additional_kwargs
    store.append(name, [json.dumps(line)], replace=True)
    assert stamp_of(memory.get()[0])["name"] == "c"
    llm.chat(memory.get())
    assert memory.session is not None and victim.session is None


# -- where stamps do not go ------------------------------------------------------------


async def test_stamps_are_not_stored_and_not_sent(
    emulator: Emulator, llm: StewrdLLM, memories: Memories, store: MemoryStore, way: Way
) -> None:
    memory = memories("n4me", tenant="t3nant")
    for text in TEXTS[:2]:
        memory.put(user(text))
        response = await way.ask(llm, memory.get())
        memory.put(response.message)
    emulator.expire()
    memory.put(user("Who am I?"))
    await way.ask(llm, memory.get())  # all of it is sent once more
    lines = [line for lines, _ in store._transcripts.values() for line in lines]
    bodies = [json.dumps(request.body) for request in emulator.requests]
    assert len(lines) == 5 and len(bodies) > 3
    seal = stamp_of(memory.get()[0])["seal"]
    for text in (*lines, *bodies, response.model_dump_json()):
        assert seal not in text and "n4me" not in text and "t3nant" not in text


async def test_stamps_come_off_when_messages_are_put_back(
    calls: Calls, memories: Memories, store: MemoryStore, colour: str
) -> None:
    await calls.put(user("Hi"))
    other = Calls(memories("other"), colour)
    await other.put(*await calls.get())
    await other.put_messages(await calls.get_all())
    await other.set([*await calls.get(), *await other.get()])
    lines = [line for lines, _ in store._transcripts.values() for line in lines]
    assert len(lines) == 4 and not [line for line in lines if "seal" in line or "said" in line]
    read = await other.get()
    assert [stamp_of(message)["name"] for message in read] == ["other"] * 3
    begun = StewrdMemory.from_defaults(
        await calls.get(), store=store, api_key="sk-stw_x", conversation_id="begun"
    )
    assert bare(begun.get()) == bare([user("Hi")])


def test_a_stamp_leaves_the_rest_alone(memory: StewrdMemory) -> None:
    extra = {"stewrd": {"mark": "0" * 32}, "theirs": 1}
    memory.put_messages([answer("Hi", additional_kwargs=extra), user("Hi")])
    read = memory.get()
    assert read[0].additional_kwargs["stewrd"]["mark"] == "0" * 32
    assert [without(message).additional_kwargs for message in read] == [extra, {}]
    plain = user("Hi")
    assert without(plain) is plain and without(read[0]) is not read[0]
    assert len(of(read)) == 1 and of([plain]) == frozenset()


def test_what_an_engine_writes_into_the_newest_message_is_sent_and_not_remembered(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    """Agents with a state do so on the way to the model only."""
    for text in TEXTS:
        memory.put(user(text))
        shown = memory.get()
        shown[-1].blocks[0].text = f"State: calm\n\n{text}"  # type: ignore[union-attr]  # of text
        memory.put(llm.chat(shown).message)
    assert heard(emulator) == [[f"State: calm\n\n{text}" for text in TEXTS]]
    assert texts(memory.get())[::2] == TEXTS
