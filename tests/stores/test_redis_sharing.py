"""Many at once on one Redis store: threads, processes, forks, and the tasks of event loops."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import redis

from stewrd_integrations.errors import StoreError
from stewrd_integrations.sessions.binding import Binding
from stewrd_integrations.stores import redis_connections
from stewrd_integrations.stores.redis import RedisStore
from tests.redis_server import RedisServer, require

from .redis_stores import (
    COLOURS,
    LONG,
    PATIENCE,
    binding,
    coloured,
    count,
    nobody_else,
    others,
    works,
)

require()


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer, raw: Any) -> RedisServer:
    assert nobody_else(raw)
    raw.flushall()
    return shared


@pytest.fixture
def raw(shared: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(shared.url) as client:
        yield client
        client.connection_pool.disconnect()  # early redis-py leaves it open


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(server.url, timeout=PATIENCE)
    yield store
    store.close()


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops keep their connections from the first call on."""
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", 0)


# -- threads and processes -------------------------------------------------------------------


def test_many_threads_lose_and_double_nothing(store: RedisStore) -> None:
    for number in range(300):
        store.put(binding(f"{number}", "pot", f"k{number}"), LONG)

    def work(_: int) -> list[str]:
        taken = []
        while found := store.take(("pot",)):
            taken.append(found.id)
            store.note("n", count)
        return taken

    with ThreadPoolExecutor(16) as threads:
        taken = [id_ for each in threads.map(work, range(16)) for id_ in each]
    assert sorted(taken, key=int) == [f"{number}" for number in range(300)]
    assert store.note("n") == {"n": 300}


def drain(url: str, start: Any, answers: Any) -> None:
    store = RedisStore(url, timeout=PATIENCE)
    store.note("ready")
    start.wait()
    taken = []
    while found := store.take(("pot",)):
        taken.append(found.id)
    answers.put(taken)


def test_many_processes_take_nothing_twice(server: RedisServer, store: RedisStore) -> None:
    for number in range(1_000):
        store.put(binding(f"{number}", "pot", f"k{number}"), LONG)
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=drain, args=(server.url, start, answers), daemon=True)
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    taken = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted((id_ for each in taken for id_ in each), key=int) == [
        f"{number}" for number in range(1_000)
    ]
    assert sum(map(bool, taken)) > 1, "they did not compete"


def in_child(work: Callable[[], Any]) -> Any:
    """What the work returns in a forked child; None if it hangs or fails."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(work()))
    child.start()
    answer = ours.recv() if ours.poll(PATIENCE) else None
    child.join(1)
    child.kill()
    child.join()
    return answer


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.usefixtures("pooled")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(
    store: RedisStore, raw: Any, colour: str
) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.anote("n"))
    calls = coloured(store, colour)
    store.note("n")
    before = {line["id"] for line in others(raw)}
    assert len(before) == 2, "the parent's, one of each colour"

    def talk() -> set[str]:
        for _ in range(50):
            calls.note("child", count)
        works(calls)
        return {line["addr"] for line in others(raw) if line["id"] not in before}

    assert in_child(talk) is not None
    for _ in range(50):
        store.note("parent", count)
        loop.run_until_complete(store.anote("parent", count))
    assert (store.note("child"), store.note("parent")) == ({"n": 50}, {"n": 100})
    assert {line["id"] for line in others(raw)} >= before, "the parent's are still open"
    loop.run_until_complete(store.aclose())
    loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_in_the_midst_of_other_threads_work_holds_nobody_up(store: RedisStore) -> None:
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            store.note("parent", count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert in_child(lambda: store.note("child", count)) is not None
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert store.note("child") == {"n": 8}


# -- event loops -----------------------------------------------------------------------------


def run_bare(main: Any) -> Any:
    """As some frameworks do: a loop that is closed without the shutdown of `asyncio.run`."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.mark.parametrize("run", [asyncio.run, run_bare])
def test_loops_that_end_leave_no_socket(
    store: RedisStore, raw: Any, run: Callable[[Any], Any]
) -> None:
    async def talk() -> Binding | None:
        await store.aput(binding("1", "k"), LONG)
        await asyncio.gather(*(store.anote(f"n{number}", count) for number in range(10)))
        return await store.atake(("k",))

    for _ in range(5):
        assert run(talk()) == binding("1", "k")
    assert len(store._connections._loops) <= 1, "what belongs to a loop goes with it"
    gc.collect()  # a socket or a transport that was left open would warn, and fail the test
    assert nobody_else(raw)
    assert store.note("n9") == {"n": 5}


@pytest.mark.usefixtures("pooled")
def test_a_loop_keeps_its_connections_to_its_end(store: RedisStore, raw: Any) -> None:
    async def talk() -> int:
        await store.anote("n")
        before = raw.info("stats")["total_connections_received"]
        for _ in range(100):
            await store.anote("n", count)
        return int(raw.info("stats")["total_connections_received"] - before)

    for _ in range(3):
        assert asyncio.run(talk()) == 0
    gc.collect()
    assert nobody_else(raw)


def test_a_loop_that_goes_on_begins_to_keep_its_connections(store: RedisStore, raw: Any) -> None:
    async def talk() -> list[int]:
        opened = []
        for _ in range(2):
            before = raw.info("stats")["total_connections_received"]
            for _ in range(redis_connections.SINGLE_CALLS):
                await store.anote("n")
            opened.append(raw.info("stats")["total_connections_received"] - before)
        return opened

    assert asyncio.run(talk()) == [redis_connections.SINGLE_CALLS, 1]
    assert nobody_else(raw)


@pytest.mark.usefixtures("pooled")
def test_a_closed_store_can_be_used_again(store: RedisStore, raw: Any) -> None:
    async def talk() -> None:
        for _ in range(3):
            await store.anote("n", count)
            store.note("n", count)
            assert len(others(raw)) == 2
            await store.aclose()
            await store.aclose()
            assert nobody_else(raw)

    asyncio.run(talk())
    assert store.note("n") == {"n": 6}
    store.close()
    assert nobody_else(raw)


@pytest.mark.parametrize("single", [0, 64])
def test_many_tasks_share_a_few_connections(
    server: RedisServer, raw: Any, single: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", single)
    monkeypatch.setattr(redis_connections, "PLACES", 5)
    store = RedisStore(f"{server.url}?max_connections=3", timeout=PATIENCE)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(others(raw)))
            await asyncio.sleep(0)

    async def talk() -> None:
        watcher = asyncio.create_task(watch())
        await asyncio.gather(*(store.anote(f"n{number}", count) for number in range(60)))
        watcher.cancel()

    asyncio.run(talk())
    assert 1 < most <= 4, "three, and perhaps one whose end the server has not noticed yet"
    assert store.inventory().notes == 60
    store.close()


def test_a_task_waits_for_a_connection_only_so_long(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "PLACES", 1)
    store = RedisStore(f"{server.url}?socket_timeout={PATIENCE}", timeout=0.1)

    async def talk() -> None:
        first = asyncio.create_task(store.anote("n"))
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="in use for too long"):
            await store.anote("m")
        server.resume()
        assert await first == {}
        assert await store.anote("m") == {}

    server.pause()
    try:
        asyncio.run(talk())
    finally:
        server.resume()
    store.close()


@pytest.mark.parametrize("single", [0, 64])
def test_a_cancelled_command_leaves_no_answer_behind(
    store: RedisStore, raw: Any, single: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", single)
    for number in range(4):
        store.note(f"n{number}", partial(dict, number=number))

    async def talk() -> None:
        for turns in range(60):
            task = asyncio.create_task(store.anote("n0"))
            for _ in range(turns % 20):
                await asyncio.sleep(0)
            await asyncio.sleep(turns / 50_000)
            task.cancel()
            for number in range(1, 4):
                assert await store.anote(f"n{number}") == {"number": number}
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(talk())
    gc.collect()
    store.close()
    assert nobody_else(raw)
