"""Two turns with a chat engine of LlamaIndex; without STEWRD_API_KEY, on the emulator."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM


def main() -> None:
    with ExitStack() as stack:
        if os.environ.get("STEWRD_API_KEY"):
            llm = StewrdLLM()  # finds the key, and STEWRD_BASE_URL, in the environment
        else:
            print("STEWRD_API_KEY is not set: talking to the emulator.")
            emulator = stack.enter_context(Emulator())
            llm = StewrdLLM(api_key=emulator.api_key, base_url=emulator.url)
        engine = SimpleChatEngine.from_defaults(llm=llm)
        for question in ("My name is Ada.", "What is my name?"):
            # The engine shows its whole history at each turn. What of it would be sent?
            shown = [*engine.chat_history, ChatMessage(content=question)]
            plan = llm.explain(shown)
            messages = "1 message" if len(shown) == 1 else f"{len(shown)} messages"
            print(f"{messages}, {plan.turn}: sends {plan.text!r}")
            print(engine.chat(question))


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
