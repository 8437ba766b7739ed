"""Who is compared by `overhead.py`: each talks to the same server in its own way.

A peer takes a framework's list of messages and gives the answer back. The floors are what the
frameworks cost by themselves: a chat model of one POST, without sessions, checks, retries,
metadata or marks. They send the last message only, which is the least that could be sent.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from stewrd import Stewrd

from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore, Store

KEY = "sk-stw_benchmark"
QUESTION = "What is the capital of France, and how many people live there?"
ANSWER = "Paris is the capital of France, and about two million people live in the city itself."
ROOM: dict[str, Any] = {"max_active_sessions": 100_000, "session_message_limit": 1_000_000}
"""Limits that no measurement reaches: what is measured is a turn, not what a limit does."""

ROOMY: dict[str, Any] = {
    "timeout": 60,
    "limits": httpx.Limits(max_connections=1000, max_keepalive_connections=1000),
}
"""As many connections as conversations, so that none waits for another's."""

NUMBERS = itertools.count()


class Peer(Protocol):
    """Someone who answers a list of messages; ``ways`` says how ("sync", "async", "stream")."""

    ways: frozenset[str]

    def listed(self, count: int) -> list[Any]:
        """A list of so many messages that ends in a question."""

    def question(self) -> Any:
        """One more question."""

    def begin(self) -> dict[str, Any]:
        """Keyword arguments of all calls of a new conversation."""

    def text_of(self, piece: Any) -> str:
        """What a piece of a stream says."""

    def say(self, messages: list[Any], who: dict[str, Any]) -> Any:
        """The answer, as it stands in the list from then on."""

    def stream(self, messages: list[Any], who: dict[str, Any]) -> Iterator[Any]:
        """The answer in pieces."""

    async def asay(self, messages: list[Any], who: dict[str, Any]) -> Any:
        """`say` on the event loop."""

    def astream(self, messages: list[Any], who: dict[str, Any]) -> AsyncIterator[Any]:
        """`stream` on the event loop."""


ALL_WAYS = frozenset({"sync", "async", "stream"})


def _texts(count: int) -> Iterator[tuple[bool, str]]:
    """Questions and answers in turn; the last is a question."""
    for place in range(count):
        asked = (count - place) % 2 == 1
        yield asked, f"{place}: {QUESTION if asked else ANSWER}"


# -- without a framework -----------------------------------------------------------------


class RawHttpx:
    """httpx alone: post, read the JSON; or read the lines of a stream, and their JSON."""

    ways = ALL_WAYS

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/agent"
        self._headers = {"Authorization": f"Bearer {KEY}"}
        self._http, self._ahttp = httpx.Client(**ROOMY), httpx.AsyncClient(**ROOMY)

    def listed(self, count: int) -> list[str]:
        """Texts."""
        return [text for _, text in _texts(count)]

    def question(self) -> str:
        """A text."""
        return QUESTION

    def begin(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def text_of(self, piece: Any) -> str:
        """It is its text."""
        return str(piece)

    def _body(self, messages: Sequence[str], **more: Any) -> dict[str, Any]:
        return {"headers": self._headers, "json": {"message": messages[-1], **more}}

    def say(self, messages: list[str], who: dict[str, Any]) -> str:
        """One POST."""
        response = self._http.post(self._url, **self._body(messages), **who)
        return str(response.raise_for_status().json()["message"])

    def stream(self, messages: list[str], who: dict[str, Any]) -> Iterator[str]:
        """One POST, and the lines of its answer."""
        body = self._body(messages, stream=True)
        with self._http.stream("POST", self._url, **body, **who) as response:
            yield from filter(None, map(token_of, response.iter_lines()))

    async def asay(self, messages: list[str], who: dict[str, Any]) -> str:
        """One POST."""
        response = await self._ahttp.post(self._url, **self._body(messages), **who)
        return str(response.raise_for_status().json()["message"])

    async def astream(self, messages: list[str], who: dict[str, Any]) -> AsyncIterator[str]:
        """One POST, and the lines of its answer."""
        body = self._body(messages, stream=True)
        async with self._ahttp.stream("POST", self._url, **body, **who) as response:
            async for line in response.aiter_lines():
                if text := token_of(line):
                    yield text


def token_of(line: str) -> str:
    """The text of a token's line; "" for every other line."""
    if not line.startswith('data: {"text"'):
        return ""
    return str(json.loads(line[6:])["text"])


class OfficialSDK(RawHttpx):
    """The vendor's SDK, which has no async client and no sessions."""

    ways = frozenset({"sync", "stream"})

    def __init__(self, url: str) -> None:
        self._stewrd = Stewrd(KEY, base_url=url)

    def text_of(self, piece: Any) -> str:
        """A token's text."""
        return str(getattr(piece, "content", ""))

    def say(self, messages: list[str], who: dict[str, Any]) -> str:
        """One run."""
        return str(self._stewrd.agent.run(messages[-1], **who).message)

    def stream(self, messages: list[str], who: dict[str, Any]) -> Iterator[Any]:
        """One run's events."""
        yield from self._stewrd.agent.stream(messages[-1], **who)


# -- LangChain ---------------------------------------------------------------------------


class Floor(BaseChatModel):
    """The least that a LangChain chat model over httpx can be.

    Attributes:
        whole: Send the whole list, and not its last message only.
    """

    url: str
    whole: bool = False
    http: Any = None
    ahttp: Any = None

    @property
    def _llm_type(self) -> str:
        return "floor"

    def _sent(self, messages: list[BaseMessage], **more: Any) -> dict[str, Any]:
        text = str(messages[-1].text)
        if self.whole:
            text = "\n".join(json.dumps({"role": m.type, "text": m.text}) for m in messages)
        return {"json": {"message": text, **more}}

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        response = self.http.post(self.url, **self._sent(messages))
        return _result(response.json()["message"])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        response = await self.ahttp.post(self.url, **self._sent(messages))
        return _result(response.json()["message"])

    def _stream(
        self, messages: list[BaseMessage], *_: Any, run_manager: Any = None, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        with self.http.stream("POST", self.url, **self._sent(messages, stream=True)) as response:
            for text in filter(None, map(token_of, response.iter_lines())):
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=text))
                if run_manager:
                    run_manager.on_llm_new_token(text, chunk=chunk)
                yield chunk

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, run_manager: Any = None, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        sent = self._sent(messages, stream=True)
        async with self.ahttp.stream("POST", self.url, **sent) as response:
            async for line in response.aiter_lines():
                if text := token_of(line):
                    chunk = ChatGenerationChunk(message=AIMessageChunk(content=text))
                    if run_manager:
                        await run_manager.on_llm_new_token(text, chunk=chunk)
                    yield chunk


class Null(BaseChatModel):
    """A chat model that looks at nothing and sends nothing."""

    @property
    def _llm_type(self) -> str:
        return "null"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return _result(ANSWER)


def _result(text: str) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])


@dataclass
class LangChain:
    """A chat model of LangChain; ``named`` if its conversations have names."""

    model: BaseChatModel
    named: bool = False
    ways: frozenset[str] = ALL_WAYS

    def listed(self, count: int) -> list[BaseMessage]:
        """LangChain's messages."""
        return [
            HumanMessage(text) if asked else AIMessage(content=text)
            for asked, text in _texts(count)
        ]

    def question(self) -> BaseMessage:
        """A user's message."""
        return HumanMessage(QUESTION)

    def begin(self) -> dict[str, Any]:
        """A name, where conversations have names."""
        return {"conversation_id": f"chat-{next(NUMBERS)}"} if self.named else {}

    def text_of(self, piece: Any) -> str:
        """A chunk's text."""
        return str(piece.text)

    def say(self, messages: list[Any], who: dict[str, Any]) -> Any:
        """`invoke`."""
        return self.model.invoke(messages, **who)

    def stream(self, messages: list[Any], who: dict[str, Any]) -> Iterator[Any]:
        """`stream`."""
        return self.model.stream(messages, **who)

    async def asay(self, messages: list[Any], who: dict[str, Any]) -> Any:
        """`ainvoke`."""
        return await self.model.ainvoke(messages, **who)

    def astream(self, messages: list[Any], who: dict[str, Any]) -> AsyncIterator[Any]:
        """`astream`."""
        return self.model.astream(messages, **who)


def floor(url: str, *, whole: bool = False) -> LangChain:
    """The floor that LangChain sets."""
    http, ahttp = httpx.Client(**ROOMY), httpx.AsyncClient(**ROOMY)
    return LangChain(Floor(url=f"{url}/v1/agent", whole=whole, http=http, ahttp=ahttp))


def null() -> LangChain:
    """LangChain alone."""
    return LangChain(Null())


def chat_stewrd(url: str, store: Store | None = None, *, named: bool = True) -> LangChain:
    """`ChatStewrd`, which continues its sessions."""
    store = MemoryStore() if store is None else store
    return LangChain(ChatStewrd(api_key=fresh_key(), base_url=url, store=store, **ROOM), named)


def fresh_key() -> str:
    """Another project each time: the slots of former measurements are not this one's."""
    return f"{KEY}_{next(NUMBERS)}"


def stateless(url: str) -> LangChain:
    """`ChatStewrd` that never opens a session."""
    model = ChatStewrd(api_key=fresh_key(), base_url=url, store=MemoryStore(), sessions="never")
    return LangChain(model)


def chat_openai(url: str) -> LangChain:
    """`ChatOpenAI`, which sends the whole list each time."""
    model = ChatOpenAI(
        model="gpt-4o-mini", api_key=lambda: KEY, base_url=f"{url}/v1", stream_usage=False
    )
    return LangChain(model)


# -- LlamaIndex --------------------------------------------------------------------------


class LlamaFloor(CustomLLM):
    """The least that a LlamaIndex model over httpx can be."""

    url: str
    http: Any = None
    ahttp: Any = None

    @property
    def metadata(self) -> LLMMetadata:
        """A chat model."""
        return LLMMetadata(is_chat_model=True)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        """One POST."""
        body = {"message": messages[-1].content}
        return _spoken(self.http.post(self.url, json=body).json()["message"])

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        """One POST."""
        body = {"message": messages[-1].content}
        return _spoken((await self.ahttp.post(self.url, json=body)).json()["message"])

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponseGen:
        """One POST, and the lines of its answer."""

        def chunks() -> ChatResponseGen:
            body, so_far = {"message": messages[-1].content, "stream": True}, ""
            with self.http.stream("POST", self.url, json=body) as response:
                for text in filter(None, map(token_of, response.iter_lines())):
                    so_far += text
                    yield _spoken(so_far, text)

        return chunks()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponseAsyncGen:
        """One POST, and the lines of its answer."""

        async def chunks() -> ChatResponseAsyncGen:
            body, so_far = {"message": messages[-1].content, "stream": True}, ""
            async with self.ahttp.stream("POST", self.url, json=body) as response:
                async for line in response.aiter_lines():
                    if text := token_of(line):
                        so_far += text
                        yield _spoken(so_far, text)

        return chunks()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
        """Never asked for."""
        raise AssertionError(prompt, formatted)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **_: Any
    ) -> CompletionResponseGen:
        """Never asked for."""
        raise AssertionError(prompt, formatted)


def _spoken(text: str, delta: str | None = None) -> ChatResponse:
    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
    return ChatResponse(message=message, delta=delta)


@dataclass
class LlamaIndex:
    """A model of LlamaIndex; ``named`` if its conversations have names."""

    model: Any
    named: bool = False
    ways: frozenset[str] = ALL_WAYS

    def listed(self, count: int) -> list[ChatMessage]:
        """LlamaIndex's messages."""
        roles = {True: MessageRole.USER, False: MessageRole.ASSISTANT}
        return [ChatMessage(role=roles[asked], content=text) for asked, text in _texts(count)]

    def question(self) -> ChatMessage:
        """A user's message."""
        return ChatMessage(role=MessageRole.USER, content=QUESTION)

    def begin(self) -> dict[str, Any]:
        """A name, where conversations have names."""
        return {"conversation_id": f"chat-{next(NUMBERS)}"} if self.named else {}

    def text_of(self, piece: Any) -> str:
        """A chunk's delta."""
        return piece.delta or ""

    def say(self, messages: list[Any], who: dict[str, Any]) -> Any:
        """`chat`."""
        return self.model.chat(messages, **who).message

    def stream(self, messages: list[Any], who: dict[str, Any]) -> Iterator[Any]:
        """`stream_chat`."""
        yield from self.model.stream_chat(messages, **who)

    async def asay(self, messages: list[Any], who: dict[str, Any]) -> Any:
        """`achat`."""
        return (await self.model.achat(messages, **who)).message

    async def astream(self, messages: list[Any], who: dict[str, Any]) -> AsyncIterator[Any]:
        """`astream_chat`."""
        async for chunk in await self.model.astream_chat(messages, **who):
            yield chunk


def llama_floor(url: str) -> LlamaIndex:
    """The floor that LlamaIndex sets."""
    http, ahttp = httpx.Client(**ROOMY), httpx.AsyncClient(**ROOMY)
    return LlamaIndex(LlamaFloor(url=f"{url}/v1/agent", http=http, ahttp=ahttp))


def stewrd_llm(url: str) -> LlamaIndex:
    """`StewrdLLM`, which continues its sessions."""
    model = StewrdLLM(api_key=fresh_key(), base_url=url, store=MemoryStore(), **ROOM)
    return LlamaIndex(model, named=True)
