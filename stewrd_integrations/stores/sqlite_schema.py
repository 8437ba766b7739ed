"""The file of a SQLite store: its tables and rows, and how it is looked at and opened.

Nothing here reads the file but through SQLite: closing a file that SQLite has open too would
drop the locks that SQLite holds on it in this process.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ..errors import ConfigurationError, StoreError
from ..sessions.binding import Binding
from ..sessions.effects import NoteState
from .settings import LAYOUT

APPLICATION_ID = 0x53545752
"""``PRAGMA application_id`` of a store's file: "STWR"."""

TABLES = (
    """CREATE TABLE bindings (
        namespace TEXT NOT NULL,
        id BLOB NOT NULL,
        until REAL NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (namespace, id)
    )""",
    "CREATE INDEX bindings_until ON bindings (namespace, until)",
    # The number says which binding of a key is the newest.
    """CREATE TABLE binding_keys (
        namespace TEXT NOT NULL,
        key BLOB NOT NULL,
        number INTEGER NOT NULL,
        id BLOB NOT NULL,
        PRIMARY KEY (namespace, key, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX binding_keys_id ON binding_keys (namespace, id)",
    """CREATE TABLE slots (
        namespace TEXT NOT NULL,
        pool BLOB NOT NULL,
        slot BLOB NOT NULL,
        until REAL NOT NULL,
        PRIMARY KEY (namespace, pool, slot)
    ) WITHOUT ROWID""",
    "CREATE INDEX slots_until ON slots (namespace, until)",
    """CREATE TABLE notes (
        namespace TEXT NOT NULL,
        key BLOB NOT NULL,
        until REAL NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (namespace, key)
    )""",
    "CREATE INDEX notes_until ON notes (namespace, until)",
    # A conversation that comes back after its transcript aged out begins another life, so that
    # the old lines can be swept a few at a time.
    """CREATE TABLE transcripts (
        namespace TEXT NOT NULL,
        conversation BLOB NOT NULL,
        life INTEGER NOT NULL,
        until REAL NOT NULL,
        PRIMARY KEY (namespace, conversation, life)
    ) WITHOUT ROWID""",
    "CREATE INDEX transcripts_until ON transcripts (namespace, until)",
    # Which file on which disk this was when bindings were put into it.
    "CREATE TABLE place (device INTEGER NOT NULL, inode INTEGER NOT NULL)",
    """CREATE TABLE lines (
        namespace TEXT NOT NULL,
        conversation BLOB NOT NULL,
        life INTEGER NOT NULL,
        number INTEGER NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (namespace, conversation, life, number)
    )""",
    # How often a binding was taken: who finds fewer than there were has an older content.
    """CREATE TABLE takes (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        count INTEGER NOT NULL CHECK (typeof(count) = 'integer')
    )""",
    # A sealed word for each namespace whose transcripts are sealed.
    """CREATE TABLE canaries (
        namespace TEXT NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (namespace)
    ) WITHOUT ROWID""",
)
"""Layout 1. Names and lines are blobs (see `blob`); bodies are JSON in ASCII."""

PLACE = "SELECT device, inode FROM place"
FORGET_BINDINGS = ("DELETE FROM binding_keys", "DELETE FROM bindings")
COUNT_TAKES = "SELECT count FROM takes WHERE one = 1"
SET_TAKES = "INSERT OR REPLACE INTO takes VALUES (1, ?)"

START_AFRESH = (
    "Restore it from a backup, or, while no process uses it, delete it with its -wal and -shm "
    "files: conversations are then replayed, and transcripts in it are lost."
)

ADVICE = (
    ("locked", "Somebody held the file for longer than busy_timeout; it is safe to try again."),
    ("readonly", "Let this process write to the file and to its folder."),
    ("full", "Free some space on the disk."),
    ("malformed", START_AFRESH),
    ("no such table", START_AFRESH),
    ("not a database", START_AFRESH),
)
"""What to do, by a word of SQLite's message."""

RETRY_EVERY = 0.005
"""Seconds between two attempts at what SQLite refuses at once, without its busy time-out."""

LOCKED = "database is locked"

_CREATING = threading.Lock()


class LockedError(StoreError):
    """Another program held the file for as long as anybody was ready to wait."""


class Failures:
    """A context in which failures of SQLite and of the file system become a `StoreError`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise self.because(str(error)) from error
        if isinstance(error, OSError):
            raise self.because(error.strerror or type(error).__name__) from error

    def because(self, reason: str) -> StoreError:
        """The error for a reason in SQLite's words, which hold nothing that is kept."""
        advice = next((advice for word, advice in ADVICE if word in reason), None)
        kind = LockedError if reason == LOCKED else StoreError
        return kind(f"The SQLite store {self._path!r} failed: {reason}.", advice=advice)


# -- what the rows hold ------------------------------------------------------------------


class DamagedRowError(StoreError):
    """A row can't be read. What its transaction has changed so far is kept all the same."""

    advice = "A binding or a note like that is dropped, and its conversation replayed."

    def __init__(self, message: str = "A row of the SQLite store can't be read.") -> None:
        super().__init__(message)


def blob(text: str) -> bytes:
    """A text as it is kept: SQLite's own texts can't hold half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")


def text(kept: Any) -> str:
    """A text that was kept.

    Raises:
        DamagedRowError: It is no text.
    """
    try:
        return str(kept, "utf-8", "surrogatepass")
    except (TypeError, UnicodeDecodeError):
        raise DamagedRowError from None


def read_binding(id_: bytes, body: Any, key: str | None = None) -> Binding | None:
    """A binding that was kept, None if it is of another schema.

    Raises:
        DamagedRowError: It can't be read, or is not the one that was asked for.
    """
    try:
        binding = Binding.from_json(body)
    except (ValueError, TypeError, RecursionError):  # a TypeError where it is not even a text
        raise DamagedRowError from None
    if binding is None:
        return None
    if blob(binding.id) != id_ or (key is not None and key not in binding.keys):
        raise DamagedRowError
    return binding


def left(until: Any, now: float) -> float:
    """The seconds until then.

    Raises:
        DamagedRowError: It is no time.
    """
    if not isinstance(until, float):
        raise DamagedRowError
    return until - now


def read_note(body: Any) -> NoteState:
    """A note that was kept.

    Raises:
        DamagedRowError: It can't be read.
    """
    try:
        note = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        raise DamagedRowError from None
    if not isinstance(note, dict):
        raise DamagedRowError
    return note


# -- which file it is, and how it is opened ----------------------------------------------


class Identity(NamedTuple):
    """Which file it is that a path leads to."""

    device: int
    inode: int


def identity(path: str) -> Identity | None:
    """The file at a path, None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib is slower, and this is done at every call
    except FileNotFoundError:
        return None
    return Identity(found.st_dev, found.st_ino)


def open_file(path: str, busy_timeout: float) -> tuple[sqlite3.Connection, Identity | None]:
    """Open the file of a store, and make it if there is none.

    Args:
        path: An absolute path.
        busy_timeout: Seconds to wait for others that write.

    Returns:
        A connection, and which file it is.

    Raises:
        ConfigurationError: The path leads to something else; it is left as it was.
        sqlite3.Error: SQLite failed.
        OSError: The file system failed.
    """
    _create(path)
    check(path, busy_timeout)
    # Asked before the file is opened: if another takes its place in between, the next call sees
    # that it is not the one that was asked for.
    there = identity(path)
    connection = connect(path, "mode=rw", busy_timeout)
    try:
        _set_up(connection, path, time.monotonic() + busy_timeout)
    except BaseException:
        connection.close()
        raise
    return connection, there


def connect(path: str, how: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a file by SQLite, with the query of its URI."""
    return sqlite3.connect(
        f"{Path(path).as_uri()}?{how}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def _create(path: str) -> None:
    """Make an empty file that only this user can read; SQLite's other files take its mode."""
    # The lock: or else closing it could drop the locks of a store that has just opened it.
    with _CREATING, suppress(FileExistsError):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigurationError(
                f"The folder of {path!r} does not exist.",
                advice="Create it, or name another path for the store.",
            ) from None


# -- what is looked at before it is touched ----------------------------------------------


class Found(NamedTuple):
    """What a file says of itself."""

    application_id: int
    layout: int
    tables: int

    @property
    def ours(self) -> bool:
        """Whether it is a store's."""
        return self.application_id == APPLICATION_ID

    @property
    def empty(self) -> bool:
        """Whether nothing was made in it yet."""
        return self.application_id == 0 and self.tables == 0


def check(path: str, busy_timeout: float) -> Found:
    """Refuse a file that is not a store's, without changing a byte of it.

    Raises:
        ConfigurationError: It is something else, or of another layout.
        sqlite3.Error: SQLite failed.
    """
    found = os.stat(path)  # noqa: PTH116 - as above
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(
            f"{path!r} is no file.", advice="Name a path of its own for the store."
        )
    seen = _look(path, busy_timeout) if found.st_size else Found(0, 0, 0)
    _refuse_others(path, seen)
    return seen


def _look(path: str, busy_timeout: float) -> Found:
    """What a file is, looked up read-only.

    First without locks, which also keeps SQLite from making files beside it: our mark is in
    the file itself since the moment it was made. Only what seems empty or no database, as a file
    does that is being written, is looked at a second time, with locks and with its WAL.
    """
    with suppress(sqlite3.DatabaseError):
        found = _read_once(path, "mode=ro&immutable=1", busy_timeout)
        if not found.empty:
            return found
    try:
        return _read_once(path, "mode=ro", busy_timeout)
    except sqlite3.DatabaseError as error:
        if "not a database" not in str(error):
            raise
    raise ConfigurationError(
        f"{path!r} is not a SQLite database.", advice="Name a path of its own for the store."
    )


def _read_once(path: str, how: str, busy_timeout: float) -> Found:
    connection = connect(path, how, busy_timeout)
    try:
        # So SQLite reads also a file that is shorter than it says, as one is that is half made.
        connection.execute("PRAGMA writable_schema=ON")
        return _read(connection)
    finally:
        connection.close()


def _read(connection: sqlite3.Connection) -> Found:
    connection.execute("BEGIN")  # all three from one moment
    found = _read_on(connection)
    connection.execute("COMMIT")
    return found


def _read_on(connection: sqlite3.Connection) -> Found:
    questions = (
        "PRAGMA application_id",
        "PRAGMA user_version",
        "SELECT count(*) FROM sqlite_master",
    )
    return Found(*(connection.execute(question).fetchone()[0] for question in questions))


def _refuse_others(path: str, found: Found) -> None:
    if found.empty:
        return
    if not found.ours:
        raise ConfigurationError(
            f"{path!r} is a SQLite database of something else.",
            advice="Name a path of its own for the store.",
        )
    if found.layout != LAYOUT:
        newer = found.layout > LAYOUT
        raise ConfigurationError(
            f"{path!r} has layout {found.layout} of the store, and this version of "
            f"stewrd-integrations reads layout {LAYOUT}.",
            advice="Upgrade stewrd-integrations, or name another path."
            if newer
            else "Name another path: conversations are then replayed.",
        )


# -- making it a store -------------------------------------------------------------------


def _set_up(connection: sqlite3.Connection, path: str, deadline: float) -> None:
    """Make the tables if there are none, and switch to WAL.

    Processes that do so at once stand in each other's way, and SQLite tells some of them at
    once that the database is locked, whatever the busy time-out.
    """
    while True:
        try:
            return _try_to_set_up(connection, path)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            connection.rollback()
            time.sleep(RETRY_EVERY)


def _try_to_set_up(connection: sqlite3.Connection, path: str) -> None:
    if _read(connection).empty:
        _make_tables(connection, path)
    _refuse_others(path, _read(connection))
    _notice_copies(connection, path)
    # What is cleared is overwritten, in the file itself at the next checkpoint: until then, and
    # in the -wal file until it is written over, the bytes may be found by who reads the disk.
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA journal_mode=WAL")


def _notice_copies(connection: sqlite3.Connection, path: str) -> None:
    """Forget the bindings of a file that was copied, or put back from a backup.

    They may have been taken since: their sessions then know more than they say.
    """
    here = place(path)
    if connection.execute(PLACE).fetchall() == [here]:
        return
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute(PLACE).fetchall() != [here]:  # or another process was faster
        for statement in FORGET_BINDINGS:
            connection.execute(statement)
        connection.execute("DELETE FROM place")
        connection.execute("INSERT INTO place VALUES (?, ?)", here)
    connection.execute("COMMIT")


def place(path: str) -> tuple[int, int]:
    """Which file on which disk it is: what `PLACE` tells of the one that bindings are of."""
    here = os.stat(path)  # noqa: PTH116 - as above
    return _signed(here.st_dev), _signed(here.st_ino)


def _signed(number: int) -> int:
    """A number of up to 64 bits, as SQLite's integers hold it."""
    return number - 2**64 if number >= 2**63 else number


def _make_tables(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    if _read_on(connection).empty:  # or another process was faster
        if os.stat(path).st_size == 0:  # noqa: PTH116 - as above
            # Left by a file that was deleted, and perhaps still in use by whoever has that one
            # open. Nobody who has this one open can have it: it is empty, and ours alone.
            Path(f"{path}-shm").unlink(missing_ok=True)
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={LAYOUT}")
    connection.execute("COMMIT")
