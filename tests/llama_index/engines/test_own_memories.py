"""SimpleChatEngine with LlamaIndex's own memories: those that keep all, cut, or summarise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM

from ..conftest import Way, sent
from .desk import LEFT_OPEN, ask

Make = Callable[..., StewrdLLM]

pytestmark = LEFT_OPEN


def engine_of(llm: StewrdLLM, memory: Any, **options: Any) -> SimpleChatEngine:
    options |= {"memory": memory.from_defaults(tokenizer_fn=str.split)}
    return SimpleChatEngine.from_defaults(llm=llm, **options)


@pytest.mark.parametrize("memory", [Memory, ChatMemoryBuffer])
@pytest.mark.parametrize("named", [{}, {"conversation_id": "ada"}], ids=["unnamed", "named"])
async def test_an_engine_is_one_session(
    emulator: Emulator, make: Make, way: Way, memory: Any, named: dict[str, Any]
) -> None:
    engine = engine_of(make(**named), memory, system_prompt="You are Grim.")
    assert await ask(engine, way, "My name is Ada.") == "Nice to meet you, Ada."
    assert await ask(engine, way, "Who are you?") == "I am Grim."
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    (session,) = emulator.sessions
    said = emulator.context(session).messages
    users = [one.text for one in said if one.role == "user"]
    assert users == ["My name is Ada.", "Who are you?", "What is my name?"]
    assert sent(emulator)[1:] == users[1:]
    assert {run.session_id for run in emulator.runs} == {session}


async def test_a_reset_engine_has_heard_nothing(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    engine = engine_of(llm, Memory)
    await ask(engine, way, "My name is Ada.")
    engine.reset()
    assert await ask(engine, way, "What is my name?") == "You have not told me your name."


async def test_two_engines_of_one_model_never_meet(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    engines = [engine_of(llm, Memory), engine_of(llm, Memory)]
    for engine, name in zip(engines, ("Ada", "Bob"), strict=True):
        await ask(engine, way, "Hello")
        await ask(engine, way, f"My name is {name}.")
    for engine, name in zip(engines, ("Ada", "Bob"), strict=True):
        assert await ask(engine, way, "What is my name?") == f"Your name is {name}."


async def test_a_generated_file_is_kept_by_memories(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    engine = engine_of(llm, Memory)
    await ask(engine, way, "Write the file list.csv")
    assert await ask(engine, way, "My name is Ada.") == "Nice to meet you, Ada."
    assert sent(emulator)[-1] == "My name is Ada."
    emulator.expire()
    await ask(engine, way, "What is my name?")
    # Streamed, the engine itself keeps text alone.
    files = [] if way.streams else ["list.csv"]
    assert [file.name for file in emulator.runs[-1].files] == files


async def test_a_history_that_the_engine_is_given_is_told(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    history = [
        ChatMessage(role="user", content="My name is Ada."),
        ChatMessage(role="assistant", content="Hello Ada."),
    ]
    engine = SimpleChatEngine.from_defaults(
        llm=llm, memory=Memory.from_defaults(chat_history=history, tokenizer_fn=str.split)
    )
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    said = emulator.runs[-1].conversation.messages
    assert [one.role for one in said] == ["user", "assistant", "user"]


async def test_default_memory_is_not_cut_by_a_small_window(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    engine = engine_of(llm, Memory)
    for number in range(6):
        await ask(engine, way, f"Remember that number {number} is {'long ' * 150}")
    assert {run.session_id for run in emulator.runs} == set(emulator.sessions)
    assert len(emulator.sessions) == 1


def test_synthesizers_divide_what_no_message_could_hold(emulator: Emulator, make: Make) -> None:
    llm = make(replay_budget=10_000)
    synthesizer = get_response_synthesizer(llm=llm, response_mode=ResponseMode.COMPACT)
    text = "The report says that sales went up in the north and down in the south. " * 200
    assert synthesizer.get_response("What does the report say?", [text])
    sizes = [len(run.message) for run in emulator.runs]
    assert len(sizes) > 1
    assert all(size < 10_000 for size in sizes)
