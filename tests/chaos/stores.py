"""The stores of a run: those of the library, and broken ones that the judge must see through."""

from __future__ import annotations

import threading
import time

from stewrd_integrations.sessions.binding import Binding
from stewrd_integrations.stores import MemoryStore, Store, open_store


class PeekingStore(MemoryStore):
    """Its take does not pop: a binding stays, whatever becomes of the call."""

    def __init__(self) -> None:
        super().__init__()
        self._mine = threading.local()

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Look, and leave it there; who asks again at once is shown the next one."""
        seen: set[str] = self._mine.__dict__.setdefault("seen", set())
        found = [binding for binding in self.peek(keys, unique) if binding.id not in seen]
        if not found:
            seen.clear()
            return None
        seen.add(found[0].id)
        return found[0]

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Something is about to be sent: the search is over."""
        self._mine.__dict__.clear()
        return super().occupy(pool, slot, limit, ttl)


class LeasingStore(MemoryStore):
    """Lends a binding for a while instead of giving it away."""

    LEASE = 0.3

    def __init__(self) -> None:
        super().__init__()
        self._lent: dict[str, float] = {}

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Lend what nobody has; after the lease it is to be had again."""
        binding = super().take(keys, unique)
        if binding is None:
            return None
        self.put(binding, 3_600.0)
        now = time.monotonic()
        if self._lent.get(binding.id, 0.0) > now:
            return None
        self._lent[binding.id] = now + self.LEASE
        return binding


class UncountingStore(MemoryStore):
    """Gives everybody a slot."""

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Never refuse."""
        return super().occupy(pool, slot, limit=1_000_000, ttl=ttl)


BROKEN: dict[str, type[MemoryStore]] = {
    "peeking://": PeekingStore,
    "leasing://": LeasingStore,
    "uncounting://": UncountingStore,
}


def open_for(url: str) -> Store:
    """The store of this process."""
    return BROKEN[url]() if url in BROKEN else open_store(url)
