"""The store of one process: dicts and a lock."""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar
from weakref import WeakSet

from ..locks import new_lock
from ..sessions.binding import DAY, Binding
from ..sessions.effects import NoteState
from ..sessions.soundness import Pure, Sound
from .base import Inventory, Kept, popped
from .latest import Latest
from .packing import packed_note, unpacked_note
from .settings import checked_ttl
from .shelves import Shelves
from .slots import Slots

SWEEP_EVERY = 16
"""Writes between two sweeps: what has expired leaves without a background thread."""

SWEPT = 24
"""Entries that a sweep looks at: more than came since the last one, so that it gets around."""

T = TypeVar("T")
Table: TypeAlias = "OrderedDict[str, tuple[T, float]]"
"""What is kept by name, with the time until which it lives: what was written last stands last."""

_NO_NOTE: tuple[bytes | Sound, float] = (packed_note({}), 0.0)
_STORES: WeakSet[MemoryStore] = WeakSet()


class MemoryStore:
    """Bindings, slots, notes and transcripts in this process.

    Args:
        clock: Seconds since the epoch; another one is for tests.
        transcript_ttl: Seconds that a transcript is kept after its last line; None keeps it
            as long as the process lives.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, *, transcript_ttl: float | None = None
    ) -> None:
        self._clock = clock
        self._transcript_ttl = checked_ttl(transcript_ttl)
        self._transcripts: Table[list[str]] = OrderedDict()
        self._lock = new_lock()
        self._bindings = Shelves()
        self._pools: dict[str, Slots] = {}
        self._notes: Table[bytes | Sound] = OrderedDict()
        self._latest_notes = Latest()
        self._writes = 0
        _STORES.add(self)

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[()]]:
        # It is of this process: elsewhere it is an empty one, and conversations are replayed.
        return MemoryStore, ()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._bindings)} bindings)"

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Pop a binding by the first key that hits."""
        with self._lock:
            now = self._clock()
            for key in keys:
                live = self._bindings.live(key, now)
                if live and (len(live) == 1 or not unique):
                    return self._bindings.remove(live[-1])
            return None

    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """The bindings that repeated takes would pop."""
        with self._lock:
            now = self._clock()
            found = [self._bindings.live(key, now)[::-1] for key in keys]
            return [self._bindings[id_] for id_ in popped(found, unique)]

    def put(self, binding: Binding, ttl: float) -> None:
        """Keep a binding for ``ttl`` seconds."""
        with self._lock:
            now = self._clock()
            self._bindings.keep(binding, now + ttl)
            self._written(now)

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Refresh a slot, or take it if fewer than ``limit`` are alive."""
        with self._lock:
            slots = self._pools.setdefault(pool, Slots())
            return slots.occupy(slot, limit, self._clock(), ttl)

    def vacate(self, pool: str, slot: str) -> None:
        """Give a slot back."""
        with self._lock:
            self._pools.get(pool, Slots()).pop(slot, None)

    def slots(self, pool: str) -> dict[str, float]:
        """The live slots of a pool, each with the seconds until it lapses."""
        with self._lock:
            now = self._clock()
            return self._pools.get(pool, Slots()).left(now)

    def note(self, key: str, change: Callable[[NoteState], NoteState] | None = None) -> NoteState:
        """Read a note, or change it and read the result."""
        with self._lock:
            now = self._clock()
            kept, until = self._notes.get(key, _NO_NOTE)
            before = kept if until > now else _NO_NOTE[0]
            if change is None:
                return unpacked_note(_packed(before))
            if isinstance(change, Pure):
                kept = change(before if isinstance(before, Sound) else unpacked_note(before))
            else:
                # Packed, so that nobody gets hold of what is kept.
                kept = packed_note(change(unpacked_note(_packed(before))))
            self._keep(self._notes, key, kept, now + DAY)
            self._pack(self._latest_notes.add(key))
            self._written(now)
            return kept if isinstance(kept, Sound) else unpacked_note(kept)

    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """Add lines to a transcript, or put them in its place."""
        with self._lock:
            now = self._clock()
            before = [] if replace else self._lines(conversation)
            ttl = math.inf if self._transcript_ttl is None else self._transcript_ttl
            self._keep(self._transcripts, conversation, [*before, *lines], now + ttl)
            self._written(now)

    def load(self, conversation: str) -> list[str]:
        """A conversation's transcript."""
        with self._lock:
            return list(self._lines(conversation))

    def clear(self, conversation: str) -> None:
        """Forget a conversation's transcript."""
        with self._lock:
            self._transcripts.pop(conversation, None)

    def close(self) -> None:
        """Nothing: it holds no connection, and lives as long as the process."""

    async def aclose(self) -> None:
        """Nothing, like `close`."""

    def inventory(self) -> Inventory:
        """All that the store holds."""
        with self._lock:
            now = self._clock()
            return Inventory(
                bindings=tuple(
                    Kept(binding.id, until - now, binding=binding)
                    for binding, until in self._bindings
                    if until > now
                ),
                pools={pool: slots.left(now) for pool, slots in self._pools.items()},
                notes=sum(until > now for _, until in self._notes.values()),
                transcripts=tuple(
                    Kept(name, None if math.isinf(until) else until - now, lines=len(lines))
                    for name, (lines, until) in self._transcripts.items()
                    if until > now
                ),
            )

    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """`take`; it never waits for anything."""
        return self.take(keys, unique)

    async def apeek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """`peek`; it never waits for anything."""
        return self.peek(keys, unique)

    async def aput(self, binding: Binding, ttl: float) -> None:
        """`put`; it never waits for anything."""
        self.put(binding, ttl)

    async def aoccupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """`occupy`; it never waits for anything."""
        return self.occupy(pool, slot, limit, ttl)

    async def avacate(self, pool: str, slot: str) -> None:
        """`vacate`; it never waits for anything."""
        self.vacate(pool, slot)

    async def aslots(self, pool: str) -> dict[str, float]:
        """`slots`; it never waits for anything."""
        return self.slots(pool)

    async def anote(
        self, key: str, change: Callable[[NoteState], NoteState] | None = None
    ) -> NoteState:
        """`note`; it never waits for anything."""
        return self.note(key, change)

    async def aappend(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """`append`; it never waits for anything."""
        self.append(conversation, lines, replace)

    async def aload(self, conversation: str) -> list[str]:
        """`load`; it never waits for anything."""
        return self.load(conversation)

    async def aclear(self, conversation: str) -> None:
        """`clear`; it never waits for anything."""
        self.clear(conversation)

    def _lines(self, conversation: str) -> list[str]:
        lines, until = self._transcripts.get(conversation, ([], 0.0))
        return lines if until > self._clock() else []

    def _pack(self, key: str) -> None:
        if key in self._notes:
            kept, until = self._notes[key]
            self._notes[key] = (_packed(kept), until)

    def _forget_bindings(self) -> None:
        # Parent and child would both hold them, and so continue the same sessions.
        self._lock = new_lock()
        self._bindings = Shelves()

    @staticmethod
    def _keep(table: Table[T], name: str, what: T, until: float) -> None:
        table[name] = (what, until)
        table.move_to_end(name)

    def _written(self, now: float) -> None:
        self._writes += 1
        if not self._writes % SWEEP_EVERY:
            self._bindings.sweep(now, SWEPT)
            _sweep(self._notes, now)
            _sweep(self._transcripts, now)


def _packed(note: bytes | Sound) -> bytes:
    return packed_note(note) if isinstance(note, Sound) else note


def _sweep(table: Table[T], now: float) -> None:
    """Drop what has expired. All in a table live equally long, so it ages in its own order."""
    for _ in range(min(SWEPT, len(table))):
        name = next(iter(table))
        if table[name][1] > now:
            break
        del table[name]


def _after_fork() -> None:
    for store in _STORES:
        store._forget_bindings()  # noqa: SLF001 - of this very module


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
