"""What the tests of the Redis store share."""

from __future__ import annotations

import asyncio
import time
from hashlib import blake2b
from typing import Any

from stewrd_integrations.sessions.binding import Binding
from stewrd_integrations.sessions.digest import Covered
from stewrd_integrations.stores.redis import RedisStore

LONG = 600.0
PATIENCE = 20.0
"""Seconds: the machine may be busy, and most tests are not about time-outs."""

COLOURS = ("sync", "async")


class Async:
    """A store by its async methods, each call in an event loop of its own."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, f"a{name}")
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))


def coloured(store: RedisStore, colour: str) -> Any:
    """The store by its sync or its async methods."""
    return store if colour == "sync" else Async(store)


def binding(id_: str, *keys: str) -> Binding:
    """A binding of this id, under these keys."""
    return Binding(id_, f"session-{id_}", Covered("base", 3, ("u1", "a1"), "u0"), keys=keys)


def fill(store: Any) -> None:
    """One of each kind of thing."""
    store.put(binding("1", "k"), LONG)
    store.occupy("pool", "slot", 2, LONG)
    store.note("n", lambda _: {"a": 1})
    store.append("conversation", ["line"])


def digest(part: str) -> str:
    """How a part of a key's name that came from a caller looks."""
    return blake2b(part.encode(), digest_size=16).hexdigest()


def everything(raw: Any, namespace: str) -> dict[bytes, bytes]:
    """All keys of a namespace with their values, as Redis dumps them."""
    return {name: raw.dump(name) for name in raw.keys(f"stewrd:{{{namespace}}}:*")}


def texts(raw: Any, name: str) -> list[bytes]:
    """The texts that a key holds."""
    match raw.type(name):
        case b"string":
            return [raw.get(name)]
        case b"list":
            return list(raw.lrange(name, 0, -1))
        case b"hash":
            return [text for pair in raw.hgetall(name).items() for text in pair]
        case b"zset":
            return list(raw.zrange(name, 0, -1))
        case other:
            raise AssertionError(f"a key of type {other!r}")


def readable(raw: Any, namespace: str) -> dict[str, list[bytes]]:
    """All keys of a namespace with the texts in them."""
    names = [name.decode() for name in raw.keys(f"stewrd:{{{namespace}}}:*")]
    return {name: texts(raw, name) for name in names}


def count(note: dict[str, Any]) -> dict[str, Any]:
    """A change of a note that is lost if another overwrites it."""
    return {"n": note.get("n", 0) + 1}


def works(store: Any) -> None:
    """Whether each answer is that of its own question."""
    for number in range(20):
        store.note(f"n{number}", lambda _, number=number: {"is": number})
        store.append(f"c{number}", [f"line {number}"], replace=True)
    for number in range(20):
        assert store.note(f"n{number}") == {"is": number}
        assert store.load(f"c{number}") == [f"line {number}"]


def others(raw: Any) -> list[dict[str, str]]:
    """The connections that the server has beside the tests' own."""
    mine = raw.client_id()
    return [line for line in raw.client_list() if int(line["id"]) != mine]


def nobody_else(raw: Any) -> bool:
    """Whether the server soon has no other connection."""
    until = time.monotonic() + PATIENCE
    while others(raw):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
