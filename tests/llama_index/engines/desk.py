"""Chat engines of every kind over one model, and what the agent heard of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pytest
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.multi_modal_condense_plus_context import (
    MultiModalCondensePlusContextChatEngine,
)
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from stewrd_integrations.emulator import Answer, Context, Emulator, Run, default_agent
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore

from ..conftest import Way

LEFT_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For tests with LlamaIndex's own memories, which leave their in-memory databases open."""


class Facts(BaseRetriever):
    """A retriever whose every context is another one."""

    def __init__(self, lead: str = "Fact") -> None:
        super().__init__()
        self.lead = lead
        self.asked: list[str] = []
        self.texts: list[str] | None = None
        self.breaks = False

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle.query_str)
        if self.breaks:
            raise ConnectionError("the index is down")
        own = [f"{self.lead} number {len(self.asked)}."]
        texts = own if self.texts is None else self.texts
        return [NodeWithScore(node=TextNode(text=text), score=1.0) for text in texts]


@dataclass(frozen=True)
class Kind:
    """A class of chat engines.

    `tracks`: with a StewrdMemory, its turns travel on a session. `condenses`: from the second
    turn on, another call comes before, and retrieval comes after the memory was asked.
    `wraps`: the context is put around what the user said.
    """

    name: str
    engine: type[BaseChatEngine]
    tracks: bool = True
    condenses: bool = False
    wraps: bool = False

    @property
    def retrieves(self) -> bool:
        return self.engine is not SimpleChatEngine

    def make(self, llm: Any, retriever: Facts, **options: Any) -> BaseChatEngine:
        """An engine of this kind."""
        found: dict[str, Any] = {"multi_modal_llm" if self.wraps else "llm": llm, **options}
        if self.engine is CondenseQuestionChatEngine:
            found["query_engine"] = RetrieverQueryEngine.from_args(retriever, llm=llm)
        elif self.retrieves:
            found["retriever"] = retriever
        made: BaseChatEngine = self.engine.from_defaults(**found)  # type: ignore[attr-defined] # every engine has it
        return made


SIMPLE = Kind("simple", SimpleChatEngine)
CONTEXT = Kind("context", ContextChatEngine)
CONDENSE_PLUS = Kind("condense_plus", CondensePlusContextChatEngine, condenses=True)
CONDENSE_QUESTION = Kind(
    "condense_question", CondenseQuestionChatEngine, tracks=False, condenses=True
)
PICTURES = Kind("multi_modal", MultiModalContextChatEngine, wraps=True)
PICTURES_PLUS = Kind(
    "multi_modal_condense_plus",
    MultiModalCondensePlusContextChatEngine,
    condenses=True,
    wraps=True,
)
ENGINES = (SIMPLE, CONTEXT, CONDENSE_PLUS, CONDENSE_QUESTION, PICTURES, PICTURES_PLUS)
TRACKING = tuple(kind for kind in ENGINES if kind.tracks)
RETRIEVING = tuple(kind for kind in TRACKING if kind.retrieves)


# -- the agent ---------------------------------------------------------------------------

_CONDENSER = re.compile(
    r"rephrase the follow up question.*Follow Up Input: (.*?)\s*Standalone question:"
    r"|<Follow Up Message>\n(.*?)\n",
    re.DOTALL,
)
_WRAPPED = re.compile(r"Query: (.*)\nAnswer: ?$", re.DOTALL)
_FACT = re.compile(r"My (\w+) is (\w+)\.")


def agent(context: Context) -> str | Answer:
    """The emulator's own, which also condenses, and knows what engines put around a question."""
    if context.tools:
        return default_agent(context)
    condenses = _CONDENSER.search(context.message)
    facts = dict(_FACT.findall(context.message))
    if condenses:
        known = "".join(f"My {what} is {value}. " for what, value in facts.items())
        return f"{known}{condenses[1] or condenses[2]}"
    for what, value in facts.items():
        if f"What is my {what}?" in context.message:
            return f"Your {what} is {value}."
    wrapped = _WRAPPED.search(context.message)
    return default_agent(replace(context, message=wrapped[1]) if wrapped else context)


# -- turns -------------------------------------------------------------------------------


async def ask(engine: BaseChatEngine, way: Way, text: str, **more: Any) -> str:
    """One turn in one of the engine's four modes; they are named like the model's."""
    if way.name == "chat":
        return str(engine.chat(text, **more))
    if way.name == "achat":
        return str(await engine.achat(text, **more))
    if way.name == "stream_chat":
        return "".join(engine.stream_chat(text, **more).response_gen)
    response = await engine.astream_chat(text, **more)
    return "".join([piece async for piece in response.async_response_gen()])


@dataclass
class Desk:
    """Whoever makes engines: one model and one store for all of them."""

    emulator: Emulator
    make: Callable[..., StewrdLLM]
    store: MemoryStore = field(default_factory=MemoryStore)
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def llm(self) -> StewrdLLM:
        return self.make(store=self.store, **self.options)

    def memory(self, name: str = "ada", **options: Any) -> StewrdMemory:
        return StewrdMemory.from_defaults(llm=self.llm, conversation_id=name, **options)

    def engine(
        self, kind: Kind, name: str | None = "ada", facts: Facts | None = None, **options: Any
    ) -> BaseChatEngine:
        """An engine with the memory of a name; of no name, with LlamaIndex's own memory."""
        if name is not None:
            options = {"memory": self.memory(name), **options}
        return kind.make(options.pop("llm", self.llm), facts or Facts(), **options)

    # -- what was heard ----------------------------------------------------------------

    @property
    def turns(self) -> list[Run]:
        """The answers of the agent, but for those to condensers."""
        return [run for run in self.emulator.runs if not _CONDENSER.search(run.message)]

    def only_session(self) -> str:
        (session,) = self.emulator.sessions
        return session

    def users(self, session: str) -> list[str]:
        """What the user said on a session, as the agent reads it."""
        said = self.emulator.context(session).messages
        return [one.text for one in said if one.role == "user"]

    def check_newest(self, name: str = "ada") -> None:
        """The newest session holds what the memory holds: every message once, in order."""
        session = max(self.emulator.sessions.values(), key=lambda one: one.created)
        heard = self.emulator.context(session.id).messages
        kept = self.memory(name).get_all()
        assert [one.role for one in heard] == [one.role.value for one in kept]
        for one, message in zip(heard, kept, strict=True):
            assert (message.content or "") in one.text


def on_sessions(runs: Sequence[Run]) -> int:
    return sum(run.session_id is not None for run in runs)
