"""Stamps on LangChain's messages; the model takes them off before anybody else sees the list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue

from .. import stamps
from ..stamps import Stamp


def stamped(message: BaseMessage, stamp: Stamp) -> BaseMessage:
    """A copy of the message with the stamp."""
    return message.model_copy(update={"additional_kwargs": stamp.among(message.additional_kwargs)})


def of(messages: Iterable[object]) -> frozenset[Stamp]:
    """The stamps on a list's messages, true or not."""
    # By the attribute, which is found sooner than a message's class among those of pydantic.
    return stamps.found([getattr(message, "additional_kwargs", None) for message in messages])


def without(message: BaseMessage) -> BaseMessage:
    """The message without a stamp: itself, or a copy."""
    extra = stamps.without(message.additional_kwargs)
    if extra is message.additional_kwargs:
        return message
    return message.model_copy(update={"additional_kwargs": extra})


def taken_off(shown: LanguageModelInput) -> tuple[LanguageModelInput, frozenset[Stamp]]:
    """A model's input without its stamps, and the stamps."""
    messages: Any = shown.to_messages() if isinstance(shown, PromptValue) else shown
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        return shown, frozenset()
    found = of(messages)
    if not found:
        return shown, found
    return [without(m) if isinstance(m, BaseMessage) else m for m in messages], found
