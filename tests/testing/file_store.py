"""A store that nobody needs: a pickled memory store in a file, behind one lock of the system.

It passes the suite in a way of its own, and without its lock shows that the suite notices.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stewrd_integrations.stores import MemoryStore

KEPT = ("_bindings", "_pools", "_notes", "_transcripts")
METHODS = ["take", "peek", "put", "occupy", "vacate", "slots", "note", "append", "load", "clear"]


class FileStore:
    """Each call reads the file, asks a memory store, and writes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _opened(self) -> Iterator[MemoryStore]:
        with self._locked():
            store = MemoryStore()
            if self.path.exists():
                vars(store).update(pickle.loads(self.path.read_bytes()))  # noqa: S301 - our own
            yield store
            written = self.path.with_suffix(f".{os.getpid()}-{time.perf_counter_ns()}")
            written.write_bytes(pickle.dumps({name: vars(store)[name] for name in KEPT}))
            written.replace(self.path)


def _sync(name: str) -> Callable[..., Any]:
    def call(self: FileStore, *args: Any, **kwargs: Any) -> Any:
        with self._opened() as store:
            return getattr(store, name)(*args, **kwargs)

    return call


def _async(name: str) -> Callable[..., Any]:
    async def call(self: FileStore, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(getattr(self, name), *args, **kwargs)

    return call


for _name in METHODS:
    setattr(FileStore, _name, _sync(_name))
    setattr(FileStore, f"a{_name}", _async(_name))


class UnlockedFileStore(FileStore):
    """Processes come between another's reading and writing."""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        yield

    @contextmanager
    def _opened(self) -> Iterator[MemoryStore]:
        with super()._opened() as store:
            yield store
            time.sleep(0.002)  # it is written when this block ends
