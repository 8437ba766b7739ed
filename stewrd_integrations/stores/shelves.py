"""Where the memory store keeps its bindings: new ones on a small shelf, older ones on a large one.

A put writes a binding under its id and under each of its keys. In a dict of many thousands each
such write goes to memory that the processor has not at hand. So a put goes to a dict that stays
small, and what has lain there for long is carried over by the sweeps, a few at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..sessions.binding import Binding
from .latest import Latest
from .packing import Packed, packed, unpacked

RECENT = 1_024
"""Bindings on the small shelf from which on a sweep carries the oldest of them over."""


class Entry(NamedTuple):
    """A binding but for its id, with its keys and the time until which it lives."""

    kept: Packed
    keys: tuple[str, ...]
    until: float


class Shelf:
    """Bindings by their ids and by their keys, those first that were not looked at for longest.

    Attributes:
        entries: What is kept under an id.
        by_key: The id under a key; a list where it is under several, the newest last.
    """

    def __init__(self, by_key: dict[str, str | list[str]]) -> None:
        # One that knows its order needs no queue beside it, in which what was taken would stay.
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self.by_key = by_key

    def keep(self, id_: str, entry: Entry) -> None:
        """Keep a binding whose id is not here yet."""
        self.entries[id_] = entry
        for key in entry.keys:
            there = self.by_key.setdefault(key, id_)
            if isinstance(there, list):
                there.append(id_)
            elif there != id_:
                self.by_key[key] = [there, id_]

    def remove(self, id_: str) -> Entry | None:
        """Take a binding out by its id."""
        entry = self.entries.pop(id_, None)
        for key in entry.keys if entry else ():
            there = self.by_key.get(key)  # a key that was given twice is gone by now
            if isinstance(there, list) and len(there) > 1:
                there.remove(id_)
            elif there is not None:
                del self.by_key[key]
        return entry

    def live(self, key: str, now: float) -> list[str]:
        """The ids under a key that have not expired, the newest last."""
        there = self.by_key.get(key, ())
        ids = (there,) if isinstance(there, str) else there
        return [id_ for id_ in ids if self.entries[id_].until > now]


class Shelves:
    """The bindings of a store; whoever calls it holds the store's lock."""

    def __init__(self) -> None:
        self.recent, self.settled = Shelf({}), Shelf(_large_table())
        self._latest = Latest()

    def __len__(self) -> int:
        return len(self.recent.entries) + len(self.settled.entries)

    def __iter__(self) -> Iterator[tuple[Binding, float]]:
        for shelf in (self.settled, self.recent):
            for id_, entry in shelf.entries.items():
                yield unpacked(entry.kept, id_, entry.keys), entry.until

    def __getitem__(self, id_: str) -> Binding:
        entry = self.recent.entries.get(id_) or self.settled.entries[id_]
        return unpacked(entry.kept, id_, entry.keys)

    def __contains__(self, id_: str) -> bool:
        return id_ in self.recent.entries or id_ in self.settled.entries

    def keys(self) -> set[str]:
        """All keys under which something is found."""
        return {*self.settled.by_key, *self.recent.by_key}

    def keep(self, binding: Binding, until: float) -> None:
        """Keep a binding in the place of what has its id."""
        self._drop(binding.id)
        self.recent.keep(binding.id, Entry(binding, binding.keys, until))
        self._pack(self._latest.add(binding.id))

    def _pack(self, id_: str) -> None:
        entry = self.recent.entries.get(id_)
        if entry and isinstance(entry.kept, Binding):
            self.recent.entries[id_] = entry._replace(kept=packed(entry.kept))

    def remove(self, id_: str) -> Binding | None:
        """Take a binding out by its id."""
        entry = self._drop(id_)
        self._latest.leave(id_)
        return None if entry is None else unpacked(entry.kept, id_, entry.keys)

    def _drop(self, id_: str) -> Entry | None:
        return self.recent.remove(id_) or self.settled.remove(id_)

    def live(self, key: str, now: float) -> list[str]:
        """The ids under a key that have not expired, the newest last."""
        # What is on the large shelf was put before all that is on the small one.
        return self.settled.live(key, now) + self.recent.live(key, now)

    def sweep(self, now: float, count: int) -> None:
        """Look at so many on each shelf, those first that were not looked at for longest."""
        self._look_around(now, count)
        recent = self.recent.entries
        for _ in range(min(count, len(recent))):
            id_ = next(iter(recent))
            lapsed = recent[id_].until <= now
            if not lapsed and len(recent) <= RECENT:
                break  # it keeps its place: the oldest is carried over first
            entry = self.recent.remove(id_)
            if entry is not None and not lapsed:
                self.settled.keep(id_, entry)

    def _look_around(self, now: float, count: int) -> None:
        """Drop what has expired of those that settled; their times differ, so all get a look."""
        settled = self.settled.entries
        for _ in range(min(count, len(settled))):
            id_ = next(iter(settled))
            if settled[id_].until > now:
                settled.move_to_end(id_)
            else:
                self.settled.remove(id_)


def _large_table() -> dict[Any, Any]:
    """A dict that is quick also with many thousands of texts in it.

    Python keeps the hashes of a dict's keys beside them, but not where all are texts: there it
    goes to each text that it meets on its way, which is seldom in the processor's cache.
    """
    table: dict[Any, Any] = {None: None}
    del table[None]
    return table
