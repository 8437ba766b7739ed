"""The suite for each of the broken stores, and for a sound one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from stewrd_integrations.stores import MemoryStore, Store
from stewrd_integrations.testing import StoreSuite
from tests.testing import broken_calls, broken_in_company
from tests.testing.breaking import BROKEN, Kind
from tests.testing.broken_in_company import AnotherInEachProcess
from tests.testing.file_store import FileStore

__all__ = ["BROKEN", "SOUND", "broken_calls", "broken_in_company", "suites"]

SOUND: dict[str, Kind] = {"FileStore": FileStore}


def suites(names: tuple[str, ...]) -> dict[str, type[StoreSuite]]:
    """The suite for each of the stores of these names."""
    stores = {name: store for name, (store, _) in BROKEN.items()} | SOUND
    return {f"Test{name}": _suite(stores[name]) for name in names}


def _suite(kind: Kind) -> type[StoreSuite]:
    class Suite(StoreSuite):
        @pytest.fixture
        def reopen(self, tmp_path: Path) -> Callable[[], Store] | None:
            if issubclass(kind, FileStore):
                return cast("Callable[[], Store]", partial(kind, tmp_path / "store"))
            return kind if kind is AnotherInEachProcess else None

        @pytest.fixture
        def store(self, reopen: Callable[[], Store] | None) -> Store:
            return reopen() if reopen else cast("type[MemoryStore]", kind)()

    return Suite
