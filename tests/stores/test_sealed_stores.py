"""Without the right key nothing is added to encrypted transcripts: both backends, both colours."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from langchain_core.messages import AIMessage, HumanMessage

from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.langchain import StewrdChatMessageHistory
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from tests.redis_server import RedisServer, require

OLD, NEW, WRONG = (Fernet.generate_key().decode() for _ in range(3))

UNREADABLE = (
    "no JSON",
    "null",
    "5",
    "[]",
    "{}",
    "\ud83e",
    "[" * 100_000,
    '{"type": "human"}',
    '{"type": "human", "data": 5}',
    '{"type": "human", "data": {"content": 5}}',
    '{"type": ["ai"], "data": {"content": ""}}',
    '{"type": "ai", "data": {"content": "", "tool_calls": 5}}',
    '{"type": "ai", "data": {"content": [{"type": 5}], "additional_kwargs": {"stewrd": 5}}}',
    '{"type": "ai", "data": {"content": "x", "additional_kwargs": {"stewrd": {"mark": 5}}}}',
    '{"type": "tool", "data": {"content": "x"}}',
    '{"type": "human", "data": {"content": "\\ud83e"}}',
)
"""Lines that are no message, or an odd one."""

Open = Callable[[Any], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    require()
    with RedisServer() as running:
        yield running


class Colour:
    """A store by its sync or its async methods."""

    def __init__(self, store: Any, colour: str) -> None:
        self.store = store
        self.colour = colour

    def __getattr__(self, name: str) -> Any:
        if self.colour == "sync":
            return getattr(self.store, name)
        method = getattr(self.store, f"a{name}")
        return lambda *given, **named: asyncio.run(method(*given, **named))


@pytest.fixture(params=["SQLite", "Redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    if request.param == "SQLite":
        return functools.partial(SQLiteStore, tmp_path / "store.db")
    server = request.getfixturevalue("server")
    return functools.partial(RedisStore, server.url, timeout=30.0)


@pytest.fixture(params=["sync", "async"])
def opened(request: pytest.FixtureRequest, backend: Callable[..., Any]) -> Iterator[Open]:
    namespace, stores = uuid.uuid4().hex, []

    def make(key: Any, namespace: str = namespace) -> Colour:
        store = backend(encryption_key=key, namespace=namespace)
        stores.append(store)
        return Colour(store, request.param)

    yield make
    for store in stores:
        store.close()


Spoil = Callable[[Any, str], str]


@pytest.fixture(params=["of another key", "no text"])
def spoil(request: pytest.FixtureRequest) -> Spoil:
    """Puts such a line in the place of a transcript's second; tells the store's key."""
    sealed = request.param == "of another key"
    line = b"fernet:" + Fernet(WRONG).encrypt(b"stray") if sealed else b"\xff\xfe"

    def put(store: Any, conversation: str) -> str:
        if isinstance(store, SQLiteStore):
            with closing(sqlite3.connect(store.path, isolation_level=None)) as raw:
                where = (line, conversation.encode())
                raw.execute("UPDATE lines SET line=? WHERE conversation=? AND number=2", where)
            return conversation
        name = store._key("t", conversation)
        with store._connections._new_client() as raw:
            raw.lset(name, 2, line)
        return str(name)

    return put


@pytest.mark.parametrize("key", [WRONG, [WRONG, NEW], None], ids=["wrong", "two wrong", "none"])
def test_without_the_right_key_nothing_is_added(opened: Open, key: Any) -> None:
    right, other = opened(OLD), opened(key)
    right.append("c", ["1"])
    for replace in (False, True):
        for conversation in ("c", "d"):
            with pytest.raises(ConfigurationError, match="encrypt") as caught:
                other.append(conversation, ["2"], replace)
            assert "encryption_key=" in str(caught.value)
            assert not any(each in str(caught.value) for each in (OLD, NEW, WRONG))
    assert right.load("c") == ["1"]
    assert right.load("d") == []
    other.note("n", lambda _: {"a": 1})  # all else goes on
    other.clear("c")
    assert right.load("c") == []


def test_a_store_that_came_first_learns_of_the_key_too(opened: Open) -> None:
    plain, right = opened(None), opened(OLD)
    plain.append("c", ["plain"])
    right.append("c", ["sealed"])
    with pytest.raises(ConfigurationError, match="without a key"):
        plain.append("c", ["plain again"])
    assert right.load("c") == ["plain", "sealed"]


def test_an_old_key_among_those_given_will_do(opened: Open) -> None:
    opened(OLD).append("c", ["1"])
    opened([NEW, OLD]).append("c", ["2"])
    assert opened([OLD, NEW]).load("c") == ["1", "2"]


def test_after_the_keys_were_changed_the_old_one_adds_nothing(opened: Open) -> None:
    old, both, new = opened(OLD), opened([NEW, OLD]), opened(NEW)
    old.append("c", ["1"])
    with pytest.raises(ConfigurationError):
        new.append("c", ["too early"])
    both.append("c", ["2"])
    assert both.store.reencrypt() == 2
    with pytest.raises(ConfigurationError):
        old.append("c", ["too late"])
    new.append("c", ["3"])
    both.append("c", ["4"])
    assert new.load("c") == ["1", "2", "3", "4"]


def test_keys_change_in_four_steps_and_nobody_ever_stands_before_a_closed_door(
    opened: Open,
) -> None:
    steps: list[Any] = [OLD, [OLD, NEW], [NEW, OLD], NEW]
    written: list[str] = []
    for before, after in itertools.pairwise(steps):
        if after == NEW:
            assert opened(before).store.reencrypt() == len(written)
        workers = [opened(before), opened(after)]  # some were restarted already, some were not
        for number, worker in enumerate(workers * 2):
            written.append(f"{after == NEW} {number}")
            worker.append("c", written[-1:])
            assert [each.load("c") for each in workers] == [written, written]
    assert opened(NEW).load("c") == written


def test_reencrypt_goes_on_past_what_it_can_not_read(opened: Open, spoil: Spoil) -> None:
    both, new = opened([NEW, OLD]), opened(NEW)
    for number in range(20):
        opened(OLD).append(f"c{number:02}", ["1", "2", "3"])
    spoilt = {spoil(both.store, f"c{number:02}") for number in range(3, 15)}
    with pytest.raises(StoreError, match="12 lines in 12 transcripts can't be read") as caught:
        both.store.reencrypt()
    told = str(caught.value)
    assert sum(repr(name) in told for name in spoilt) == 10
    assert "and 2 more" in told and not any(key in told for key in (OLD, NEW, WRONG))
    for number in range(20):
        if 3 <= number < 15:
            with pytest.raises(StoreError, match=r"can't be (decrypted|read)"):
                new.load(f"c{number:02}")
            new.clear(f"c{number:02}")
        else:
            assert new.load(f"c{number:02}") == ["1", "2", "3"]
    new.append("d", ["the canary is under the new key"])
    with pytest.raises(ConfigurationError):
        opened(OLD).append("d", ["too late"])
    assert new.store.reencrypt() == 8 * 3 + 1


def test_with_a_wrong_key_not_even_plain_lines_are_sealed(opened: Open) -> None:
    opened(None).append("c", ["plain"])
    opened(OLD).append("c", ["sealed"])
    with pytest.raises(StoreError, match="can't be decrypted"):
        opened(WRONG).store.reencrypt()
    assert opened(OLD).load("c") == ["plain", "sealed"]


def test_to_encrypt_what_was_plain_seals_the_store(opened: Open) -> None:
    plain = opened(None)
    plain.append("c", ["1"])
    opened(OLD).store.reencrypt()
    with pytest.raises(ConfigurationError):
        plain.append("c", ["2"])
    with pytest.raises(ConfigurationError):
        opened(NEW).append("c", ["2"])
    assert opened(OLD).load("c") == ["1"]


def test_who_can_not_read_the_lines_can_not_encrypt_them_anew(opened: Open) -> None:
    opened(OLD).append("c", ["1"])
    with pytest.raises(StoreError, match="can't be decrypted"):
        opened(WRONG).store.reencrypt()
    with pytest.raises(StoreError, match="without a key"):
        opened(None).store.reencrypt()
    opened(OLD).append("c", ["2"])


def test_an_empty_list_seals_nothing(opened: Open) -> None:
    opened(WRONG).append("c", [])
    opened(OLD).append("c", ["1"])
    assert opened(OLD).load("c") == ["1"]


def test_another_namespace_may_have_another_key(opened: Any) -> None:
    opened(OLD).append("c", ["1"])
    other = uuid.uuid4().hex
    opened(NEW, other).append("c", ["2"])
    opened(None, uuid.uuid4().hex).append("c", ["3"])
    assert opened(OLD).load("c") == ["1"]
    assert opened(NEW, other).load("c") == ["2"]


# -- a history forgets also what it can't read ---------------------------------------------


def history(store: Any) -> StewrdChatMessageHistory:
    return StewrdChatMessageHistory("c", store=store.store, api_key="sk-stw_" + "0" * 32)


def cleared(store: Any) -> None:
    if store.colour == "async":
        asyncio.run(history(store).aclear())
    else:
        history(store).clear()


@pytest.mark.parametrize("key", [WRONG, None], ids=["wrong", "none"])
def test_a_history_is_cleared_without_its_key(opened: Open, key: Any) -> None:
    right, other = opened(OLD), opened(key)
    history(right).add_user_message("My name is Ada.")
    with pytest.raises(StoreError, match="crypted"):
        assert history(other).messages
    cleared(other)
    assert history(right).messages == []


@pytest.mark.parametrize("line", UNREADABLE)
def test_a_history_with_a_line_that_is_no_message_is_cleared(opened: Open, line: str) -> None:
    store = opened(None)
    kept = history(store)
    kept.add_messages([HumanMessage("My name is Ada."), AIMessage("Hello, Ada.")])
    store.append(kept._conversation._transcript(), [line])
    cleared(store)
    assert kept.messages == []


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_store_that_fails_is_not_cleared_in_silence(tmp_path: Path, colour: str) -> None:
    store = Colour(SQLiteStore(tmp_path / "store.db", busy_timeout=0.1), colour)
    history(store).add_user_message("My name is Ada.")
    with closing(sqlite3.connect(store.store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            cleared(store)
    store.store.close()
