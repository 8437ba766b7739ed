"""Where the machines' applications keep what they know: one place, many store objects.

Two applications share each place under namespaces of their own. Time goes by the machine's clock
where the store has one; in Redis, which has its own, everything is made older by as much.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import redis

from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from tests.redis_server import RedisServer
from tests.worlds import stored_text

from .stepped import SteppedMemory, SteppedRedis, SteppedSQLite

Place: TypeAlias = tuple[str, str]
"""How another process opens the store: its kind, and its path or URL."""


class Shelf(Protocol):
    """A place for stores."""

    def open(self, app: str) -> Any:
        """A store object of its own on what the application keeps."""

    def reopen(self, store: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Close a store object, which then opens again by itself."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""

    def text(self) -> str:
        """All that is kept, as text."""

    def close(self) -> None:
        """Leave nothing behind."""


class MemoryShelf:
    """One store object for each application: there is nothing else to share."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stores: dict[str, SteppedMemory] = {}

    def open(self, app: str) -> SteppedMemory:
        return self._stores.setdefault(app, SteppedMemory(self._clock))

    def reopen(self, store: Any, loop: asyncio.AbstractEventLoop) -> None:
        """It has nothing to close."""

    def advance(self, seconds: float) -> None:
        """It goes by the machine's clock."""

    def text(self) -> str:
        return "\n".join(map(stored_text, self._stores.values()))

    def close(self) -> None:
        """It leaves nothing."""


class SQLiteShelf:
    """A file for all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._folder = tempfile.mkdtemp(prefix="machine-")
        self.place: Place = ("sqlite", f"{self._folder}/store.db")
        self._opened: list[SQLiteStore] = []

    def open(self, app: str) -> SteppedSQLite:
        store = SteppedSQLite(self.place[1], namespace=app, clock=self._clock)
        self._opened.append(store)
        return store

    def reopen(self, store: SQLiteStore, loop: asyncio.AbstractEventLoop) -> None:
        store.close()

    def advance(self, seconds: float) -> None:
        """It goes by the machine's clock."""

    def text(self) -> str:
        files = Path(self._folder).iterdir()
        return "\n".join(file.read_bytes().decode("latin-1") for file in files)

    def close(self) -> None:
        for store in self._opened:
            store.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class RedisShelf:
    """A server for all machines of this process, with namespaces of each one's own."""

    _numbers = itertools.count(1)

    def __init__(self, clock: Callable[[], float]) -> None:
        self._url = server().url
        self._prefix = f"m{os.getpid()}-{next(self._numbers)}-"
        self.place: Place = (f"redis {self._prefix}", self._url)
        self._opened: list[RedisStore] = []
        self._client = redis.Redis.from_url(self._url)

    def open(self, app: str) -> SteppedRedis:
        store = SteppedRedis(self._url, namespace=self._prefix + app, timeout=20.0)
        self._opened.append(store)
        return store

    def reopen(self, store: RedisStore, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(store.aclose())

    def advance(self, seconds: float) -> None:
        older = self._client.register_script(_OLDER)
        older(keys=self._keys(), args=[int(seconds * 1_000)])

    def _keys(self) -> list[bytes]:
        return list(self._client.scan_iter(f"stewrd:{{{self._prefix}*", count=10_000))

    def text(self) -> str:
        dumps = [self._client.dump(key) or b"" for key in self._keys()]
        return "\n".join(dump.decode("latin-1") for dump in [*self._keys(), *dumps])

    def close(self) -> None:
        for store in self._opened:
            store.close()
        for key in self._keys():
            self._client.delete(key)
        self._client.close()


_OLDER = """
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left > 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
  if string.find(key, ':s:', 1, true) then
    local slots = redis.call('ZRANGEBYSCORE', key, '-inf', '(+inf')
    for _, slot in ipairs(slots) do redis.call('ZINCRBY', key, -ARGV[1], slot) end
  end
end
"""
"""What expires does so earlier, and slots lapse earlier: their scores are when they do."""


@cache
def server() -> RedisServer:
    """The Redis of this process; it ends with it."""
    started = RedisServer()
    started.start()
    return started


SHELVES: dict[str, Callable[[Callable[[], float]], Any]] = {
    "memory": MemoryShelf,
    "sqlite": SQLiteShelf,
    "redis": RedisShelf,
}


def opened(place: Place, app: str, clock: Callable[[], float]) -> SteppedSQLite | SteppedRedis:
    """The store of a place in another process."""
    kind, where = place
    if kind == "sqlite":
        return SteppedSQLite(where, namespace=app, clock=clock)
    return SteppedRedis(where, namespace=kind.partition(" ")[2] + app, timeout=20.0)
