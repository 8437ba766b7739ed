"""Waiting for a time: what comes at the last moment is neither lost nor in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from stewrd_integrations.api.waiting import within

LONG = 30.0


async def after(steps: int, result: object = "done") -> object:
    for _ in range(steps):
        await asyncio.sleep(0)
    if isinstance(result, BaseException):
        raise result
    return result


async def waits(undo: Callable[[object], Awaitable[None]]) -> object:
    return await within(LONG, after(3), undo)


async def test_what_is_in_time_is_given_back() -> None:
    assert await within(LONG, after(3)) == "done"
    assert await within(float("inf"), after(0, None)) is None
    with pytest.raises(ZeroDivisionError):
        await within(LONG, after(1, ZeroDivisionError()))


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
async def test_what_is_late_is_cancelled(seconds: float) -> None:
    assert await within(seconds, asyncio.sleep(LONG, "late")) is None
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_is_never_swallowed(steps: int) -> None:
    """Also not in the very steps of the loop in which the work is done and handed on."""
    undone: list[object] = []

    async def undo(result: object) -> None:
        undone.append(result)

    task = asyncio.create_task(waits(undo))
    await after(steps)
    if task.done():
        assert steps > 3
        return
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone in ([], ["done"])
    assert len(asyncio.all_tasks()) == 1


async def test_the_steps_above_do_meet_the_moment() -> None:
    """One of them comes when the work is done and the waiter has not heard of it yet."""
    outcomes = []
    for steps in range(8):
        undone: list[object] = []

        async def undo(result: object, undone: list[object] = undone) -> None:
            undone.append(result)

        task = asyncio.create_task(waits(undo))
        await after(steps)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        outcomes.append("done" if not task.cancelled() else "undone" if undone else "cancelled")
    assert {"cancelled", "undone", "done"} == set(outcomes)
