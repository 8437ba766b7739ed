"""What every store does: a few small things, in both colours.

A store holds bindings, the project's slots and notes for all workers that share it. `take` is
the fence that keeps two calls off one session: a binding that was popped is nobody else's.
For the memory classes it also keeps transcripts, as lines of text that it does not look into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from ..sessions.binding import Binding
from ..sessions.effects import NoteState

Id = TypeVar("Id", str, bytes)


@runtime_checkable
class Store(Protocol):
    """The store's protocol. Times are in seconds; every method may raise `StoreError`."""

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Pop a binding by the first key that hits, atomically.

        With ``unique`` a key hits only if a single live binding has it.
        """

    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """The bindings that repeated takes would pop, without popping them."""

    def put(self, binding: Binding, ttl: float) -> None:
        """Keep a binding for ``ttl`` seconds under each of its keys."""

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Refresh a slot, or take it if fewer than ``limit`` of the pool are alive."""

    def vacate(self, pool: str, slot: str) -> None:
        """Give a slot back."""

    def slots(self, pool: str) -> dict[str, float]:
        """The live slots of a pool, each with the seconds until it lapses."""

    def note(self, key: str, change: Callable[[NoteState], NoteState] | None = None) -> NoteState:
        """Read a note, or change it atomically and read the result."""

    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """Add lines to a conversation's transcript, or put them in its place, atomically."""

    def load(self, conversation: str) -> list[str]:
        """A conversation's transcript, empty if there is none."""

    def clear(self, conversation: str) -> None:
        """Forget a conversation's transcript."""

    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """`take` for the event loop."""

    async def apeek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """`peek` for the event loop."""

    async def aput(self, binding: Binding, ttl: float) -> None:
        """`put` for the event loop."""

    async def aoccupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """`occupy` for the event loop."""

    async def avacate(self, pool: str, slot: str) -> None:
        """`vacate` for the event loop."""

    async def aslots(self, pool: str) -> dict[str, float]:
        """`slots` for the event loop."""

    async def anote(
        self, key: str, change: Callable[[NoteState], NoteState] | None = None
    ) -> NoteState:
        """`note` for the event loop."""

    async def aappend(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """`append` for the event loop."""

    async def aload(self, conversation: str) -> list[str]:
        """`load` for the event loop."""

    async def aclear(self, conversation: str) -> None:
        """`clear` for the event loop."""


def popped(found: Sequence[Sequence[Id]], unique: bool) -> list[Id]:
    """The ids that repeated takes pop, in their order.

    Args:
        found: The ids under each of the keys, the newest first.
        unique: Whether a key hits only if a single one is left under it.
    """
    order: dict[Id, None] = {}
    while True:
        lefts = ([id_ for id_ in ids if id_ not in order] for ids in found)
        hit = next((left for left in lefts if left and (len(left) == 1 or not unique)), None)
        if hit is None:
            return list(order)
        order.update(dict.fromkeys(hit))


def changed(change: Callable[[NoteState], NoteState], note: NoteState) -> NoteState:
    """What a change makes of a note that others may have spoilt.

    Where it stumbles over what is kept, but not over an empty note, the note was none: it is
    begun anew. What a change raises of its own accord is the caller's.
    """
    try:
        return change(note)
    except (TypeError, ValueError, LookupError, AttributeError):
        with suppress(TypeError, ValueError, LookupError, AttributeError):
            return change({})
        raise


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that a store keeps for a time.

    Attributes:
        name: The conversation of a transcript, or the id of a binding.
        left: Seconds until it ages out; None if it never does.
        lines: Lines of a transcript.
        binding: The binding.
    """

    name: str
    left: float | None
    lines: int = 0
    binding: Binding | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a store holds, for people who look after it.

    Attributes:
        bindings: The live bindings.
        pools: The live slots of each pool, each with the seconds until it lapses. A pool without
            any may be there or not.
        notes: How many notes there are.
        transcripts: The transcripts.
    """

    bindings: tuple[Kept, ...]
    pools: dict[str, dict[str, float]]
    notes: int
    transcripts: tuple[Kept, ...]
