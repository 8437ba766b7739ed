"""A store that fails, or that holds what can't be read: told, and nothing is lost by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, StewrdError, StoreError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore, RedisStore, SQLiteStore, open_store
from tests.redis_server import RedisServer

from ..conftest import sent, told, user
from .talking import KEY, TEXTS, Calls, Make, Memories, answer, say, texts

# -- a store that is away --------------------------------------------------------------


async def test_whatever_needs_the_store_says_that_it_is_away(
    memories: Memories, colour: str
) -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, timeout=5.0)
        calls = Calls(memories(store=store), colour)
        await calls.put(user("1"))
        server.stop()
        for asked in (
            calls.get(),
            calls.get_all(),
            calls.session(),
            calls.put(user("2")),
            calls.put_messages([user("2")]),
            calls.set([user("2")]),
            calls.reset(),
        ):
            with pytest.raises(StoreError) as caught:
                await asked
            assert caught.value.advice
        await store.aclose()


async def test_a_turn_goes_on_when_the_store_is_back(
    emulator: Emulator, make: Make, memories: Memories, colour: str
) -> None:
    with RedisServer("--save", "", "--appendonly", "yes", "--appendfsync", "always") as server:
        store = RedisStore(server.url, timeout=5.0)
        llm, calls = make(store=store), Calls(memories(store=store), colour)
        await calls.say(llm, "My name is Ada.", "Hello")
        await calls.put(user("Who am I?"))
        shown = await calls.get()
        server.stop()
        late = await llm.achat(shown)  # the model itself takes such a store for an empty one
        assert late.message.content == "Your name is Ada."
        with pytest.raises(StoreError):
            await calls.put(late.message)
        server.start()
        await calls.put(late.message)  # the caller still has it
        assert texts(await calls.get())[-2:] == ["Who am I?", "Your name is Ada."]
        response = await calls.say(llm, "What is my name?")
        assert response.message.content == "Your name is Ada."
        await store.aclose()
        await llm.aclose()


def test_a_locked_file_is_told_and_nothing_is_half_written(path: Path, memories: Memories) -> None:
    store = SQLiteStore(path, busy_timeout=0.05)
    memory = memories(store=store)
    memory.put_messages([user("1"), answer("2")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    changes: list[Callable[[], None]] = [
        lambda: memory.put_messages([user("3"), answer("4")]),
        lambda: memory.set([user("5")]),
        memory.reset,
    ]
    for change in changes:
        with pytest.raises(StoreError):
            change()
    other.execute("ROLLBACK")
    other.close()
    assert texts(memory.get()) == ["1", "2"]
    store.close()


class Failing(MemoryStore):
    """Fails at the places that a test says."""

    at: Sequence[str] = ()

    def _fail(self, what: str) -> None:
        if what in self.at:
            raise StoreError("The store is away.")

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Any:
        self._fail("take")
        return super().take(keys, unique)

    def note(self, key: str, change: Any = None) -> Any:
        self._fail("note")
        return super().note(key, change)

    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        self._fail("append")
        super().append(conversation, lines, replace)

    def clear(self, conversation: str) -> None:
        self._fail("clear")
        super().clear(conversation)


@pytest.fixture
def store() -> Failing:
    return Failing()


@pytest.mark.parametrize("at", ["take", "note", "clear"])
async def test_what_is_not_forgotten_does_not_look_as_if_it_were(
    llm: StewrdLLM, store: Failing, calls: Calls, at: str
) -> None:
    await calls.say(llm, "My name is Ada.", "Hello")
    before = texts(await calls.get())
    changes = [calls.reset] if at == "clear" else [calls.reset, lambda: calls.set([user("x")])]
    for change in changes:
        store.at = [at]
        with pytest.raises(StoreError):
            await change()
        store.at = []
        assert texts(await calls.get()) == before
    await calls.reset()  # once more is enough
    response = await calls.say(llm, "Who am I?")
    assert response.message.content == "You have not told me your name."


async def test_a_list_that_goes_on_and_can_not_be_kept_changes_nothing(
    emulator: Emulator, llm: StewrdLLM, store: Failing, calls: Calls
) -> None:
    await calls.say(llm, *TEXTS[:2])
    longer = [*await calls.get(), user("More")]
    store.at = ["append"]
    for change in (calls.set(longer), calls.put(user("More")), calls.put_messages(longer)):
        with pytest.raises(StoreError):
            await change
    store.at = []
    assert len(await calls.get()) == 4
    response = await calls.say(llm, "Hello")
    assert told(response)["turn"] == "continued" and sent(emulator)[-1] == "Hello"


async def test_a_list_that_can_not_be_kept_leaves_the_former_one(
    store: Failing, calls: Calls
) -> None:
    await calls.put_messages([user("1"), answer("2")])
    store.at = ["append"]
    with pytest.raises(StoreError):
        await calls.set([user("3")])
    store.at = []
    assert texts(await calls.get()) == ["1", "2"]


# -- what can't be read ----------------------------------------------------------------


@pytest.mark.parametrize("keys", [None, Fernet.generate_key()], ids=["none", "another"])
async def test_a_transcript_under_another_key(
    path: Path, memories: Memories, colour: str, keys: bytes | None
) -> None:
    sealed = SQLiteStore(path, encryption_key=Fernet.generate_key())
    memory = memories(store=sealed)
    memory.put(user("secret"))
    assert b"secret" not in path.read_bytes()  # noqa: ASYNC240 - a small file
    store = SQLiteStore(path, encryption_key=keys)
    calls = Calls(memories(store=store), colour)
    for asked in (calls.get(), calls.get_all(), calls.set([user("x")])):
        with pytest.raises(StewrdError, match="encryption_key"):
            await asked
    with pytest.raises(ConfigurationError, match="encryption_key"):
        await calls.put(user("x"))
    assert texts(memory.get()) == ["secret"]
    await calls.reset()
    assert memory.get() == [] and await calls.get() == []
    sealed.close()
    store.close()


async def test_a_transcript_ends_some_time_after_its_last_message(
    llm: StewrdLLM, memories: Memories
) -> None:
    times = [1_000.0]
    store = MemoryStore(transcript_ttl=60.0, clock=lambda: times[0])
    memory = memories(store=store)
    memory.put(user("1"))
    times[0] += 59
    await memory.aput(answer("2"))
    times[0] += 59
    assert texts(memory.get()) == ["1", "2"]
    times[0] += 2
    assert memory.get() == [] and await memory.aget_all() == []


def test_a_conversation_whose_transcript_has_ended_begins_anew(
    emulator: Emulator, make: Make, memories: Memories
) -> None:
    times = [1_000.0]
    store = MemoryStore(transcript_ttl=60.0, clock=lambda: times[0])
    llm, memory = make(store=store), memories(store=store)
    say(llm, memory, "My name is Ada.", "Hello")
    times[0] += 61
    for _ in range(2):
        response = say(llm, memory, "Who am I?")
        assert response.message.content == "You have not told me your name."


def test_one_store_for_all_of_a_process(emulator: Emulator, path: Path) -> None:
    url = f"sqlite:///{path}"
    here: dict[str, Any] = {"api_key": KEY, "base_url": emulator.url}
    StewrdMemory("c", store=url, **here).put(user("Hi"))
    assert texts(StewrdMemory("c", store=open_store(url), **here).get()) == ["Hi"]
    store = open_store(url)
    assert isinstance(store, SQLiteStore)
    store.close()
