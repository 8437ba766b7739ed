"""One conversation as either framework holds it, for tests that ask the same of both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages import SystemMessage as System
from llama_index.core.llms import ChatMessage, MessageRole

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore

Mode: TypeAlias = Literal["plain", "stream", "async", "async stream"]
MODES: tuple[Mode, ...] = ("plain", "stream", "async", "async stream")
T = TypeVar("T")


class Loop:
    """One event loop for all async turns of a test, as a service has."""

    def __init__(self) -> None:
        self._runner = asyncio.new_event_loop()
        self.models: list[ChatStewrd | StewrdLLM] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self._runner.run_until_complete(work)

    def close(self) -> None:
        """Close it, the models, and what is left of async generators."""
        for model in self.models:
            self._runner.run_until_complete(model.aclose())
        self._runner.run_until_complete(self._runner.shutdown_asyncgens())
        self._runner.close()


def options(emulator: Emulator, **more: Any) -> dict[str, Any]:
    """Options of a model on this emulator, with a store of its own."""
    address = {"api_key": emulator.api_key, "base_url": emulator.url}
    return {**address, "store": MemoryStore(), **more}


@dataclass
class LangChain:
    """A conversation in LangChain's messages."""

    model: ChatStewrd
    loop: Loop
    who: dict[str, Any] = field(default_factory=dict)
    system: str = ""
    messages: list[BaseMessage] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, emulator: Emulator, loop: Loop, **more: Any) -> LangChain:
        """A conversation with a model of its own."""
        loop.models.append(model := ChatStewrd(**options(emulator, **more)))
        return cls(model, loop)

    def say(self, text: str, mode: Mode = "plain") -> str:
        """Say something; gives back how the turn travelled."""
        shown = [*([System(self.system)] if self.system else []), *self.messages]
        shown.append(HumanMessage(text))
        answer = self._answer(shown, mode)
        self.told = answer.response_metadata["stewrd"]
        self.messages += [HumanMessage(text), answer]
        return str(self.told["turn"])

    def _answer(self, shown: list[BaseMessage], mode: Mode) -> AIMessage:
        model, who = self.model, self.who
        match mode:
            case "plain":
                return model.invoke(shown, **who)
            case "stream":
                return _merged(list(model.stream(shown, **who)))
            case "async":
                return self.loop.run(model.ainvoke(shown, **who))
            case "async stream":
                return self.loop.run(self._astream(shown))

    async def _astream(self, shown: list[BaseMessage]) -> AIMessage:
        async with aclosing(self.model.astream(shown, **self.who)) as chunks:  # type: ignore[type-var]
            return _merged([chunk async for chunk in chunks])

    def add(self, role: str, text: str, place: int | None = None) -> None:
        """Put a message in that the application made."""
        message = HumanMessage(text) if role == "user" else AIMessage(text)
        self.messages.insert(len(self.messages) if place is None else place, message)

    def pairs(self) -> list[tuple[str, str]]:
        """The conversation as (role, text)."""
        roles = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
        return [(roles[message.type], message.text) for message in self.messages]

    def forget_marks(self) -> None:
        """As a history of bare roles and texts would."""
        pairs = self.pairs()
        self.messages = []
        for role, text in pairs:
            self.add(role, text)


def _merged(chunks: list[AIMessageChunk]) -> AIMessage:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@dataclass
class LlamaIndex:
    """A conversation in LlamaIndex's messages."""

    model: StewrdLLM
    loop: Loop
    who: dict[str, Any] = field(default_factory=dict)
    system: str = ""
    messages: list[ChatMessage] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, emulator: Emulator, loop: Loop, **more: Any) -> LlamaIndex:
        """A conversation with a model of its own."""
        loop.models.append(model := StewrdLLM(**options(emulator, **more)))
        return cls(model, loop)

    def say(self, text: str, mode: Mode = "plain") -> str:
        """Say something; gives back how the turn travelled."""
        shown = [*([ChatMessage(self.system, role="system")] if self.system else [])]
        shown += [*self.messages, ChatMessage(text)]
        answer = self._answer(shown, mode)
        self.told = answer.additional_kwargs["stewrd"]
        self.messages += [ChatMessage(text), answer.message]
        return str(self.told["turn"])

    def _answer(self, shown: list[ChatMessage], mode: Mode) -> Any:
        model, who = self.model, self.who
        match mode:
            case "plain":
                return model.chat(shown, **who)
            case "stream":
                return list(model.stream_chat(shown, **who))[-1]
            case "async":
                return self.loop.run(model.achat(shown, **who))
            case "async stream":
                return self.loop.run(self._astream(shown))

    async def _astream(self, shown: list[ChatMessage]) -> Any:
        return [chunk async for chunk in await self.model.astream_chat(shown, **self.who)][-1]

    def add(self, role: str, text: str, place: int | None = None) -> None:
        """Put a message in that the application made."""
        message = ChatMessage(text, role=MessageRole(role))
        self.messages.insert(len(self.messages) if place is None else place, message)

    def pairs(self) -> list[tuple[str, str]]:
        """The conversation as (role, text)."""
        return [(message.role.value, message.content or "") for message in self.messages]

    def forget_marks(self) -> None:
        """As a history of bare roles and texts would."""
        self.messages = [ChatMessage(m.content or "", role=m.role) for m in self.messages]


Talk: TypeAlias = LangChain | LlamaIndex
FRAMEWORKS: tuple[Callable[..., Talk], ...] = (LangChain.make, LlamaIndex.make)
NAMES = ("langchain", "llama_index")
