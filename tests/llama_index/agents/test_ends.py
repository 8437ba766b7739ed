"""How runs end, and the run after each: direct returns, limits, forms, failures, cancellation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentOutput, ToolCallResult
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import WorkflowRuntimeError
from pydantic import BaseModel
from workflows.errors import WorkflowCancelledByUser

from stewrd_integrations.emulator import Answer, Call, Context, Emulator
from stewrd_integrations.errors import InvalidInputError, StewrdError
from stewrd_integrations.llama_index import StewrdLLM

from ...langchain.tooling import NOT_TAKING, TAKING, charged, on, outputs, refused, said
from .desk import AGENTS, QUIET, Make, function_agent, memory_of, on_sessions, users, workflow

pytestmark = QUIET

EVERYWHERE = [TAKING, *NOT_TAKING]
RUNNERS = pytest.mark.parametrize("made", [function_agent, workflow])
MEMORIES = pytest.mark.parametrize("kind", ["stewrd", "buffer"])


# -- tools that end a run --------------------------------------------------------------


def look_up(word: str) -> str:
    """Look up a word; the user is shown what was found."""
    return f"{word}: found"


LOOK_UP = FunctionTool.from_defaults(look_up, return_direct=True)


@MEMORIES
@on(*EVERYWHERE)
async def test_a_tool_that_answers_itself(stewrd: Emulator, llm: StewrdLLM, kind: str) -> None:
    agent, memory = function_agent(llm, tools=[LOOK_UP]), memory_of(kind, llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    output = await agent.run(user_msg='look_up "Oslo"', memory=memory)
    assert str(output) == "Oslo: found" and outputs(stewrd) == []
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada."
    assert said(stewrd).count(("tool", "Oslo: found")) == 1
    assert users(stewrd) == ["My name is Ada.", 'look_up "Oslo"', "What is my name?"]
    assert len(stewrd.sessions) == 1
    if stewrd.settings.session_tools == "accepted":
        assert len(outputs(stewrd)) == 1 and on_sessions(stewrd) == 3


def explode(word: str) -> str:
    """Explode."""
    raise ValueError(f"{word} exploded")


@on(*EVERYWHERE)
async def test_a_tool_that_raises(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent = function_agent(llm, tools=[explode])
    memory = memory_of("stewrd", llm)
    output = await agent.run(user_msg='explode "Oslo"', memory=memory)
    assert "Oslo exploded" in str(output)
    ((told,),) = outputs(stewrd)
    assert told["output"] == "Oslo exploded"
    assert len(stewrd.sessions) == 1


@on({**TAKING, "script": ([Call("look_up", {"wrong": 1})], "I am sorry.")})
async def test_wrong_arguments_are_told_to_the_agent(stewrd: Emulator, llm: StewrdLLM) -> None:
    agent = function_agent(llm, tools=[look_up])
    assert str(await agent.run(user_msg="Go.")) == "I am sorry."
    ((told,),) = outputs(stewrd)
    assert "wrong" in told["output"] and len(stewrd.sessions) == 1


@on(*EVERYWHERE)
async def test_an_output_that_is_too_large(stewrd: Emulator, llm: StewrdLLM) -> None:
    def roar() -> str:
        """Roar."""
        return "ä" * 50_001

    agent, memory = function_agent(llm, tools=[roar]), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    with pytest.raises(InvalidInputError, match="100002 bytes"):
        await agent.run(user_msg="roar", memory=memory)
    assert outputs(stewrd) == []
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada."


# -- limits ----------------------------------------------------------------------------


def endless(context: Context) -> Answer | str:
    """An agent that calls whenever it may."""
    if context.tools and "Stop" not in context.message:
        return Answer(calls=[Call("add_numbers", {"a": context.round, "b": 1})])
    asked = [one.text for one in context.conversation.messages if one.role == "user"]
    return f"I heard {len(asked)}: {asked[-1]}"


@RUNNERS
@MEMORIES
@pytest.mark.parametrize("streaming", [True, False])
@on(*({**server, "agent": endless} for server in EVERYWHERE))
async def test_a_last_word_after_too_many_rounds(
    stewrd: Emulator, llm: StewrdLLM, made: Any, kind: str, streaming: bool
) -> None:
    agent = made(llm, early_stopping_method="generate", streaming=streaming)
    memory = memory_of(kind, llm)
    output = await agent.run(user_msg="Go on.", memory=memory, max_iterations=3)
    assert str(output) == "I heard 1: Go on."
    assert "maximum number of iterations" in stewrd.runs[-1].conversation.instructions
    output = await agent.run(user_msg="Stop.", memory=memory)
    assert str(output) == "I heard 2: Stop."
    assert "maximum" not in stewrd.runs[-1].conversation.instructions
    assert len(stewrd.sessions) <= 3 and set(refused(stewrd)) <= {"invalid_tools"}


@RUNNERS
@MEMORIES
@on(*({**server, "agent": endless} for server in EVERYWHERE))
async def test_too_many_rounds(stewrd: Emulator, llm: StewrdLLM, made: Any, kind: str) -> None:
    agent, memory = made(llm), memory_of(kind, llm)
    with pytest.raises(WorkflowRuntimeError, match="Max iterations of 3"):
        await agent.run(user_msg="Go on.", memory=memory, max_iterations=3)
    output = await agent.run(user_msg="Stop.", memory=memory)
    assert str(output) == "I heard 2: Stop." and users(stewrd) == ["Go on.", "Stop."]
    assert len(stewrd.sessions) <= 2


@on({**TAKING, "agent": endless}, {**NOT_TAKING[1], "agent": endless})
async def test_more_rounds_than_a_run_has(stewrd: Emulator, llm: StewrdLLM) -> None:
    with pytest.raises(WorkflowRuntimeError):
        await function_agent(llm).run(user_msg="Go on.", max_iterations=14)
    assert stewrd.refused == [] and max(run.round for run in stewrd.runs) == 10


# -- forms -----------------------------------------------------------------------------


class Person(BaseModel):
    """A person."""

    name: str


@RUNNERS
@on(*EVERYWHERE)
async def test_an_answer_in_a_form(stewrd: Emulator, llm: StewrdLLM, made: Any) -> None:
    agent, memory = made(llm, output_cls=Person), memory_of("stewrd", llm)
    output: AgentOutput = await agent.run(user_msg='My name is "Ada".', memory=memory)
    assert output.structured_response == {"name": "Ada"}
    asked = stewrd.runs[-1]
    assert asked.road == "stateless" and asked.tools[0].name == "Person"
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == 'Your name is "Ada".'
    assert len(stewrd.sessions) == 1
    if stewrd.settings.session_tools == "accepted":
        roads = [run.road for run in stewrd.runs]
        assert roads == ["session", "stateless", "session", "stateless"]


@RUNNERS
@on(TAKING)
async def test_a_form_that_a_function_fills(stewrd: Emulator, llm: StewrdLLM, made: Any) -> None:
    def fill(messages: list[ChatMessage]) -> dict[str, Any]:
        return {"said": [message.content for message in messages]}

    agent, memory = made(llm, structured_output_fn=fill), memory_of("stewrd", llm)
    output = await agent.run(user_msg="My name is Ada.", memory=memory)
    assert output.structured_response == {"said": ["My name is Ada.", "Nice to meet you, Ada."]}
    assert len(stewrd.runs) == 1


@on({**TAKING, "script": ("Hello.", "No.")})
async def test_a_form_that_is_not_filled_warns(stewrd: Emulator, llm: StewrdLLM) -> None:
    with pytest.warns(UserWarning, match="called no tool"):
        output: Any = await function_agent(llm, output_cls=Person).run(user_msg="Hi")
    assert output.structured_response is None and str(output) == "Hello."


# -- trouble ---------------------------------------------------------------------------

TROUBLE: list[dict[str, Any]] = [
    {"kind": "hang_up", "on": "tool_outputs", "after": True},
    {"kind": "error", "on": "tool_outputs", "status": 502},
    {"kind": "garbage", "on": "tool_outputs"},
    {"kind": "hang_up", "on": "send", "after": True},
]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda one: f"{one['kind']} on {one['on']}")
@MEMORIES
@on(*EVERYWHERE)
async def test_the_run_after_a_failed_one(
    stewrd: Emulator, make: Make, kind: str, trouble: dict[str, Any]
) -> None:
    llm = make(max_retries=0)
    agent, memory = function_agent(llm), memory_of(kind, llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    stewrd.fail_next(**trouble)
    with pytest.raises(StewrdError):
        await agent.run(user_msg="add_numbers(1, 2)", memory=memory)
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada."
    # The engine leaves its question in the memory, so two of the user's stand in a row.
    assert users(stewrd) == ["My name is Ada.", "add_numbers(1, 2)", "What is my name?"]
    assert len(stewrd.sessions) <= 2


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


@MEMORIES
@pytest.mark.parametrize("where", ["send", "tool_outputs"])
@on(*EVERYWHERE)
async def test_the_run_after_a_cancelled_one(
    stewrd: Emulator, llm: StewrdLLM, kind: str, where: Any
) -> None:
    agent, memory = function_agent(llm), memory_of(kind, llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    stewrd.fail_next("slow", on=where, seconds=30)
    handler = agent.run(user_msg="add_numbers(1, 2)", memory=memory)
    await asyncio.to_thread(wait_until, lambda: not stewrd.pending_faults)
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada."
    assert users(stewrd) == ["My name is Ada.", "add_numbers(1, 2)", "What is my name?"]
    assert len(stewrd.sessions) <= 2 and stewrd.overlaps == []


@on(TAKING)
async def test_a_run_that_is_cancelled_while_a_tool_works(stewrd: Emulator, llm: StewrdLLM) -> None:
    begun = asyncio.Event()

    async def sleep(word: str) -> str:
        """Sleep."""
        begun.set()
        await asyncio.sleep(60)
        return word

    agent, memory = function_agent(llm, tools=[sleep]), memory_of("stewrd", llm)
    await agent.run(user_msg="My name is Ada.", memory=memory)
    handler = agent.run(user_msg='sleep "a"', memory=memory)
    await begun.wait()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    output = await agent.run(user_msg="What is my name?", memory=memory)
    assert str(output) == "Your name is Ada." and outputs(stewrd) == []
    assert users(stewrd)[0] == "My name is Ada." and len(stewrd.sessions) <= 2


@pytest.mark.parametrize("kind_of_agent", ["function", "workflow", "react", "code"])
@on(TAKING)
async def test_an_error_says_what_became_of_the_turn(
    stewrd: Emulator, make: Make, kind_of_agent: str
) -> None:
    agent = AGENTS[kind_of_agent](make(max_retries=0))
    stewrd.fail_next("hang_up", on="send", after=True)
    with pytest.raises(StewrdError) as raised:
        await agent.run(user_msg="Hi")
    assert raised.value.charged == "maybe" and charged(stewrd) == 1


@on(TAKING)
async def test_events_are_json(stewrd: Emulator, llm: StewrdLLM) -> None:
    handler = function_agent(llm).run(user_msg="add_numbers(1, 2)")
    events = [event async for event in handler.stream_events()]
    results = [event for event in events if isinstance(event, ToolCallResult)]
    assert [one.tool_output.content for one in results] == ["3"]
    assert json.dumps([event.model_dump(mode="json") for event in events if "raw" in event])
