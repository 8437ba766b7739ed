"""A FunctionAgent of LlamaIndex with tools of its own, over a few turns of one conversation.

With STEWRD_API_KEY set (and STEWRD_BASE_URL honoured) it talks to that API, a credit a turn;
without, to an emulator inside this process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack
from typing import Any

from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCall, ToolCallResult

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

QUESTIONS = [
    "My name is Ada.",
    "get_weather(Oslo) and get_weather(Rome)",
    "add_numbers(19, 23)",
    "What is my name?",
]


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 21 degrees and dry"


def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def ask(agent: FunctionAgent, memory: StewrdMemory, question: str) -> None:
    """One run of the agent: tools and answer as they come."""
    print(f"\nYou    {question}")
    handler = agent.run(question, memory=memory)
    turns: list[dict[str, Any]] = []
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):  # it is a ToolCall too
            print(f"Tool   {event.tool_name}: {event.tool_output.content}")
        elif isinstance(event, ToolCall):
            print(f"Calls  {event.tool_name} {event.tool_kwargs}")
        elif isinstance(event, AgentStream) and event.raw and "turn" in event.raw:
            turns.append(event.raw)
    print(f"Agent  {await handler}")
    ways = ", then ".join(turn["turn"] for turn in turns)
    credits = sum(turn["usage"]["credits"] or 0 for turn in turns)
    print(f"       ({ways}: {turns[-1]['reason']}; credits: {credits})")


async def converse(options: dict[str, Any]) -> None:
    """Four turns of one conversation."""
    async with StewrdLLM(**options, capabilities=["chat"]) as llm:
        agent = FunctionAgent(llm=llm, tools=[get_weather, add_numbers])
        memory = StewrdMemory.from_defaults(conversation_id="ada", llm=llm)
        for question in QUESTIONS:
            await ask(agent, memory, question)
        session = await memory.aget_session()
        held = "no session" if session is None else f"a session of {session.messages_used} messages"
        print(f"\nKept: {len(await memory.aget_all())} messages, and {held}.")
        await memory.areset()


def main() -> None:
    with ExitStack() as stack:
        if os.environ.get("STEWRD_API_KEY"):
            asyncio.run(converse({}))
            return
        print("STEWRD_API_KEY is not set: talking to the emulator.")
        # No document says whether sessions take tools. This emulator's do; of one whose don't
        # (session_tools="refused") the same script gets the same answers, stateless.
        emulator = stack.enter_context(Emulator(session_tools="accepted"))
        asyncio.run(converse({"api_key": emulator.api_key, "base_url": emulator.url}))


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
