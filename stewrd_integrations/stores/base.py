"""What every store does: a few small things, in both colours.

A store holds bindings, the project's slots and notes for all workers that share it. `take` is
the fence that keeps two calls off one session: a binding that was popped is nobody else's.
For the memory classes it also keeps transcripts, as lines of text that it does not look into.

Who writes a store of their own keeps to this; `stewrd_integrations.testing.StoreSuite` asks for
whatever of it a test can ask for.

- **A binding that was taken never comes back**: not after a crash, a power cut, a restored backup
  or a failover to a replica that lagged behind. Its session has heard more since, and whoever
  continued it would answer from a wrong context. So the pop is durable before `take` answers, and
  a store that can't rule out that what it finds is older than what it gave away finds nothing. To
  forget a binding is always safe and costs one replay; the same holds for one that can't be read.
- **Every call is one step**, for all threads, tasks and processes that share the store: done or
  not done, also if its task is cancelled or its process killed. No lock outlives who held it.
- **Times** are by the store's clock if it has one of its own. What has expired is as if it had
  never been, whether or not it was removed yet.
- **Names** (keys, pools, slots, conversations) are any text, line breaks and zero bytes too.
- **Bindings** are kept as `Binding.to_json` writes them and read by `Binding.from_json`, which
  gives None for one of another version: drop that one, and look further.
- **Failures** are a `StoreError` with neither keys nor contents in its words. The turn is then
  answered without a session, or raises it, as `on_store_error` says. No failure is guessed away: a
  `take` that timed out may have popped, so it is never repeated.
- **The async methods don't block the event loop**: they wait in a thread or by the loop's own
  sockets. A store serves several loops, one after the other and at once in several threads.
- **Copies**: a store that is pickled opens the same one where it is unpickled, with connections
  of its own, or refuses if it holds a secret; one that lives in its process is an empty one there.
  After a fork, child and parent both go on, neither on the other's connections or locks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar, runtime_checkable

from ..sessions.binding import Binding
from ..sessions.effects import NoteState
from ..values import dataclass

Id = TypeVar("Id", str, bytes)


@runtime_checkable
class Store(Protocol):
    """The store's protocol. Times are in seconds; every method may raise `StoreError`.

    What holds for all methods is said at the top of this module.
    """

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Pop a binding by the first key that hits: it leaves all of its keys in one step.

        It never comes back, whatever becomes of the machine: it is durably gone before this
        answers.

        Args:
            keys: The surest first; a later one may hit only if no earlier one does.
            unique: A key hits only if a single live binding has it, and is passed over else.

        Returns:
            Of several under that key the one that was put last; None if none hits.
        """

    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """The bindings that repeated takes would pop, in their order, without popping them.

        `popped` says which these are.
        """

    def put(self, binding: Binding, ttl: float) -> None:
        """Keep a binding for ``ttl`` seconds under each of its keys, as the newest of them.

        One with the same id is replaced, its keys and its ttl too. Others under the same keys
        stay. This need not be durable: to lose a binding is safe.
        """

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Refresh a slot, or take it if fewer than ``limit`` of the pool are alive.

        To count and to take is one step. A slot that is refreshed lives ``ttl`` seconds from now,
        also in a pool that is over its limit.

        Returns:
            Whether the slot is held.
        """

    def vacate(self, pool: str, slot: str) -> None:
        """Give a slot back; one that nobody holds is no error."""

    def slots(self, pool: str) -> dict[str, float]:
        """The live slots of a pool, each with the seconds until it lapses."""

    def note(self, key: str, change: Callable[[NoteState], NoteState] | None = None) -> NoteState:
        """Read a note, or change it and read the result, in one step.

        A note lives for a day (`DAY`) from its last change; reading does not prolong it.

        Args:
            key: The note's name.
            change: Gives the new note for the old one, {} if there is none; both are JSON
                objects. It may be called again with what others made of the note meanwhile, in
                another thread, or for a write that then fails: it is pure, quick, and asks no
                store. `changed` calls it so that a note that others have spoilt is begun anew.

        Returns:
            The note, or {} if there is none: the caller's own, whatever they do to it.
        """

    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """Add lines to a conversation's transcript, or put them in its place.

        All of them or none, together and in their order. It is durable before this returns.
        """

    def load(self, conversation: str) -> list[str]:
        """A conversation's transcript, empty if there is none."""

    def clear(self, conversation: str) -> None:
        """Forget a conversation's transcript, also one that can't be read."""

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
        void: How many bindings are left that nobody will take: those of a file that was copied,
            or of an earlier run of a server. They are not among the others.
    """

    bindings: tuple[Kept, ...]
    pools: dict[str, dict[str, float]]
    notes: int
    transcripts: tuple[Kept, ...]
    void: int = 0


class Inspected(Protocol):
    """What a store may do beside `Store`: tell all that it holds. Ours do."""

    def inventory(self) -> Inventory:
        """All that the store holds."""
