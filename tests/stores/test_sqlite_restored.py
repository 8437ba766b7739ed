"""An older content that is put into a SQLite store's file while processes use it."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from stewrd_integrations.sessions.binding import DAY
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.testing.chapter import binding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def checkpoint(path: Path) -> None:
    """Everything is in the file itself, and nothing beside it."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def by_bytes(there: Path, here: Path) -> None:
    """As `cp` does it."""
    checkpoint(there)
    with there.open("rb") as read, here.open("r+b" if here.exists() else "wb") as written:
        written.write(read.read())
        written.truncate()


def by_sqlite(there: Path, here: Path) -> None:
    """As `.backup` and `.restore` of the sqlite3 program do it."""
    with closing(sqlite3.connect(there)) as old, closing(sqlite3.connect(here)) as new:
        old.backup(new)


restoring = pytest.mark.parametrize("restore", [by_bytes, by_sqlite])


@restoring
def test_what_was_taken_since_the_backup_is_not_taken_again(
    path: Path, tmp_path: Path, restore: Callable[[Path, Path], None]
) -> None:
    store, other = SQLiteStore(path), SQLiteStore(path, namespace="other")
    store.put(binding("1", "k"), DAY)
    other.put(binding("2", "k"), DAY)
    store.append("c", ["line"])
    restore(path, tmp_path / "backup.db")
    inode = path.stat().st_ino
    assert store.take(("k",)) == binding("1", "k")
    checkpoint(path)
    restore(tmp_path / "backup.db", path)
    assert path.stat().st_ino == inode
    assert store.take(("k",)) is None
    assert other.take(("k",)) is None, "whose they are makes no difference"
    assert store.load("c") == ["line"]
    store.put(binding("3", "k"), DAY)
    assert other.take(("k",)) is None
    assert store.take(("k",)) == binding("3", "k"), "and it goes on"


@restoring
def test_any_write_notices_it(
    path: Path, tmp_path: Path, restore: Callable[[Path, Path], None]
) -> None:
    store = SQLiteStore(path)
    store.put(binding("1", "k"), DAY)
    restore(path, tmp_path / "backup.db")
    store.take(("k",))
    checkpoint(path)
    restore(tmp_path / "backup.db", path)
    store.note("n", lambda _: {"a": 1})
    assert SQLiteStore(path).take(("k",)) is None, "nobody else can know it"


def test_a_content_of_the_same_time_loses_nothing(path: Path, tmp_path: Path) -> None:
    store = SQLiteStore(path)
    store.put(binding("0", "k0"), DAY)
    store.take(("k0",))
    store.put(binding("1", "k"), DAY)
    by_sqlite(path, tmp_path / "backup.db")
    store.note("n", lambda _: {"a": 1})
    by_sqlite(tmp_path / "backup.db", path)
    assert store.take(("k",)) == binding("1", "k")


def test_a_take_that_was_undone_is_not_counted(path: Path) -> None:
    store = SQLiteStore(path)
    store.put(binding("1", "k"), DAY)
    with pytest.raises(KeyError), store._file.writing(durable=True) as db:
        db.count_take()
        raise KeyError
    assert SQLiteStore(path).take(("k",)) == binding("1", "k")
    store.put(binding("2", "k"), DAY)
    assert store.take(("k",)) == binding("2", "k")


def take_when_told(line: Connection, path: Path) -> None:
    store = SQLiteStore(path)
    while key := line.recv():
        found = store.take((key,))
        line.send(None if found is None else found.id)


def test_each_process_knows_what_it_saw(path: Path, tmp_path: Path) -> None:
    SQLiteStore(path).put(binding("1", "k"), DAY)
    SQLiteStore(path).put(binding("2", "k2"), DAY)
    by_sqlite(path, tmp_path / "backup.db")
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=take_when_told, args=(theirs, path), daemon=True)
    child.start()
    ours.send("k")
    assert ours.recv() == "1"
    by_sqlite(tmp_path / "backup.db", path)
    ours.send("k2")
    assert ours.recv() is None
    assert SQLiteStore(path).take(("k",)) is None
    ours.send("")
    child.join(60)
    assert child.exitcode == 0


def test_another_file_in_its_place_has_a_count_of_its_own(path: Path, tmp_path: Path) -> None:
    store = SQLiteStore(path)
    for number in range(3):
        store.put(binding(f"{number}", "k"), DAY)
        store.take(("k",))
    for each in tmp_path.iterdir():
        each.rename(each.with_name(f"old-{each.name}"))
    SQLiteStore(path).put(binding("new", "k"), DAY)
    assert store.take(("k",)) == binding("new", "k")
