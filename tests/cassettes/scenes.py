"""The conversations that are recorded, one for each framework, sync or async.

Each has a first turn, a follow-up, a streamed turn and a turn with a tool; then its session is
dead, and the next turn opens another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool

from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore

Colour: TypeAlias = Literal["sync", "async"]
COLOURS: tuple[Colour, ...] = ("sync", "async")


@dataclass(frozen=True)
class Told:
    """One answer: how its turn travelled, and what it says."""

    turn: str
    text: str


class Scene(Protocol):
    """One conversation in a framework's messages."""

    told: list[Told]

    async def say(self, text: str) -> None:
        """A turn."""

    async def stream(self, text: str) -> None:
        """A streamed turn."""

    async def use_tool(self, text: str) -> None:
        """A turn with a tool, and the outputs of its calls."""

    async def close(self) -> None:
        """Give the connections back."""


async def play(scene: Scene, expire: Callable[[], None] | None) -> list[Told]:
    """Have a conversation; ``expire`` lets its session die, None leaves that out."""
    try:
        await scene.say("My name is Ada.")
        await scene.say("What is my name?")
        await scene.stream("My favourite colour is green.")
        await scene.use_tool("What is the weather in Oslo?")
        if expire is not None:
            expire()
            await scene.say("What is my favourite colour?")
    finally:
        await scene.close()
    return scene.told


def options(address: str, key: str) -> dict[str, Any]:
    """The options of a model that has a store of its own."""
    return {
        "api_key": key,
        "base_url": address,
        "conversation_id": "ada",
        "capabilities": ["chat"],
        "store": MemoryStore(),
        "max_retries": 0,
        "default_headers": {"Accept-Encoding": "identity"},  # a recording is to be read
    }


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


@dataclass
class LangChainScene:
    """A conversation with `ChatStewrd`."""

    model: ChatStewrd
    colour: Colour
    messages: list[BaseMessage] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @classmethod
    def make(cls, address: str, key: str, colour: Colour) -> LangChainScene:
        """A new one."""
        return cls(ChatStewrd(**options(address, key)), colour)

    async def say(self, text: str) -> None:
        """A turn."""
        self.messages.append(HumanMessage(text))
        self._keep(await self._answer(self.model))

    async def stream(self, text: str) -> None:
        """A streamed turn."""
        self.messages.append(HumanMessage(text))
        whole, *others = [chunk async for chunk in self._chunks()]
        for chunk in others:
            whole += chunk
        self._keep(whole)

    async def use_tool(self, text: str) -> None:
        """A turn with a tool, and the outputs of its calls."""
        model = self.model.bind_tools([get_weather])
        self.messages.append(HumanMessage(text))
        while calls := self._keep(await self._answer(model)).tool_calls:
            self.messages += [
                ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"]) for call in calls
            ]

    async def close(self) -> None:
        """Give the connections back."""
        await self.model.aclose()

    async def _answer(self, model: Any) -> AIMessage:
        asynchronous = self.colour == "async"
        answer = await model.ainvoke(self.messages) if asynchronous else model.invoke(self.messages)
        assert isinstance(answer, AIMessage)
        return answer

    async def _chunks(self) -> Any:
        if self.colour == "sync":
            for chunk in self.model.stream(self.messages):
                yield chunk
            return
        async with aclosing(self.model.astream(self.messages)) as chunks:  # type: ignore[type-var]  # it is declared as an iterator
            async for chunk in chunks:
                yield chunk

    def _keep(self, answer: AIMessage) -> AIMessage:
        self.messages.append(answer)
        self.told.append(Told(answer.response_metadata["stewrd"]["turn"], answer.text))
        return answer


@dataclass
class LlamaIndexScene:
    """A conversation with `StewrdLLM`."""

    model: StewrdLLM
    colour: Colour
    messages: list[ChatMessage] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @classmethod
    def make(cls, address: str, key: str, colour: Colour) -> LlamaIndexScene:
        """A new one."""
        return cls(StewrdLLM(**options(address, key)), colour)

    async def say(self, text: str) -> None:
        """A turn."""
        self.messages.append(ChatMessage(text))
        asynchronous = self.colour == "async"
        shown = self.messages
        self._keep(await self.model.achat(shown) if asynchronous else self.model.chat(shown))

    async def stream(self, text: str) -> None:
        """A streamed turn."""
        self.messages.append(ChatMessage(text))
        if self.colour == "sync":
            self._keep(list(self.model.stream_chat(self.messages))[-1])
            return
        chunks = await self.model.astream_chat(self.messages)
        self._keep([chunk async for chunk in chunks][-1])

    async def use_tool(self, text: str) -> None:
        """A turn with a tool, and the outputs of its calls."""
        self.messages.append(ChatMessage(text))
        while calls := self._calls(self._keep(await self._answer_with_tools())):
            for call in calls:
                output = get_weather(**call.tool_kwargs)
                told = {"tool_call_id": call.tool_id, "name": call.tool_name}
                self.messages.append(ChatMessage(output, role="tool", additional_kwargs=told))

    async def close(self) -> None:
        """Give the connections back."""
        await self.model.aclose()

    async def _answer_with_tools(self) -> ChatResponse:
        tools, shown = [FunctionTool.from_defaults(get_weather)], self.messages
        if self.colour == "sync":
            return self.model.chat_with_tools(tools, chat_history=shown)
        return await self.model.achat_with_tools(tools, chat_history=shown)

    def _calls(self, answer: ChatResponse) -> Any:
        return self.model.get_tool_calls_from_response(answer, error_on_no_tool_call=False)

    def _keep(self, answer: ChatResponse) -> ChatResponse:
        self.messages.append(answer.message)
        turn = answer.additional_kwargs["stewrd"]["turn"]
        self.told.append(Told(turn, answer.message.content or ""))
        return answer


SCENES: dict[str, Callable[[str, str, Colour], Scene]] = {
    "langchain": LangChainScene.make,
    "llama_index": LlamaIndexScene.make,
}
"""By the name of the cassette."""
