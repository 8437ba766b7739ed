"""Whoever is cancelled stops, also where something is waited for a time only.

`asyncio.wait_for` swallows a cancellation, before Python 3.12, that comes just as what it waits
for is done: the task goes on, and whoever cancelled it waits for ever.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import stewrd_integrations
from stewrd_integrations.errors import StoreError
from stewrd_integrations.stores import redis_connections
from stewrd_integrations.stores.redis import RedisStore
from tests.redis_server import RedisServer, require

PACKAGE = Path(stewrd_integrations.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "testing")
"""All but what tests are made of: a test is not cancelled."""
NEWER = frozenset({"wait_for", "timeout", "timeout_at", "TaskGroup", "Runner"})
"""The first swallows cancellations, the others are not in Python 3.10."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_waits_by_what_swallows_a_cancellation(module: Path) -> None:
    named = [
        node.attr
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "asyncio"
    ]
    assert not NEWER & set(named)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    require()
    with RedisServer() as running:
        yield running


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("moment", range(8))
def test_a_place_at_redis_that_is_free_as_its_waiter_is_cancelled(
    server: RedisServer, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "PLACES", 1)
    store = RedisStore(server.url, timeout=20.0)

    async def talk() -> None:
        loop = store._connections._of_loop()
        await loop._places.acquire()
        task = asyncio.create_task(store.anote("n"))
        await steps(5)
        loop._places.release()
        await steps(moment)
        assert task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert await store.anote("n") == {}, "its place was given back"
        await store.aclose()

    asyncio.run(talk())
    store.close()


def test_who_waits_for_too_long_takes_no_place(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "PLACES", 1)
    store = RedisStore(f"{server.url}?socket_timeout=20", timeout=0.05)

    async def talk() -> None:
        loop = store._connections._of_loop()
        await loop._places.acquire()
        with pytest.raises(StoreError, match="in use for too long"):
            await store.anote("n")
        loop._places.release()
        for _ in range(3):
            assert await store.anote("n") == {}
        await store.aclose()

    asyncio.run(talk())
    store.close()
