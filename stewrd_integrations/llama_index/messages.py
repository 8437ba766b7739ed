"""LlamaIndex's messages as ours, and our answers as LlamaIndex's.

All pure, but for documents that are given by a path, which are read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    DocumentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from ..errors import InvalidInputError
from ..offers import Offer
from ..runtime import metadata
from ..sessions.call import Outcome
from ..stamps import OURS
from ..types import Event, File, Message, Role, Token, ToolCall, ToolEnd, ToolStart
from .stamps import Unsaid

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
NO_OFFER: Final = Offer()
_MARK = re.compile(r"[0-9a-f]{32}")

UNTITLED = "input_document"
"""The title that LlamaIndex itself gives to a document without one."""


# -- theirs as ours --------------------------------------------------------------------


def read_messages(
    messages: Sequence[ChatMessage], said: Mapping[int, str] | None = None
) -> list[Message]:
    """Take a list of LlamaIndex's messages for ours.

    Args:
        messages: The whole list.
        said: What users said, by the place of messages that an engine may have written into:
            sent is what it wrote, and remembered is what comes back as history.

    Raises:
        InvalidInputError: A message holds what the API has no place for; says which, and
            what to do.
    """
    read = [_read(message, at) for at, message in enumerate(messages, 1)]
    for at, text in (said or {}).items():
        if read[at].role == "user" and text.strip() != read[at].text.strip():
            read[at] = replace(read[at], remembered=text)
    return read


class _Place:
    """Where something is wrong, in the words of an error."""

    def __init__(self, number: int, message: ChatMessage) -> None:
        self._message = f"Message {number} (from the {message.role.value})"

    def refuse(self, number: int, trouble: str, advice: str) -> InvalidInputError:
        return InvalidInputError(f"{self._message}, block {number}: {trouble}.", advice=advice)


def _read(message: ChatMessage, at: int) -> Message:
    role, blocks = _ROLES[message.role], message.blocks
    if len(blocks) == 1 and type(blocks[0]) is TextBlock:  # most of thousands: quickly read
        return _message(message, role, blocks[0].text)
    files: list[File] = []
    calls: list[ToolCall] = []
    place = _Place(at, message)
    for number, block in _blocks_besides_text(message, role):
        if isinstance(block, DocumentBlock) and role != "system":
            files.append(_file(block, number, place))
        elif isinstance(block, ToolCallBlock) and role == "assistant":
            calls.append(_tool_call(block, number, place))
        else:
            raise _misplaced(block, number, place)
    return _message(message, role, message.content or "", tuple(files), tuple(calls))


def _message(
    message: ChatMessage,
    role: Role,
    text: str,
    files: tuple[File, ...] = (),
    calls: tuple[ToolCall, ...] = (),
) -> Message:
    if not message.additional_kwargs:
        return Message(role, text, None, files, calls)
    return Message(
        role=role,
        text=text,
        name=_text_of(message, "name"),
        files=files,
        tool_calls=calls,
        tool_call_id=_text_of(message, "tool_call_id") if role == "tool" else None,
        mark=_mark(message) if role == "assistant" else None,
    )


def _blocks_besides_text(message: ChatMessage, role: Role) -> Iterator[tuple[int, object]]:
    """The blocks that say something, numbered from 1, without those of text.

    A cache point is a hint for the caches of other providers, and what an assistant thought
    is no part of what it said (other providers don't take it back from strangers either).
    """
    thinks = role == "assistant"
    for number, block in enumerate(message.blocks, 1):
        if isinstance(block, (TextBlock, CachePoint)):
            continue
        if thinks and isinstance(block, ThinkingBlock):
            continue
        yield number, block


def _misplaced(block: object, number: int, place: _Place) -> InvalidInputError:
    kind = str(getattr(block, "block_type", type(block).__name__))
    return place.refuse(
        number,
        f"Stewrd takes text and text files, and has no place for a block of type {kind!r} here",
        "Say it in a TextBlock, or pass its text as a DocumentBlock of the user's message.",
    )


def _file(block: DocumentBlock, number: int, place: _Place) -> File:
    if block.data is None and block.path is None:
        raise place.refuse(
            number,
            "the document has neither data nor a path, and a URL is not followed",
            "Fetch it yourself, and pass its text as data.",
        )
    try:
        # LlamaIndex does not say whether a stream given as data is one of bytes.
        content: bytes | str = block.resolve_document().read()
        text = content if isinstance(content, str) else content.decode("utf-8")
    except UnicodeDecodeError:
        trouble = "the document is not text in UTF-8"
        advice = (
            "Pass its text instead. LlamaIndex takes data that could be base64 for base64: "
            "encode such a text once."
        )
    except (OSError, ValueError) as error:
        trouble = f"the document can't be read or is empty ({type(error).__name__})"
        advice = "Pass a document that has some text."
    else:
        return File(_file_name(block), text)
    raise place.refuse(number, trouble, advice)


def _file_name(block: DocumentBlock) -> str:
    title = block.title or UNTITLED
    if title == UNTITLED and block.path is not None:
        return re.split(r"[/\\]", str(block.path))[-1] or title
    return title


def _tool_call(block: ToolCallBlock, number: int, place: _Place) -> ToolCall:
    given = block.tool_kwargs
    arguments = _object(given) if isinstance(given, str) else given
    if arguments is None:
        raise place.refuse(
            number,
            f"the arguments of the call of {block.tool_name!r} are not a JSON object",
            "Pass tool_kwargs as a dictionary.",
        )
    return ToolCall(block.tool_call_id or "", block.tool_name, arguments)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _text_of(message: ChatMessage, key: str) -> str | None:
    value = message.additional_kwargs.get(key)
    return value if isinstance(value, str) else None


def _mark(message: ChatMessage) -> str | None:
    ours = message.additional_kwargs.get("stewrd")
    mark = ours.get("mark") if isinstance(ours, dict) else None
    return mark if isinstance(mark, str) and _MARK.fullmatch(mark) else None


# -- ours as theirs --------------------------------------------------------------------


def chat_response(outcome: Outcome, offer: Offer = NO_OFFER) -> ChatResponse:
    """A complete answer, with what is to be said of an offer of tools.

    The message carries its mark and no more, since frameworks count what is in
    ``additional_kwargs`` as tokens; the response tells the rest, both in ``raw`` and in
    ``additional_kwargs``, flat and under ``stewrd``.
    """
    told = {**metadata(outcome), **offer.look_at(outcome)}
    return ChatResponse(message=_answer(outcome), raw=told, additional_kwargs=told)


def _answer(outcome: Outcome) -> ChatMessage:
    reply = outcome.reply
    documents = [_document(file) for file in reply.files if file.content]
    calls = [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=dict(call.arguments))
        for call in reply.tool_calls
    ]
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=[TextBlock(text=reply.message), *documents, *calls],
        additional_kwargs={OURS: Unsaid(mark=outcome.mark)},
    )


def _document(file: File) -> DocumentBlock:
    # Encoded, because LlamaIndex takes a text that could be base64 for base64.
    data = base64.b64encode((file.content or "").encode("utf-8", "replace"))
    return DocumentBlock(data=data, title=file.name, document_mimetype="text/plain")


class Writing:
    """An answer in the making: turns the events of a stream into chunks."""

    def __init__(self, offer: Offer = NO_OFFER) -> None:
        self._offer = offer
        self._text = ""

    def chunk(self, item: Event | Outcome) -> ChatResponse:
        """The chunk for an item of a stream; its message is all that was said so far.

        The deltas sum to the text of the last chunk, which is the complete answer. A
        capability that goes to work or has finished is a chunk with an empty delta, told in
        ``raw``.
        """
        if type(item) is Token:  # quickly, as streams have thousands
            self._text += item.text
            return self._so_far(item.text)
        match item:
            case ToolStart(tool, message):
                return self._so_far("", {"type": "tool_start", "tool": tool, "message": message})
            case ToolEnd(tool):
                return self._so_far("", {"type": "tool_end", "tool": tool})
            case Outcome():
                return chat_response(item, self._offer).model_copy(update={"delta": ""})
        raise AssertionError(f"{item!r} is not handed out")

    def _so_far(self, delta: str, raw: dict[str, Any] | None = None) -> ChatResponse:
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=self._text)])
        return ChatResponse(message=message, delta=delta, raw=raw)


def completion(response: ChatResponse) -> CompletionResponse:
    """A completion in the place of a chat's answer or chunk."""
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
    )
