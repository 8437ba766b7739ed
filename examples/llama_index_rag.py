"""Answers from documents: what was retrieved travels with each turn, the conversation does not.

The context chat engine puts what it found for the question into the system message, anew at
each turn. The session is told the new context and the question, and keeps the conversation.
Retrieval is BM25 on this machine. Without STEWRD_API_KEY, on the emulator; with it, 4 credits a
run. Besides the package, it needs llama-index-retrievers-bm25.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.schema import TextNode
from llama_index.retrievers.bm25 import BM25Retriever

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

HANDBOOK = [
    "Returns: the refund period is 30 days from delivery.",
    "Shipping: the delivery time is two working days inside the country.",
    "Support: the support hotline is open from 8 to 18 on weekdays.",
    "Warranty: the warranty period is two years for every device.",
]
QUESTIONS = [
    "My name is Ada.",
    "What is the refund period?",
    "What is the delivery time?",
    "What is my name?",
]


def converse(emulator: Emulator | None, options: dict[str, Any]) -> None:
    """Four questions about the handbook, and what was sent for each."""
    nodes = [TextNode(text=paragraph) for paragraph in HANDBOOK]
    retriever = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=1, verbose=False)
    with StewrdLLM(capabilities=["chat"], **options) as llm:
        memory = StewrdMemory.from_defaults(conversation_id="ada", llm=llm)
        engine = ContextChatEngine.from_defaults(retriever=retriever, llm=llm, memory=memory)
        for question in QUESTIONS:
            response = engine.chat(question)
            found = response.source_nodes[0].node.get_content()
            print(f"\nYou    {question}\nFound  {found}\nAgent  {response}")
        if emulator:
            sizes = [len(run.message) for run in emulator.runs]
            print(f"\nCharacters sent at each turn: {sizes}, on {len(emulator.sessions)} session.")
        memory.reset()


def main() -> None:
    """Talk to the API that the environment names, or to the emulator."""
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
