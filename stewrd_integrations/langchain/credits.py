"""What a run costs: credits and tokens, summed over every call of a model or a tool in it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    AsyncCallbackManagerForToolRun,
    BaseCallbackHandler,
    CallbackManagerForToolRun,
)
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from typing_extensions import override

from ..errors import StewrdError
from .messages import PROVIDER

ToolRun: TypeAlias = CallbackManagerForToolRun | AsyncCallbackManagerForToolRun | None
_CORES_ID = "lc_run-"


class CreditsCallbackHandler(BaseCallbackHandler):
    """Sums what the answers of `ChatStewrd`, `StewrdTool` and `StewrdToolkit` cost.

    An answer that comes from LangChain's cache costs nothing and is not counted. Files that are
    downloaded cost nothing either.

    Attributes:
        answers: Complete answers, of models and of tools.
        credits: Their credits, as far as they are known.
        estimated: How many of those credits were reckoned from the capabilities named, where
            the API did not tell.
        unknown: Answers whose credits nobody knows.
        tokens: Their tokens, as far as the API told.
        failures: Calls that may have been charged and gave no complete answer: they failed, were
            cancelled, or their stream was left before its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._under_way: set[UUID] = set()
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

    # -- calls of models ---------------------------------------------------------------

    @override
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that a call of `ChatStewrd` is under way; other models' are none of ours."""
        if (metadata or {}).get("ls_provider") == PROVIDER:
            with self._lock:
                self._under_way.add(run_id)

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Count an answer."""
        self._ends(run_id)
        for generations in response.generations:
            for generation in generations:
                message = generation.message if isinstance(generation, ChatGeneration) else None
                told = message.response_metadata.get("stewrd") if message else None
                if message and isinstance(told, dict) and not _was_cached(message, run_id):
                    self.count(told.get("usage") or {})

    @override
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a call that failed or was left, if it may have been charged."""
        if self._ends(run_id):
            self.count_failure(error)

    def left(self, run_id: UUID, error: BaseException) -> None:
        """Count a call that was cancelled where core tells nobody."""
        if self._ends(run_id):
            self.count_failure(error)

    def _ends(self, run_id: UUID) -> bool:
        """Whether it was under way until now."""
        with self._lock:
            was = run_id in self._under_way
            self._under_way.discard(run_id)
        return was

    # -- counting ----------------------------------------------------------------------

    def count(self, usage: Mapping[str, Any]) -> None:
        """Count an answer by what it tells of its ``usage``."""
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

    def count_failure(self, error: BaseException) -> None:
        """Count a call that gave no complete answer, if it may have been charged."""
        if _may_be_charged(error):
            with self._lock:
                self.failures += 1


def _was_cached(message: BaseMessage, run_id: UUID) -> bool:
    """Whether it is an earlier run's: core names a fresh message after the run that it is of."""
    told = message.id or ""
    return told.startswith(_CORES_ID) and str(run_id) not in told


def _may_be_charged(error: BaseException) -> bool:
    if isinstance(error, StewrdError):
        return error.charged != "no"
    # Whoever cancels, interrupts, or leaves a stream does so while the agent is at work.
    return not isinstance(error, Exception)


# What is told to nobody by core, or only where a tool was called in one of several ways.


def tell_of_answer(run: ToolRun, usage: Mapping[str, Any]) -> None:
    """Count a tool's answer with whoever counts in its run."""
    for handler in run.handlers if run else ():
        if isinstance(handler, CreditsCallbackHandler):
            handler.count(usage)


def tell_of_failure(run: ToolRun, error: BaseException) -> None:
    """Count a tool's failure with whoever counts in its run."""
    for handler in run.handlers if run else ():
        if isinstance(handler, CreditsCallbackHandler):
            handler.count_failure(error)


def tell_of_leaving(run: AsyncCallbackManagerForLLMRun | None, error: BaseException) -> None:
    """Count a model's call that was cancelled with whoever counts in its run."""
    if run is None:
        return
    for handler in run.handlers:
        if isinstance(handler, CreditsCallbackHandler):
            handler.left(run.run_id, error)


_current: ContextVar[CreditsCallbackHandler | None] = ContextVar("stewrd_credits", default=None)


@cache
def _register() -> None:
    """Tell core once where the handler at work is."""
    from langchain_core.tracers.context import (  # noqa: PLC0415 - it brings all of tracing along
        register_configure_hook,
    )

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
    _register()
    handler = CreditsCallbackHandler()
    token = _current.set(handler)
    try:
        yield handler
    finally:
        _current.reset(token)
