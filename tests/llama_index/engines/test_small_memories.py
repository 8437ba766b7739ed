"""LlamaIndex's own memories when they cut the front off, or have it summarised."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer, Memory

from ..conftest import Way
from .desk import CONTEXT, LEFT_OPEN, SIMPLE, Desk, Kind, ask, on_sessions

pytestmark = LEFT_OPEN
MEMORIES = [Memory, ChatMemoryBuffer, ChatSummaryMemoryBuffer]


def small(desk: Desk, memory: Any) -> Any:
    """A memory of some 20 words; all but the newest exchanges don't fit."""
    options: dict[str, Any] = {"token_limit": 24, "tokenizer_fn": str.split}
    if memory is Memory:
        options["chat_history_token_ratio"] = 1.0
        options["token_flush_size"] = 8
    if memory is ChatSummaryMemoryBuffer:
        options["llm"] = desk.llm
    return memory.from_defaults(**options)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("kind", [SIMPLE, CONTEXT], ids=lambda kind: kind.name)
async def test_the_newest_turns_count(desk: Desk, kind: Kind, way: Way, memory: Any) -> None:
    engine = desk.engine(kind, None, memory=small(desk, memory))
    for number in range(5):
        await ask(engine, way, f"Remember that word {number} is good.")
        found = await ask(engine, way, "What did I say before?")
        assert f"word {number} is good" in found
    assert len(desk.emulator.sessions) <= 3
    for session in desk.emulator.sessions:
        heard = desk.users(session)
        assert all(sum(f"word {n} " in text for text in heard) <= 1 for n in range(5))


@pytest.mark.parametrize("memory", [Memory, ChatMemoryBuffer])
async def test_a_cut_front_costs_no_session(desk: Desk, way: Way, memory: Any) -> None:
    engine = desk.engine(SIMPLE, None, memory=(kept := small(desk, memory)))
    await ask(engine, way, "My name is Ada.")
    for number in range(6):
        await ask(engine, way, f"Remember that word {number} is good.")
    assert "Ada" not in " ".join(str(message.content) for message in kept.get())
    # The memory has lost it, and the session has not.
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.only_session()
    assert on_sessions(desk.turns) == len(desk.turns)
