"""Several memories at work at once, each behind an engine: none hears another's words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

from ..conftest import user
from .talking import Memories, texts

Engines = Callable[..., Any]
NAMES = ("Ada", "Bo")


class Facts(BaseRetriever):
    """Finds a fact that differs from call to call, or nothing, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.finds: Any = "fact"
        self.calls = 0

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.calls += 1
        if self.finds == "failure":
            raise OSError("the index is away")
        found = TextNode(text=f"Fact number {self.calls}.")
        return [NodeWithScore(node=found, score=1.0)] if self.finds else []


@pytest.fixture
def facts() -> Facts:
    return Facts()


KINDS = (ContextChatEngine, CondensePlusContextChatEngine, MultiModalContextChatEngine)


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.__name__))
def engine_of(request: pytest.FixtureRequest, llm: StewrdLLM, facts: Facts) -> Engines:
    is_multi_modal = request.param is MultiModalContextChatEngine

    def make(memory: StewrdMemory) -> Any:
        model = {"multi_modal_llm": llm} if is_multi_modal else {"llm": llm}
        return request.param.from_defaults(
            retriever=facts, memory=memory, system_prompt="You are Grim.", **model
        )

    return make


async def test_streams_that_are_read_later_in_one_context(
    emulator: Emulator, engine_of: Engines, memories: Memories
) -> None:
    kept = [memories(name) for name in NAMES]
    engines = [engine_of(memory) for memory in kept]
    said = []
    for text in ("My name is {}.", "Who am I?", "Hello"):
        begun = [e.stream_chat(text.format(n)) for e, n in zip(engines, NAMES, strict=True)]
        said.append(["".join(response.response_gen) for response in reversed(begun)])
    assert said[1] == ["Your name is Bo.", "Your name is Ada."]
    assert [memory.session.messages_used for memory in kept if memory.session] == [6, 6]
    assert len(emulator.sessions) == 2


async def test_many_tasks_at_once(
    emulator: Emulator, engine_of: Engines, memories: Memories
) -> None:
    kept = {name: memories(name) for name in NAMES}
    for text in ("Hi", "My name is {}.", "Who am I?"):
        turns = [engine_of(kept[name]).achat(text.format(name)) for name in NAMES]
        answers = [str(response) for response in await asyncio.gather(*turns)]
    assert answers == ["Your name is Ada.", "Your name is Bo."]
    assert [memory.session.messages_used for memory in kept.values() if memory.session] == [6, 6]


def test_threads_that_serve_one_after_the_other(
    emulator: Emulator, engine_of: Engines, memories: Memories
) -> None:
    """A server's threads keep their context from one request to the next."""
    kept = {name: memories(name) for name in NAMES}
    with ThreadPoolExecutor(1) as threads:
        for text in ("Hi", "My name is {}.", "Who am I?"):
            for name in NAMES:
                turn = threads.submit(engine_of(kept[name]).chat, text.format(name))
                assert "Bo" not in str(turn.result()) or name == "Bo"
    assert [memory.session.messages_used for memory in kept.values() if memory.session] == [6, 6]


@pytest.mark.parametrize("finds", [None, "failure"])
def test_a_turn_that_asks_no_model_leaves_no_name_behind(
    emulator: Emulator,
    llm: StewrdLLM,
    engine_of: Engines,
    memories: Memories,
    facts: Facts,
    finds: str | None,
) -> None:
    memory, other = memories("Ada"), memories("Bo")
    facts.finds = finds
    failed = False
    try:
        engine_of(memory).chat("Hi")
    except OSError:
        failed = True
    assert failed == (finds == "failure")
    before = memory.session  # the multi-modal engine asks its model all the same
    for unrelated in ("Hello", "Say Hi to me.", "Hi there"):
        llm.chat([user(unrelated)])
    assert memory.session == before
    facts.finds = "fact"
    engine_of(other).chat("Hi")
    assert other.session is not None and texts(other.get())[0] == "Hi"
