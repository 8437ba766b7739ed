"""What an agent keeps between its runs: contexts, also as JSON, histories, states, and waiting."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.workflow import (
    Context,
    JsonSerializer,
)

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

from ...langchain.tooling import NOT_TAKING, TAKING, charged, on, outputs, refused, said
from .contextual import Question, Reply, ask_human, count
from .desk import AGENTS, QUIET, Make, function_agent, memory_of, on_sessions, users, workflow

pytestmark = QUIET

RUNNERS = pytest.mark.parametrize("kind_of_agent", ["function", "workflow", "two"])


def as_json(ctx: Context) -> str:
    return json.dumps(ctx.to_dict(serializer=JsonSerializer()))


def again(agent: Any, text: str) -> Context:
    return Context.from_dict(agent, json.loads(text), serializer=JsonSerializer())


async def ask(agent: Any, text: str, ctx: Context, **more: Any) -> str:
    return str(await agent.run(user_msg=text, ctx=ctx, **more))


# -- contexts --------------------------------------------------------------------------


@RUNNERS
@on(TAKING)
async def test_a_context_that_is_kept(stewrd: Emulator, llm: StewrdLLM, kind_of_agent: str) -> None:
    agent = AGENTS[kind_of_agent](llm)
    ctx: Context = Context(agent)
    await ask(agent, "My name is Ada.", ctx, memory=memory_of("stewrd", llm))
    await ask(agent, "get_weather(Oslo)", ctx)
    assert await ask(agent, "What is my name?", ctx) == "Your name is Ada."
    assert len(stewrd.sessions) == 1 and on_sessions(stewrd) == 3
    assert stewrd.runs[-1].message == "What is my name?"


@RUNNERS
@on(TAKING, *NOT_TAKING)
async def test_a_context_that_was_json(stewrd: Emulator, make: Make, kind_of_agent: str) -> None:
    llm = make()
    agent = AGENTS[kind_of_agent](llm)
    ctx: Context = Context(agent)
    await ask(agent, "My name is Ada.", ctx, memory=memory_of("stewrd", llm))
    kept = as_json(ctx)
    assert stewrd.api_key not in kept
    assert "Nice to meet you" not in kept, "no transcript; the newest question is the agent's own"
    for text in ("get_weather(Oslo)", "What is my name?"):
        agent = AGENTS[kind_of_agent](make())
        ctx = again(agent, kept)
        answer = await ask(agent, text, ctx)
        kept = as_json(ctx)
    assert answer == "Your name is Ada."
    assert len(stewrd.sessions) == 1
    if stewrd.settings.session_tools == "accepted":
        assert on_sessions(stewrd) == 3 and stewrd.runs[-1].message == "What is my name?"
    assert users(stewrd)[-3:] == ["My name is Ada.", "get_weather(Oslo)", "What is my name?"]


ELSEWHERE = """
import asyncio, json, sys, warnings
warnings.simplefilter("ignore")
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.workflow import Context, JsonSerializer
from stewrd_integrations.llama_index import StewrdLLM

async def main():
    agent = FunctionAgent(llm=StewrdLLM(), system_prompt="Be kind.", tools=[])
    ctx = Context.from_dict(agent, json.load(sys.stdin), serializer=JsonSerializer())
    print(await agent.run(user_msg="What is my name?", ctx=ctx))
    await agent.llm.aclose()

asyncio.run(main())
"""


@on(TAKING)
async def test_a_context_in_another_process(
    stewrd: Emulator, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWRD_STORE", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.setenv("STEWRD_API_KEY", stewrd.api_key)
    monkeypatch.setenv("STEWRD_BASE_URL", stewrd.url)
    llm = make()
    agent = function_agent(llm, tools=[])
    ctx: Context = Context(agent)
    await ask(agent, "My name is Ada.", ctx, memory=StewrdMemory("ada"))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ELSEWHERE],
        input=as_json(ctx),
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("Your name is Ada.\n", 0), done.stderr
    (session,) = stewrd.sessions
    assert [run.session_id for run in stewrd.runs] == [session] * 2
    assert stewrd.runs[-1].message == "What is my name?"


# -- histories that are given ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stewrd", "buffer"])
@on(TAKING)
async def test_a_history_that_is_given_each_time(
    stewrd: Emulator, llm: StewrdLLM, kind: str
) -> None:
    agent, history = (
        function_agent(llm),
        [ChatMessage("Hi."), ChatMessage("Hello.", role="assistant")],
    )
    for text in ("My name is Ada.", "Who are you?", "What is my name?"):
        memory = memory_of(kind, llm)
        output: Any = await agent.run(user_msg=text, chat_history=history, memory=memory)
        history += [ChatMessage(text), output.response]
    assert str(output) == "Your name is Ada."
    assert users(stewrd) == ["Hi.", "My name is Ada.", "Who are you?", "What is my name?"]
    assert len(stewrd.sessions) == 1 and stewrd.runs[-1].message == "What is my name?"


@on(TAKING)
async def test_a_history_without_a_new_message(stewrd: Emulator, llm: StewrdLLM) -> None:
    history = [ChatMessage("My name is Ada."), ChatMessage("Hello.", role="assistant")]
    history += [ChatMessage("What is my name?")]
    agent = function_agent(llm)
    output = await agent.run(chat_history=history, memory=memory_of("stewrd", llm))
    assert str(output) == "Your name is Ada."
    assert [role for role, _ in said(stewrd)] == ["user", "assistant", "user"]


@on(TAKING)
async def test_another_history_is_another_conversation(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent, memory = function_agent(llm), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    other = [ChatMessage("Hi."), ChatMessage("Hello.", role="assistant")]
    output = await agent.run(user_msg="What is my name?", chat_history=other, memory=memory)
    assert str(output) == "You have not told me your name."
    assert users(stewrd) == ["Hi.", "What is my name?"]


# -- states ------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [function_agent, workflow])
@on(TAKING)
async def test_a_state_is_written_into_the_newest_message(
    stewrd: Emulator, llm: StewrdLLM, made: Any
) -> None:
    agent = made(llm, initial_state={"number": 3})
    ctx: Context = Context(agent)
    memory = memory_of("stewrd", llm)
    for text in ("My name is Ada.", "get_weather(Oslo)", "What is my name?"):
        answer = await ask(agent, text, ctx, memory=memory)
    assert answer == "Your name is Ada."
    assert len(stewrd.sessions) == 1 and on_sessions(stewrd) == 3
    told = [run.message for run in stewrd.runs if run.message]
    assert all("{'number': 3}" in text for text in told)
    assert "My name" not in told[1] and "[[stewrd" not in told[1], "the state and the new message"
    assert [m.content for m in memory.get_all() if m.role == "user"] == [
        "My name is Ada.",
        "get_weather(Oslo)",
        "What is my name?",
    ]


@on(TAKING, *NOT_TAKING)
async def test_a_state_that_a_tool_changes(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent = function_agent(llm, initial_state={"number": 3}, tools=[count])
    ctx: Context = Context(agent)
    assert "It is 4 now." in await ask(agent, "count", ctx, memory=memory_of("stewrd", llm))
    await ask(agent, "My name is Ada.", ctx)
    assert "{'number': 4}" in stewrd.runs[-1].conversation.messages[-1].text
    assert await ask(agent, "What is my name?", ctx) == "Your name is Ada."
    assert len(stewrd.sessions) == 1


# -- a human in the loop -------------------------------------------------------------------


ASKING = 'ask_human "Shall I?"'


def human_agent(llm: StewrdLLM) -> FunctionAgent:
    return function_agent(llm, tools=[ask_human])


@on(TAKING, *NOT_TAKING)
async def test_a_human_is_waited_for(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent, memory = human_agent(llm), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    handler = agent.run(user_msg=ASKING, memory=memory)
    async for event in handler.stream_events():
        if isinstance(event, Question):
            handler.ctx.send_event(Reply(text="yes"))
    assert "The human says yes." in str(await handler)
    assert str(await agent.run(user_msg="What is my name?", memory=memory)).endswith("Ada.")
    assert len(stewrd.sessions) == 1 and set(refused(stewrd)) <= {"invalid_tools"}
    assert charged(stewrd) == 3 + (stewrd.settings.session_tools == "empty")


@pytest.mark.parametrize("seconds", [60, 400])
@on(TAKING, *NOT_TAKING)
async def test_a_human_is_waited_for_by_another_object(
    stewrd: Emulator, make: Make, seconds: int
) -> None:
    llm = make()
    agent, memory = human_agent(llm), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    handler = agent.run(user_msg=ASKING, memory=memory)
    async for event in handler.stream_events():
        if isinstance(event, Question):
            kept = as_json(handler.ctx)
            await handler.cancel_run()
            break
    stewrd.advance(seconds)
    agent = human_agent(make())
    handler = agent.run(ctx=again(agent, kept))
    handler.ctx.send_event(Reply(text="yes"))
    assert "The human says yes." in str(await handler)
    last = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(last) == "Your name is Ada."
    # Nobody is asked for the outputs of a run that is gone by our own clock or the server's.
    assert set(refused(stewrd)) <= {"invalid_tools", "context_expired"}
    if seconds == 60:
        assert len(outputs(stewrd)) == 1 and len(stewrd.sessions) == 1
