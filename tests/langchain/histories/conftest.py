from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory
from stewrd_integrations.stores import MemoryStore

from .talking import Histories

Make = Callable[..., ChatStewrd]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def model(make: Make, store: MemoryStore) -> ChatStewrd:
    return make(store=store)


@pytest.fixture
def history(stewrd: Emulator, store: MemoryStore) -> Histories:
    def make_history(name: Any = "c", **options: Any) -> StewrdChatMessageHistory:
        here = {"store": store, "api_key": stewrd.api_key, "base_url": stewrd.url}
        return StewrdChatMessageHistory(name, **{**here, **options})

    return make_history
