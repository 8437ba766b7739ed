"""Waiting for a SQLite store's file that another program holds, and giving up."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from stewrd_integrations import open_store
from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.sessions.binding import DAY
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.stores.sqlite_threads import THREADS
from stewrd_integrations.testing.chapter import binding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program has begun to write, and takes its time."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        yield other


def ours() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("stewrd-sqlite")]


# -- threads of its own --------------------------------------------------------------------


async def test_calls_that_wait_leave_the_event_loops_threads_free(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=30)
    store.put(binding("1", "k"), DAY)
    before = len(ours())
    with held(path) as other:
        calls = [asyncio.create_task(store.anote(f"n{number}", dict)) for number in range(100)]
        await asyncio.sleep(0.2)
        await asyncio.wait_for(asyncio.to_thread(lambda: None), 20)
        assert not any(call.done() for call in calls)
        assert len(ours()) <= before + THREADS
        other.execute("COMMIT")
        await asyncio.gather(*calls)
    await store.aclose()


async def test_a_closed_store_has_no_threads_and_begins_others(path: Path) -> None:
    store = SQLiteStore(path)
    for _ in range(2):
        before = threading.enumerate()
        await store.aput(binding("1", "k"), DAY)
        assert await store.atake(("k",)) == binding("1", "k")
        begun = [each for each in ours() if each not in before]
        assert begun
        await store.aclose()
        for each in begun:
            each.join(20)
            assert not each.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(path: Path) -> None:
    store = SQLiteStore(path)
    asyncio.run(store.aput(binding("1", "k"), DAY))
    with store._threads._lock:  # as another thread might, in the moment of the fork
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=take_in_child, args=(store,))
        child.start()
        child.join(20)
        child.kill()
    assert child.exitcode == 0
    assert asyncio.run(store.atake(("k",))) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_does_not_wait_for_a_file_that_another_program_holds(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=30)
    store.put(binding("1", "k"), DAY)
    with held(path) as other, ThreadPoolExecutor(1) as threads:
        waits = threads.submit(store.note, "n", lambda _: {"a": 1})
        while store._file._lock.acquire(blocking=False):
            store._file._lock.release()  # nobody has it yet
            time.sleep(0.01)
        began = time.monotonic()
        child = multiprocessing.get_context("fork").Process(target=os.getpid)
        child.start()
        took = time.monotonic() - began
        child.join(60)
        other.execute("COMMIT")
        assert waits.result(60) == {"a": 1}
    assert took < 15, "half of what the thread may wait"
    assert child.exitcode == 0
    assert store.take(("k",)) == binding("1", "k")


def take_in_child(store: SQLiteStore) -> None:
    if asyncio.run(store.atake(("k",))) is None:
        raise SystemExit(1)


# -- who has waited in vain tells the others ---------------------------------------------------


def test_after_one_has_waited_in_vain_nobody_waits_for_a_while(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=5)
    store.put(binding("1", "k"), DAY)
    with held(path) as other:
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"locked.*busy_timeout"):
            store.take(("k",))
        waited = time.monotonic() - began
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreError, match=r"locked.*busy_timeout"):
                store.take(("k",))
        assert time.monotonic() - began < waited / 2
        assert store.peek(("k",)) == [binding("1", "k")], "who only reads need not wait"
        other.execute("COMMIT")
    deadline = time.monotonic() + 20
    found = None
    while found is None and time.monotonic() < deadline:
        try:
            found = store.take(("k",))
        except StoreError:
            time.sleep(0.05)
    assert found == binding("1", "k")


def test_who_came_later_gives_up_with_who_came_first(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=4)
    store.put(binding("1", "k"), DAY)

    def refused() -> float:
        with pytest.raises(StoreError, match="locked"):
            store.note("n", dict)
        return time.monotonic()

    with held(path), ThreadPoolExecutor(2) as threads:
        first = threads.submit(refused)
        time.sleep(1.5)
        later = threads.submit(refused)
        assert later.result(60) - first.result(60) < 2


async def test_all_that_wait_at_once_give_up_at_once(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=2)
    store.put(binding("1", "k"), DAY)
    with held(path):
        began = time.monotonic()
        calls = [store.anote(f"n{number}", dict) for number in range(30)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, StoreError) and "locked" in str(each) for each in told)
        assert time.monotonic() - began < 2 * 30 / THREADS / 2
    await store.aclose()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "3601", "soon"])
def test_a_urls_busy_timeout_is_checked_at_once(path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"busy_timeout.*number of seconds"):
        open_store(f"sqlite:///{path}?busy_timeout={text}")


def test_a_url_may_say_how_long_to_wait(path: Path) -> None:
    store = open_store(f"sqlite:///{path}?busy_timeout=0.25&namespace=a")
    assert isinstance(store, SQLiteStore)
    assert store._file.busy_timeout == 0.25
    assert store is open_store(f"sqlite:///{path}?namespace=a&busy_timeout=0.250")
    assert store is not open_store(f"sqlite:///{path}?namespace=a")


# -- a call that was cancelled -------------------------------------------------------------------


async def test_a_cancelled_call_writes_nothing_when_the_file_is_free_again(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=30)
    store.put(binding("1", "k"), DAY)
    store.append("c", ["line"])
    with held(path) as other:
        calls = [
            asyncio.create_task(call)
            for call in (
                store.anote("n", lambda _: {"call": "mine"}),
                store.atake(("k",)),
                store.aoccupy("p", "slot", 10, 60),
                store.aappend("c", ["another"]),
                store.aclear("c"),
                store.aput(binding("2", "k2"), DAY),
            )
        ]
        await asyncio.sleep(0.3)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert all(call.cancelled() for call in calls)
        other.execute("COMMIT")
    await store.anote("later", dict)  # whoever waits for the file has had it by now
    await store.aclose()
    assert store.note("n") == {}
    assert store.peek(("k", "k2")) == [binding("1", "k")]
    assert store.slots("p") == {}
    assert store.load("c") == ["line"]


async def test_a_call_that_is_cancelled_in_its_midst_is_whole(path: Path) -> None:
    store = SQLiteStore(path)
    begun, go_on = threading.Event(), threading.Event()

    def change(_: object) -> dict[str, int]:
        begun.set()
        assert go_on.wait(60)
        return {"a": 1}

    call = asyncio.create_task(store.anote("n", change))
    await asyncio.to_thread(begun.wait, 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    await store.anote("later", dict)  # whoever waits to write has had its turn by now
    assert await store.anote("n") == {"a": 1}, "it had begun to write before"
    await store.aclose()
