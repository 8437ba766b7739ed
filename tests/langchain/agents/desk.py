"""Agents as LangChain and LangGraph make them, and the ways to run a turn of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from stewrd_integrations.langchain import ChatStewrd

from ..tooling import TOOLS

QUIET = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings(
        "ignore::langchain_core._api.deprecation.LangChainPendingDeprecationWarning"
    ),
]

Run: TypeAlias = Callable[..., Awaitable[list[BaseMessage]]]


def at(thread: str = "t", **configurable: Any) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread, **configurable}}


def agent(model: ChatStewrd, **options: Any) -> Any:
    """`create_agent` with two tools and a memory."""
    options = {"tools": TOOLS, "checkpointer": InMemorySaver(), **options}
    return create_agent(model, options.pop("tools"), **options)


def graph(model: ChatStewrd, **options: Any) -> Any:
    """The same as a graph of one's own."""
    tools = options.get("tools", TOOLS)
    bound = model.bind_tools(tools)

    def call(state: MessagesState, config: Any) -> Any:
        return {"messages": [bound.invoke(state["messages"], config)]}

    async def acall(state: MessagesState, config: Any) -> Any:
        return {"messages": [await bound.ainvoke(state["messages"], config)]}

    built = StateGraph(MessagesState)
    built.add_node("model", RunnableLambda(call, acall))
    built.add_node("tools", ToolNode(tools))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", tools_condition)
    built.add_edge("tools", "model")
    return built.compile(checkpointer=options.get("checkpointer") or InMemorySaver())


MADE = {"create_agent": agent, "graph": graph}


def asking(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


async def invoke(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    return runs.invoke(given, config)["messages"]  # type: ignore[no-any-return]


async def ainvoke(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    return (await runs.ainvoke(given, config))["messages"]  # type: ignore[no-any-return]


async def by_messages(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    chunks = [chunk for chunk, _ in runs.stream(given, config, stream_mode="messages")]
    assert "".join(one.text for one in chunks if one.type == "AIMessageChunk")
    return runs.get_state(config).values["messages"]  # type: ignore[no-any-return]


async def aby_messages(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    async for _ in runs.astream(given, config, stream_mode="messages"):
        pass
    return (await runs.aget_state(config)).values["messages"]  # type: ignore[no-any-return]


async def by_updates(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    updates = list(runs.stream(given, config, stream_mode="updates"))
    assert "model" in updates[-1]
    return runs.get_state(config).values["messages"]  # type: ignore[no-any-return]


async def aby_updates(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    updates = [one async for one in runs.astream(given, config, stream_mode="updates")]
    assert "model" in updates[-1]
    return (await runs.aget_state(config)).values["messages"]  # type: ignore[no-any-return]


async def by_events(runs: Any, given: Any, config: Any) -> list[BaseMessage]:
    events = [one["event"] async for one in runs.astream_events(given, config, version="v2")]
    assert "on_chat_model_end" in events
    return (await runs.aget_state(config)).values["messages"]  # type: ignore[no-any-return]


SYNC: list[Run] = [invoke, by_messages, by_updates]
ASYNC: list[Run] = [ainvoke, aby_messages, aby_updates, by_events]


def answers(messages: list[BaseMessage]) -> list[str]:
    """The texts that the user was shown."""
    return [one.text for one in messages if isinstance(one, AIMessage) and not one.tool_calls]


def called(messages: list[BaseMessage]) -> list[str]:
    """The tools that were called, in order."""
    return [
        call["name"] for one in messages if isinstance(one, AIMessage) for call in one.tool_calls
    ]
