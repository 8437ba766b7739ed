"""Conversations that a history keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from langchain_core.messages import BaseMessage, HumanMessage

from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory

from ..entrances import Say, invoke

Histories: TypeAlias = Callable[..., StewrdChatMessageHistory]

TEXTS = ["My name is Ada.", "Who am I?", "How many messages have I sent?"]
LAST = "You have sent me 3 messages, this one included."


def told(message: BaseMessage) -> dict[str, Any]:
    facts: dict[str, Any] = message.response_metadata["stewrd"]
    return facts


async def talk(
    model: ChatStewrd,
    history: StewrdChatMessageHistory,
    *texts: str,
    say: Say = invoke,
    **who: Any,
) -> list[BaseMessage]:
    """A conversation that is kept in the history; gives back its answers."""
    answers: list[BaseMessage] = []
    for text in texts:
        question = HumanMessage(text)
        answers.append(await say(model, [*history.messages, question], **who))
        history.add_messages([question, answers[-1]])
    return answers
