"""Many processes on one SQLite store: racing, forked, killed, without rights, without space."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from stewrd_integrations.errors import StoreError
from stewrd_integrations.sessions.binding import DAY
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.testing.chapter import binding

PATIENCE = 120.0
NOBODY = 65_534

# Python 3.12 warns of threads at a fork: what becomes of the store then is what is tested.
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]


class Child:
    """A process at work, and a pipe that brings what it says."""

    def __init__(self, work: Callable[..., Any], *arguments: object) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self) -> None:
        self._pipe.send("go on")

    def hear(self) -> Any:
        assert self._pipe.poll(PATIENCE), "the child says nothing"
        return self._pipe.recv()

    def end(self) -> None:
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0
        self._pipe.close()


def healthy(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def works(store: SQLiteStore) -> None:
    store.put(binding("works", "works"), DAY)
    assert store.take(("works",)) == binding("works", "works")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# -- racing ------------------------------------------------------------------------------


def open_and_use(pipe: Connection, folder: Path, rounds: int) -> None:
    for number in range(rounds):
        pipe.send("ready")
        pipe.recv()
        store = SQLiteStore(folder / f"{number}.db", busy_timeout=60)
        store.put(binding(f"{os.getpid()}", "k"), DAY)
        found = store.take(("k",))
        store.close()
        pipe.send(found and found.id)


def test_all_may_be_the_first_to_open_it(tmp_path: Path) -> None:
    rounds = 12
    children = [Child(open_and_use, tmp_path, rounds) for _ in range(8)]
    for _ in range(rounds):
        assert {child.hear() for child in children} == {"ready"}
        for child in children:
            child.tell()
        taken = [child.hear() for child in children]
        assert sorted(taken) == sorted(f"{child.process.pid}" for child in children)
    for child in children:
        child.end()


EACH = 150


def hammer(pipe: Connection, path: Path, name: str) -> None:
    store = SQLiteStore(path, busy_timeout=60)
    taken = []
    for number in range(EACH):
        store.put(binding(f"{name}-{number}", "shared", f"k{number % 7}"), DAY)
        found = store.take((f"k{number % 5}", "shared"))
        taken += [found.id] if found else []
    pipe.send(taken)


def test_writers_never_take_one_binding_twice(path: Path) -> None:
    children = [Child(hammer, path, f"{number}") for number in range(4)]
    taken = [id_ for child in children for id_ in child.hear()]
    for child in children:
        child.end()
    store = SQLiteStore(path)
    while (found := store.take(("shared",))) is not None:
        taken.append(found.id)
    assert sorted(taken) == sorted(
        f"{name}-{number}" for name in range(4) for number in range(EACH)
    )
    assert healthy(path)


# -- killed ------------------------------------------------------------------------------


def write_for_ever(pipe: Connection, path: Path) -> None:
    store = SQLiteStore(path)
    number = 0
    while True:
        store.append("c", [f"{number} a", f"{number} b"], replace=number % 50 == 0)
        store.put(binding(f"{number}", "k", f"{number}"), DAY)
        store.take(("k",))
        if number == 0:
            pipe.send("at it")
        number += 1


def test_who_is_killed_leaves_a_healthy_file(path: Path) -> None:
    for kill in range(8):
        child = Child(write_for_ever, path)
        assert child.hear() == "at it"
        time.sleep(0.007 * kill)
        child.process.kill()
        child.process.join()
        store = SQLiteStore(path)
        lines = store.load("c")
        assert lines and [line[:-1] for line in lines[::2]] == [line[:-1] for line in lines[1::2]]
        ids = [each.id for each in store.peek(("k",))]
        assert len(ids) == len(set(ids)) <= kill + 1, "one may be lying about for each that died"
        works(store)
        assert healthy(path)


def make(pipe: Connection, path: Path) -> None:
    pipe.send("ready")
    pipe.recv()
    works(SQLiteStore(path))


def test_who_is_killed_while_making_it_does_no_harm(path: Path) -> None:
    for kill in range(30):
        child = Child(make, path)
        child.hear()
        child.tell()
        time.sleep(kill / 10_000)
        child.process.kill()
        child.process.join()
        works(SQLiteStore(path))
        assert healthy(path)
        for each in path.parent.iterdir():
            each.unlink()


# -- forked ------------------------------------------------------------------------------


def say_and_wait(pipe: Connection, store: SQLiteStore) -> None:
    store.append("c", ["of the child"])
    pipe.send("done")
    pipe.recv()
    pipe.send(store.load("c"))


def test_a_forked_child_holds_locks_of_its_own(path: Path) -> None:
    store = SQLiteStore(path)
    store.append("c", ["of the parent"])
    child = Child(say_and_wait, store)
    assert child.hear() == "done"
    store.close()
    # Only who has the file for himself can do this; so it tells whether the child holds a lock.
    alone = "PRAGMA journal_mode=DELETE"
    with (
        closing(sqlite3.connect(path, timeout=0.1)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute(alone)
    child.tell()
    assert child.hear() == ["of the parent", "of the child"]
    child.end()
    works(store)


def fork_again(pipe: Connection, store: SQLiteStore) -> None:
    works(store)
    parent = os.getpid()
    if os.fork():
        os._exit(0)  # as a daemon's first process does
    while os.getppid() == parent:
        time.sleep(0.001)
    store.append("c", ["of the daemon"])
    pipe.send("done")
    pipe.recv()
    store.append("c", ["of the daemon, later"])
    pipe.send("done")
    os._exit(0)


def test_a_daemon_goes_on_when_its_parents_are_gone(path: Path) -> None:
    store = SQLiteStore(path)
    works(store)
    daemon = Child(fork_again, store)
    assert daemon.hear() == "done"
    store.close()
    works(store)
    daemon.tell()
    assert daemon.hear() == "done"
    daemon.end()
    assert store.load("c") == ["of the daemon", "of the daemon, later"]
    assert healthy(path)


def take_or_tell(pipe: Connection, store: SQLiteStore) -> None:
    try:
        found = store.take(("k",))
        pipe.send(found and found.id)
    except StoreError as error:
        pipe.send(str(error))
    sys.exit(0)


def test_a_fork_in_the_midst_of_a_transaction_disturbs_nobody(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=0.3)
    store.put(binding("1", "k"), DAY)
    begun, end = threading.Event(), threading.Event()

    def slow(note: NoteState) -> NoteState:
        begun.set()
        assert end.wait(PATIENCE)
        return {"a": 1}

    with ThreadPoolExecutor(1) as threads:
        slowly = threads.submit(store.note, "n", slow)
        assert begun.wait(PATIENCE)
        child = Child(take_or_tell, store)
        assert "locked" in child.hear()
        child.end()
        end.set()
        assert slowly.result(PATIENCE) == {"a": 1}
    assert store.note("n") == {"a": 1}
    assert store.take(("k",)) == binding("1", "k")
    assert healthy(path)


def test_a_fork_waits_for_a_transaction_that_ends_soon(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=60)
    begun = threading.Event()

    def slow(note: NoteState) -> NoteState:
        begun.set()
        time.sleep(0.3)
        return {"a": 1}

    store.put(binding("1", "k"), DAY)
    with ThreadPoolExecutor(1) as threads:
        slowly = threads.submit(store.note, "n", slow)
        assert begun.wait(PATIENCE)
        child = Child(take_or_tell, store)
        assert child.hear() == "1"
        child.end()
        assert slowly.result(PATIENCE) == {"a": 1}
    works(store)


# -- without rights, without space -------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, other than pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def use_as_nobody(pipe: Connection, path: Path) -> None:
    if os.geteuid() == 0:  # for whom no mode is an obstacle
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    store = SQLiteStore(path, busy_timeout=0.2)
    for _ in range(2):
        try:
            works(store)
            pipe.send("it worked")
        except StoreError as error:
            pipe.send(str(error))
        pipe.recv()


@pytest.mark.parametrize("kept_open", [True, False])
def test_a_file_that_can_only_be_read_is_told_of(open_folder: Path, kept_open: bool) -> None:
    path = open_folder / "store.db"
    store = SQLiteStore(path)
    works(store)
    if not kept_open:
        store.close()
    for each in open_folder.iterdir():
        each.chmod(0o444)
    open_folder.chmod(0o555)
    child = Child(use_as_nobody, path)
    assert "The SQLite store" in (said := child.hear()) and "failed" in said
    open_folder.chmod(0o777)
    for each in open_folder.iterdir():
        each.chmod(0o666)
    child.tell()
    assert child.hear() == "it worked"
    child.tell()
    child.end()


def test_a_folder_in_which_it_cannot_be_made_is_told_of(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    child = Child(use_as_nobody, open_folder / "store.db")
    assert "Permission denied" in child.hear()
    open_folder.chmod(0o777)
    child.tell()
    assert child.hear() == "it worked"
    child.tell()
    child.end()


def use_in_little_space(pipe: Connection, path: Path) -> None:
    store = SQLiteStore(path)
    store.append("c", ["before"])
    size = Path(f"{path}-wal").stat().st_size
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, most))
    for _ in range(2):
        try:
            store.append("c", ["x" * 50_000])
        except StoreError as error:
            pipe.send(str(error))
    pipe.send(store.load("c"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    store.append("c", ["after"])
    pipe.send(store.load("c"))


def test_a_write_that_the_system_refuses_is_told_of(path: Path) -> None:
    child = Child(use_in_little_space, path)
    for _ in range(2):
        assert "failed: " in child.hear()
    assert child.hear() == ["before"]
    assert child.hear() == ["before", "after"]
    child.end()
    assert healthy(path)
