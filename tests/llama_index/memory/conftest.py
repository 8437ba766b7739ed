from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore, RedisStore, SQLiteStore, Store
from tests.redis_server import RedisServer, require

from .talking import Calls, Make, Memories

NUMBERS = itertools.count()
DAY = 86_400.0


@pytest.fixture(scope="package")
def server() -> Iterator[RedisServer]:
    require()
    with RedisServer() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


KINDS = ("memory", "memory ttl", "sqlite", "sqlite sealed", "redis", "redis sealed")


@pytest.fixture(params=KINDS)
async def any_store(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Store]:
    """Each kind, plain, and encrypted where it can be, with an end of transcripts."""
    kind, _, more = request.param.partition(" ")
    options: dict[str, Any] = {"transcript_ttl": DAY} if more else {}
    if kind == "memory":
        yield MemoryStore(**options)
        return
    if more == "sealed":
        options["encryption_key"] = Fernet.generate_key()
    if kind == "sqlite":
        store: SQLiteStore | RedisStore = SQLiteStore(path, **options)
    else:
        server: RedisServer = request.getfixturevalue("server")
        store = RedisStore(server.url, namespace=f"memories-{next(NUMBERS)}", **options)
    yield store
    await store.aclose()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def llm(make: Make, store: MemoryStore) -> StewrdLLM:
    return make(store=store)


@pytest.fixture
def memories(emulator: Emulator, store: MemoryStore) -> Memories:
    def make_memory(name: Any = "c", **options: Any) -> StewrdMemory:
        here = {"store": store, "api_key": emulator.api_key, "base_url": emulator.url}
        return StewrdMemory(name, **{**here, **options})

    return make_memory


@pytest.fixture
def memory(memories: Memories) -> StewrdMemory:
    return memories()


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def calls(memory: StewrdMemory, colour: str) -> Calls:
    return Calls(memory, colour)
