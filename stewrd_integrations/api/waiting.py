"""Waiting for something no longer than it may take, on asyncio."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def _nothing(_result: object) -> None:
    return None


async def within(
    seconds: float,
    work: Coroutine[Any, Any, T],
    undo: Callable[[T], Awaitable[None]] = _nothing,
) -> T | None:
    """What the work gives, or None if it was not done in time and was cancelled.

    Not `asyncio.wait_for`: before Python 3.12 that swallows a cancellation that comes just as the
    work is done, and whoever cancelled would wait for ever.

    Args:
        seconds: How long it may take; infinite for as long as it wants.
        work: Runs in a task of its own.
        undo: Is given what the work gave although nobody waits for it any more.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=None if math.isinf(seconds) else seconds)
    except asyncio.CancelledError:
        await _give_up(task, undo)
        raise
    if task.done():
        return task.result()
    await _give_up(task, undo)
    return None


async def _give_up(task: asyncio.Task[T], undo: Callable[[T], Awaitable[None]]) -> None:
    """Cancel a task and see its end, however often the caller is cancelled meanwhile."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as again:
            cancelled = again
    if not task.cancelled() and task.exception() is None:
        await undo(task.result())
    if cancelled is not None:
        raise cancelled
