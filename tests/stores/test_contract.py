"""The published suite on each of the stores."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stewrd_integrations.stores import MemoryStore, Store
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.testing import StoreSuite, TranscriptSuite
from tests.redis_server import RedisServer, require

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""A Fernet key; whoever reads this knows it."""

Open = Callable[[], Store]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    require()
    with RedisServer() as server:
        yield server


@pytest.fixture
def open_sqlite(tmp_path: Path) -> Open:
    return functools.partial(SQLiteStore, tmp_path / "store.db")


@pytest.fixture
def open_redis(redis_server: RedisServer) -> Open:
    return functools.partial(RedisStore, redis_server.url, namespace=uuid.uuid4().hex, timeout=30.0)


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSQLiteStore(StoreSuite):
    @pytest.fixture
    def store(self, open_sqlite: Open) -> Store:
        return open_sqlite()

    @pytest.fixture
    def reopen(self, open_sqlite: Open) -> Open | None:
        return open_sqlite


class TestRedisStore(StoreSuite):
    @pytest.fixture
    def store(self, open_redis: Open) -> Store:
        return open_redis()

    @pytest.fixture
    def reopen(self, open_redis: Open) -> Open | None:
        return open_redis


class TestEncryptedSQLiteStore(TranscriptSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return SQLiteStore(tmp_path / "store.db", encryption_key=KEY)


class TestEncryptedRedisStore(TranscriptSuite):
    @pytest.fixture
    def store(self, redis_server: RedisServer) -> Store:
        namespace = uuid.uuid4().hex
        return RedisStore(redis_server.url, namespace=namespace, encryption_key=KEY, timeout=30.0)
