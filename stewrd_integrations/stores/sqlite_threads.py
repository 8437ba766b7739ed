"""The threads in which a SQLite store serves event loops, and how a cancelled call ends there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

T = TypeVar("T")

THREADS = 4
"""One at a time uses the file; the others wait for it or turn values into rows."""


class _Caller:
    """The task that a thread works for."""

    gone = False


_CALLER: ContextVar[_Caller | None] = ContextVar("stewrd_sqlite_caller", default=None)


def stop_if_cancelled() -> None:
    """End the work of a task that was cancelled; what it has not written yet stays unwritten.

    Raises:
        asyncio.CancelledError: Nobody waits any more. In a sync call there is nobody to ask.
    """
    caller = _CALLER.get()
    if caller is not None and caller.gone:
        raise asyncio.CancelledError


class Threads:
    """A few threads of one store, begun when they are first needed.

    A file that somebody holds for long would else fill the event loop's own threads, and so hold
    up whatever else the application has in them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """Call it in a thread. If the task is cancelled, it stops before it begins to write."""
        caller, context = _Caller(), copy_context()
        context.run(_CALLER.set, caller)
        try:
            return await asyncio.wrap_future(self._submit(context, call, arguments))
        except asyncio.CancelledError:
            caller.gone = True
            raise

    def end(self) -> None:
        """Let the threads end once they have done what they were given; a call begins others."""
        with self._of_process():
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _submit(
        self, context: Context, call: Callable[..., T], arguments: tuple[object, ...]
    ) -> Future[T]:
        with self._of_process():  # nobody ends the threads in between
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="stewrd-sqlite")
            return self._pool.submit(context.run, call, *arguments)

    def _of_process(self) -> threading.Lock:
        if self._process != os.getpid():
            # After a fork there are no threads, and one that is not here may have held the lock.
            self._lock, self._pool = threading.Lock(), None
            self._process = os.getpid()
        return self._lock
