"""What every chapter of the suite stands on: the store under test, by either of its colours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import pytest

from ..sessions.binding import Binding, Run
from ..sessions.digest import Covered
from ..stores import Store

Reopen: TypeAlias = "Callable[[], Store]"

LONG = 600.0
"""Seconds: what is kept for so long is there for the whole of a test, on a slow machine too."""

SHORT = 0.1
"""Seconds: what is kept for so long is gone after `let_lapse`."""

COLOURS = ("sync", "async")


class ByAsync:
    """A store's async methods under the names of the sync ones, each call in a loop of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, f"a{name}")

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return lambda *args, **kwargs: asyncio.run(call(*args, **kwargs))


def coloured(store: Store, colour: str) -> Store:
    """The store by its "sync" or its "async" methods, both to be called like sync ones."""
    return store if colour == "sync" else cast("Store", ByAsync(store))


class Chapter:
    """Fixtures of the suite. A subclass that is to run must override `store`."""

    @pytest.fixture
    def store(self) -> Store:
        """The store under test, fresh and empty for each test: override this one."""
        pytest.fail('The suite needs a fixture "store" that returns a fresh, empty store.')

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """Opens the same store once more; picklable. None: it lives in one process only."""
        return None

    @pytest.fixture(params=COLOURS)
    def colour(self, request: pytest.FixtureRequest) -> str:
        """Which methods of the store a test calls."""
        return str(request.param)

    @pytest.fixture
    def calls(self, store: Store, colour: str) -> Store:
        """The store under test, by the methods of one colour."""
        return coloured(store, colour)


def binding(id_: str, *keys: str) -> Binding:
    """A binding that has something in each of its fields."""
    return Binding(
        id=id_,
        session_id=f"session-{id_}",
        covered=Covered("base", 3, ("user-1", "assistant-1"), "user-0"),
        tip_mark="mark",
        used=4,
        held=2,
        sent_at=1_800_000_000.25,
        answered_at=1_800_000_001.5,
        instructions="digest",
        instructions_size=120,
        superseded=60,
        generation=2,
        opened=(1_799_999_000.5, 1_800_000_000.0),
        provisional=True,
        plain=False,
        run=Run("request", "instance", 1_800_000_300.0, 3),
        keys=keys,
    )


def let_lapse() -> None:
    """Wait until what was kept for `SHORT` seconds must be gone."""
    time.sleep(SHORT + 0.1)


def ids(bindings: list[Binding]) -> list[str]:
    """The bindings' ids, in their order."""
    return [found.id for found in bindings]


def drain(store: Store, *keys: str) -> list[Binding]:
    """Take until nothing is left under these keys."""
    found = []
    while (taken := store.take(keys)) is not None:
        found.append(taken)
    return found
