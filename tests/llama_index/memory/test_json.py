"""A memory as JSON, pickle and copy: the same conversation, without key, text or password."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.workflow import JsonSerializer
from pydantic import BaseModel

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore, SQLiteStore, Store, open_store
from tests.redis_server import RedisServer, free_port

from ..conftest import told, user
from .talking import KEY, NOWHERE, Make, Memories, all_shown, answer, say, texts

PASSWORD = "pa55w0rd"


class Kept(BaseModel):
    """An application's own state with a memory in it."""

    memory: StewrdMemory


def serialized(memory: StewrdMemory) -> Any:
    """As agents keep their context between runs."""
    serializer = JsonSerializer()
    return serializer.deserialize(serializer.serialize({"memory": memory}))["memory"]


COPIES: dict[str, Callable[[StewrdMemory], StewrdMemory]] = {
    "dict": lambda memory: StewrdMemory.from_dict(memory.to_dict()),
    "json": lambda memory: StewrdMemory.from_json(memory.to_json()),
    "dump": lambda memory: StewrdMemory.model_validate(memory.model_dump()),
    "dump json": lambda memory: StewrdMemory.model_validate_json(memory.model_dump_json()),
    "state": lambda memory: Kept.model_validate_json(Kept(memory=memory).model_dump_json()).memory,
    "workflow": serialized,
    "pickle": lambda memory: pickle.loads(pickle.dumps(memory)),  # noqa: S301 - our own
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model copy": StewrdMemory.model_copy,
    "copy of json": lambda memory: StewrdMemory.from_dict(copy.copy(memory).to_dict()),
}
copied = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


# -- in the same process ---------------------------------------------------------------


@copied
@pytest.mark.parametrize("source", ["text", "callable"])
def test_a_copy_is_the_same_conversation(
    emulator: Emulator,
    llm: StewrdLLM,
    memories: Memories,
    copied: Callable[[StewrdMemory], StewrdMemory],
    source: str,
) -> None:
    key: Any = emulator.api_key if source == "text" else lambda: emulator.api_key
    memory = memories(tenant="t", api_key=key)
    say(llm, memory, "My name is Ada.")
    other = copied(memory)
    assert other is not memory
    assert (other.conversation_id, other.tenant, other.base_url) == ("c", "t", emulator.url)
    assert texts(other.get()) == texts(memory.get()) and other.session == memory.session
    response = say(llm, other, "Who am I?")
    assert told(response)["turn"] == "continued" and len(memory.get()) == 4
    copied(other).reset()
    assert memory.get() == [] and memory.session is None


@copied
def test_a_copy_says_as_much_of_the_store(
    path: Path, copied: Callable[[StewrdMemory], StewrdMemory]
) -> None:
    url = f"sqlite:///{path}"
    memory = StewrdMemory("c", api_key=KEY, store=url, base_url=NOWHERE)
    assert copied(memory).to_dict() == memory.to_dict()
    assert memory.to_dict()["place"]["store"] == url
    closed(url)


def test_a_copy_may_differ(memories: Memories, store: MemoryStore) -> None:
    memory, other = memories(), MemoryStore()
    memory.put(user("1"))
    named = memory.model_copy(update={"conversation_id": "d"})
    assert named.conversation_id == "d" and named.get() == []
    elsewhere = memory.model_copy(update={"store": other}, deep=True)
    elsewhere.put(user("2"))
    assert texts(memory.get()) == ["1"] and len(other._transcripts) == 1
    theirs = memory.model_copy(update={"api_key": "sk-stw_other"})
    assert theirs.get() == [] and texts(memory.model_copy().get()) == ["1"]
    with pytest.raises(ConfigurationError):
        memory.model_copy(update={"tenant": " "})


def test_the_json_is_small_and_says_which_conversation(memory: StewrdMemory) -> None:
    memory.put(user("secret"))
    told = json.loads(memory.to_json())
    assert memory.to_dict() == told == json.loads(memory.model_dump_json())
    assert told.pop("place").keys() == {"token", "project", "store"}
    assert told == {
        "conversation_id": "c",
        "tenant": None,
        "base_url": memory.base_url,
        "class_name": "StewrdMemory",
    }
    assert "secret" not in memory.to_json()
    assert {"conversation_id", "tenant"} <= StewrdMemory.model_json_schema()["properties"].keys()


def test_a_key_that_is_given_counts_more_than_the_remembered_one(memories: Memories) -> None:
    memory = memories()
    memory.put(user("1"))
    again = StewrdMemory.from_dict(memory.to_dict(), api_key=memory._place.api_key)
    assert texts(again.get()) == ["1"]
    with pytest.raises(ConfigurationError, match="another project") as caught:
        StewrdMemory.from_dict(memory.to_dict(), api_key=KEY)
    assert "STEWRD_API_KEY" in str(caught.value) and KEY not in all_shown(caught.value)


def test_another_address_is_another_project(memories: Memories) -> None:
    changed = {**memories().to_dict(), "base_url": NOWHERE}
    with pytest.raises(ConfigurationError, match="another project"):
        StewrdMemory.from_dict(changed)


@pytest.mark.parametrize(
    "place",
    [5, "x", [], {}, {"token": None}, {"token": [1], "project": 5}, {"store": 5}, {"store": "x:"}],
    ids=repr,
)
def test_a_place_that_is_none(memories: Memories, place: Any) -> None:
    with pytest.raises(ConfigurationError):
        StewrdMemory.from_dict({**memories().to_dict(), "place": place}, api_key=KEY)


# -- what it must not tell -------------------------------------------------------------

SECRET_URLS = [
    f"redis://user:{PASSWORD}@127.0.0.1:{{port}}/0",
    f"redis://127.0.0.1:{{port}}/0?password={PASSWORD}",
    f"unix:///nowhere.sock?password={PASSWORD}",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_password_shows_nowhere(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = url.format(port=free_port())
    memory = StewrdMemory("c", api_key=KEY, store=address, base_url=NOWHERE)
    shown = [repr(memory), str(memory), memory.to_json(), memory.model_dump_json()]
    shown += [repr(pickle.dumps(memory)), copy.copy(memory).to_json()]
    assert memory.to_dict()["place"]["store"] == "elsewhere"
    for failing in (memory.get, memory.reset, lambda: memory.put(user("x"))):
        with pytest.raises(StoreError) as caught:
            failing()
        shown.append(f"{caught.value!r} {caught.value}")
    for text in (*shown, caplog.text):
        assert PASSWORD not in text and KEY not in text


def test_a_malformed_url_does_not_show() -> None:
    for url in (f"redis://:{PASSWORD}@[bad/0", f"nowhere://:{PASSWORD}@host"):
        with pytest.raises(ConfigurationError) as caught:
            StewrdMemory("c", api_key=KEY, store=url)
        assert PASSWORD not in str(caught.value) and PASSWORD not in repr(caught.value)


# -- in another process ----------------------------------------------------------------

READ = """
import json, os, sys
from stewrd_integrations.errors import StewrdError
from stewrd_integrations.llama_index import StewrdMemory
for told, environment in json.load(sys.stdin):
    for name in ("STEWRD_API_KEY", "STEWRD_STORE"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    try:
        memory = StewrdMemory.from_json(told)
        print([message.content for message in memory.get()])
        memory.put_messages(memory.get()[:1])
    except StewrdError as error:
        print(type(error).__name__, error)
"""


def elsewhere(memory: StewrdMemory, *environments: dict[str, str]) -> list[str]:
    """What a process that was only given the JSON says of it, in each environment."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps([(memory.to_json(), environment) for environment in environments]),
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def closed(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, SQLiteStore)
    store.close()


def test_another_process_finds_it_by_its_url(path: Path) -> None:
    url = f"sqlite:///{path}"
    memory = StewrdMemory("c", api_key=KEY, store=url, base_url=NOWHERE)
    memory.put(user("Hi"))
    keys: list[dict[str, str]] = [{"STEWRD_API_KEY": KEY}, {}, {"STEWRD_API_KEY": "sk-stw_other"}]
    found, *refused = elsewhere(memory, *keys)
    assert found == "['Hi']" and texts(memory.get()) == ["Hi", "Hi"]
    for said in refused:
        assert said.startswith("ConfigurationError") and "STEWRD_API_KEY" in said
    assert len(memory.get()) == 2
    closed(url)


def test_another_process_takes_a_store_that_is_not_told_from_the_environment(
    server: RedisServer,
) -> None:
    url = f"{server.url}?namespace=elsewhere"  # what has a query may hold a password
    memory = StewrdMemory("c", api_key=KEY, store=url, base_url=NOWHERE)
    memory.put(user("Hi"))
    key = {"STEWRD_API_KEY": KEY}
    refused, found = elsewhere(memory, key, {**key, "STEWRD_STORE": url})
    assert refused.startswith("ConfigurationError") and "STEWRD_STORE" in refused
    assert found == "['Hi']" and texts(memory.get()) == ["Hi", "Hi"]
    kept = StewrdMemory("c", api_key=KEY, store=MemoryStore(), base_url=NOWHERE)
    assert kept.to_dict()["place"]["store"] == "elsewhere"


PUT = """
import asyncio, json, sys
from llama_index.core.llms import ChatMessage
from stewrd_integrations.llama_index import StewrdMemory
who, memories = sys.argv[1], [StewrdMemory.from_json(told) for told in json.load(sys.stdin)]
def pair(number):
    return [ChatMessage(f"{who} {number}"), ChatMessage(f"{who} {number}", role="assistant")]
async def aput(memory):
    for number in range(25):
        await memory.aput_messages(pair(number))
for memory in memories:
    if who == "async":
        asyncio.run(aput(memory))
        continue
    for number in range(25):
        memory.put_messages(pair(number))
"""


def test_two_processes_that_put_at_once_lose_nothing(path: Path, server: RedisServer) -> None:
    urls = (f"sqlite:///{path}", server.url)
    kept = [StewrdMemory("both", api_key=KEY, store=url, base_url=NOWHERE) for url in urls]
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "STEWRD_API_KEY": KEY}
    command = [sys.executable, "-c", PUT]
    going = [
        subprocess.Popen([*command, who], stdin=subprocess.PIPE, env=environment, text=True)
        for who in ("sync", "async")
    ]
    for process in going:
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(json.dumps([memory.to_json() for memory in kept]))
    assert [process.wait(120) for process in going] == [0, 0]
    for memory in kept:
        said = texts(memory.get())
        assert said[::2] == said[1::2], "an exchange was torn apart"
        for who in ("sync", "async"):
            mine = [text for text in said[::2] if text and text.startswith(who)]
            assert mine == [f"{who} {number}" for number in range(25)]
    closed(urls[0])


async def test_many_that_put_at_once_lose_nothing(any_store: Store, memories: Memories) -> None:
    async def put(number: int) -> None:
        pair = [user(str(number)), answer(str(number))]
        memory = memories(store=any_store)
        if number % 2:
            await memory.aput_messages(pair)
        else:
            await asyncio.to_thread(memory.put_messages, pair)

    await asyncio.gather(*map(put, range(16)))
    said = texts(memories(store=any_store).get())
    assert said[::2] == said[1::2] and sorted(map(int, said[::2])) == list(range(16))  # type: ignore[arg-type]  # all have a text


def test_a_model_elsewhere_goes_on(emulator: Emulator, make: Make, path: Path) -> None:
    """Another worker, which shares the store, continues the same session."""
    url = f"sqlite:///{path}"
    first = make(store=url)
    memory = StewrdMemory.from_defaults(llm=first, conversation_id="c")
    say(first, memory, "My name is Ada.")
    response = say(make(store=url), COPIES["json"](memory), "Who am I?")
    assert told(response)["turn"] == "continued" and len(emulator.sessions) == 1
    closed(url)
