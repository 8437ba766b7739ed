"""Conversations, and handlers that note what core calls back with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import LLMResult

from stewrd_integrations.langchain import ChatStewrd


def talk(model: ChatStewrd, *texts: str, **who: Any) -> list[BaseMessage]:
    """A conversation of several turns; ends with the last answer."""
    messages: list[BaseMessage] = []
    for text in texts:
        messages.append(HumanMessage(text))
        messages.append(model.invoke(messages, **who))
    return messages


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ended: list[BaseMessage] = []
        self.failed: list[BaseException] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.seen.append(token)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        generation: Any = response.generations[0][0]
        self.ended.append(generation.message)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failed.append(error)


async def until(happened: Callable[[], Any]) -> None:
    """Wait for what core does in a task of its own, after it gave the answer."""
    for _ in range(100):
        if happened():
            return
        await asyncio.sleep(0.01)


class AsyncTokens(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.seen.append(token)
