"""An answer as it comes: tokens, capabilities at work, and the events of an agent with a tool.

With STEWRD_API_KEY set (and STEWRD_BASE_URL honoured) it talks to that API, some 4 credits a
run; without, to an emulator inside this process. Besides the package, it needs langchain.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd


@tool
def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def stream_answer(options: dict[str, Any]) -> None:
    """Chunks without text tell of a capability at work; the last one has the facts."""
    print("\nA model, chunk by chunk:")
    facts: dict[str, Any] = {}
    async with ChatStewrd(**options, capabilities=["research"]) as model:
        async for chunk in model.astream("What do you know about Oslo?"):
            for step in chunk.response_metadata.get("stewrd_progress", []):
                print(f"\n[{step['type']} {step['tool']}]")
            print(f"{chunk.text}|" if chunk.text else "", end="", flush=True)
            facts = chunk.response_metadata.get("stewrd", facts)
    print(f"  ({facts['turn']}: {facts['reason']}; {facts['usage']['tokens']} tokens)")


async def stream_agent(options: dict[str, Any]) -> None:
    """With tools the API does not stream: a text comes in one piece, and so do the calls."""
    print("\nAn agent, event by event:")
    async with ChatStewrd(**options, capabilities=["chat"]) as model:
        agent = create_agent(model, [add_numbers])
        given: Any = {"messages": [HumanMessage("add_numbers(19, 23)")]}
        async for event in agent.astream_events(given, version="v2"):
            data: Any = event["data"]
            match event["event"]:
                case "on_chat_model_stream":
                    chunk = data["chunk"]
                    for call in chunk.tool_call_chunks:
                        print(f"  calls {call['name']} {call['args']}")
                    if chunk.text:
                        print(f"  says {chunk.text!r}")
                case "on_tool_end":
                    print(f"  {event['name']} gave back {data['output'].text}")


async def run(options: dict[str, Any]) -> None:
    await stream_answer(options)
    await stream_agent(options)


def main() -> None:
    with ExitStack() as stack:
        options = {}
        if not os.environ.get("STEWRD_API_KEY"):
            print("STEWRD_API_KEY is not set: talking to the emulator.")
            emulator = stack.enter_context(Emulator())
            options = {"api_key": emulator.api_key, "base_url": emulator.url}
        asyncio.run(run(options))


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
