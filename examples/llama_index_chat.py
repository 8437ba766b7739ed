"""A chat engine of LlamaIndex whose conversation outlives its session and its process.

`StewrdMemory` keeps the messages in a store, tells the model which conversation is at work, and
shows the session that has heard them. Without STEWRD_API_KEY, on the emulator; with it, 5
credits a run.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import Any

from llama_index.core.chat_engine import SimpleChatEngine

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory


def ask(llm: StewrdLLM, name: str, question: str) -> None:
    """One turn: what an application does at each request, with nothing kept in between."""
    memory = StewrdMemory.from_defaults(conversation_id=name, llm=llm)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="Be brief.")
    print(f"\nYou    {question}")
    head = "Agent  "
    for piece in engine.stream_chat(question).response_gen:
        print(head + piece, end="", flush=True)
        head = ""
    session = memory.session
    if session is None:
        # After a reset a name gets one when it comes back; on the free plan it gets none.
        print(f"\n       {name}: no session, so the turn was sent whole")
        return
    minutes = (session.idle_deadline - datetime.now(timezone.utc)).total_seconds() / 60
    print(
        f"\n       {name}: session {session.generation} holds {session.messages_used} messages, "
        f"has room for {session.messages_left}, and lives {minutes:.0f} minutes more"
    )


def converse(emulator: Emulator | None, options: dict[str, Any]) -> None:
    """Two conversations on one model object: they never meet."""
    with StewrdLLM(capabilities=["chat"], **options) as llm:
        ask(llm, "ada", "My name is Ada.")
        ask(llm, "bo", "What is my name?")
        ask(llm, "ada", "What is my name?")
        if emulator:
            print("\n(Now the sessions expire on the server, as after 30 idle minutes.)")
            emulator.expire()
        ask(llm, "ada", "How many messages have I sent?")
        print("\n(Now Ada's conversation is forgotten.)")
        StewrdMemory.from_defaults(conversation_id="ada", llm=llm).reset()
        ask(llm, "ada", "What is my name?")
        for name in ("ada", "bo"):
            StewrdMemory.from_defaults(conversation_id=name, llm=llm).reset()


def main() -> None:
    """Talk to the API that the environment names, or to the emulator."""
    # With store="sqlite:///conversations.db" it would all outlive the process.
    if os.environ.get("STEWRD_API_KEY"):
        place = os.environ.get("STEWRD_BASE_URL") or "Stewrd"
        print(f"STEWRD_API_KEY is set: talking to {place}.")
        converse(None, {})
    else:
        print("STEWRD_API_KEY is not set: talking to the emulator.")
        with Emulator() as emulator:
            converse(emulator, {"api_key": emulator.api_key, "base_url": emulator.url})


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
