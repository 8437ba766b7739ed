"""Processes beside the tests' own: each opens the store once more and does what it is told."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import pytest

from ..stores import Store
from .chapter import LONG, Reopen, binding, coloured, drain, ids
from .concurrency import add_one

T = TypeVar("T")

COUNT = 4
PATIENCE = 120.0
"""Seconds that a process may take, its start included."""

Job = Callable[[Store, int], Any]


@dataclass(frozen=True)
class Worker:
    """A process, and the pipe to it."""

    process: BaseProcess
    pipe: Connection


class Workers:
    """Four processes that live for several tests, since it takes long to start one.

    They are spawned, not forked: they share nothing with the tests but the store.
    """

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def run(self, reopen: Reopen, colour: str, job: Callable[[Store, int], T]) -> list[T]:
        """What the job returned in each process; all begin it at once.

        Args:
            reopen: Opens the store in a process.
            colour: "sync" or "async".
            job: Gets the store and the number of its process; picklable.
        """
        workers = self._living()
        for worker in workers:
            worker.pipe.send((reopen, colour, job))
        for worker in workers:
            self._answer(worker)  # it has opened the store
        for worker in workers:
            worker.pipe.send("go")
        return [self._answer(worker) for worker in workers]

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.process.close()
            worker.pipe.close()
        self._workers = []

    def _living(self) -> list[Worker]:
        if not self._workers:
            self._workers = [_start(number) for number in range(COUNT)]
        return self._workers

    def _answer(self, worker: Worker) -> Any:
        try:
            if worker.pipe.poll(PATIENCE):
                return worker.pipe.recv()
        except (EOFError, ConnectionError):
            self.close()
            pytest.fail("A process that shares the store failed: see its traceback above.")
        self.close()
        pytest.fail(f"A process that shares the store did not end in {PATIENCE} seconds.")


def _start(number: int) -> Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, number), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _serve(pipe: Connection, number: int) -> None:
    while True:
        reopen, colour, job = pipe.recv()
        store = coloured(reopen(), colour)
        pipe.send("opened")
        pipe.recv()
        pipe.send(job(store, number))


def put_and_tell(store: Store, number: int) -> str:
    """Put a binding, hold a slot, and leave a note and a line."""
    store.put(binding(f"{number}", f"k{number}"), LONG)
    store.occupy("p", f"{number}", COUNT, LONG)
    store.note(f"n{number}", lambda _: {"by": number})
    store.append(f"c{number}", [f"line of {number}"])
    return f"{number}"


def take_all(store: Store, _: int) -> list[str]:
    """Take whatever is under the shared key."""
    return ids(drain(store, "shared"))


def count_to(times: int, store: Store, _: int) -> None:
    """Change a note so many times."""
    for _ in range(times):
        store.note("n", add_one)


def occupy_many(limit: int, store: Store, number: int) -> list[str]:
    """Ask for more slots than there are."""
    wanted = [f"{number}-{place}" for place in range(limit)]
    return [slot for slot in wanted if store.occupy("p", slot, limit, LONG)]


def append_many(times: int, store: Store, number: int) -> None:
    """Append pairs of lines so many times."""
    for place in range(times):
        store.append("c", [f"{number} {place} a", f"{number} {place} b"])
