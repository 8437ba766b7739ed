"""LlamaIndex's messages as the lines of a transcript, and back.

A line is LlamaIndex's own JSON of a message, lossless but for the stamp. What that form loses
or refuses to take back is seen to here: streams, files that are there no more, and images in
their old place.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from io import IOBase
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import BaseContentBlock, ChatMessage

from ..errors import InvalidInputError, StoreError
from ..stamps import OURS
from ..types import Message
from .messages import read_messages
from .stamps import without

_OF_FILES = ("image", "audio", "video")
"""Blocks that LlamaIndex makes only while the file at their path is there."""


def lines_of(messages: Iterable[ChatMessage]) -> list[str]:
    """The messages as lines, without stamps.

    Raises:
        InvalidInputError: One of them holds something that JSON has no place for; says which.
    """
    return [_line(message, place) for place, message in enumerate(messages, 1)]


def messages_of(lines: Iterable[str]) -> list[ChatMessage]:
    """New messages, made of lines.

    Raises:
        StoreError: A line is not a message.
    """
    return [_message(line) for line in lines]


def continuation(kept: Sequence[str], lines: Sequence[str]) -> list[str] | None:
    """What lines add to those that are kept; None if they are no continuation."""
    told = [_said(line) for line in lines[: len(kept)]]
    if len(lines) < len(kept) or told != [_said(line) for line in kept]:
        return None
    return list(lines[len(kept) :])


def _said(line: str) -> dict[str, Any] | None:
    """What is said by a line, whoever keeps it: without our mark and outer white space."""
    told = _told(line)
    if told is None:
        return None
    extra, blocks = told.get("additional_kwargs"), told.get("blocks")
    if isinstance(extra, dict):
        told["additional_kwargs"] = {key: extra[key] for key in extra if key != OURS}
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            block["text"] = block["text"].strip()
    return told


def heard(lines: Iterable[str]) -> list[Message]:
    """What of a transcript a session can have heard; the rest is no reason to keep it."""
    found: list[Message] = []
    for line in lines:
        try:
            found += read_messages([_message(line)])
        except (InvalidInputError, StoreError):
            continue
    return found


# -- a message as a line ---------------------------------------------------------------


def _line(message: ChatMessage, place: int) -> str:
    try:
        whole = _without_old_images(_without_streams(without(message)))
        return json.dumps(whole.model_dump(mode="json"))
    except (TypeError, ValueError, OSError, RecursionError) as error:
        problem = type(error).__name__
    raise InvalidInputError(
        f"Message {place} (from the {message.role.value}) holds something that is no JSON "
        f"({problem}).",
        advice="Look at its blocks and additional_kwargs: keep plain values there.",
    )


def _without_streams(value: Any) -> Any:
    """A message or a block with what its streams hold in their place.

    Encoded, because LlamaIndex takes a text that could be base64 for base64.
    """
    if isinstance(value, IOBase):
        value.seek(0)
        held: Any = value.read()
        return base64.b64encode(held.encode("utf-8") if isinstance(held, str) else held)
    if isinstance(value, BaseContentBlock):
        return value.model_copy(update={name: _without_streams(part) for name, part in value})
    if isinstance(value, list):
        return [_without_streams(part) for part in value]
    return value


def _without_old_images(message: ChatMessage) -> ChatMessage:
    """LlamaIndex has made blocks of the images there, and would make them once more."""
    extra = message.additional_kwargs
    if not extra.get("images"):
        return message
    rest = {name: value for name, value in extra.items() if name != "images"}
    return message.model_copy(update={"additional_kwargs": rest})


# -- a line as a message ---------------------------------------------------------------


def _message(line: str) -> ChatMessage:
    told = _told(line)
    try:
        message = _made_of(told) if told and "blocks" in told else None
    except (ValueError, TypeError, AttributeError):
        message = None
    if message is None:  # outside, since what was raised shows the line
        raise StoreError(
            "A transcript holds a line that is not a message.",
            advice="It was not written by this class, or by a later version; reset() forgets it.",
        )
    return message


def _told(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _made_of(told: Mapping[str, Any]) -> ChatMessage:
    """The message, also where a file that it names is there no more."""
    blocks, paths = list(told["blocks"]), {}
    for at, block in enumerate(blocks):
        if isinstance(block, dict) and block.get("block_type") in _OF_FILES and block.get("path"):
            paths[at] = Path(block["path"])
            blocks[at] = {**block, "path": None}
    message = ChatMessage.model_validate({**told, "blocks": blocks})
    for at, path in paths.items():
        message.blocks[at] = message.blocks[at].model_copy(update={"path": path})
    return message
