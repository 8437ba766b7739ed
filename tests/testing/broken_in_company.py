"""Stores that go wrong with many at once, by one colour only, cancelled, copied or counted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stewrd_integrations.errors import StoreError
from stewrd_integrations.sessions.binding import Binding
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.stores import Inventory, Kept, MemoryStore
from tests.testing.breaking import AGE, Change, caught_by
from tests.testing.file_store import UnlockedFileStore

# -- many at once ------------------------------------------------------------------------


@caught_by("test_threads_never_take_one_binding_twice")
class RacyTake(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        found = next(iter(self.peek(keys, unique)), None)
        time.sleep(0.001)
        if found is not None:
            super().take(found.keys)
        return found


@caught_by("test_threads_never_pass_the_limit")
class RacyOccupy(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        free = len(self.slots(pool)) < limit
        time.sleep(0.001)
        return free and super().occupy(pool, slot, 10**6, ttl)


@caught_by("test_threads_lose_no_change_of_a_note")
class RacyNote(MemoryStore):
    def note(self, key: str, change: Change | None = None) -> NoteState:
        note = super().note(key)
        if change is None:
            return note
        changed = change(note)
        time.sleep(0.001)
        return super().note(key, lambda _: changed)


@caught_by("test_threads_lose_no_line")
class RacyAppend(MemoryStore):
    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        for line in lines:
            super().append(conversation, [line], replace)
            time.sleep(0.001)


@caught_by("test_loops_of_several_threads_work_at_once")
class OneLoopAtATime(MemoryStore):
    busy = threading.Lock()

    async def aput(self, binding: Binding, ttl: float) -> None:
        if not self.busy.acquire(blocking=False):
            raise StoreError("Another loop is at it.")
        await asyncio.sleep(0.001)
        self.put(binding, ttl)
        self.busy.release()


@caught_by("test_tasks_never_take_one_binding_twice")
class AsyncRacyTake(MemoryStore):
    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        found = next(iter(self.peek(keys, unique)), None)
        await asyncio.sleep(0)
        if found is not None:
            self.take(found.keys)
        return found


@caught_by("test_tasks_lose_no_change_of_a_note")
class AsyncRacyNote(MemoryStore):
    async def anote(self, key: str, change: Change | None = None) -> NoteState:
        note = self.note(key)
        if change is None:
            return note
        changed = change(note)
        await asyncio.sleep(0)
        return self.note(key, lambda _: changed)


@caught_by("test_one_loop_after_another_works")
class TiedToALoop(MemoryStore):
    loop: Any = None

    async def anote(self, key: str, change: Change | None = None) -> NoteState:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise StoreError("The connection belongs to another loop.")
        return self.note(key, change)


@caught_by("test_async_methods_leave_the_loop_free")
class BlocksInTake(MemoryStore):
    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        time.sleep(0.02)  # noqa: ASYNC251 - that is what is wrong with it
        return self.take(keys, unique)


@caught_by("test_async_methods_leave_the_loop_free")
class BlocksInClear(MemoryStore):
    async def aclear(self, conversation: str) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - as above
        self.clear(conversation)


# -- the other colour --------------------------------------------------------------------


@caught_by("test_the_colours_see_the_same")
class AsyncIsAnother(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.other = MemoryStore()

    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        return self.other.take(keys, unique)

    async def aput(self, binding: Binding, ttl: float) -> None:
        self.other.put(binding, ttl)


@caught_by("test_a_later_key_may_hit")
class AsyncForgetsUnique(MemoryStore):
    async def apeek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        return self.peek(keys)


@caught_by("test_a_binding_ages_out")
class AsyncForgetsTheTtl(MemoryStore):
    async def aput(self, binding: Binding, ttl: float) -> None:
        self.put(binding, AGE)


@caught_by("test_replace_by_nothing_empties")
class AsyncForgetsReplace(MemoryStore):
    async def aappend(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        self.append(conversation, lines)


# -- cancelling, copying, processes ------------------------------------------------------


@caught_by("test_a_cancelled_take_doubles_nothing")
class CancelledTakeIsPutBackTwice(MemoryStore):
    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        found = self.peek(keys, unique)
        await asyncio.sleep(0)
        self.take(keys, unique)
        return found[0] if found else None


@caught_by("test_a_cancelled_put_is_whole_or_not_at_all")
class CancelledPutIsHalf(MemoryStore):
    async def aput(self, binding: Binding, ttl: float) -> None:
        self.put(replace(binding, keys=binding.keys[:1]), ttl)
        await asyncio.sleep(0)
        self.put(binding, ttl)


@caught_by("test_a_cancelled_change_is_made_once_or_not_at_all")
class CancelledNoteStaysLocked(MemoryStore):
    busy = False

    async def anote(self, key: str, change: Change | None = None) -> NoteState:
        if self.busy:
            raise StoreError("The note is locked.")
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        return self.note(key, change)


@caught_by("test_a_cancelled_occupant_leaves_the_pool_in_order")
class CancelledOccupantStays(MemoryStore):
    async def aoccupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        self.occupy(pool, f"{slot} waits", 10**6, ttl)
        await asyncio.sleep(0)
        self.vacate(pool, f"{slot} waits")
        return self.occupy(pool, slot, limit, ttl)


@caught_by("test_a_cancelled_append_is_whole_or_not_at_all")
class CancelledAppendIsHalf(MemoryStore):
    async def aappend(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        for line in lines:
            self.append(conversation, [line], replace)
            await asyncio.sleep(0)


@caught_by("test_a_pickled_store_doubles_no_binding")
class PickledWithItsBindings(MemoryStore):
    def __reduce__(self) -> Any:
        return _with, ([binding for binding, _ in self._bindings],)


def _with(bindings: list[Binding]) -> MemoryStore:
    store = PickledWithItsBindings()
    for binding in bindings:
        store.put(binding, AGE)
    return store


@caught_by("test_a_pickled_store_works")
class NotPickled(MemoryStore):
    def __reduce__(self) -> Any:
        return threading.Lock, ()


@caught_by("test_a_forked_child_and_its_parent_never_take_one_binding_both")
class ForkedWithItsBindings(MemoryStore):
    def _forget_bindings(self) -> None:
        self._lock = threading.RLock()


@caught_by("test_what_one_process_put_another_takes")
class AnotherInEachProcess(MemoryStore):
    pass


@caught_by("test_the_inventory_tells_live_bindings")
class InventoryOfTheDead(MemoryStore):
    def inventory(self) -> Inventory:
        dead = tuple(Kept(binding.id, 0.0) for binding, _ in self._bindings)
        return replace(super().inventory(), bindings=dead)


@caught_by("test_the_inventory_counts_notes")
class InventoryCountsOneMore(MemoryStore):
    def inventory(self) -> Inventory:
        return replace(super().inventory(), notes=len(self._notes) + 1)


@caught_by("test_it_is_a_store")
class NoStore(MemoryStore):
    __slots__ = ()
    aclear = None  # type: ignore[assignment] # what it lacks


caught_by(
    "test_processes_never_take_one_binding_twice",
    "test_processes_never_pass_the_limit",
    "test_processes_lose_no_change_of_a_note",
    "test_processes_lose_no_line",
)(UnlockedFileStore)
