"""Looking into a SQLite store's file without a trace, and telling all that it holds."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from . import sqlite_statements as sql
from .base import Inventory, Kept
from .sqlite_schema import PLACE, check, connect, identity, left, place, read_binding, text


class Glance(NamedTuple):
    """A connection that only reads, and whether its file is a copy of the one that was used."""

    connection: sqlite3.Connection
    copied: bool


@contextmanager
def glance(path: str, busy_timeout: float) -> Iterator[Glance | None]:
    """Open a store's file, and change neither it nor its folder; None if nothing is in it yet.

    Args:
        path: An absolute path.
        busy_timeout: Seconds to wait for others.

    Raises:
        ConfigurationError: The file is not a store's.
        sqlite3.Error: SQLite failed.
        OSError: The file system failed.
    """
    if identity(path) is None or check(path, busy_timeout).empty:
        yield None
        return
    with ExitStack() as stack:
        connection = connect(*_traceless(path, stack), busy_timeout)
        stack.callback(connection.close)
        connection.execute("BEGIN")
        yield Glance(connection, connection.execute(PLACE).fetchall() != [place(path)])


def _traceless(path: str, stack: ExitStack) -> tuple[str, str]:
    """The path and the way to open it by.

    A file that is in use has both a -wal and a -shm file beside it, and so has one whose last
    process was killed; SQLite then makes no other. Else it would, and leave them there.
    """
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if shm.exists() and wal.exists():
        return path, "mode=ro"
    if not wal.exists() or not wal.stat().st_size:
        return path, "mode=ro&immutable=1"
    # A copy of two of three: nobody uses it, and without its -wal it would be an older one.
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stewrd-"))
    copy = str(Path(folder, "store.db"))
    for end in ("", "-wal"):
        shutil.copyfile(path + end, copy + end)
    return copy, "mode=ro"


class Listed(NamedTuple):
    """The rows of an inventory, as they were found."""

    now: float
    copied: bool
    bindings: list[Any]
    slots: list[Any]
    notes: int
    transcripts: list[Any]

    def read(self) -> Inventory:
        """What they say.

        Raises:
            DamagedRowError: One can't be read.
        """
        pools: dict[str, dict[str, float]] = {}
        for pool, slot, until in self.slots:
            pools.setdefault(text(pool), {})[text(slot)] = left(until, self.now)
        kept = tuple(self._bindings())
        return Inventory(
            () if self.copied else kept,
            pools,
            self.notes,
            tuple(
                Kept(text(name), None if until == math.inf else left(until, self.now), lines)
                for name, until, lines in self.transcripts
            ),
            void=len(kept) if self.copied else 0,
        )

    def _bindings(self) -> Iterator[Kept]:
        for id_, until, body in self.bindings:
            binding = read_binding(id_, body)
            if binding is not None:
                yield Kept(binding.id, left(until, self.now), binding=binding)


def listed(connection: sqlite3.Connection, namespace: str, now: float, copied: bool) -> Listed:
    """The rows of a namespace that are alive."""

    def rows(statement: str) -> list[Any]:
        return connection.execute(statement, (namespace, now)).fetchall()

    return Listed(
        now,
        copied,
        bindings=rows(sql.ALL_BINDINGS),
        slots=rows(sql.ALL_SLOTS),
        notes=rows(sql.COUNT_NOTES)[0][0],
        transcripts=rows(sql.ALL_TRANSCRIPTS),
    )
