"""Tools for tests, the four ways to chat with them, and what is given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.tools import FunctionTool

from stewrd_integrations.llama_index import StewrdLLM


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def tool_of(fn: Callable[..., Any], **options: Any) -> FunctionTool:
    return FunctionTool.from_defaults(fn, **options)


TOOLS = [tool_of(get_weather), tool_of(add_numbers)]


BOTH = "get_weather(Oslo) and add_numbers(1, 2)"
"""A wish for two calls at once."""

WAYS = ("chat", "achat", "stream_chat", "astream_chat")


class ToolWay:
    """One of `WAYS`."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def chunks(
        self, llm: StewrdLLM, messages: Sequence[ChatMessage], tools: Any = TOOLS, **more: Any
    ) -> list[ChatResponse]:
        more = {"chat_history": list(messages), "allow_parallel_tool_calls": True, **more}
        if self.name == "chat":
            return [llm.chat_with_tools(tools, **more)]
        if self.name == "achat":
            return [await llm.achat_with_tools(tools, **more)]
        if self.name == "stream_chat":
            return list(llm.stream_chat_with_tools(tools, **more))
        return [chunk async for chunk in await llm.astream_chat_with_tools(tools, **more)]

    async def ask(self, *args: Any, **more: Any) -> ChatResponse:
        return (await self.chunks(*args, **more))[-1]


def called(response: ChatResponse) -> list[ToolCallBlock]:
    return [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]


def given_back(response: ChatResponse, *texts: Any) -> list[ChatMessage]:
    """What the tools of an answer gave back, as agents put it."""
    return [
        ChatMessage(
            role="tool",
            blocks=text if isinstance(text, list) else [TextBlock(text=text)],
            additional_kwargs={"tool_call_id": call.tool_call_id},
        )
        for call, text in zip(called(response), texts, strict=True)
    ]
