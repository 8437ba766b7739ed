"""The store of one machine: a SQLite file that all its processes share."""

from __future__ import annotations

import json
import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..sessions.binding import DAY, Binding
from ..sessions.effects import NoteState
from . import sqlite_statements as sql
from .base import Inventory, changed, popped
from .sealing import Canary, EncryptionKey, Renewal, sealer
from .settings import checked_namespace, checked_ttl
from .sqlite_connection import SharedFile, Transaction
from .sqlite_looking import listed
from .sqlite_schema import DamagedRowError, blob, left, read_binding, read_note, text
from .sqlite_threads import Threads

SWEEP_EVERY = 16
"""Writes between two sweeps; the first write of a process sweeps too."""

SWEPT = 64
"""Rows of a kind that a sweep removes; if there were so many, the next write sweeps again."""

RENEWED = 128
"""Lines that `SQLiteStore.reencrypt` renews in one transaction."""

BUSY_TIMEOUT = 5.0
LONGEST_WAIT = 3_600.0


class SQLiteStore:
    """Bindings, slots, notes and transcripts in a file, for all processes of one machine.

    The file is made for its user alone (mode 0600) and opened when it is first used; anew after
    it was closed, after a fork, after a failure, and when another file has taken its place. Don't
    put it on a network share, where SQLite's locks can't be trusted.

    `take` and the changes of transcripts wait for the disk: no power cut brings back what was
    taken. All else may lose its last moments in a power cut, though not in a crash.

    Args:
        path: The file, in a folder that exists.
        namespace: Keeps applications apart that share the file.
        encryption_key: A Fernet key, or several of which the first encrypts: transcripts are
            then encrypted. Nothing else holds texts of a conversation.
        transcript_ttl: Seconds that a transcript is kept after its last line; None keeps it
            until it is cleared.
        busy_timeout: Seconds to wait for others who write; then it is a `StoreError`, and for a
            fifth of that time, a second at most, nobody else of this process waits for them.
        clock: Seconds since the epoch; another one is for tests.

    Raises:
        ConfigurationError: An argument can't be used. At the first use: the folder is missing,
            or the file is not a store of this version, and was left as it is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        namespace: str = "default",
        encryption_key: EncryptionKey | Sequence[EncryptionKey] | None = None,
        transcript_ttl: float | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._namespace = checked_namespace(namespace)
        self._sealer = sealer(encryption_key)
        self._encrypts = encryption_key is not None
        self._canary = Canary(self._sealer, self._encrypts)
        self._transcript_ttl = checked_ttl(transcript_ttl)
        self._clock = clock
        self._file = SharedFile(_checked_path(path), _checked_wait(busy_timeout))
        # A connection of its own, so that who reads does not stand behind who waits to write.
        self._reads = SharedFile(self._file.path, self._file.busy_timeout)
        self._threads = Threads()
        self._writes_to_sweep = 0
        # A connection that is left to the garbage collector makes Python warn.
        for each in (self._file, self._reads):
            weakref.finalize(self, each.close)

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._file.path

    def __repr__(self) -> str:
        return f"SQLiteStore({self._file.path!r}, namespace={self._namespace!r})"

    def __reduce__(self) -> tuple[Callable[[], SQLiteStore], tuple[()]]:
        if self._encrypts:
            # A pickle is no place for a key, and without it plain text would be written.
            raise ConfigurationError(
                "A SQLiteStore with an encryption key can't be pickled.",
                advice="Open it where it is used, with its key.",
            )
        opened = partial(
            SQLiteStore,
            self._file.path,
            namespace=self._namespace,
            transcript_ttl=self._transcript_ttl,
            busy_timeout=self._file.busy_timeout,
            clock=self._clock,
        )
        return opened, ()

    def __copy__(self) -> SQLiteStore:
        return self

    def __deepcopy__(self, memo: object) -> SQLiteStore:
        # It stands for the file, as a path does: a model and its copy share it, key and all.
        return self

    # -- bindings ------------------------------------------------------------------------

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Pop a binding by the first key that hits."""
        with self._writing(durable=True) as db:
            for key in keys:
                binding = self._pop(db, key, unique)
                if binding is not None:
                    return binding
            return None

    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """The bindings that repeated takes would pop."""
        with self._reads.reading() as db:
            found = [(key, self._find(db, key)) for key in keys]
        read = {id_: read_binding(id_, body, key) for key, rows in found for id_, body in rows}
        order = popped([[id_ for id_, _ in rows] for _, rows in found], unique)
        return [binding for id_ in order if (binding := read[id_]) is not None]

    def put(self, binding: Binding, ttl: float) -> None:
        """Keep a binding for ``ttl`` seconds."""
        id_, body = blob(binding.id), binding.to_json()
        with self._writing() as db:
            self._remove(db, id_)
            db.change(sql.ADD, self._namespace, id_, self._clock() + ttl, body)
            for key in dict.fromkeys(map(blob, binding.keys)):
                db.change(sql.ADD_KEY, self._namespace, key, id_, self._namespace, key)

    def _find(self, db: Transaction, key: str, most: int = -1) -> list[tuple[bytes, str]]:
        return db.rows(sql.FIND, self._namespace, blob(key), self._clock(), most)

    def _pop(self, db: Transaction, key: str, unique: bool) -> Binding | None:
        while rows := self._find(db, key, 2):
            if unique and len(rows) > 1:
                return None
            id_, body = rows[0]
            self._remove(db, id_)  # also one of another schema, and one that can't be read
            binding = read_binding(id_, body, key)
            if binding is not None:
                db.count_take()
                return binding
        return None

    def _remove(self, db: Transaction, id_: bytes) -> None:
        if db.change(sql.REMOVE, self._namespace, id_):
            db.change(sql.REMOVE_KEYS, self._namespace, id_)

    # -- slots ---------------------------------------------------------------------------

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Refresh a slot, or take it if fewer than ``limit`` are alive."""
        place, name = (self._namespace, blob(pool)), blob(slot)
        with self._writing() as db:
            now = self._clock()
            alive = [each for each, _ in db.rows(sql.SLOTS, *place, now)]
            if name not in alive and len(alive) >= limit:
                return False
            db.change(sql.OCCUPY, *place, name, now + ttl)
            return True

    def vacate(self, pool: str, slot: str) -> None:
        """Give a slot back."""
        with self._writing() as db:
            db.change(sql.VACATE, self._namespace, blob(pool), blob(slot))

    def slots(self, pool: str) -> dict[str, float]:
        """The live slots of a pool, each with the seconds until it lapses."""
        with self._reads.reading() as db:
            now = self._clock()
            rows = db.rows(sql.SLOTS, self._namespace, blob(pool), now)
        return {text(slot): left(until, now) for slot, until in rows}

    # -- notes ---------------------------------------------------------------------------

    def note(self, key: str, change: Callable[[NoteState], NoteState] | None = None) -> NoteState:
        """Read a note, or change it and read the result."""
        name = blob(key)
        if change is None:
            with self._reads.reading() as db:
                return self._note(db, name)
        with self._writing() as db:
            note = changed(change, self._note_or_remove(db, name))
            db.change(sql.WRITE_NOTE, self._namespace, name, self._clock() + DAY, json.dumps(note))
            return note

    def _note(self, db: Transaction, name: bytes) -> NoteState:
        rows = db.rows(sql.READ_NOTE, self._namespace, name, self._clock())
        return read_note(rows[0][0]) if rows else {}

    def _note_or_remove(self, db: Transaction, name: bytes) -> NoteState:
        try:
            return self._note(db, name)
        except DamagedRowError:
            db.change(sql.REMOVE_NOTE, self._namespace, name)
            raise

    # -- transcripts ---------------------------------------------------------------------

    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """Add lines to a transcript, or put them in its place."""
        sealed = [blob(self._sealer.seal(line)) for line in lines]
        named = (self._namespace, blob(conversation))
        with self._writing(durable=True, rows=len(sealed)) as db:
            if sealed:
                self._look_at_canary(db)
            newest, alive = self._life(db, *named)
            life = (*named, newest if alive else newest + 1)
            if replace:
                db.change(sql.REMOVE_LINES, *life)
            db.change(sql.BEGIN_LIFE, *life, self._transcript_until())
            ((last,),) = db.rows(sql.LAST_LINE, *life)
            numbered = enumerate(sealed, last + 1)
            db.change_each(sql.ADD_LINE, ((*life, number, line) for number, line in numbered))

    def load(self, conversation: str) -> list[str]:
        """A conversation's transcript."""
        named = (self._namespace, blob(conversation))
        with self._reads.reading() as db:
            life, alive = self._life(db, *named)
            rows = db.rows(sql.LINES, *named, life) if alive else []
        return [self._sealer.open(text(line)) for (line,) in rows]

    def clear(self, conversation: str) -> None:
        """Forget a conversation's transcript."""
        named = (self._namespace, blob(conversation))
        with self._writing(durable=True) as db:
            db.change(sql.REMOVE_ALL_LINES, *named)
            db.change(sql.END_LIVES, *named)

    def reencrypt(self) -> int:
        """Encrypt every line of the transcripts anew, under the newest key.

        To change keys: first ``encryption_key=[old, new]`` everywhere, so that all can read the
        new one; then ``[new, old]`` everywhere; then call this once; then ``[new]``.
        Lines from before there was a key are encrypted too, and the file is written anew, so
        that it holds nothing of what was before. Others may go on using the store, but wait
        while that is done: some seconds for a file of 500 MB. Call it again if it broke off.

        Returns:
            The number of lines.

        Raises:
            StoreError: The keys at hand are not this store's, and nothing was done; or some
                lines can't be read with them. Those were left as they were, all others are
                renewed, and it says which transcripts they are in.
        """
        with self._file.reading() as db:
            self._canary.renew(self._kept_canary(db))  # with wrong keys nothing is begun
        count, after, renewal = 0, (b"", 0, 0), Renewal(self._sealer)
        while rows := self._renew(after, renewal):
            count += len(rows)
            after = rows[-1][:3]
        self._renew_canary()
        self._file.rewrite()  # or the lines as they were could be found between others
        renewal.check()
        return count

    def _renew(self, after: tuple[bytes, int, int], renewal: Renewal) -> list[Any]:
        with self._file.writing(durable=True) as db:
            rows = db.rows(sql.LINES_AFTER, self._namespace, *after, RENEWED)
            renewed = [
                (blob(new), self._namespace, *place)
                for *place, line in rows
                if (new := renewal.renew(line, text, place[0])) is not None
            ]
            db.change_each(sql.RENEW_LINE, renewed)
            return rows

    def _look_at_canary(self, db: Transaction) -> None:
        kept = self._kept_canary(db)
        if kept is not None:
            self._canary.check(kept)
        elif new := self._canary.new():
            db.change(sql.SET_CANARY, self._namespace, blob(new))

    def _renew_canary(self) -> None:
        with self._file.writing(durable=True) as db:
            new = self._canary.renew(self._kept_canary(db))
            if new is not None:
                db.change(sql.SET_CANARY, self._namespace, blob(new))

    def _kept_canary(self, db: Transaction) -> str | None:
        return next((text(line) for (line,) in db.rows(sql.CANARY, self._namespace)), None)

    def _life(self, db: Transaction, namespace: str, conversation: bytes) -> tuple[int, bool]:
        """The number of a transcript's newest life, 0 for none, and whether it is alive."""
        rows = db.rows(sql.NEWEST_LIFE, namespace, conversation)
        return (rows[0][0], rows[0][1] > self._clock()) if rows else (0, False)

    def _transcript_until(self) -> float:
        ttl = self._transcript_ttl
        return math.inf if ttl is None else self._clock() + ttl

    # -- looking after it ----------------------------------------------------------------

    def inventory(self) -> Inventory:
        """All that the store holds. It changes nothing, and makes no file where there is none."""
        with self._reads.looking() as seen:
            if seen is None:
                return Inventory((), {}, 0, ())
            found = listed(seen.connection, self._namespace, self._clock(), seen.copied)
        return found.read()  # when others may go on: that takes a while

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._close_file()
        self._threads.end()

    async def aclose(self) -> None:
        """`close` for the event loop."""
        await self._threads.run(self._close_file)
        self._threads.end()

    def _close_file(self) -> None:
        self._reads.close()
        self._file.close()

    # -- the async colour; a call that is cancelled before it writes does not ---------------

    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """`take` in a thread. If it is cancelled, a binding may be lost; nobody has it twice."""
        return await self._threads.run(self.take, keys, unique)

    async def apeek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """`peek` in a thread."""
        return await self._threads.run(self.peek, keys, unique)

    async def aput(self, binding: Binding, ttl: float) -> None:
        """`put` in a thread."""
        await self._threads.run(self.put, binding, ttl)

    async def aoccupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """`occupy` in a thread."""
        return await self._threads.run(self.occupy, pool, slot, limit, ttl)

    async def avacate(self, pool: str, slot: str) -> None:
        """`vacate` in a thread."""
        await self._threads.run(self.vacate, pool, slot)

    async def aslots(self, pool: str) -> dict[str, float]:
        """`slots` in a thread."""
        return await self._threads.run(self.slots, pool)

    async def anote(
        self, key: str, change: Callable[[NoteState], NoteState] | None = None
    ) -> NoteState:
        """`note` in a thread, ``change`` too."""
        return await self._threads.run(self.note, key, change)

    async def aappend(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """`append` in a thread."""
        await self._threads.run(self.append, conversation, lines, replace)

    async def aload(self, conversation: str) -> list[str]:
        """`load` in a thread."""
        return await self._threads.run(self.load, conversation)

    async def aclear(self, conversation: str) -> None:
        """`clear` in a thread."""
        await self._threads.run(self.clear, conversation)

    # -- inside --------------------------------------------------------------------------

    @contextmanager
    def _writing(self, *, durable: bool = False, rows: int = 1) -> Iterator[Transaction]:
        """A transaction that writes so many rows at most, and sweeps now and then."""
        with self._file.writing(durable=durable) as db:
            yield db
            self._writes_to_sweep -= 1
            if self._writes_to_sweep <= 0:
                more = self._sweep(db, max(SWEPT, rows))
                self._writes_to_sweep = 1 if more else SWEEP_EVERY

    def _sweep(self, db: Transaction, most: int) -> bool:
        """Remove so many rows of each kind that have expired; whether there may be more."""
        old = (self._namespace, self._clock(), most)
        bindings, slots, notes = (
            db.rows(each, *old) for each in (sql.OLD_BINDINGS, sql.OLD_SLOTS, sql.OLD_NOTES)
        )
        for (id_,) in bindings:
            self._remove(db, id_)
        db.change_each(sql.VACATE, ((self._namespace, *slot) for slot in slots))
        db.change_each(sql.REMOVE_NOTE, ((self._namespace, *note) for note in notes))
        more = self._sweep_transcripts(db, most)
        return more or most in (len(bindings), len(slots), len(notes))

    def _sweep_transcripts(self, db: Transaction, most: int) -> bool:
        for place in db.rows(sql.OLD_LIVES, self._namespace, self._clock(), most):
            life = (self._namespace, *place)
            numbers = db.rows(sql.SOME_LINES, *life, most)
            if numbers:
                db.change(sql.REMOVE_LINES_UP_TO, *life, *numbers[-1])
            most -= len(numbers)
            if most <= 0:
                return True
            db.change(sql.END_LIFE, *life)
            most -= 1
        return False


def _checked_path(path: str | os.PathLike[str]) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        name = ""
    if not isinstance(name, str) or name in {"", ":memory:"} or name.startswith("file:"):
        raise ConfigurationError(
            f"path={path!r} names no file.",
            advice='Name one, or use open_store("memory://"), which lives in the process.',
        )
    if "\0" in name:
        raise ConfigurationError(f"path={path!r} can't be a file's name.")
    return str(Path(name).absolute())


def _checked_wait(seconds: float) -> float:
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= LONGEST_WAIT:
        raise ConfigurationError(
            f"busy_timeout={seconds!r} is not a number of seconds above 0, up to an hour."
        )
    return float(seconds)
