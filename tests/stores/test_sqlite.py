"""What is the SQLite store's alone, inside its file; the published suite has the contract."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.sessions.binding import DAY, Binding
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.stores import sqlite_statements
from stewrd_integrations.stores.sqlite import RENEWED, SWEEP_EVERY, SWEPT, SQLiteStore
from stewrd_integrations.testing.chapter import binding
from tests.worlds import Clock

TABLES = ("bindings", "binding_keys", "slots", "notes", "transcripts", "lines")
SECRET = "the patient's name is Rosalind"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> SQLiteStore:
    return SQLiteStore(path, clock=clock)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program sees it, each statement at once."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def count(path: Path, table: str) -> int:
    with opened(path) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of ours


def counts(path: Path) -> dict[str, int]:
    return {table: count(path, table) for table in TABLES}


def all_bytes(path: Path) -> bytes:
    """Everything that is on the disk, the WAL included."""
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))


# -- arguments, pickles, copies ----------------------------------------------------------


def test_nothing_is_opened_before_it_is_used(store: SQLiteStore, path: Path) -> None:
    assert repr(store) == f"SQLiteStore({str(path)!r}, namespace='default')"
    assert not path.exists()
    store.slots("p")
    assert path.exists()


def test_a_relative_path_is_of_the_folder_it_was_named_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("store.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.slots("p")
    assert (tmp_path / "store.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": ""},
        {"path": ":memory:"},
        {"path": "file::memory:?cache=shared"},
        {"path": b"store.db"},
        {"path": "store\0.db"},
        {"path": None},
        {"namespace": "a/b"},
        {"transcript_ttl": 0},
        {"busy_timeout": 0},
        {"busy_timeout": float("inf")},
        {"busy_timeout": float("nan")},
        {"busy_timeout": True},
        {"busy_timeout": "5"},
        {"encryption_key": "no key"},
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigurationError, match=name):
        SQLiteStore(**{"path": "store.db", **arguments})


def test_a_pickled_store_has_the_same_file_and_settings(path: Path) -> None:
    store = SQLiteStore(path, namespace="n", transcript_ttl=10, busy_timeout=1)
    store.append("c", ["1"])
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - of our own making
    assert repr(again) == repr(store)
    assert again.load("c") == ["1"]
    again.append("c", ["2"])
    (kept,) = store.inventory().transcripts
    assert kept.left is not None and 0 < kept.left <= 10


def test_a_key_is_in_no_pickle_and_no_text(path: Path) -> None:
    key = Fernet.generate_key().decode()
    store = SQLiteStore(path, encryption_key=key)
    with pytest.raises(ConfigurationError, match="can't be pickled") as caught:
        pickle.dumps(store)
    assert key not in str(caught.value) + repr(store) + repr(vars(store))


def test_a_copied_store_is_the_store_itself(path: Path) -> None:
    store = SQLiteStore(path, encryption_key=Fernet.generate_key())
    assert copy.copy(store) is copy.deepcopy(store) is store


def test_a_closed_store_opens_again(store: SQLiteStore, path: Path) -> None:
    store.append("c", ["1"])
    store.close()
    assert not Path(f"{path}-wal").exists(), "whoever is the last to close it tidies up"
    assert store.load("c") == ["1"]
    asyncio.run(store.aclose())
    store.close()
    assert asyncio.run(store.aload("c")) == ["1"]


def test_a_store_that_is_forgotten_is_closed(path: Path) -> None:
    SQLiteStore(path).append("c", ["1"])  # Python 3.13 warns of a connection that is not
    assert not Path(f"{path}-wal").exists()


# -- what is kept ------------------------------------------------------------------------


def test_bindings_and_notes_are_json(store: SQLiteStore, path: Path) -> None:
    store.put(binding("1", "k"), DAY)
    store.note("n", lambda _: {"a": [1, None]})
    with opened(path) as connection:
        ((body,),) = connection.execute("SELECT body FROM bindings")
        ((note,),) = connection.execute("SELECT body FROM notes")
    assert Binding.from_json(body) == binding("1", "k")
    assert json.loads(note) == {"a": [1, None]}


def test_any_text_survives(store: SQLiteStore) -> None:
    odd = "half \ud83e, \ude00\ud83d the wrong way, and zero\0"
    halves = "\ud83d\ude00"  # which are not "\U0001f600"
    store.append(odd, [odd])
    store.append(halves, [halves])
    store.put(binding(odd, odd), DAY)
    store.note(odd, lambda _: {"half": "\ud83e"})
    assert store.occupy(odd, odd, 1, 60)
    assert store.load(odd) == [odd]
    assert store.load(halves) == [halves]
    store.clear(halves)
    assert store.note(odd) == {"half": "\ud83e"}
    assert store.slots(odd) == {odd: 60}
    held = store.inventory()
    assert [held.bindings[0].name, held.transcripts[0].name, *held.pools] == [odd, odd, odd]
    assert store.take((odd,)) == binding(odd, odd)


def test_a_key_that_stands_twice_is_one_key(store: SQLiteStore) -> None:
    store.put(binding("1", "k", "k"), DAY)
    assert store.take(("k",), unique=True) == binding("1", "k", "k")


def test_namespaces_share_nothing(path: Path, clock: Clock) -> None:
    one, two = (SQLiteStore(path, namespace=name, clock=clock) for name in ("one", "two"))
    one.put(binding("1", "k"), DAY)
    two.put(binding("1", "k"), 10)
    for store in (one, two):
        assert store.occupy("p", "s", 1, 10)
        store.append("c", [store._namespace])
        store.note("n", partial(dict, of=store._namespace))
    two.vacate("p", "s")
    two.clear("c")
    assert two.take(("k",)) == binding("1", "k")
    clock.now += 10 * DAY
    for number in range(2 * SWEEP_EVERY):
        two.note(f"n{number}", lambda note: note)
    with opened(path) as connection:
        left = connection.execute("SELECT count(*) FROM notes WHERE namespace = 'one'").fetchone()
    assert left == (1,), "a namespace sweeps what is its own"
    clock.now -= 10 * DAY
    assert one.take(("k",)) == binding("1", "k")
    assert (one.slots("p"), one.load("c"), one.note("n")) == ({"s": 10}, ["one"], {"of": "one"})


def test_the_disk_has_what_was_taken_and_what_was_said(store: SQLiteStore) -> None:
    def synchronous() -> int:
        connection = store._file._connection
        assert connection is not None
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    uses: list[tuple[Callable[[], object], int]] = [
        (lambda: store.put(binding("1", "k"), DAY), normal),
        (lambda: store.take(("k",)), full),
        (lambda: store.occupy("p", "s", 1, 10), normal),
        (lambda: store.append("c", ["1"]), full),
        (lambda: store.note("n", dict), normal),
        (lambda: store.clear("c"), full),
        (lambda: store.vacate("p", "s"), normal),
        (store.reencrypt, full),
    ]
    for use, wanted in uses:
        use()
        assert synchronous() == wanted
        store.close()
        use()
        assert synchronous() == wanted, "on a new connection too"


# -- transcripts -------------------------------------------------------------------------


def test_a_transcript_ages_out_after_its_last_line(path: Path, clock: Clock) -> None:
    store = SQLiteStore(path, clock=clock, transcript_ttl=10)
    store.append("c", ["1"])
    clock.now += 9
    store.append("c", ["2"])
    clock.now += 9.5
    assert store.load("c") == ["1", "2"]
    assert [(kept.left, kept.lines) for kept in store.inventory().transcripts] == [(0.5, 2)]
    clock.now += 0.5
    assert store.load("c") == []
    assert store.inventory().transcripts == ()
    store.append("c", ["3"])
    assert store.load("c") == ["3"], "what aged out does not come back with a new line"
    store.clear("c")
    assert store.load("c") == []
    assert (count(path, "lines"), count(path, "transcripts")) == (0, 0)


def test_a_transcript_without_a_ttl_is_kept_for_ever(store: SQLiteStore, clock: Clock) -> None:
    store.append("c", ["1"])
    clock.now += 1_000 * DAY
    store.append("d", ["1"])
    assert store.load("c") == ["1"]
    assert [kept.left for kept in store.inventory().transcripts] == [None, None]


# -- sweeping ----------------------------------------------------------------------------


def fill(store: SQLiteStore, rows: int) -> None:
    for number in range(rows):
        store.put(binding(f"{number}", f"k{number}", "shared"), 10)
        store.note(f"n{number}", dict)
        store.occupy(f"p{number}", "s", 1, 10)
        store.append(f"c{number}", ["1", "2"])
    store.append("long", ["line"] * rows * 2)


def test_what_expired_is_swept_a_little_with_each_write(path: Path, clock: Clock) -> None:
    store = SQLiteStore(path, clock=clock, transcript_ttl=10)
    fill(store, 300)
    before = counts(path)
    assert before == {
        "bindings": 300,
        "binding_keys": 600,
        "slots": 300,
        "notes": 300,
        "transcripts": 301,
        "lines": 1_200,
    }
    clock.now += 2 * DAY
    rounds = 0
    while rounds < 100 and any(before.values()):
        assert not store.occupy("p", "s", 0, 10)  # a write that itself changes nothing
        after = counts(path)
        for table in TABLES:
            most = 2 * SWEPT if table == "binding_keys" else SWEPT
            assert 0 <= before[table] - after[table] <= most
        before, rounds = after, rounds + 1
    assert not any(before.values())
    assert rounds < 100


def test_a_store_that_is_hardly_used_is_swept_too(path: Path, clock: Clock) -> None:
    for _ in range(20):
        store = SQLiteStore(path, clock=clock)  # as in a process that lives for one call
        store.put(binding(f"{clock.now}", "k"), 10)
        store.close()
        clock.now += 11
    assert count(path, "bindings") <= 2


def test_long_transcripts_do_not_pile_up(path: Path, clock: Clock) -> None:
    store = SQLiteStore(path, clock=clock, transcript_ttl=10)
    for number in range(40):
        store.append(f"c{number}", ["line"] * 1_000)
        clock.now += 11
    assert count(path, "lines") < SWEEP_EVERY * 1_000 + 2_000


STATEMENTS = {
    name: value
    for name, value in vars(sqlite_statements).items()
    if name.isupper() and isinstance(value, str) and re.match(r"\s*(SELECT|INSERT|UPD|DEL)", value)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_searches_a_whole_table(store: SQLiteStore, path: Path, name: str) -> None:
    store.slots("p")
    statement = STATEMENTS[name]
    with opened(path) as connection:
        asked = f"EXPLAIN QUERY PLAN {statement}", [None] * statement.count("?")
        steps = [step for *_, step in connection.execute(*asked)]
    assert not [step for step in steps if "SCAN" in step or "B-TREE" in step]
    assert [step for step in steps if "SEARCH" in step] or statement.startswith("INSERT")


def test_what_was_cleared_is_not_in_the_file(store: SQLiteStore, path: Path) -> None:
    store.append("c", [SECRET * number for number in range(300)])
    store.append("d", ["1"])
    store.clear("c")
    store.close()
    assert SECRET.encode() not in all_bytes(path)
    assert store.load("d") == ["1"]


# -- encryption --------------------------------------------------------------------------


def test_encrypted_transcripts_are_nowhere_in_plain(path: Path) -> None:
    store = SQLiteStore(path, encryption_key=Fernet.generate_key())
    store.append("c", [SECRET])
    store.append("c", [SECRET * 1_000], replace=True)
    assert SECRET.encode() not in all_bytes(path)
    assert store.load("c") == [SECRET * 1_000]
    with pytest.raises(StoreError, match="without a key") as caught:
        SQLiteStore(path).load("c")
    assert SECRET not in str(caught.value)


def test_keys_are_changed(path: Path) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    lines = [f"{number}" for number in range(RENEWED)]
    SQLiteStore(path, encryption_key=old).append("c", lines)
    SQLiteStore(path, encryption_key=old).append("d", ["another"])
    SQLiteStore(path, encryption_key=old, namespace="other").append("c", ["of others"])
    both = SQLiteStore(path, encryption_key=[new, old])
    both.append("c", ["newest"])
    assert both.reencrypt() == RENEWED + 2
    renewed = SQLiteStore(path, encryption_key=new)
    assert renewed.load("c") == [*lines, "newest"]
    assert renewed.load("d") == ["another"]
    with pytest.raises(StoreError, match="can't be decrypted"):
        SQLiteStore(path, encryption_key=old).load("d")
    assert SQLiteStore(path, encryption_key=old, namespace="other").load("c") == ["of others"]
    with pytest.raises(StoreError, match="can't be decrypted"):
        SQLiteStore(path, encryption_key=Fernet.generate_key()).reencrypt()
    assert renewed.load("c") == [*lines, "newest"]


def test_what_was_plain_leaves_no_trace_once_it_is_encrypted(path: Path) -> None:
    plain = SQLiteStore(path)
    lines = [SECRET * (number % 40) + f"{number}" for number in range(600)]
    for number in range(0, 600, 3):
        plain.append(f"c{number % 7}", lines[number : number + 3])
    before = [plain.load(f"c{number}") for number in range(7)]
    assert SECRET.encode() in all_bytes(path)
    plain.close()
    store = SQLiteStore(path, encryption_key=Fernet.generate_key())
    assert store.reencrypt() == 600
    assert SECRET.encode() not in all_bytes(path)
    assert [store.load(f"c{number}") for number in range(7)] == before


# -- changes of notes, threads, cancelling ----------------------------------------------


@pytest.mark.parametrize(
    "error",
    [OSError("the caller's"), sqlite3.OperationalError("the caller's"), KeyError("k"),
     StoreError("of another store"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_a_change_raises_is_the_callers(store: SQLiteStore, error: BaseException) -> None:
    def fails(note: NoteState) -> NoteState:
        raise error

    store.note("n", lambda _: {"a": 1})
    with pytest.raises(type(error)) as caught:
        store.note("n", fails)
    assert caught.value is error
    assert store.note("n") == {"a": 1}


def test_a_note_that_is_no_json_changes_nothing(store: SQLiteStore) -> None:
    store.note("n", lambda _: {"a": 1})
    with pytest.raises(TypeError):
        store.note("n", lambda _: {"a": {1}})
    assert store.note("n") == {"a": 1}


def test_a_thread_does_not_wait_for_ever(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=0.2)
    begun, end = threading.Event(), threading.Event()

    def slow(note: NoteState) -> NoteState:
        begun.set()
        assert end.wait(60)
        return {"a": 1}

    with ThreadPoolExecutor(1) as threads:
        slowly = threads.submit(store.note, "n", slow)
        assert begun.wait(60)
        with pytest.raises(StoreError, match="locked by other threads"):
            store.vacate("p", "s")
        assert store.slots("p") == {}, "who only reads need not wait"
        end.set()
        assert slowly.result(60) == {"a": 1}
    assert store.note("n") == {"a": 1}


def test_threads_with_stores_of_their_own_share_the_file(path: Path) -> None:
    def work(number: int) -> list[str]:
        store = SQLiteStore(path, busy_timeout=60)
        for place in range(25):
            store.put(binding(f"{number}-{place}", "k"), DAY)
        found = [store.take(("k",)) for _ in range(25)]
        return [each.id for each in found if each is not None]

    with ThreadPoolExecutor(8) as threads:
        taken = [id_ for ids in threads.map(work, range(8), timeout=120) for id_ in ids]
    assert sorted(taken) == sorted(
        f"{number}-{place}" for number in range(8) for place in range(25)
    )


def test_a_take_that_is_cancelled_while_it_waits_takes_nothing(path: Path) -> None:
    store = SQLiteStore(path, busy_timeout=60)
    store.put(binding("1", "k"), DAY)

    async def cancel_while_it_waits(release: Callable[[], object]) -> Binding | None:
        task = asyncio.create_task(store.atake(("k",)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release()
        return await store.atake(("k",))

    with opened(path) as other:
        other.execute("BEGIN IMMEDIATE")
        again = asyncio.run(cancel_while_it_waits(lambda: other.execute("COMMIT")))
    assert again == binding("1", "k")


def test_every_table_tells_namespaces_apart(store: SQLiteStore, path: Path) -> None:
    store.slots("p")
    with opened(path) as connection:
        for table in (*TABLES, "canaries"):
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            assert [name for _, name, *_, place in columns if place == 1] == ["namespace"]
        assert {name for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        )} == {*TABLES, "canaries", "place", "takes"}  # fmt: skip
    assert os.path.getsize(path) < 200_000  # noqa: PTH202 - as SQLite sees it
