"""Agents as LlamaIndex makes them, agents of the emulator that speak as those want, and runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from llama_index.core.agent.workflow import (
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory
from llama_index.core.tools import BaseTool, FunctionTool

from stewrd_integrations.emulator import Answer, Context, Emulator, default_agent
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

Make: TypeAlias = Callable[..., StewrdLLM]

QUIET = [
    # LlamaIndex's workflows look at every attribute of an agent, pydantic's old ones too.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
    # Its memories leave their in-memory databases open.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


async def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOLS: list[BaseTool | Callable[..., Any]] = [
    FunctionTool.from_defaults(get_weather),
    FunctionTool.from_defaults(async_fn=add_numbers),
]


# -- agents ----------------------------------------------------------------------------


def function_agent(llm: StewrdLLM, **options: Any) -> FunctionAgent:
    return FunctionAgent(**{"llm": llm, "tools": TOOLS, "system_prompt": "Be kind.", **options})


def workflow(llm: StewrdLLM, **options: Any) -> AgentWorkflow:
    streaming = options.pop("streaming", True)
    return AgentWorkflow(agents=[function_agent(llm, streaming=streaming)], **options)


def two_agents(llm: StewrdLLM, **options: Any) -> AgentWorkflow:
    """A front desk and a desk for sums, each of which can hand off to the other."""
    streaming = {"streaming": options.pop("streaming", True), "llm": llm}
    front = FunctionAgent(
        name="front",
        description="The front desk.",
        system_prompt="You are Front.",
        tools=TOOLS[:1],
        **streaming,
    )
    sums = FunctionAgent(
        name="sums",
        description="Does sums.",
        system_prompt="You are Sums.",
        tools=TOOLS[1:],
        **streaming,
    )
    return AgentWorkflow(agents=[front, sums], root_agent="front", **options)


def react_agent(llm: StewrdLLM, **options: Any) -> ReActAgent:
    return ReActAgent(**{"llm": llm, "tools": TOOLS, **options})


def code_agent(llm: StewrdLLM, **options: Any) -> CodeActAgent:
    return CodeActAgent(code_execute_fn=execute, llm=llm, **options)


async def execute(code: str) -> str:
    """Execute the only code that `writes_code` writes."""
    a, b = map(int, re.findall(r"\d+", code))
    return str(a + b)


AGENTS: dict[str, Callable[..., Any]] = {
    "function": function_agent,
    "workflow": workflow,
    "two": two_agents,
    "react": react_agent,
    "code": code_agent,
}

# -- what the emulator's agent says to those that are told of tools in words --------------

_SUM = re.compile(r"add_numbers\((\d+), (\d+)\)")
_RESULT = re.compile(r"\A(?:Observation:|Result of executing the code given:)\s*(.*)", re.DOTALL)


def _plain(context: Context) -> str:
    """The usual answer, without what the instructions say of form."""
    bare = replace(context.conversation, instructions="")
    return default_agent(replace(context, conversation=bare, tools=())).text


def reasons(context: Context) -> str:
    """An agent that speaks as ReActAgent wants it."""
    if result := _RESULT.match(context.message):
        return f"Thought: I can answer.\nAnswer: It gave {result[1]}"
    if asked := _SUM.search(context.message):
        given = json.dumps({"a": int(asked[1]), "b": int(asked[2])})
        return f"Thought: I need a tool.\nAction: add_numbers\nAction Input: {given}"
    return f"Thought: I can answer without any tools.\nAnswer: {_plain(context)}"


def writes_code(context: Context) -> str | Answer:
    """An agent that speaks as CodeActAgent wants it."""
    if result := _RESULT.match(context.message):
        return f"It gave {result[1]}"
    if asked := _SUM.search(context.message):
        return f"I compute it.\n<execute>\nprint({asked[1]} + {asked[2]})\n</execute>"
    return default_agent(context) if context.tools else _plain(context)


def speaks(context: Context) -> str | Answer:
    """An agent that speaks as its instructions want it."""
    told = context.conversation.instructions
    if "<execute>" in told:
        return writes_code(context)
    return reasons(context) if "Action Input" in told else default_agent(context)


SPEAKING: dict[str, Any] = {"agent": speaks}

# -- memories --------------------------------------------------------------------------


def memory_of(kind: str, llm: StewrdLLM, name: str = "ada") -> BaseMemory:
    match kind:
        case "stewrd":
            return StewrdMemory.from_defaults(llm=llm, conversation_id=name)
        case "memory":
            return Memory.from_defaults(tokenizer_fn=str.split)
        case _:  # what agents make themselves
            return ChatMemoryBuffer.from_defaults(llm=llm, tokenizer_fn=str.split)


# -- what was heard --------------------------------------------------------------------


def on_sessions(stewrd: Emulator) -> int:
    """How many of the user's messages travelled on a session."""
    return sum(run.session_id is not None and bool(run.message) for run in stewrd.runs)


def users(stewrd: Emulator) -> list[str]:
    """What the user's side said, as the agent read it at its last answer."""
    return [one.text for one in stewrd.runs[-1].conversation.messages if one.role == "user"]
