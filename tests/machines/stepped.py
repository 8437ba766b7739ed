"""Stores that tell of each step before and after it is done, so that it can go wrong there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from stewrd_integrations.errors import StoreError
from stewrd_integrations.sessions.binding import Binding
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore

When: TypeAlias = Literal["before", "after"]
Change: TypeAlias = Callable[[NoteState], NoteState] | None
Hook: TypeAlias = Callable[[str, When], None]
METHODS = ("take", "put", "occupy", "vacate", "note")


class Step:
    """One step of a store."""

    def __init__(self, hook: Hook, method: str) -> None:
        self._hook, self._method = hook, method

    def __enter__(self) -> None:
        self._hook(self._method, "before")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._hook(self._method, "after")


def nothing_happens(method: str, when: When) -> None:
    """The hook of a store in peace."""


class Stepped:
    """Stands before a store's class."""

    hook: Hook = staticmethod(nothing_happens)

    def _step(self, method: str) -> Step:
        return Step(self.hook, method)

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        with self._step("take"):
            binding: Binding | None = self._base.take(keys, unique)
            return binding

    def put(self, binding: Binding, ttl: float) -> None:
        with self._step("put"):
            self._base.put(binding, ttl)

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        with self._step("occupy"):
            return bool(self._base.occupy(pool, slot, limit, ttl))

    def vacate(self, pool: str, slot: str) -> None:
        with self._step("vacate"):
            self._base.vacate(pool, slot)

    def note(self, key: str, change: Change = None) -> NoteState:
        with self._step("note"):
            return dict(self._base.note(key, change))

    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        with self._step("take"):
            binding: Binding | None = await self._base.atake(keys, unique)
            return binding

    async def aput(self, binding: Binding, ttl: float) -> None:
        with self._step("put"):
            await self._base.aput(binding, ttl)

    async def aoccupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        with self._step("occupy"):
            return bool(await self._base.aoccupy(pool, slot, limit, ttl))

    async def avacate(self, pool: str, slot: str) -> None:
        with self._step("vacate"):
            await self._base.avacate(pool, slot)

    async def anote(self, key: str, change: Change = None) -> NoteState:
        with self._step("note"):
            return dict(await self._base.anote(key, change))

    @property
    def _base(self) -> Any:
        return super()


class SteppedMemory(Stepped, MemoryStore):
    """In memory."""


class SteppedSQLite(Stepped, SQLiteStore):
    """In a file."""


class SteppedRedis(Stepped, RedisStore):
    """In a Redis."""


class Stumble:
    """A hook that lets one step fail: it is done then, or it is not."""

    def __init__(self) -> None:
        self.at: tuple[str, When] | None = None

    def __call__(self, method: str, when: When) -> None:
        """Fail, if it is this one's turn."""
        if self.at == (method, when):
            self.at = None
            raise StoreError("away for a moment")
