"""The worker processes of a machine: begun once, begun anew when they were killed."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
from functools import cache
from typing import Any

from .worker import Begin, Command, Crashed, work

WORKERS = 3
PATIENCE = 120.0
"""Seconds that a worker may take for a command: the machine may be busy."""


class Killed(Exception):
    """The process died before it answered."""


class Process:
    """One worker, whichever process it is at the time."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._begun: Begin | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, begun: Begin) -> None:
        """A new life of the machine."""
        self._begun = begun
        self.do(begun)

    def send(self, command: Command) -> None:
        """Tell it to do something."""
        self.pipe.send(command)

    def answer(self) -> Any:
        """What came of the last command.

        Raises:
            Killed: It died of it; another process is there in its place.
        """
        try:
            assert self.pipe.poll(PATIENCE), "a worker hangs"
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._revive()
            raise Killed from None
        assert not isinstance(answer, Crashed), answer.why
        return answer

    def do(self, command: Command) -> Any:
        """Tell it to do something, and wait for it."""
        self.send(command)
        return self.answer()

    def kill(self) -> None:
        """`kill -9`."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._revive()

    def _revive(self) -> None:
        self._process.join()
        self._process.close()
        self.pipe.close()
        self._start()
        if self._begun is not None:
            self.do(self._begun)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


@cache
def workers() -> list[Process]:
    """The workers of this process; they end with it.

    They are forked from a server that has imported everything and has no threads, so that a new
    one is there in no time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__, "pytest"])
    made = [Process(context) for _ in range(WORKERS)]
    for process in made:
        atexit.register(process.close)
    return made
