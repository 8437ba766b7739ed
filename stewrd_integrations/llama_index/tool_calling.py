"""Custom tools: LlamaIndex's in the form that is offered, and the calls in an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from ..errors import InvalidInputError
from ..offers import ToolChoice, offer_of
from ..types import Tool

ALONE: Final = "stewrd_stands_alone"
"""The keyword argument by which a call is known to stand alone where it begins later on."""

FORM: Final = "form"
"""Its value where the answer shall be a tool's arguments, so that tool must be called."""

CALLS: Final = "calls"
"""Its value where calls are wanted, of which the agent never hears what they gave back."""


def prepared(
    tools: Sequence[BaseTool],
    messages: Sequence[ChatMessage],
    *,
    choice: ToolChoice,
    required: bool,
    parallel: bool,
) -> dict[str, Any]:
    """The keyword arguments of a `chat` with tools, checked.

    Args:
        tools: What the agent may call.
        messages: The whole conversation.
        choice: The tool it must call, or "auto", "required", "none"; counts more than
            ``required`` where it names a tool.
        required: Whether it must call one.
        parallel: Whether it may call several at once.

    Raises:
        InvalidInputError: A tool can't be offered, or the choice names none of them.
    """
    given: dict[str, Any] = {"tools": [_formatted(tool) for tool in tools]}
    if choice is not None:
        given["tool_choice"] = choice
    if tools and not parallel:
        given["parallel_tool_calls"] = False
    offer = offer_of(given)
    forbidden = bool(tools) and not offer.tools
    if required and offer.choice is None and not forbidden:
        given["tool_choice"] = "required"
        offer = offer_of(given)
    _check_names(offer.tools)
    return {"messages": list(messages), **(given if tools else {})}


def _check_names(tools: Sequence[Tool]) -> None:
    # The API's own limits are checked later on, for every call.
    names = [tool.name for tool in tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(
            f"Two tools have the name {twice[0]!r}.",
            advice="Rename one of them: calls are dispatched by name.",
        )


def _formatted(tool: BaseTool) -> dict[str, Any]:
    if not isinstance(tool, BaseTool):
        raise InvalidInputError(
            f"{tool!r} is no tool of LlamaIndex.",
            advice="Make one of it, say with FunctionTool.from_defaults(fn).",
        )
    if not tool.metadata.name:
        raise InvalidInputError(f"{tool!r} has no name.", advice="Calls are dispatched by name.")
    formatted = tool.metadata.to_openai_tool(skip_length_check=True)
    # LlamaIndex writes underscores into names, and finds no tool of such a name in a call.
    formatted["function"]["name"] = tool.metadata.name
    return formatted


def conversation(
    chat_history: Sequence[ChatMessage] | None, user_msg: str | ChatMessage | None
) -> list[ChatMessage]:
    """A history and the newest message, which LlamaIndex gives apart, as one list."""
    newest = (
        ChatMessage(role=MessageRole.USER, content=user_msg)
        if isinstance(user_msg, str)
        else user_msg
    )
    return [*(chat_history or []), *([] if newest is None else [newest])]


def selections(response: ChatResponse, *, needed: bool) -> list[ToolSelection]:
    """The calls in an answer.

    Raises:
        ValueError: There is none, and one is needed.
    """
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if needed and not calls:
        raise ValueError(
            "Stewrd's agent called no tool, and at least one call was expected. It answered: "
            f"{response.message.content!r}"
        )
    return [
        ToolSelection(
            tool_id=call.tool_call_id or "",
            tool_name=call.tool_name,
            tool_kwargs=_arguments(call.tool_kwargs),
        )
        for call in calls
    ]


def _arguments(given: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(given, str):  # an answer of another model, say
        given = json.loads(given or "{}")
    return given  # type: ignore[return-value]  # a selection takes what is no object for {}


def single(response: ChatResponse) -> ChatResponse:
    """The answer with its first call alone: nobody will tell what the others gave back."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) < 2:
        return response
    others = [block for block in response.message.blocks if not isinstance(block, ToolCallBlock)]
    kept = [*others, calls[0]]
    message = response.message.model_copy(update={"blocks": kept})
    return response.model_copy(update={"message": message})


def formed(chunks: ChatResponseGen, *, parallel: bool) -> ChatResponseGen:
    """A stream whose answer is a tool's arguments, as LlamaIndex's programs read it: its end.

    Raises:
        ValueError: The agent called no tool.
    """
    with closing(chunks):
        for chunk in chunks:
            last = chunk
    yield _formed(last, parallel=parallel)


async def aformed(chunks: ChatResponseAsyncGen, *, parallel: bool) -> ChatResponseAsyncGen:
    """`formed` for the event loop."""
    async with aclosing(chunks):
        async for chunk in chunks:
            last = chunk
    yield _formed(last, parallel=parallel)


def _formed(response: ChatResponse, *, parallel: bool) -> ChatResponse:
    selections(response, needed=True)
    answer = (response if parallel else single(response)).message
    # Programs look for calls in a stream here alone, and for a text else. Then they ask for
    # `selections`.
    told = {
        **answer.additional_kwargs,
        "tool_calls": [block for block in answer.blocks if isinstance(block, ToolCallBlock)],
    }
    message = answer.model_copy(update={"additional_kwargs": told})
    return response.model_copy(update={"message": message})
