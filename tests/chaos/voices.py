"""How each framework says a turn, and its messages as JSON and back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    message_to_dict,
    messages_from_dict,
)
from llama_index.core.llms import ChatMessage, ChatResponse, MessageRole

from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM

from .desk import Turn
from .judge import Told
from .talks import Line


class Voice(Protocol):
    """One model of a framework."""

    def shown(self, turn: Turn) -> Any:
        """The list as the framework holds it."""

    def whole(self, pieces: Sequence[Any], mode: str) -> Told:
        """The answer, from all of its pieces."""

    def ask(self, shown: Any, who: dict[str, Any]) -> Any:
        """The answer as a single piece."""

    async def aask(self, shown: Any, who: dict[str, Any]) -> Any:
        """`ask` on the event loop."""

    def stream(self, shown: Any, who: dict[str, Any]) -> Generator[Any, None, None]:
        """The answer in pieces."""

    def astream(self, shown: Any, who: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """`stream` on the event loop."""

    def explain(self, shown: Any, who: dict[str, Any]) -> Any:
        """What it would do."""


class LangChainVoice:
    """`ChatStewrd`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.model = ChatStewrd(**options)

    def shown(self, turn: Turn) -> list[BaseMessage]:
        """Messages of LangChain."""
        system: list[BaseMessage] = [SystemMessage(turn.system)] if turn.system else []
        return system + [_langchain(line) for line in turn.shown]

    def whole(self, pieces: Sequence[AIMessage], mode: str) -> Told:
        """Joined as LangChain joins chunks."""
        answer = pieces[0]
        for piece in pieces[1:]:
            answer = cast(AIMessageChunk, answer) + piece  # type: ignore[assignment]  # core's overloads
        raw = json.dumps(message_to_dict(answer))
        line = Line("assistant", answer.text, raw)
        return Told.of(line, mode, answer.response_metadata["stewrd"])

    def ask(self, shown: Any, who: dict[str, Any]) -> AIMessage:
        """`invoke`."""
        return self.model.invoke(shown, **who)

    async def aask(self, shown: Any, who: dict[str, Any]) -> AIMessage:
        """`ainvoke`."""
        return await self.model.ainvoke(shown, **who)

    def stream(self, shown: Any, who: dict[str, Any]) -> Generator[AIMessage, None, None]:
        """`stream`."""
        return cast("Generator[AIMessage, None, None]", self.model.stream(shown, **who))

    def astream(self, shown: Any, who: dict[str, Any]) -> AsyncGenerator[AIMessage, None]:
        """`astream`."""
        return cast("AsyncGenerator[AIMessage, None]", self.model.astream(shown, **who))

    def explain(self, shown: Any, who: dict[str, Any]) -> Any:
        """`explain`."""
        return self.model.explain(shown, **who)


def _langchain(line: Line) -> BaseMessage:
    if line.raw is not None:
        return messages_from_dict([json.loads(line.raw)])[0]
    return HumanMessage(line.text) if line.role == "user" else AIMessage(line.text)


class LlamaIndexVoice:
    """`StewrdLLM`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.model = StewrdLLM(**options)

    def shown(self, turn: Turn) -> list[ChatMessage]:
        """Messages of LlamaIndex."""
        system = [ChatMessage(turn.system, role=MessageRole.SYSTEM)] if turn.system else []
        return system + [_llama_index(line) for line in turn.shown]

    def whole(self, pieces: Sequence[ChatResponse], mode: str) -> Told:
        """The last chunk has it all."""
        message = pieces[-1].message
        line = Line("assistant", message.content or "", message.model_dump_json())
        return Told.of(line, mode, pieces[-1].additional_kwargs["stewrd"])

    def ask(self, shown: Any, who: dict[str, Any]) -> ChatResponse:
        """`chat`."""
        return cast(ChatResponse, self.model.chat(shown, **who))

    async def aask(self, shown: Any, who: dict[str, Any]) -> ChatResponse:
        """`achat`."""
        return cast(ChatResponse, await self.model.achat(shown, **who))

    def stream(self, shown: Any, who: dict[str, Any]) -> Generator[ChatResponse, None, None]:
        """`stream_chat`."""
        chunks = self.model.stream_chat(shown, **who)
        return cast("Generator[ChatResponse, None, None]", chunks)

    async def astream(self, shown: Any, who: dict[str, Any]) -> AsyncGenerator[ChatResponse, None]:
        """`astream_chat`."""
        chunks = await self.model.astream_chat(shown, **who)
        async with aclosing(cast("AsyncGenerator[ChatResponse, None]", chunks)) as open_:
            async for chunk in open_:
                yield chunk

    def explain(self, shown: Any, who: dict[str, Any]) -> Any:
        """`explain`."""
        return self.model.explain(shown, **who)


def _llama_index(line: Line) -> ChatMessage:
    if line.raw is not None:
        return ChatMessage.model_validate_json(line.raw)
    return ChatMessage(line.text, role=MessageRole(line.role))
