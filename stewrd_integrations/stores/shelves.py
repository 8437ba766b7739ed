"""Where the memory store keeps its bindings: new ones on a small shelf, older ones on a large one.

A put writes a binding under its id and under each of its keys. In a dict of many thousands each
such write goes to memory that the processor has not at hand. So a put goes to a dict that stays
small, and what has lain there for long is carried over by the sweeps, a few at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeAlias

from ..sessions.binding import Binding

RECENT = 1_024
"""Puts from which on a sweep carries the oldest over that are still on the small shelf."""

Entry: TypeAlias = tuple[Binding, float]
_NONE: tuple[None, float] = (None, 0.0)


class Shelf:
    """Bindings, each with the time until which it lives, by their ids and by their keys."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = _large_table()
        self.by_key: dict[str, list[str]] = _large_table()

    def keep(self, entry: Entry) -> None:
        """Keep a binding whose id is not here yet."""
        binding = entry[0]
        self.entries[binding.id] = entry
        for key in binding.keys:
            self.by_key.setdefault(key, []).append(binding.id)

    def remove(self, id_: str) -> Binding | None:
        """Take a binding out by its id."""
        binding, _ = self.entries.pop(id_, _NONE)
        for key in binding.keys if binding else ():
            ids = self.by_key[key]
            ids.remove(id_)
            if not ids:
                del self.by_key[key]
        return binding

    def holds(self, id_: str, until: float, now: float) -> bool:
        """Whether an entry is here and alive; one that has expired is taken out."""
        if self.entries.get(id_, _NONE)[1] is not until:
            return False  # it was taken, or kept anew since: that is another entry
        if until <= now:
            self.remove(id_)
            return False
        return True

    def live(self, key: str, now: float) -> list[str]:
        """The ids under a key that have not expired, the newest last."""
        found = self.entries
        return [id_ for id_ in self.by_key.get(key, ()) if found[id_][1] > now]


class Shelves:
    """The bindings of a store; whoever calls it holds the store's lock."""

    def __init__(self) -> None:
        self.recent, self.settled = Shelf(), Shelf()
        # What each shelf holds, or held, in the order in which the sweeps look at it.
        # Ids and times only: a binding that was taken is not kept alive by its place here.
        self._arrived: deque[tuple[str, float]] = deque()
        self._ageing: deque[tuple[str, float]] = deque()

    def __len__(self) -> int:
        return len(self.recent.entries) + len(self.settled.entries)

    def __iter__(self) -> Iterator[Entry]:
        yield from self.settled.entries.values()
        yield from self.recent.entries.values()

    def __getitem__(self, id_: str) -> Binding:
        return (self.recent.entries.get(id_) or self.settled.entries[id_])[0]

    def __contains__(self, id_: str) -> bool:
        return id_ in self.recent.entries or id_ in self.settled.entries

    def keys(self) -> set[str]:
        """All keys under which something is found."""
        return {*self.settled.by_key, *self.recent.by_key}

    def keep(self, binding: Binding, until: float) -> None:
        """Keep a binding in the place of what has its id."""
        self.remove(binding.id)
        entry = (binding, until)
        self.recent.keep(entry)
        self._arrived.append((binding.id, until))

    def remove(self, id_: str) -> Binding | None:
        """Take a binding out by its id."""
        return self.recent.remove(id_) or self.settled.remove(id_)

    def live(self, key: str, now: float) -> list[str]:
        """The ids under a key that have not expired, the newest last."""
        # What is on the large shelf was put before all that is on the small one.
        return self.settled.live(key, now) + self.recent.live(key, now)

    def sweep(self, now: float, count: int) -> None:
        """Look at so many on each shelf, those first that were not looked at for longest."""
        for _ in range(min(count, len(self._ageing))):
            place = self._ageing.popleft()
            if self.settled.holds(*place, now):
                self._ageing.append(place)
        for _ in range(min(count, len(self._arrived))):
            id_, until = place = self._arrived[0]
            if self.recent.holds(id_, until, now):
                if len(self._arrived) <= RECENT:
                    break  # it keeps its place: the oldest is carried over first
                entry = self.recent.entries[id_]
                self.recent.remove(id_)
                self.settled.keep(entry)
                self._ageing.append(place)
            self._arrived.popleft()

    def queued(self) -> int:
        """How many entries wait for a sweep, also those that were taken since."""
        return len(self._arrived) + len(self._ageing)


def _large_table() -> dict[Any, Any]:
    """A dict that is quick also with many thousands of texts in it.

    Python keeps the hashes of a dict's keys beside them, but not where all are texts: there it
    goes to each text that it meets on its way, which is seldom in the processor's cache.
    """
    table: dict[Any, Any] = {None: None}
    del table[None]
    return table
