"""What the Redis store keeps, how, and for how long."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet

from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.sessions.binding import DAY, Binding
from stewrd_integrations.stores import redis as redis_store
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sealing import Plain
from tests.redis_server import RedisServer, require

from .redis_stores import (
    COLOURS,
    LONG,
    PATIENCE,
    binding,
    coloured,
    digest,
    everything,
    fill,
    readable,
)

require()

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return f"test-{next(NUMBERS)}"


@pytest.fixture
def raw(server: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.url) as client:
        yield client
        client.connection_pool.disconnect()  # early redis-py leaves it open


@pytest.fixture
def store(server: RedisServer, namespace: str) -> Iterator[RedisStore]:
    store = RedisStore(server.url, namespace=namespace, timeout=PATIENCE)
    yield store
    store.close()


@pytest.fixture(params=COLOURS)
def calls(request: pytest.FixtureRequest, store: RedisStore) -> Any:
    return coloured(store, request.param)


# -- the layout -------------------------------------------------------------------------


def every_call(store: Any) -> list[Any]:
    return [
        lambda: store.take(("k",)),
        lambda: store.peek(("k",)),
        lambda: store.put(binding("1", "k"), LONG),
        lambda: store.occupy("pool", "slot", 1, LONG),
        lambda: store.vacate("pool", "slot"),
        lambda: store.slots("pool"),
        lambda: store.note("n"),
        lambda: store.note("n", lambda _: {"a": 2}),
        lambda: store.append("conversation", ["two"], replace=True),
        lambda: store.load("conversation"),
        lambda: store.clear("conversation"),
    ]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("newer", "layout 2;"),
        ("hash", "a schema key that is not ours (a hash)"),
        ("text", "a schema key that is not ours (another text)"),
    ],
)
def test_another_layout_is_left_alone(
    calls: Any, store: RedisStore, raw: Any, namespace: str, kind: str, found: str
) -> None:
    fill(store)
    name = f"stewrd:{{{namespace}}}:schema"
    raw.delete(name)
    if kind == "hash":
        raw.hset(name, "sk-secret", "sk-secret")
    else:
        raw.set(name, "2" if kind == "newer" else "sk-secret")
    before = everything(raw, namespace)
    for call in [*every_call(calls), store.inventory, store.reencrypt]:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert found in str(caught.value) and "secret" not in str(caught.value)
    assert everything(raw, namespace) == before


def test_other_things_in_our_place_are_told_of(calls: Any, raw: Any, namespace: str) -> None:
    start = f"stewrd:{{{namespace}}}"
    raw.lpush(f"{start}:n:{digest('n')}", "sk-secret")
    raw.set(f"{start}:n:{digest('m')}", "sk-secret")
    raw.set(f"{start}:n:{digest('o')}", "[1]")
    raw.set(f"{start}:t:{digest('c')}", "sk-secret")
    raw.rpush(f"{start}:t:{digest('d')}", "{}", b"\xff\xfe")
    for look, key in (*((calls.note, key) for key in "nmo"), (calls.load, "c"), (calls.load, "d")):
        with pytest.raises((ConfigurationError, StoreError)) as caught:
            look(key)
        assert "secret" not in str(caught.value)
    for key in "mo":  # one that can't be read is renewed, or its name would stay without a session
        assert calls.note(key, lambda note: {**note, "a": 1}) == {"a": 1} == calls.note(key)


def test_a_binding_of_another_schema_is_passed_over(calls: Any, raw: Any, namespace: str) -> None:
    calls.put(binding("1", "k"), LONG)
    calls.put(binding("2", "k"), LONG)
    newer = json.dumps({**json.loads(binding("2", "k").to_json()), "schema": 99})
    raw.hset(f"stewrd:{{{namespace}}}:b:{digest('2')}", "binding", newer)
    assert calls.peek(("k",)) == [binding("1", "k")]
    assert calls.take(("k",)) == binding("1", "k")
    calls.put(binding("3", "k"), LONG)
    raw.hset(f"stewrd:{{{namespace}}}:b:{digest('3')}", "binding", "sk-secret")
    with pytest.raises(StoreError, match="can't be read"):
        calls.take(("k",))
    assert calls.take(("k",)) is None


def test_a_server_that_forgot_everything_is_no_new_case(
    calls: Any, store: RedisStore, raw: Any, namespace: str
) -> None:
    fill(calls)
    raw.delete(*everything(raw, namespace))
    raw.script_flush()
    assert (calls.take(("k",)), calls.slots("pool"), calls.note("n")) == (None, {}, {})
    assert calls.load("conversation") == []
    raw.script_flush()
    fill(calls)
    assert calls.take(("k",)) == binding("1", "k")
    assert raw.get(f"stewrd:{{{namespace}}}:schema") == b"1"


def test_namespaces_do_not_share(server: RedisServer, namespace: str) -> None:
    one, two = (
        RedisStore(server.url, namespace=f"{namespace}{end}", timeout=PATIENCE)
        for end in (".a", "")
    )
    fill(one)
    assert (two.take(("k",)), two.slots("pool"), two.note("n")) == (None, {}, {})
    assert two.load("conversation") == []
    held = two.inventory()
    assert (held.bindings, held.pools, held.notes, held.transcripts) == ((), {}, 0, ())
    two.clear("conversation")
    assert one.load("conversation") == ["line"]
    for each in (one, two):
        each.close()


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "{a}", "*", "x" * 65])
def test_a_namespace_is_a_plain_word(server: RedisServer, namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="namespace="):
        RedisStore(server.url, namespace=namespace)


# -- what is kept, and how long -----------------------------------------------------------


def test_nothing_but_transcripts_holds_text(store: RedisStore, raw: Any, namespace: str) -> None:
    store.put(binding("id", "key"), LONG)
    store.note("name-of-secret", lambda _: {"a": "digest"})
    store.append("conversation-of-secret", ['{"content": "words-of-secret"}'])
    found = readable(raw, namespace)
    for name, texts in found.items():
        kind = name.split(":")[2]
        if kind != "t":
            assert b"secret" not in b"\n".join([name.encode(), *texts])
    assert all(
        re.fullmatch(r"stewrd:{[^}]+}:(schema|[bksnt]:[0-9a-f]{32})", name) for name in found
    )
    (kept,) = [texts for name, texts in found.items() if ":b:" in name]
    fields = dict(zip(kept[::2], kept[1::2], strict=True))
    assert Binding.from_json(fields[b"binding"].decode()) == binding("id", "key")
    assert json.loads(fields[b"keys"]) == [digest("key")]


def test_everything_expires_but_the_schema_and_transcripts(
    calls: Any, raw: Any, namespace: str
) -> None:
    fill(calls)
    calls.note("m", lambda _: {})
    for name in everything(raw, namespace):
        kind = name.decode().split(":")[2]
        lasts = kind in ("schema", "t")
        limit = DAY * 1_000 if kind == "n" else LONG * 1_000
        assert raw.pttl(name) == -1 if lasts else 0 < raw.pttl(name) <= limit


def test_a_key_lives_as_long_as_its_longest_binding(calls: Any, raw: Any, namespace: str) -> None:
    name = f"stewrd:{{{namespace}}}:k:{digest('k')}"
    for ttl in (10.0, LONG, 20.0):
        calls.put(binding(f"{ttl}", "k"), ttl)
    assert LONG - 60 < raw.pttl(name) / 1_000 <= LONG


def test_what_was_taken_or_has_expired_does_not_pile_up(
    calls: Any, raw: Any, namespace: str
) -> None:
    for number in range(30):
        calls.put(binding(f"a{number}", "k", f"k{number}"), LONG)
        calls.take((f"k{number}",))
    assert [name for name in everything(raw, namespace) if b":schema" not in name] == []
    calls.put(binding("lasting", "k"), LONG)
    for number in range(30):
        calls.put(binding(f"b{number}", "k"), 0.001)
        time.sleep(0.003)
    assert raw.zcard(f"stewrd:{{{namespace}}}:k:{digest('k')}") <= 4
    assert calls.take(("k",)) == binding("lasting", "k")


def test_times_are_kept_to_the_millisecond(calls: Any, raw: Any, namespace: str) -> None:
    calls.put(binding("1", "k"), 100.2504)
    assert 100_000 < raw.pttl(f"stewrd:{{{namespace}}}:b:{digest('1')}") <= 100_251
    calls.occupy("pool", "a", 2, 50.5)
    assert 49.0 < calls.slots("pool")["a"] <= 50.5
    calls.put(binding("2", "k"), 0)
    calls.put(binding("1", "k"), -1.0)
    assert calls.occupy("other", "a", 1, 0) is True
    assert (calls.take(("k",)), calls.slots("other")) == (None, {})
    calls.put(binding("3", "k"), float("inf"))
    assert calls.take(("k",)) == binding("3", "k")


def test_a_transcript_ages_from_its_last_line(
    server: RedisServer, raw: Any, namespace: str
) -> None:
    aging = RedisStore(server.url, namespace=namespace, transcript_ttl=100.5, timeout=PATIENCE)
    name = f"stewrd:{{{namespace}}}:t:{digest('c')}"
    aging.append("c", ["1"])
    raw.pexpire(name, 50)
    aging.append("c", ["2"])
    assert 90_000 < raw.pttl(name) <= 100_500
    (kept,) = aging.inventory().transcripts
    assert kept.left is not None and 90 < kept.left <= 100.5
    assert aging.reencrypt() == 2
    assert 80_000 < raw.pttl(name) <= 100_500, "to encrypt it anew is no new line"
    aging.append("c", ["3"], replace=True)
    lasting = RedisStore(server.url, namespace=namespace, timeout=PATIENCE)
    assert 80_000 < raw.pttl(name) <= 100_500
    lasting.append("c", ["4"])
    assert raw.pttl(name) == -1
    assert aging.load("c") == ["3", "4"]
    for each in (aging, lasting):
        each.close()


def test_the_inventory_is_read_in_pieces_and_without_keys(store: RedisStore, raw: Any) -> None:
    for number in range(1_100):
        store.put(binding(f"{number}", f"k{number}"), LONG)
    for number in range(3):
        store.occupy(f"pool ü{number}", f"slot {number}", 2, LONG)
        store.append(f"lone \ud83e {number}", ["line"] * number)
    store.occupy("empty", "slot", 1, LONG)
    store.occupy("empty", "slot", 1, 0.001)
    time.sleep(0.01)
    raw.config_resetstat()
    held = store.inventory()
    assert sorted(int(kept.name) for kept in held.bindings) == list(range(1_100))
    assert {pool: list(slots) for pool, slots in held.pools.items()} == {
        f"pool ü{number}": [f"slot {number}"] for number in range(3)
    }
    names = {kept.name: (kept.lines, kept.left) for kept in held.transcripts}
    assert names == {f"lone \ud83e {number}": (number, None) for number in (1, 2)}
    assert "cmdstat_keys" not in raw.info("commandstats")


def test_a_note_that_others_changed_meanwhile_is_changed_anew(
    calls: Any, store: RedisStore
) -> None:
    seen: list[dict[str, Any]] = []

    def change(note: dict[str, Any]) -> dict[str, Any]:
        seen.append(note)
        if len(seen) < 3:
            store.note("n", lambda _: {"others": len(seen)})
        return {**note, "ours": True}

    assert calls.note("n", change) == store.note("n") == {"others": 2, "ours": True}
    assert seen == [{}, {"others": 1}, {"others": 2}]


def test_a_note_that_others_never_leave_alone_is_given_up(
    calls: Any, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "TRIES", 4)
    numbers = itertools.count()

    def change(_: dict[str, Any]) -> dict[str, Any]:
        store.note("n", lambda _: {"others": next(numbers)})
        return {"ours": True}

    with pytest.raises(StoreError, match="changed by others 4 times"):
        calls.note("n", change)
    assert store.note("n") == {"others": 3}


# -- encryption ------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_transcripts_are_encrypted_at_rest(
    server: RedisServer, raw: Any, namespace: str, colour: str
) -> None:
    key = Fernet.generate_key()
    sealed = RedisStore(server.url, namespace=namespace, encryption_key=key, timeout=PATIENCE)
    calls = coloured(sealed, colour)
    calls.append("c", ["words-of-secret", "a lone surrogate: \ud83e"])
    calls.append("c", ["more"])
    assert calls.load("c") == ["words-of-secret", "a lone surrogate: \ud83e", "more"]
    assert not any(
        b"secret" in text for texts in readable(raw, namespace).values() for text in texts
    )
    for wrong in (None, Fernet.generate_key()):
        other = RedisStore(server.url, namespace=namespace, encryption_key=wrong, timeout=PATIENCE)
        with pytest.raises(StoreError, match="crypted"):
            other.load("c")
        other.close()
    sealed.close()


def test_keys_can_be_changed(server: RedisServer, raw: Any, namespace: str) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    keys: list[Any] = [None, old, [new, old], [new]]
    plain, first, both, last = (
        RedisStore(server.url, namespace=namespace, encryption_key=key, timeout=PATIENCE)
        for key in keys
    )
    plain.append("c", ["plain"])
    first.append("c", ["old"] * 1_500)
    both.append("d", ["new"])
    with pytest.raises(StoreError, match="decrypted"):
        last.load("c")
    with pytest.raises(StoreError, match="decrypted"):
        last.reencrypt()
    assert both.load("c") == ["plain", *["old"] * 1_500]
    assert both.reencrypt() == 1_502
    assert last.load("c") == ["plain", *["old"] * 1_500]
    assert last.load("d") == ["new"]
    texts = [
        text for name, texts in readable(raw, namespace).items() if ":t:" in name for text in texts
    ]
    assert not any(text == b"plain" for text in texts)
    for each in (plain, first, both, last):
        each.close()


def test_what_is_appended_while_it_is_encrypted_anew_is_kept(
    server: RedisServer, namespace: str
) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    store = RedisStore(server.url, namespace=namespace, encryption_key=[new, old], timeout=PATIENCE)
    store.append("c", [f"before {number}" for number in range(300)])
    done = threading.Event()

    def append() -> None:
        for number in itertools.count():
            store.append("c", [f"{number} a", f"{number} b"])
            store.append("d", [f"{number} a", f"{number} b"], replace=True)
            if done.is_set():
                return

    thread = threading.Thread(target=append)
    thread.start()
    try:
        for _ in range(10):
            assert store.reencrypt() >= 300
    finally:
        done.set()
        thread.join()
    lines = store.load("c")
    assert lines[:300] == [f"before {number}" for number in range(300)]
    count = (len(lines) - 300) // 2
    assert count > 1
    assert lines[300:] == [f"{number} {half}" for number in range(count) for half in "ab"]
    assert store.load("d") == [f"{count - 1} a", f"{count - 1} b"]
    store.close()


def test_a_transcript_that_others_never_leave_alone_is_given_up(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "TRIES", 4)

    class Meddler(Plain):
        """Is so slow that somebody else always comes first."""

        def renew(self, kept: str) -> str:
            store.append("c", ["new"], replace=True)
            return super().renew(kept)

    store.append("c", ["old"])
    store._sealer = Meddler()
    with pytest.raises(StoreError, match="changed by others 4 times"):
        store.reencrypt()
    assert store.load("c") == ["new"]


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "cleared"])
def test_what_took_a_transcripts_place_meanwhile_stays(store: RedisStore, replaced: bool) -> None:
    class Meddler(Plain):
        """Is so slow that somebody else comes first."""

        busy = True

        def renew(self, kept: str) -> str:
            if self.busy:
                self.busy = False
                store.clear("c")
                if replaced:
                    store.append("c", ["new", "newer"])
            return super().renew(kept)

    store.append("c", ["old", "older"])
    store._sealer = Meddler()
    assert store.reencrypt() == (2 if replaced else 0)
    assert store.load("c") == (["new", "newer"] if replaced else [])
