"""What a run costs: credits and tokens, summed over every call of a model in it."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

from ..errors import StewrdError


class CreditsCallbackHandler(BaseCallbackHandler):
    """Sums what the answers of `ChatStewrd` tell about their cost.

    Attributes:
        answers: Complete answers.
        credits: Their credits, as far as they are known.
        estimated: How many of those credits were reckoned from the capabilities named, where
            the API did not tell.
        unknown: Answers whose credits nobody knows.
        tokens: Their tokens, as far as the API told.
        failures: Calls that failed and may have been charged all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self.answers = 0
        self.credits = 0.0
        self.estimated = 0.0
        self.unknown = 0
        self.tokens = 0
        self.failures = 0

    def __repr__(self) -> str:
        parts = [f"{self.answers} answers", f"{self.credits:g} credits"]
        if self.estimated:
            parts.append(f"{self.estimated:g} of them estimated")
        if self.unknown:
            parts.append(f"{self.unknown} of unknown cost")
        if self.failures:
            parts.append(f"{self.failures} failures that may have been charged")
        return f"CreditsCallbackHandler({', '.join(parts)}, {self.tokens} tokens)"

    @override
    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Count an answer."""
        for generations in response.generations:
            for generation in generations:
                message = generation.message if isinstance(generation, ChatGeneration) else None
                told = message.response_metadata.get("stewrd") if message else None
                if isinstance(message, AIMessage) and isinstance(told, dict):
                    self._count(told.get("usage") or {})

    def _count(self, usage: dict[str, Any]) -> None:
        with self._lock:
            self.answers += 1
            self.tokens += usage.get("tokens") or 0
            credits = usage.get("credits")
            if credits is None:
                self.unknown += 1
                return
            self.credits += credits
            if usage.get("estimated"):
                self.estimated += credits

    @override
    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        """Count a call that failed, if it may have been charged."""
        if isinstance(error, StewrdError) and error.charged != "no":
            with self._lock:
                self.failures += 1


_current: ContextVar[CreditsCallbackHandler | None] = ContextVar("stewrd_credits", default=None)
register_configure_hook(_current, inheritable=True)


@contextmanager
def get_credits_callback() -> Generator[CreditsCallbackHandler, None, None]:
    """Count the credits and tokens of everything that runs inside.

    ```python
    with get_credits_callback() as spent:
        agent.invoke({"messages": "What is new in Lisbon?"})
    print(spent.credits, spent.estimated, spent.tokens)
    ```

    Yields:
        The handler that counts. It may be given as a callback itself, too.
    """
    handler = CreditsCallbackHandler()
    token = _current.set(handler)
    try:
        yield handler
    finally:
        _current.reset(token)
