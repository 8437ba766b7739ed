"""An agent with two tools of its own, over a few turns: what was called, and what was sent.

With STEWRD_API_KEY set (and STEWRD_BASE_URL honoured) it talks to that API, a credit a turn;
without, to an emulator inside this process. Besides the package, it needs langchain.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

QUESTIONS = [
    "My name is Ada.",
    "get_weather(Oslo) and get_weather(Rome)",
    "add_numbers(19, 23)",
    "What is my name?",
]


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 21 degrees and dry"


@tool
def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def show(message: BaseMessage) -> None:
    """Print a message, and how a turn travelled."""
    if isinstance(message, HumanMessage):
        print(f"\nYou    {message.text}")
    elif isinstance(message, ToolMessage):
        print(f"Tool   {message.name}: {message.text}")
    elif isinstance(message, AIMessage):
        for call in message.tool_calls:
            print(f"Calls  {call['name']} {call['args']}")
        for line in message.text.splitlines():
            print(f"Agent  {line}")
        told = message.response_metadata["stewrd"]
        print(f"       ({told['turn']}: {told['reason']}; credits: {told['usage']['credits']})")


def converse(options: dict[str, Any]) -> None:
    """Four turns on one thread."""
    model = ChatStewrd(**options, capabilities=["chat"])
    agent = create_agent(model, [get_weather, add_numbers], checkpointer=InMemorySaver())
    # The thread is where LangGraph keeps the messages; the name is what finds their session.
    config: Any = {"configurable": {"thread_id": "1", "conversation_id": "ada"}}
    shown = 0
    for question in QUESTIONS:
        state = agent.invoke({"messages": [HumanMessage(question)]}, config)
        for message in state["messages"][shown:]:
            show(message)
        shown = len(state["messages"])


def main() -> None:
    with ExitStack() as stack:
        if os.environ.get("STEWRD_API_KEY"):
            converse({})
            return
        print("STEWRD_API_KEY is not set: talking to the emulator.")
        # No document says whether sessions take tools. This emulator's do; of one whose don't
        # (session_tools="refused") the same script gets the same answers, stateless.
        emulator = stack.enter_context(Emulator(session_tools="accepted"))
        converse({"api_key": emulator.api_key, "base_url": emulator.url})
        spent = emulator.settings.credits - emulator.credits
        print(f"\nSessions opened: {len(emulator.sessions)}. Credits charged: {spent}.")


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
