"""Several agents and several users: handoffs, agents as tools, and two talks at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.workflow import Context

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

from ...langchain.tooling import NOT_TAKING, TAKING, charged, on, outputs, refused
from .desk import (
    AGENTS,
    QUIET,
    SPEAKING,
    Make,
    code_agent,
    function_agent,
    memory_of,
    on_sessions,
    two_agents,
    users,
)

pytestmark = QUIET

EVERYWHERE = [TAKING, *NOT_TAKING]
MEMORIES = pytest.mark.parametrize("kind", ["stewrd", "buffer"])
STREAMING = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])


def to(agent: str) -> str:
    return f'handoff "{agent}", "so"'


# -- handoffs --------------------------------------------------------------------------


async def asks(agent: Any, ctx: Context, memory: Any, *texts: str) -> str:
    for text in texts:
        output = await agent.run(user_msg=text, ctx=ctx, memory=memory)
    return str(output)


@STREAMING
@on(*EVERYWHERE)
async def test_a_handoff_there_and_back(stewrd: Emulator, llm: StewrdLLM, streaming: bool) -> None:
    agents, memory = two_agents(llm, streaming=streaming), memory_of("stewrd", llm)
    ctx: Context = Context(agents)
    asked = ["My name is Ada.", to("sums"), "Who are you?"]
    assert await asks(agents, ctx, memory, *asked) == "I am Sums."
    more = ["add_numbers(1, 2)", to("front"), "Who are you?"]
    assert await asks(agents, ctx, memory, *more) == "I am Front."
    assert await asks(agents, ctx, memory, "What is my name?") == "Your name is Ada."
    assert users(stewrd) == [*asked, *more, "What is my name?"]
    assert set(refused(stewrd)) <= {"invalid_tools"}
    assert charged(stewrd) <= 10, "a turn costs one, and a handoff one more"
    assert len(stewrd.sessions) == 1, "a handoff is told to the session, and costs none"


@on(TAKING)
async def test_each_agent_has_its_own_instructions(stewrd: Emulator, llm: StewrdLLM) -> None:
    agents, memory = two_agents(llm), memory_of("stewrd", llm)
    ctx: Context = Context(agents)
    await asks(agents, ctx, memory, "Hi.", to("sums"))
    assert stewrd.runs[-1].conversation.instructions == "You are Sums."
    assert [tool.name for tool in stewrd.runs[-1].tools] == ["add_numbers", "handoff"]


@on(*EVERYWHERE)
async def test_many_handoffs(stewrd: Emulator, llm: StewrdLLM) -> None:
    agents, memory = two_agents(llm), memory_of("stewrd", llm)
    ctx: Context = Context(agents)
    await asks(agents, ctx, memory, "My name is Ada.")
    for turn in range(8):
        await asks(agents, ctx, memory, to("front" if turn % 2 else "sums"))
    assert await asks(agents, ctx, memory, "What is my name?") == "Your name is Ada."
    assert len(users(stewrd)) == 10
    rolled = stewrd.settings.session_tools == "accepted"
    assert len(stewrd.sessions) == 1 + rolled, "one that is full, and none for a handoff"


@on(*({**server, **SPEAKING} for server in EVERYWHERE))
async def test_a_handoff_to_an_agent_of_another_kind(stewrd: Emulator, llm: StewrdLLM) -> None:
    front = FunctionAgent(name="front", description="The desk.", llm=llm, system_prompt="Hi.")
    coder = code_agent(llm, name="coder", description="Writes code.")
    agents = AgentWorkflow(agents=[front, coder], root_agent="front")
    ctx, memory = Context(agents), memory_of("stewrd", llm)
    await asks(agents, ctx, memory, "My name is Ada.", to("coder"))
    assert await asks(agents, ctx, memory, "add_numbers(1, 2)") == "It gave 3"
    assert await asks(agents, ctx, memory, "What is my name?") == "Your name is Ada."
    assert len(stewrd.sessions) <= 2


# -- agents as tools -------------------------------------------------------------------


@STREAMING
@MEMORIES
@on(*EVERYWHERE)
async def test_an_agent_as_the_tool_of_another(
    stewrd: Emulator, llm: StewrdLLM, kind: str, streaming: bool
) -> None:
    inner = function_agent(llm, system_prompt="You are Inner.", streaming=streaming)

    async def delegate(task: str) -> str:
        """Leave a task to another agent."""
        return str(await inner.run(user_msg=task))

    agent = function_agent(llm, tools=[delegate], streaming=streaming)
    memory = memory_of(kind, llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    for n in range(6):
        output = await agent.run(user_msg=f'delegate "add_numbers({n}, 2)"', memory=memory)
        assert f"answered: {n + 2}" in str(output)
    output = await agent.run(user_msg='delegate "What is my name?"', memory=memory)
    assert "You have not told me your name." in str(output), "it hears its task alone"
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada."
    told = [text for text in users(stewrd) if "delegate" not in text]
    assert told == ["My name is Ada.", "What is my name?"]
    assert set(refused(stewrd)) <= {"invalid_tools"}
    assert len(stewrd.sessions) <= 6, "first turns leave half of the slots, whoever's they are"
    if kind == "stewrd" and stewrd.settings.session_tools == "accepted":
        assert isinstance(memory, StewrdMemory) and memory.session is not None
        session = memory.session.session_id
        mine = [run for run in stewrd.runs if run.session_id == session and run.message]
        assert len(mine) == 9, "all turns of the outer one, and none of the inner one's"


@on(*EVERYWHERE)
async def test_a_tool_that_asks_the_same_model(stewrd: Emulator, llm: StewrdLLM) -> None:
    async def expert(question: str) -> str:
        """Ask an expert, who is the same model."""
        return str(await llm.acomplete(question))

    agent, memory = function_agent(llm, tools=[expert]), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    output = await agent.run(user_msg='expert "What is my name?"', memory=memory)
    assert "You have not told me your name." in str(output)
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada." and len(stewrd.sessions) == 1


# -- users -----------------------------------------------------------------------------


@MEMORIES
@pytest.mark.parametrize("kind_of_agent", list(AGENTS))
@on(*({**server, **SPEAKING} for server in EVERYWHERE))
async def test_two_users_at_once_never_meet(
    stewrd: Emulator, make: Make, kind: str, kind_of_agent: str
) -> None:
    llm = make()
    agent = AGENTS[kind_of_agent](llm)

    async def talk(name: str) -> list[str]:
        memory, answers = memory_of(kind, llm, name), []
        for text in ("Hi.", f"My name is {name}.", "Hi again.", "What is my name?"):
            answers.append(str(await agent.run(user_msg=text, memory=memory)))
        return answers

    names = ["Ada", "Bob"]
    for name, answers in zip(names, await asyncio.gather(*map(talk, names)), strict=True):
        assert answers[-1].endswith(f"Your name is {name}.")
    for session in stewrd.sessions:
        heard = str(stewrd.heard(session))
        assert not ("Ada" in heard and "Bob" in heard)
    assert stewrd.overlaps == []


@on(TAKING)
async def test_two_users_have_a_session_each(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent = function_agent(llm)

    async def talk(name: str) -> None:
        memory = memory_of("stewrd", llm, name)
        for turn in range(6):
            await agent.run(user_msg=f"add_numbers({turn}, 1)", memory=memory)

    await asyncio.gather(*map(talk, ["Ada", "Bob", "Cid"]))
    assert len(stewrd.sessions) == 3 and on_sessions(stewrd) == 18
    assert len(outputs(stewrd)) == 18 and stewrd.waiting_runs == []


@on(*EVERYWHERE)
async def test_two_runs_of_one_user_at_once(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent, memory = function_agent(llm), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    runs = [agent.run(user_msg=f"add_numbers({n}, 1)", memory=memory) for n in (1, 2)]
    await asyncio.gather(*runs)
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada." and stewrd.overlaps == []
    assert users(stewrd)[0] == "My name is Ada." and len(users(stewrd)) == 4
