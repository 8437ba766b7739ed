"""Async calls that are cancelled at the worst moment: just as the server has answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from stewrd_integrations.api import AsyncStewrdClient
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import TimedOutError
from stewrd_integrations.types import Done

Hook = Callable[[httpx.Response], Awaitable[None]]


@asynccontextmanager
async def calling(
    stewrd: Emulator, hook: Hook, timeout: float = 600.0
) -> AsyncIterator[AsyncStewrdClient]:
    """A client whose hook is called when an answer's head has come, as its last step."""
    async with httpx.AsyncClient(event_hooks={"response": [hook]}) as http:
        yield AsyncStewrdClient(
            api_key=stewrd.api_key, base_url=stewrd.url, http_async_client=http, timeout=timeout
        )


async def said(client: AsyncStewrdClient, name: str) -> str:
    if name == "run_agent":
        return (await client.run_agent("hi")).message
    events = [event async for event in client.stream_agent("hi")]
    assert isinstance(events[-1], Done)
    return events[-1].reply.message


@pytest.mark.parametrize("name", ["run_agent", "stream_agent"])
@pytest.mark.parametrize("steps", range(3))
async def test_a_cancellation_is_never_swallowed(name: str, steps: int) -> None:
    """Up to some steps of the loop after the answer, which are those of handing it on."""
    seen: list[httpx.Response] = []
    loop = asyncio.get_running_loop()

    def cancel_after(left: int) -> None:
        if left:
            loop.call_soon(cancel_after, left - 1)
        else:
            task.cancel()

    async def answered(response: httpx.Response) -> None:
        seen.append(response)
        loop.call_soon(cancel_after, steps)

    with Emulator(chunk_delay=0.1) as stewrd:
        async with calling(stewrd, answered) as client:
            task = asyncio.create_task(said(client, name))
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert [response.is_closed for response in seen] == [True]
            assert len(stewrd.requests) == 1


async def test_a_task_that_is_cancelled_twice_ends_all_the_same() -> None:
    started = asyncio.Event()

    async def answered(_response: httpx.Response) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # whatever it is that takes its time to end
            raise

    with Emulator() as stewrd:
        async with calling(stewrd, answered) as client:
            task = asyncio.create_task(said(client, "run_agent"))
            await started.wait()
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0.01)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(asyncio.all_tasks()) == 1, "nothing is left behind"


async def test_a_head_that_comes_too_late_is_given_up() -> None:
    async def answered(_response: httpx.Response) -> None:
        await asyncio.sleep(60)

    with Emulator() as stewrd:
        async with calling(stewrd, answered, timeout=0.1) as client:
            with pytest.raises(TimedOutError) as caught:
                await client.run_agent("hi")
        assert caught.value.sent
        assert len(stewrd.requests) == 1
        assert len(asyncio.all_tasks()) == 1
