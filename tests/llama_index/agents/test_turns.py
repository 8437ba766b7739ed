"""Twelve turns of every agent: right answers, few sessions, nothing that the server refuses."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

from ...langchain.tooling import NOT_TAKING, TAKING, charged, on, outputs, refused
from .desk import AGENTS, QUIET, SPEAKING, Make, memory_of, on_sessions, users

pytestmark = QUIET

SERVERS = [TAKING, *NOT_TAKING]
STREAMING = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])
MEMORIES = pytest.mark.parametrize("kind", ["stewrd", "memory", "buffer"])


def question(turn: int, agent: str) -> tuple[str, str]:
    """What is asked in a turn, and what its answer must hold."""
    match turn % 4:
        case 0:
            return f"My name is Ada{turn}.", f"Ada{turn}"
        case 1:
            return f"add_numbers({turn}, 2)", str(turn + 2)
        case 2 if agent in ("function", "workflow"):
            return "get_weather(Oslo) and add_numbers(1, 2)", "sunny in Oslo"
        case 2:
            return f"My pet is Rex{turn}.", f"Rex{turn}"
        case _:
            return "What is my name?", f"Ada{turn - 3}"


async def talk(agent: Any, kind: str, memory: Any, turns: int = 12) -> list[str]:
    asked = []
    for turn in range(turns):
        text, expected = question(turn, kind)
        answer = str(await agent.run(user_msg=text, memory=memory))
        assert expected in answer, (turn, answer)
        asked.append(text)
    return asked


@MEMORIES
@STREAMING
@pytest.mark.parametrize("kind_of_agent", ["function", "workflow"])
@on(TAKING)
async def test_function_calls_on_one_session(
    stewrd: Emulator, make: Make, kind: str, kind_of_agent: str, streaming: bool
) -> None:
    llm = make(match_by_content=False)  # marks and names are enough
    agent = AGENTS[kind_of_agent](llm, streaming=streaming)
    asked = await talk(agent, kind_of_agent, memory_of(kind, llm))
    (session,) = stewrd.sessions
    assert on_sessions(stewrd) == 12 == charged(stewrd)
    told = [run.message for run in stewrd.runs if run.message]
    assert told[1:] == asked[1:], "a turn says what is new, and nothing else"
    assert [one.text for one in stewrd.context(session).messages if one.role == "user"] == asked
    assert len(outputs(stewrd)) == 6 and stewrd.waiting_runs == [] and stewrd.refused == []


@MEMORIES
@STREAMING
@pytest.mark.parametrize("kind_of_agent", ["function", "workflow"])
@on(*NOT_TAKING)
async def test_function_calls_where_sessions_take_no_tools(
    stewrd: Emulator, llm: StewrdLLM, kind: str, kind_of_agent: str, streaming: bool
) -> None:
    agent = AGENTS[kind_of_agent](llm, streaming=streaming)
    asked = await talk(agent, kind_of_agent, memory_of(kind, llm))
    assert len(stewrd.sessions) == 1 and users(stewrd) == asked
    empty = stewrd.settings.session_tools == "empty"
    assert refused(stewrd) == ([] if empty else ["invalid_tools"])
    assert charged(stewrd) == 12 + empty, "an empty answer is charged, a refusal is not"


@STREAMING
@on(*SERVERS)
async def test_a_tool_at_a_time(stewrd: Emulator, llm: StewrdLLM, streaming: bool) -> None:
    agent = AGENTS["function"](llm, streaming=streaming, allow_parallel_tool_calls=False)
    asked = await talk(agent, "function", memory_of("stewrd", llm))
    assert len(stewrd.sessions) == 1 and users(stewrd) == asked
    assert all(len(run.calls) <= 1 for run in stewrd.runs)
    told = [run.outputs[0].output for run in stewrd.runs if run.outputs]
    assert all("at most one tool at a time" in output for output in told)
    if stewrd.settings.session_tools == "accepted":
        assert on_sessions(stewrd) == 12 == charged(stewrd)


@on(*SERVERS)
async def test_a_tool_that_must_be_called_first(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent = AGENTS["function"](llm, initial_tool_choice="get_weather")
    memory = memory_of("stewrd", llm)
    for text in ("My name is Ada.", "What is my name?"):
        answer = str(await agent.run(user_msg=text, memory=memory))
        assert answer.startswith("The tool get_weather answered: It is sunny")
    assert users(stewrd) == ["My name is Ada.", "What is my name?"] and len(stewrd.sessions) == 1
    demanding = [one.body["message"] for one in stewrd.requests if "message" in (one.body or {})]
    assert all('You must call the tool "get_weather".' in text for text in demanding)
    assert [output for (output,) in outputs(stewrd) if "must" in output["output"]] == []


@pytest.mark.parametrize("kind", ["stewrd", "buffer"])
@STREAMING
@on(*({**server, **SPEAKING} for server in SERVERS))
async def test_code_on_one_session(
    stewrd: Emulator, llm: StewrdLLM, kind: str, streaming: bool
) -> None:
    agent = AGENTS["code"](llm, streaming=streaming)
    await talk(agent, "code", memory_of(kind, llm))
    assert len(stewrd.sessions) == 1 and stewrd.refused == []
    assert on_sessions(stewrd) == 15 == charged(stewrd), "twelve turns, and three results"


@pytest.mark.parametrize("kind", ["stewrd", "buffer"])
@STREAMING
@on(*({**server, **SPEAKING} for server in SERVERS))
async def test_reasoning_takes_few_sessions(
    stewrd: Emulator, llm: StewrdLLM, kind: str, streaming: bool
) -> None:
    agent = AGENTS["react"](llm, streaming=streaming)
    await talk(agent, "react", memory_of(kind, llm))
    assert len(stewrd.sessions) <= 4 and stewrd.refused == []
    assert charged(stewrd) == 15, "twelve turns, and three results"


@STREAMING
@on({**TAKING, **SPEAKING})
async def test_reasoning_without_tools(stewrd: Emulator, llm: StewrdLLM, streaming: bool) -> None:
    memory = memory_of("stewrd", llm)
    agent = AGENTS["react"](llm, streaming=streaming)
    for turn in range(12):
        await agent.run(user_msg=f"My name is Ada{turn}.", memory=memory)
    assert str(await agent.run(user_msg="What is my name?", memory=memory)).endswith("Ada11.")
    assert len(stewrd.sessions) <= 2


@pytest.mark.parametrize("kind", ["stewrd", "buffer"])
@STREAMING
@on(*SERVERS)
async def test_a_longer_talk_rolls_over(
    stewrd: Emulator, llm: StewrdLLM, kind: str, streaming: bool
) -> None:
    memory = memory_of(kind, llm)
    await talk(AGENTS["function"](llm, streaming=streaming), "function", memory, 24)
    assert len(stewrd.sessions) <= 3
    assert set(refused(stewrd)) <= {"invalid_tools"}
    if isinstance(memory, StewrdMemory) and stewrd.settings.session_tools == "accepted":
        assert memory.session is not None and memory.session.generation == len(stewrd.sessions)


@pytest.mark.parametrize("kind_of_agent", ["function", "two", "code"])
@on({**TAKING, "script": ("Once.", "Twice.")})
async def test_an_agent_without_a_memory_of_its_own_begins_anew(
    stewrd: Emulator, make: Make, kind_of_agent: str
) -> None:
    agent = AGENTS[kind_of_agent](make())
    for text in ("First.", "Second."):
        await agent.run(user_msg=text)
    assert users(stewrd) == ["Second."]
