"""What every store does: six small things, in both colours.

A store holds bindings, the project's slots and notes for all workers that share it. `take` is
the fence that keeps two calls off one session: a binding that was popped is nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ..sessions.binding import Binding
from ..sessions.effects import NoteState


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
