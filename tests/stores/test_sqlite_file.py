"""The SQLite store's file: whose it is, what becomes of it, and what may go wrong with it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.sessions.binding import DAY
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.stores.sqlite_schema import APPLICATION_ID, DamagedRowError
from stewrd_integrations.testing.chapter import binding

SIDE_FILES = ("-wal", "-shm", "-journal")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> SQLiteStore:
    return SQLiteStore(path, busy_timeout=0.2)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program sees it, each statement at once."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing(connection):
        yield connection


def beside(path: Path) -> dict[str, bytes]:
    """What is in a folder, byte for byte."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir()}


def works(store: SQLiteStore) -> None:
    store.put(binding("works", "works"), DAY)
    assert store.take(("works",)) == binding("works", "works")
    store.append("works", ["1"], replace=True)
    assert store.load("works") == ["1"]


# -- a file that is not the store's ------------------------------------------------------


def foreign(path: Path, *statements: str) -> None:
    with opened(path) as connection:
        for statement in (*statements, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)"):
            connection.execute(statement)


def foreign_in_wal(path: Path) -> None:
    """Of a program that ended without closing: its table stands in the WAL alone."""
    with opened(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE theirs (x)")
        held = beside(path)
    for name, content in held.items():
        (path.parent / name).write_bytes(content)


def of_layout(layout: int, path: Path) -> None:
    works(SQLiteStore(path))
    with opened(path) as connection:
        connection.execute(f"PRAGMA user_version={layout}")


NOT_OURS: dict[str, tuple[Callable[[Path], object], str]] = {
    "theirs": (foreign, "something else"),
    "theirs in WAL mode": (lambda path: foreign(path, "PRAGMA journal_mode=WAL"), "something else"),
    "theirs by its id": (lambda path: foreign(path, "PRAGMA application_id=7"), "something else"),
    "of a newer layout": (lambda path: of_layout(2, path), "layout 2 .* Upgrade"),
    "of an older layout": (lambda path: of_layout(0, path), "layout 0 .* replayed"),
    "a text": (lambda path: path.write_text("Dear diary,\n" * 100), "not a SQLite database"),
    "a short text": (lambda path: path.write_text("Dear"), "not a SQLite database"),
    "zeros": (lambda path: path.write_bytes(bytes(8_192)), "not a SQLite database"),
}


@pytest.mark.parametrize("kind", NOT_OURS)
def test_a_file_of_something_else_is_left_alone(path: Path, kind: str) -> None:
    make, wanted = NOT_OURS[kind]
    make(path)
    before, times = beside(path), path.stat().st_mtime_ns
    store = SQLiteStore(path)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=wanted):
            store.take(("k",))
    assert beside(path) == before
    assert path.stat().st_mtime_ns == times


def test_what_stands_in_a_wal_alone_is_seen_too(path: Path) -> None:
    foreign_in_wal(path)
    before = path.read_bytes()
    assert b"theirs" not in before
    with pytest.raises(ConfigurationError, match="something else"):
        SQLiteStore(path).slots("p")
    assert path.read_bytes() == before
    with opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM theirs").fetchone() == (0,)


def test_an_empty_file_becomes_a_store_and_keeps_its_mode(path: Path, store: SQLiteStore) -> None:
    path.touch()
    path.chmod(0o640)
    works(store)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_database_without_tables_becomes_a_store(path: Path, store: SQLiteStore) -> None:
    foreign(path)
    with opened(path) as connection:
        connection.execute("DROP TABLE theirs")
    works(store)


def test_a_file_that_was_left_half_made_is_mended(path: Path, store: SQLiteStore) -> None:
    works(store)
    store.close()
    with opened(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    # As its maker leaves it who is killed in the midst: a page, and a journal which says that
    # there were none before.
    path.write_bytes(path.read_bytes()[:4_096])
    journal = struct.pack(">8s5L", bytes.fromhex("d9d505f920a163d7"), 0, 1, 0, 512, 4_096)
    Path(f"{path}-journal").write_bytes(journal.ljust(512, b"\0"))
    works(store)
    assert not Path(f"{path}-journal").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigurationError, match="is no file"):
            SQLiteStore(path).slots("p")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("nowhere", "file"):
        store = SQLiteStore(tmp_path / folder / "store.db")
        with pytest.raises(ConfigurationError, match=rf"{folder}.*does not exist\. Create it"):
            store.slots("p")
    (tmp_path / "nowhere").mkdir()
    works(SQLiteStore(tmp_path / "nowhere" / "store.db"))


@pytest.mark.parametrize("name", ["a?b#c%20d&e=f.db", "ü 漢 'q' \"q\".db", "-o.db", "a\udcff.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    works(SQLiteStore(tmp_path / name))
    assert [each.name for each in tmp_path.iterdir()] == [name]


# -- the file that it makes --------------------------------------------------------------


def test_only_its_user_can_read_it(path: Path, store: SQLiteStore) -> None:
    before = os.umask(0)
    try:
        works(store)
        modes = {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), "0o600")


def test_it_says_whose_it_is(path: Path, store: SQLiteStore) -> None:
    works(store)
    with opened(path) as connection:
        asked = ("application_id", "user_version", "journal_mode")
        said = [connection.execute(f"PRAGMA {each}").fetchone()[0] for each in asked]
    assert said == [APPLICATION_ID, 1, "wal"]
    assert path.read_bytes()[68:72] == b"STWR"


# -- failures, and what comes after them -------------------------------------------------


def fails(store: SQLiteStore, why: str) -> None:
    """Each kind of use, with an error that tells nothing of what is kept."""
    uses: list[Callable[[], object]] = [
        lambda: store.put(binding("1", "the-key"), DAY),
        lambda: store.take(("the-key",)),
        lambda: store.append("c", ["the-line"]),
    ]
    for use in uses:
        with pytest.raises(StoreError, match=why) as caught:
            use()
        assert not re.search("the-key|the-line", f"{caught.value!r} {caught.value.__cause__!r}")


def test_a_locked_file_is_told_of(path: Path, store: SQLiteStore) -> None:
    works(store)
    store.put(binding("0", "k"), DAY)
    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        fails(store, "locked.*safe to try again")
        fails(SQLiteStore(path, busy_timeout=0.2), "locked")
        assert store.peek(("k",)) == [binding("0", "k")], "who only reads need not wait"
    time.sleep(0.2)  # for a fifth of its busy time-out it does not even try
    works(store)


def test_a_file_that_is_locked_before_it_is_a_store_is_told_of(
    path: Path, store: SQLiteStore
) -> None:
    with opened(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        fails(store, "locked")
    time.sleep(0.2)  # for a fifth of its busy time-out it does not even try
    works(store)


def test_who_is_refused_at_once_while_another_sets_it_up_tries_again(path: Path) -> None:
    works(SQLiteStore(path))
    with opened(path) as other:
        other.execute("PRAGMA journal_mode=DELETE")  # as in the moment after its tables were made
        other.execute("BEGIN IMMEDIATE")
        fails(SQLiteStore(path, busy_timeout=0.2), "locked")
        later = threading.Timer(0.3, other.execute, ["COMMIT"])
        later.start()
        works(SQLiteStore(path, busy_timeout=60))
        later.join()


def test_a_full_disk_is_told_of(store: SQLiteStore) -> None:
    works(store)
    connection = store._file._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match=r"full\. Free some space"):
        store.append("works", ["x" * 100_000], replace=True)
    assert store.load("works") == ["1"], "all of it, or nothing"
    store.append("works", ["x" * 100_000])  # on a new connection, as after space was freed
    works(store)


@pytest.mark.parametrize("harm", ["garbage in the middle", "cut", "another header"])
def test_a_damaged_file_is_told_of(path: Path, store: SQLiteStore, harm: str) -> None:
    works(store)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(
        {
            "garbage in the middle": whole[:4_096] + b"\xa5" * (len(whole) - 4_096),
            "cut": whole[:8_192],
            "another header": b"?" * 100 + whole[100:],
        }[harm]
    )
    for _ in range(2):
        with pytest.raises((StoreError, ConfigurationError), match=r"malformed|not a SQLite"):
            store.append("works", ["2"])
    path.write_bytes(whole)
    assert store.load("works") == ["1"]
    works(store)


def test_damage_that_comes_while_it_is_open_is_told_of(path: Path, store: SQLiteStore) -> None:
    store.append("works", ["x" * 1_000] * 3_000)
    with opened(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xa5" * (len(whole) - 4_096))
    for _ in range(2):
        with pytest.raises(StoreError, match=r"malformed.*Restore it"):
            store.load("works")
    with path.open("r+b") as file:
        file.write(whole)
    assert len(store.load("works")) == 3_000
    works(store)


# -- a file that is exchanged while it is open -------------------------------------------


def delete(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def delete_but_its_side_files(path: Path) -> None:
    path.unlink()


def exchange(path: Path) -> None:
    other = SQLiteStore(path.with_name("other.db"))
    works(other)
    other.close()
    delete(path)
    path.with_name("other.db").rename(path)


@pytest.mark.parametrize("go", [delete, delete_but_its_side_files, exchange])
@pytest.mark.parametrize("first", [0, 1])
def test_all_go_on_in_the_file_that_is_there(
    path: Path, go: Callable[[Path], None], first: int
) -> None:
    both = SQLiteStore(path), SQLiteStore(path)
    for number, store in enumerate(both):
        store.put(binding(f"{number}", "former"), DAY)
    go(path)
    one, two = both[first], both[1 - first]
    one.put(binding("new", "k"), DAY)
    assert one.peek(("former",)) == []
    assert two.take(("k",)) == binding("new", "k")
    assert one.take(("k",)) is None
    two.close()
    one.put(binding("newer", "k"), DAY)
    two.close()
    assert SQLiteStore(path).take(("k",)) == binding("newer", "k")
    assert (one.take(("k",)), two.take(("k",))) == (None, None)
    with opened(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_another_process_is_not_kept_out_by_who_has_the_deleted_one_open(path: Path) -> None:
    idle = SQLiteStore(path)
    works(idle)
    path.unlink()  # its WAL and what is shared of it stay, and are still in use
    process = multiprocessing.get_context("spawn").Process(target=use_in_child, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert idle.load("by the child") == ["1"]
    works(idle)


def use_in_child(path: Path) -> None:
    store = SQLiteStore(path)
    works(store)
    store.append("by the child", ["1"])


# -- rows that can't be read -------------------------------------------------------------


def count(path: Path, table: str) -> int:
    with opened(path) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of ours


def spoil(path: Path, table: str, column: str, value: object) -> None:
    with opened(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608 - names of ours


def other_schema(*keys: str) -> str:
    return json.dumps({**json.loads(binding("1", *keys).to_json()), "schema": 99})


def test_a_binding_of_another_schema_is_none(store: SQLiteStore, path: Path) -> None:
    store.put(binding("1", "k", "k2"), DAY)
    spoil(path, "bindings", "body", other_schema("k", "k2"))
    assert store.peek(("k",)) == []
    assert store.inventory().bindings == ()
    store.put(binding("2", "k2"), DAY)
    assert store.take(("k2",), unique=True) is None, "two have the key, whoever can read them"
    assert store.take(("k", "k2")) == binding("2", "k2")
    assert (count(path, "bindings"), count(path, "binding_keys")) == (0, 0)


SCHEMA = json.loads(binding("1").to_json())["schema"]
DAMAGED = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[]",
    "a number": "5",
    "null": "null",
    "too deep": "[" * 100_000,
    "bytes": b"\xff",
    "no fields": json.dumps({"schema": SCHEMA}),
    "another binding": binding("2", "k").to_json(),
    "with other keys": binding("1", "k2").to_json(),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_binding_is_never_continued(
    store: SQLiteStore, path: Path, body: str | bytes
) -> None:
    store.put(binding("1", "k"), DAY)
    spoil(path, "bindings", "body", body)
    with pytest.raises(DamagedRowError):
        store.peek(("k",))
    with pytest.raises(DamagedRowError):
        store.take(("k",))
    assert store.take(("k",)) is None, "it was in the way once"
    store.put(binding("1", "k"), DAY)
    assert store.take(("k",)) == binding("1", "k")


@pytest.mark.parametrize("body", ["{", "[]", b"\xff"], ids=ascii)
def test_a_damaged_note_is_told_of_and_begun_anew(
    store: SQLiteStore, path: Path, body: str | bytes
) -> None:
    store.note("n", lambda _: {"a": 1})
    spoil(path, "notes", "body", body)
    with pytest.raises(DamagedRowError):
        store.note("n")
    with pytest.raises(DamagedRowError):
        store.note("n", dict)
    assert store.note("n", lambda note: {**note, "b": 1}) == {"b": 1}


@pytest.mark.parametrize("line", [b"\xff\xfe", 5], ids=ascii)
def test_a_damaged_line_is_told_of_and_kept(store: SQLiteStore, path: Path, line: object) -> None:
    store.append("c", ["1"])
    spoil(path, "lines", "line", line)
    for _ in range(2):
        with pytest.raises(StoreError, match="can't be read"):
            store.load("c")


# -- copies ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["copied beside", "put back"])
def test_a_copy_holds_no_binding(tmp_path: Path, how: str) -> None:
    """What was taken since the copy was made would be continued as if it had not been."""
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    store = SQLiteStore(path)
    store.put(binding("1", "k"), DAY)
    store.occupy("p", "slot", 10, 60)
    store.append("c", ["line"])
    store.close()
    shutil.copy(path, copy)
    assert SQLiteStore(path).take(("k",)) is not None
    if how == "put back":
        copy.replace(path)
        copy = path
    again = SQLiteStore(copy)
    assert again.take(("k",)) is None
    assert again.load("c") == ["line"]
    assert set(again.slots("p")) == {"slot"}
    again.put(binding("2", "k"), DAY)
    again.close()
    assert SQLiteStore(copy).take(("k",)) is not None, "at home it keeps what it is given"
