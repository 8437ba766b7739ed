"""Stamps on LlamaIndex's messages, and what the user wrote where an engine wraps it.

A memory stamps the messages that it hands out; the model reads the stamps. Agents with a state
write it into the newest user message, on its way to the model only: so that one tells beside
its stamp what it said before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from .. import stamps
from ..stamps import Stamp

SAID = "said"


class Unsaid(dict[str, Any]):
    """What stands in ``additional_kwargs`` for programs only.

    LlamaIndex's condensers write a message's ``additional_kwargs`` into their prompts, as Python
    shows them: so of this nothing is shown.
    """

    def __repr__(self) -> str:
        return "{}"


def stamped(messages: Sequence[ChatMessage], stamp: Stamp) -> list[ChatMessage]:
    """Copies of the messages with the stamp; of their blocks too, since agents write into them."""
    last = len(messages) - 1
    return [_stamped(message, stamp, newest=at == last) for at, message in enumerate(messages)]


def _stamped(message: ChatMessage, stamp: Stamp, *, newest: bool) -> ChatMessage:
    said = message.content if newest and message.role == MessageRole.USER else None
    extra = stamp.among(message.additional_kwargs, **({SAID: said} if said else {}))
    extra[stamps.OURS] = Unsaid(extra[stamps.OURS])
    blocks = [block.model_copy() for block in message.blocks]
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": extra})


def of(messages: Iterable[ChatMessage]) -> frozenset[Stamp]:
    """The stamps on a list's messages, true or not."""
    return stamps.found([message.additional_kwargs for message in messages])


def without(message: ChatMessage) -> ChatMessage:
    """The message without a stamp: itself, or a copy."""
    extra = stamps.without(message.additional_kwargs)
    if extra is message.additional_kwargs:
        return message
    return message.model_copy(update={"additional_kwargs": dict(extra)})


def said(message: ChatMessage) -> str | None:
    """What the newest user message said when the memory handed it out."""
    return stamps.beside(message.additional_kwargs, SAID)
