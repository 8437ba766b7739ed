"""Somebody who talks through either framework, keeps the list, and uses tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, DocumentBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool

from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM

from .reading import Spoken
from .records import Call

T = TypeVar("T")
MODES = ("plain", "stream", "async", "async stream")


class Loop:
    """One event loop for every asynchronous turn, as a service has."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Close it and what is left of generators."""
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _plus(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(_plus, name="add", description="Add two numbers.")


@dataclass
class LangChain:
    """A conversation in LangChain's messages."""

    model: ChatStewrd
    loop: Loop
    who: dict[str, Any]
    system: str = ""
    messages: list[BaseMessage] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    def user(self, text: str, file: tuple[str, str] | None = None) -> None:
        """Put a message of the user at the end."""
        blocks: list[str | dict[str, Any]] = [{"type": "text", "text": text}]
        if file is not None:
            named = {"title": file[0], "text": file[1], "mime_type": "text/csv"}
            blocks.append({"type": "text-plain", **named})
        self.messages.append(HumanMessage(text if file is None else blocks))

    def edit(self, place: int, text: str) -> None:
        """Say something else there."""
        self.messages[place] = HumanMessage(text)

    def shown(self) -> list[Spoken]:
        """The list as it is shown to the model."""
        return [_of_langchain(message) for message in self.messages]

    def _list(self) -> list[BaseMessage]:
        return [*([SystemMessage(self.system)] if self.system else []), *self.messages]

    def ask(self, mode: str = "plain", tools: bool = False) -> str:
        """Let the model answer, and keep that."""
        runs = self.model.bind_tools([add]) if tools else self.model
        shown = self._list()
        match mode:
            case "plain":
                answer = runs.invoke(shown, **self.who)
            case "stream":
                answer = _merged(list(runs.stream(shown, **self.who)))
            case "async":
                answer = self.loop.run(runs.ainvoke(shown, **self.who))
            case _:
                answer = self.loop.run(self._astream(runs, shown))
        self.told = answer.response_metadata["stewrd"]
        self.messages.append(answer)
        return str(answer.text)

    async def _astream(self, runs: Any, shown: list[BaseMessage]) -> Any:
        async with aclosing(runs.astream(shown, **self.who)) as chunks:
            return _merged([chunk async for chunk in chunks])

    def use_tools(self) -> bool:
        """Do what the last answer asks for; says whether it asked for anything."""
        last = self.messages[-1]
        calls = last.tool_calls if isinstance(last, AIMessage) else []
        for call in calls:
            self.messages.append(
                ToolMessage(str(add.invoke(call["args"])), tool_call_id=call["id"], name="add")
            )
        return bool(calls)

    def work(self, text: str) -> None:
        """Let an agent of LangGraph's work on this, and keep all its messages."""
        agent: Any = create_agent(self.model, [add])
        done = agent.invoke({"messages": [*self.messages, HumanMessage(text)]})
        self.messages[:] = done["messages"]

    def abandon(self) -> None:
        """Begin to stream an answer, and go away."""
        chunks: Any = self.model.stream(self._list(), **self.who)
        with closing(chunks):
            next(chunks, None)

    async def abandon_later(self) -> None:
        """The same on the event loop, by a cancelled task."""
        task = asyncio.ensure_future(self.model.ainvoke(self._list(), **self.who))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])


def _merged(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def _of_langchain(message: BaseMessage) -> Spoken:
    roles = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "tool": "tool"}
    calls: tuple[Call, ...] = ()
    if isinstance(message, AIMessage):
        calls = tuple(Call("", call["name"], call["args"]) for call in message.tool_calls)
    return Spoken(roles[message.type], str(message.text), calls=calls)


@dataclass
class LlamaIndex:
    """A conversation in LlamaIndex's messages."""

    model: StewrdLLM
    loop: Loop
    who: dict[str, Any]
    system: str = ""
    messages: list[ChatMessage] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    def user(self, text: str, file: tuple[str, str] | None = None) -> None:
        """Put a message of the user at the end."""
        blocks: list[Any] = [TextBlock(text=text)]
        if file is not None:
            data = file[1].encode()
            blocks.append(DocumentBlock(data=data, title=file[0], document_mimetype="text/csv"))
        self.messages.append(ChatMessage(role="user", blocks=blocks))

    def edit(self, place: int, text: str) -> None:
        """Say something else there."""
        self.messages[place] = ChatMessage(text, role="user")

    def shown(self) -> list[Spoken]:
        """The list as it is shown to the model."""
        return [_of_llama_index(message) for message in self.messages]

    def _list(self) -> list[ChatMessage]:
        first = [ChatMessage(self.system, role="system")] if self.system else []
        return [*first, *self.messages]

    def ask(self, mode: str = "plain", tools: bool = False) -> str:
        """Let the model answer, and keep that."""
        response = self._tools(mode) if tools else self._chat(mode)
        self.told = response.message.additional_kwargs["stewrd"] | response.raw
        self.messages.append(response.message)
        return str(response.message.content or "")

    def _chat(self, mode: str) -> Any:
        shown = self._list()
        match mode:
            case "plain":
                return self.model.chat(shown, **self.who)
            case "stream":
                return list(self.model.stream_chat(shown, **self.who))[-1]
            case "async":
                return self.loop.run(self.model.achat(shown, **self.who))
            case _:
                return self.loop.run(_last(self.model.astream_chat(shown, **self.who)))

    def _tools(self, mode: str) -> Any:
        more = {"chat_history": self._list(), "allow_parallel_tool_calls": True, **self.who}
        if mode == "plain":
            return self.model.chat_with_tools([ADD], **more)
        return self.loop.run(self.model.achat_with_tools([ADD], **more))

    def use_tools(self) -> bool:
        """Do what the last answer asks for; says whether it asked for anything."""
        calls = [one for one in self.messages[-1].blocks if isinstance(one, ToolCallBlock)]
        for call in calls:
            assert isinstance(call.tool_kwargs, dict)
            self.messages.append(
                ChatMessage(
                    str(_plus(**call.tool_kwargs)),
                    role="tool",
                    additional_kwargs={"tool_call_id": call.tool_call_id, "name": "add"},
                )
            )
        return bool(calls)

    def work(self, text: str) -> None:
        """Let an agent of LlamaIndex's work on this, and keep all its messages."""
        agent = FunctionAgent(llm=self.model, tools=[ADD])
        memory = ChatMemoryBuffer.from_defaults(self.messages, token_limit=100_000)

        async def run() -> None:
            await agent.run(user_msg=text, memory=memory)

        self.loop.run(run())
        self.messages[:] = memory.get_all()

    def abandon(self) -> None:
        """Begin to stream an answer, and go away."""
        chunks: Any = self.model.stream_chat(self._list(), **self.who)
        with closing(chunks):
            next(chunks, None)

    async def abandon_later(self) -> None:
        """The same on the event loop, by a cancelled task."""
        task = asyncio.ensure_future(self.model.achat(self._list(), **self.who))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])


async def _last(stream: Coroutine[Any, Any, Any]) -> Any:
    return [chunk async for chunk in await stream][-1]


def _of_llama_index(message: ChatMessage) -> Spoken:
    calls = tuple(
        Call("", one.tool_name, one.tool_kwargs)
        for one in message.blocks
        if isinstance(one, ToolCallBlock) and isinstance(one.tool_kwargs, dict)
    )
    return Spoken(message.role.value, message.content or "", calls=calls)


Voice = LangChain | LlamaIndex
MAKERS: dict[str, Callable[..., Voice]] = {
    "langchain": lambda loop, who, **options: LangChain(ChatStewrd(**options), loop, who),
    "llama_index": lambda loop, who, **options: LlamaIndex(StewrdLLM(**options), loop, who),
}


def turns() -> Iterator[str]:
    """The four ways to ask, over and over."""
    while True:
        yield from MODES
