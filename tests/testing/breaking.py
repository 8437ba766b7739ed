"""The list of stores that are each broken in one way."""

from __future__ import annotations

from collections.abc import Callable

from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.stores import MemoryStore
from tests.testing.file_store import FileStore

Change = Callable[[NoteState], NoteState]

AGE = 1e9
Kind = type[MemoryStore] | type[FileStore]
BROKEN: dict[str, tuple[Kind, tuple[str, ...]]] = {}
"""The stores by their names, each with the tests that must fail."""


def caught_by(*rules: str) -> Callable[[Kind], Kind]:
    def register(store: Kind) -> Kind:
        BROKEN[store.__name__] = (store, rules)
        return store

    return register
