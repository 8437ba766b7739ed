"""Calls that fail, and streams that are left: the next turns are right, and nothing is doubled."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations import StewrdError

from ..conftest import Way
from .desk import CONTEXT, LEFT_OPEN, PICTURES, SIMPLE, TRACKING, Desk, Kind, ask

# A streamed engine calls the model in a thread, which shows what was raised there, too.
pytestmark = [
    LEFT_OPEN,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

of_each = pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "error", "status": 500},
    "500 after": {"kind": "error", "status": 500, "after": True},
    "hang_up": {"kind": "hang_up"},
    "cut": {"kind": "cut"},
    "429": {"kind": "error", "status": 429, "code": "rate_limited", "times": 5},
    "402": {"kind": "error", "status": 402, "code": "insufficient_credits"},
}


@of_each
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_turns_after_a_failure(desk: Desk, kind: Kind, way: Way, fault: str) -> None:
    desk.options["max_retries"] = 0
    engine = desk.engine(kind)
    await ask(engine, way, "My name is Ada.")
    desk.emulator.fail_next(**FAULTS[fault])
    with pytest.raises(StewrdError):
        await ask(engine, way, "What is lost?")
    for _ in range(desk.emulator.pending_faults):
        with pytest.raises(StewrdError):
            await ask(engine, way, "What is lost?")
    for _ in range(3):
        assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    assert len(desk.emulator.sessions) <= 2
    desk.check_newest()


@of_each
async def test_the_very_first_turn_fails(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind)
    desk.emulator.fail_next("cut")
    with pytest.raises(StewrdError):
        await ask(engine, way, "My name is Ada.")
    assert await ask(engine, way, "My name is Ada.") == "Nice to meet you, Ada."
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    assert len(desk.emulator.sessions) <= 2
    desk.check_newest()


@pytest.mark.parametrize("kind", [SIMPLE, CONTEXT, PICTURES], ids=lambda kind: kind.name)
async def test_a_stream_left_halfway_on_a_loop_is_written_to_its_end(
    desk: Desk, kind: Kind
) -> None:
    engine = desk.engine(kind)
    await ask(engine, Way("astream_chat"), "My name is Ada.")
    stream = await engine.astream_chat("What is my name?")
    async for _ in stream.async_response_gen():
        break
    task = stream.awrite_response_to_history_task
    assert task is not None
    await task
    assert await ask(engine, Way("astream_chat"), "What is my name?") == "Your name is Ada."
    desk.only_session()
    desk.check_newest()


@of_each
async def test_a_stream_that_is_cancelled_halfway(desk: Desk, kind: Kind) -> None:
    engine = desk.engine(kind)
    await ask(engine, Way("astream_chat"), "My name is Ada.")
    desk.emulator.fail_next("slow", chunks=1)
    stream = await engine.astream_chat("What is lost?")
    async for _ in stream.async_response_gen():
        task = stream.awrite_response_to_history_task
        assert task is not None
        stream.awrite_response_to_history_task = None
        task.cancel()
        break
    for _ in range(2):
        assert await ask(engine, Way("astream_chat"), "What is my name?") == "Your name is Ada."
    assert len(desk.emulator.sessions) == 2
    desk.check_newest()


@of_each
def test_a_stream_left_halfway_in_a_thread_is_written_to_its_end(desk: Desk, kind: Kind) -> None:
    engine = desk.engine(kind)
    for text in ("My name is Ada.", "What is my name?"):
        stream = engine.stream_chat(text)
        next(pieces := stream.response_gen)
        pieces.close()  # which waits for the thread
    assert "".join(engine.stream_chat("What is my name?").response_gen) == "Your name is Ada."
    desk.only_session()
    desk.check_newest()
