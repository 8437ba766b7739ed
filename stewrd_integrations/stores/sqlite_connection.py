"""One connection to a SQLite file for this process, which outlives failures and forks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

from ..errors import StoreError
from ..locks import new_lock
from .sqlite_looking import Glance, glance
from .sqlite_schema import (
    COUNT_TAKES,
    FORGET_BINDINGS,
    LOCKED,
    SET_TAKES,
    DamagedRowError,
    Failures,
    Identity,
    LockedError,
    identity,
    open_file,
)
from .sqlite_threads import stop_if_cancelled

LONGEST_FORK = 1.0
"""Seconds for which a fork waits for a thread that uses a file; SQLite needs milliseconds."""

LONGEST_PAUSE = 1.0
"""Seconds for which nobody waits for a file that somebody has just waited for in vain."""


class Transaction:
    """Statements within a transaction; what fails in them is the store's failure."""

    def __init__(self, connection: sqlite3.Connection, failures: Failures) -> None:
        self._connection = connection
        self._failures = failures
        self.takes = 0

    def rows(self, sql: str, *values: object) -> list[Any]:
        """The rows that a statement finds."""
        with self._failures:
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        """How many rows a statement has changed."""
        with self._failures:
            return self._connection.execute(sql, values).rowcount

    def change_each(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Run a statement once for each row of values."""
        with self._failures:
            self._connection.executemany(sql, rows)

    def count_take(self) -> None:
        """Note that a binding was taken."""
        self.takes += 1
        self.change(SET_TAKES, self.takes)

    def notice_older_content(self, known: int) -> None:
        """Forget the bindings if fewer were taken than is known: they are those of a backup."""
        self.takes = next((count for (count,) in self.rows(COUNT_TAKES)), 0)
        if self.takes < known:
            for statement in FORGET_BINDINGS:
                self.change(statement)
            self.takes = known
            self.change(SET_TAKES, known)


class SharedFile:
    """A connection to a file, one for whatever number of threads use it, each in its turn.

    An older content that is put into the file while it is used is noticed by the number of takes:
    each process knows the highest that it has seen.

    Args:
        path: An absolute path.
        busy_timeout: Seconds to wait for others, in this process and elsewhere. Who comes when
            somebody has just waited in vain does not wait.
    """

    def __init__(self, path: str, busy_timeout: float) -> None:
        self.path = path
        self.busy_timeout = busy_timeout
        self._failures = Failures(path)
        self._lock = new_lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._takes = 0
        self._locked_until = 0.0
        self._synchronous = ""
        _FORKS.watch(self)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one moment.

        It waits for no other connection that writes; for threads that use this one, it does.
        """
        with self._connected() as connection, self._transaction(connection, "BEGIN") as db:
            yield db

    @contextmanager
    def looking(self) -> Iterator[Glance | None]:
        """A glance at one moment that leaves no trace; None if there is nothing to look at."""
        with self._held(), self._failures, glance(self.path, self.busy_timeout) as seen:
            yield seen

    @contextmanager
    def writing(self, *, durable: bool) -> Iterator[Transaction]:
        """A transaction that writes, one at a time in all processes.

        With ``durable`` it ends when the disk has it, and not just the operating system.
        """
        with self._unlocked(), self._connected() as connection:
            self._refuse_while_locked()  # others have waited meanwhile
            self._synchronise(connection, "FULL" if durable else "NORMAL")
            with self._transaction(connection, "BEGIN IMMEDIATE") as db:
                # Whoever cancelled it may have gone on, and waits for nothing of this any more.
                stop_if_cancelled()
                db.notice_older_content(self._takes)
                yield db
            self._takes = db.takes

    def rewrite(self) -> None:
        """Write the whole file anew, so that nothing is left in it of what it once held."""
        with self._connected() as connection:
            self._run(connection, "VACUUM")
            self._run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._held():
            self._disconnect()

    # -- around a fork -------------------------------------------------------------------

    def prepare_fork(self) -> bool:
        """Close it before a fork, and keep it closed; False if somebody uses it for too long."""
        if not self._lock.acquire(timeout=min(LONGEST_FORK, self.busy_timeout)):
            return False
        self._disconnect()
        return True

    def go_on(self) -> None:
        """In the parent, after the fork that it was closed for."""
        self._lock.release()

    def start_anew(self) -> None:
        """In the child, after the fork."""
        self._lock = new_lock()  # the other may be held by a thread that is not here
        # Not closed, if it is still there: such a thread was in the midst of a transaction, which
        # goes on in the parent. The thread's frames, which never end, keep it from being collected.
        self._connection = None

    # -- inside --------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[None]:
        lock = self._lock
        if not lock.acquire(timeout=self.busy_timeout):
            raise self._failures.because("it is locked by other threads of this process")
        try:
            stop_if_cancelled()
            yield
        finally:
            lock.release()

    @contextmanager
    def _unlocked(self) -> Iterator[None]:
        self._refuse_while_locked()
        try:
            yield
        except LockedError:
            pause = min(LONGEST_PAUSE, self.busy_timeout / 5)
            self._locked_until = max(self._locked_until, time.monotonic() + pause)
            raise

    def _refuse_while_locked(self) -> None:
        if time.monotonic() < self._locked_until:
            raise self._failures.because(LOCKED)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._held():
            connection = self._opened()
            try:
                yield connection
            except BaseException as error:
                self._undo(connection, error)
                raise

    def _opened(self) -> sqlite3.Connection:
        with self._failures:
            # To go on in a file that was deleted would be to have a store of one's own.
            if self._connection is None or identity(self.path) != self._identity:
                return self._open()
            return self._connection

    def _open(self) -> sqlite3.Connection:
        self._disconnect()
        before = self._identity
        connection, self._identity = open_file(self.path, self.busy_timeout)
        self._connection, self._synchronous = connection, ""
        if self._identity != before:
            self._takes = 0
        return connection

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Leave no transaction open. After a failure of SQLite, a new connection is tried."""
        failed = isinstance(error, StoreError)
        if not failed:
            try:
                connection.rollback()
            except sqlite3.Error:
                failed = True
        if failed:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # nobody waits for anything from it any more
                connection.close()

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[Transaction]:
        self._run(connection, begin)
        try:
            yield Transaction(connection, self._failures)
        except DamagedRowError:
            self._run(connection, "COMMIT")
            raise
        self._run(connection, "COMMIT")

    def _synchronise(self, connection: sqlite3.Connection, mode: str) -> None:
        if mode != self._synchronous:
            self._run(connection, f"PRAGMA synchronous={mode}")
            self._synchronous = mode

    def _run(self, connection: sqlite3.Connection, statement: str) -> None:
        with self._failures:
            connection.execute(statement).fetchall()


class _Forks:
    """Closes every file before a fork, for SQLite knows nothing of forks.

    A child that inherits an open file believes that it holds its parent's locks: it would not
    take its own, and others could sweep away what it is writing (measured: it held none).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: WeakSet[SharedFile] = WeakSet()
        self._prepared: list[SharedFile] = []

    def watch(self, file: SharedFile) -> None:
        with self._lock:
            self._files.add(file)

    def before(self) -> None:
        self._lock.acquire()
        self._prepared = [file for file in self._files if file.prepare_fork()]

    def in_parent(self) -> None:
        for file in self._prepared:
            file.go_on()
        self._prepared = []
        self._lock.release()

    def in_child(self) -> None:
        for file in self._files:
            file.start_anew()
        self._prepared = []
        self._lock = threading.Lock()


_FORKS = _Forks()

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=_FORKS.before, after_in_parent=_FORKS.in_parent, after_in_child=_FORKS.in_child
    )
