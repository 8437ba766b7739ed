"""Between LangChain's messages and ours. Nothing is ever dropped silently."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call, tool_call_chunk

from ..errors import InvalidInputError
from ..offers import Offer
from ..runtime import metadata
from ..sessions.call import Outcome
from ..types import Event, File, Message, Role, Token, ToolCall, ToolEnd, ToolStart
from .files import Unusable, distinct, file_of
from .tool_outputs import content_of_tool

MODEL_NAME = "stewrd-agent"
NO_OFFER = Offer()
PROVIDER = "stewrd"

_MARK = re.compile(r"[0-9a-f]{32}")
_CHAT_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}
_TYPE_ROLES: Mapping[type[BaseMessage], Role] = {
    HumanMessage: "user",
    AIMessage: "assistant",
    SystemMessage: "system",
    ToolMessage: "tool",
}
# What a model did on its own way to an answer; its calls of tools are in `tool_calls`.
_INNER_BLOCKS = frozenset(
    {
        "reasoning",
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "server_tool_call",
        "server_tool_call_chunk",
        "server_tool_result",
    }
)
# The same as providers write it, in histories that forgot which provider it was.
_INNER_VALUES = frozenset({"thinking", "redacted_thinking", "tool_use", "function_call"})
_NOTHING: Mapping[str, Any] = {}
_MEDIA = frozenset({"image", "audio", "video"})


def from_langchain(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """LangChain's messages as ours.

    Raises:
        InvalidInputError: One of them holds what Stewrd has no place for.
    """
    return tuple([_message(message, place) for place, message in enumerate(messages, 1)])


def _message(message: BaseMessage, place: int) -> Message:
    # Quickly by its type, where it is no kind of its own: lists have thousands of messages.
    content = message.content
    role = _TYPE_ROLES.get(type(message)) or _role(message, place)
    text, files = (content, []) if type(content) is str else _content(message, role, place)
    if role == "system":
        return Message(role, text)
    if role == "user":
        return Message(role, text, message.name, distinct(files) if files else ())
    if type(message) is AIMessage or isinstance(message, AIMessage):
        files += _generated(message)
        return Message(
            role,
            text,
            name=message.name,
            files=distinct(files) if files else (),
            tool_calls=_tool_calls(message),
            mark=_mark(message),
        )
    if isinstance(message, ToolMessage):
        return Message(
            role,
            text,
            name=message.name,
            files=distinct(files),
            tool_call_id=message.tool_call_id,
            error=message.status == "error",
        )
    return Message(role, text, name=message.name, files=distinct(files))


def _role(message: BaseMessage, place: int) -> Role:
    match message:
        case HumanMessage():
            return "user"
        case AIMessage():
            return "assistant"
        case SystemMessage():
            return "system"
        case ToolMessage():
            return "tool"
        case ChatMessage():
            return _chat_role(message, place)
        case RemoveMessage():
            advice = "It belongs into a graph's state: let the graph's reducer apply it."
        case FunctionMessage():
            advice = "Use tool calls and ToolMessage; functions are their predecessor."
        case _:
            advice = "Use a human, AI, system or tool message."
    raise InvalidInputError(
        f"Message {place} is a {type(message).__name__}, which can't be sent.", advice=advice
    )


def _chat_role(message: ChatMessage, place: int) -> Role:
    role = _CHAT_ROLES.get(message.role.lower())
    if role is None:
        raise InvalidInputError(
            f"Message {place} has the unknown role {message.role!r}.",
            advice="Use system, user or assistant.",
        )
    return role


# -- content ---------------------------------------------------------------------------


def _content(message: BaseMessage, role: Role, place: int) -> tuple[str, list[File]]:
    if isinstance(message.content, str):
        return message.content, []
    if isinstance(message, ToolMessage):
        return content_of_tool(message)
    texts: list[str] = []
    files: list[File] = []
    for number, block in enumerate(_blocks(message), 1):
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text") or ""))
        elif role == "assistant" and _is_inner(block):
            continue
        elif kind in ("file", "text-plain") and role != "system":
            files.append(_file(block, len(files) + 1, f"block {number} of message {place}"))
        else:
            _refuse(block, f"Block {number} of message {place}")
    return "".join(texts), files


def _blocks(message: BaseMessage) -> Sequence[Mapping[str, Any]]:
    # `content_blocks` brings the forms of older cores and of other providers into one.
    return message.content_blocks


def _is_inner(block: Mapping[str, Any]) -> bool:
    if block.get("type") in _INNER_BLOCKS:
        return True
    value = block.get("value")
    return isinstance(value, Mapping) and value.get("type") in _INNER_VALUES


def _file(block: Mapping[str, Any], number: int, where: str) -> File:
    try:
        return file_of(block, number)
    except Unusable as error:
        problem, advice = f"{where.capitalize()} {error}.", error.advice
    raise InvalidInputError(problem, advice=advice)


def _refuse(block: Mapping[str, Any], where: str) -> NoReturn:
    kind = block.get("type")
    if kind in _MEDIA:
        raise InvalidInputError(
            f"{where} is of the type {kind!r}, which Stewrd can't take.",
            advice="Describe it in words, or extract its text.",
        )
    if kind in ("file", "text-plain"):
        raise InvalidInputError(
            f"{where} is a file in the instructions.", advice="Move it to a human message."
        )
    value = block.get("value")
    kind = value.get("type") if isinstance(value, Mapping) else kind
    raise InvalidInputError(
        f"{where} is of the unknown type {kind!r}.",
        advice="Send text blocks and text files, and leave the rest out.",
    )


# -- what an assistant message carries -------------------------------------------------


def _tool_calls(message: AIMessage) -> tuple[ToolCall, ...]:
    if not message.tool_calls and not message.invalid_tool_calls:
        return ()
    calls = [ToolCall(call["id"] or "", call["name"], call["args"]) for call in message.tool_calls]
    # Arguments that were no JSON: the history shows what was asked for all the same.
    calls += [
        ToolCall(call["id"] or "", call["name"] or "", {"malformed": call["args"]})
        for call in message.invalid_tool_calls
    ]
    return tuple(calls)


def _mark(message: AIMessage) -> str | None:
    for place in (message.additional_kwargs, message.response_metadata):
        if place:
            mark = _ours(place).get("mark")
            if isinstance(mark, str) and _MARK.fullmatch(mark):
                return mark
    return None


def _generated(message: AIMessage) -> list[File]:
    """Files of an earlier answer whose content the message still holds, for replays."""
    told = message.response_metadata
    listed = _ours(told).get("files") if told else None
    if not listed:
        return []
    return [
        File(file["name"], file["content"])
        for file in (listed if isinstance(listed, list) else ())
        if isinstance(file, Mapping)
        and isinstance(file.get("name"), str)
        and isinstance(file.get("content"), str)
    ]


def _ours(place: Mapping[str, Any]) -> Mapping[str, Any]:
    ours = place.get("stewrd")
    return ours if type(ours) is dict or isinstance(ours, Mapping) else _NOTHING


# -- answers ---------------------------------------------------------------------------


def to_message(outcome: Outcome, offer: Offer = NO_OFFER) -> AIMessage:
    """A complete answer as LangChain's message."""
    calls = [
        tool_call(name=call.name, args=dict(call.arguments), id=call.id)
        for call in outcome.reply.tool_calls
    ]
    return AIMessage(content=outcome.reply.message, tool_calls=calls, **_facts(outcome, offer))


def to_chunk(item: Event | Outcome, offer: Offer = NO_OFFER) -> AIMessageChunk:
    """What a stream hands out as LangChain's chunk.

    The facts come once, in the last chunk: where chunks are added up, texts in the metadata
    are strung together and numbers summed.
    """
    if type(item) is Token:  # quickly, as streams have thousands
        return AIMessageChunk(content=item.text)
    match item:
        case ToolStart(tool, text):
            return _progress({"type": "tool_start", "tool": tool, "message": text})
        case ToolEnd(tool):
            return _progress({"type": "tool_end", "tool": tool, "message": None})
        case Outcome():
            calls = [
                tool_call_chunk(
                    name=call.name, args=json.dumps(dict(call.arguments)), id=call.id, index=index
                )
                for index, call in enumerate(item.reply.tool_calls)
            ]
            return AIMessageChunk(
                content="", tool_call_chunks=calls, chunk_position="last", **_facts(item, offer)
            )
        case _:
            raise AssertionError(f"no stream hands out {item!r}")


def _progress(entry: dict[str, Any]) -> AIMessageChunk:
    # A list: it grows where chunks are added up.
    return AIMessageChunk(content="", response_metadata={"stewrd_progress": [entry]})


def _facts(outcome: Outcome, offer: Offer) -> dict[str, Any]:
    facts, followed = metadata(outcome), offer.look_at(outcome)
    told = {**facts, **followed, "stewrd": {**facts["stewrd"], **followed}}
    return {
        "additional_kwargs": {"stewrd": {"mark": outcome.mark}},
        "response_metadata": {
            **told,
            "id": outcome.reply.id,
            "model_name": MODEL_NAME,
            "model_provider": PROVIDER,
            "finish_reason": "tool_calls" if outcome.reply.tool_calls else "stop",
        },
    }
