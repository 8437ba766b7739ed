"""What was written last, which is mostly what is asked for next."""

from __future__ import annotations

from collections import OrderedDict

LATEST = 8
"""Bindings, and as many notes, that the memory store keeps as they came. So a turn of a process
that talks to a few users packs nothing; what others left lying there is small when it is packed."""


class Latest:
    """The names of what was written last."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str) -> str:
        """A name is written; gives back the one that is not among the last any more, or ""."""
        names = self._names
        names[name] = None
        names.move_to_end(name)
        return names.popitem(last=False)[0] if len(names) > LATEST else ""

    def leave(self, name: str) -> None:
        """What it names is gone, and leaves its place to another."""
        self._names.pop(name, None)
