"""What reaches the model besides the list: whether a call stands alone, and a memory's stamp.

Engines with a context of their own build their prompt as a template, ask for it by ``predict``,
and show no history at all on the first turn. So a memory leaves, for the call that it was asked
for, the conversation's stamp: in a context variable, which reaches the call in every mode. It
applies to one call only, to one that shows what the memory handed out, and only to a call of the
engine's own: one in its span, while that is open, and in no other engine's within. Whoever comes
next in the same thread or task can't take it, be the engine done, failed, or streaming on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import BoundArguments
from itertools import count
from typing import Any, NamedTuple

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # its public name, though it does not mark it so
from llama_index.core.instrumentation.span_handlers import NullSpanHandler
from typing_extensions import override

from ..errors import InvalidInputError, StewrdError
from ..stamps import Stamp
from .stamps import of

_SYSTEM = ("system", "developer")


class Pending:
    """The stamp that a memory left for one call.

    Streamed engines call the model in a thread with a copy of the context, so this is one
    object for all copies: who used it up, did so for everybody.

    Args:
        stamp: The conversation's.
        shown: The messages that the memory handed out.
        said: What the user said, as the engine told the memory.
        alone: The conversation's answers are put together from several calls, of which none
            is a turn of it.
    """

    def __init__(
        self, stamp: Stamp, shown: Sequence[ChatMessage], said: str, *, alone: bool
    ) -> None:
        self.stamp = stamp
        self.said = said
        self.engine = _engine_at_work()
        self.over = False
        self.calls = 0
        self._alone = alone
        self._shown = _fingerprints(_spoken(shown))
        self._claims = count()

    def claim(self, messages: Sequence[ChatMessage], *, wrapped: bool) -> bool:
        """Whether a call is the one; it is for the first that asks.

        Args:
            messages: What the call shows.
            wrapped: The engine may have put a context around what the user said.
        """
        if self.over or not self._fits(messages, wrapped):
            return False
        self.calls += 1
        return next(self._claims) == 0 and not self._alone

    def _fits(self, messages: Sequence[ChatMessage], wrapped: bool) -> bool:
        spoken = _spoken(messages)
        if not spoken or spoken[-1].role.value != "user":
            return False
        before = spoken[:-1]
        handed_out = before[len(before) - len(self._shown) :]
        # Another's history may read the same, but it has not this stamp.
        if any(of([message]) != {self.stamp} for message in handed_out):
            return False
        if _fingerprints(handed_out) != self._shown:
            return False
        text, said = (spoken[-1].content or "").strip(), self.said.strip()
        # The engines that wrap bring a system message; a retriever's question of its own has none.
        first = not self._shown
        if text == said or not wrapped or messages[0] is spoken[0]:
            return text == said
        # At first nothing but the text tells the call from others that are made meanwhile.
        return not (first and before) and _stands_in(said, text, ends_line=first)


def _spoken(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    return [message for message in messages if message.role.value not in _SYSTEM]


def _stands_in(said: str, text: str, *, ends_line: bool) -> bool:
    end = r"[^\S\n]*$" if ends_line else r"(?!\S)"
    pattern = rf"(?<!\S){re.escape(said)}{end}"
    return bool(said) and re.search(pattern, text, re.MULTILINE) is not None


def _fingerprints(messages: Sequence[ChatMessage]) -> list[str]:
    texts = (f"{one.role.value}\n{(one.content or '').strip()}" for one in messages)
    return [hashlib.blake2b(t.encode("utf-8", "surrogatepass")).hexdigest() for t in texts]


DEEPEST = 64
"""Spans that are kept in mind, one within the other."""

_ENGINES = (BaseChatEngine, BaseQueryEngine)


class _Span(NamedTuple):
    """A span of LlamaIndex that a context is in: of an engine, a stream's end, or anything."""

    id: str
    engine: int | None
    writes: bool


_spans: ContextVar[tuple[_Span, ...]] = ContextVar("stewrd_spans", default=())
_open: set[str] = set()
"""Spans of engines that have not ended, in whatever thread or task."""


class _Spans(NullSpanHandler):
    """Keeps in mind in which spans of LlamaIndex a context is, from the outermost on.

    Threads and tasks that were begun in a span are in it as long as they run. Where an
    application takes this handler away, no stamp is ever taken: turns are answered all the
    same, without a session.
    """

    @override
    def span_enter(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The context is in this span from now on."""
        is_engine = isinstance(instance, _ENGINES)
        if is_engine:
            _open.add(id_)
        writes = isinstance(instance, StreamingAgentChatResponse)
        span = _Span(id_, id(instance) if is_engine else None, writes)
        _spans.set((*_up_to(parent_id), span)[-DEEPEST:])

    @override
    def span_exit(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any = None,
        result: Any = None,
        **kwargs: Any,
    ) -> None:
        """The context has left the span."""
        _leave_span(id_)

    @override
    def span_drop(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """The context has left the span by a failure."""
        _leave_span(id_)


def _up_to(id_: str | None) -> tuple[_Span, ...]:
    """The spans around, from the outermost to this one; none if it is not among them."""
    around = _spans.get()
    ids = [span.id for span in around]
    return around[: ids.index(id_) + 1] if id_ in ids else ()


def _leave_span(id_: str) -> None:
    _open.discard(id_)
    around = _up_to(id_)
    if around:
        _spans.set(around[:-1])


def _engine_at_work() -> _Span | None:
    """The innermost engine whose span the context is in."""
    return next((span for span in reversed(_spans.get()) if span.engine), None)


def _is_at_work(engine: _Span) -> bool:
    """Whether a call made here and now is one of that engine's own.

    It is in its span, and in no other engine's within. Once that has ended, what it began may
    live on and serve others; but who writes a streamed answer down still is at its work.
    """
    within = _engine_at_work()
    if within is None or within.engine != engine.engine:
        return False
    around = _spans.get()
    if engine not in around:
        return False
    return engine.id in _open or any(span.writes for span in around[around.index(engine) :])


get_dispatcher().add_span_handler(_Spans())

_pending: ContextVar[Pending | None] = ContextVar("stewrd_pending", default=None)
_alone: ContextVar[bool] = ContextVar("stewrd_alone", default=False)
_rewritten: ContextVar[bool] = ContextVar("stewrd_rewritten", default=False)


def leave(pending: Pending | None) -> None:
    """Leave a stamp for the call that follows in this context, in place of an earlier one.

    That one may still be wanted: by a stream that was begun here and calls the model in a
    copy of the context. Outside of any engine, nothing would tell when it is over.
    """
    _pending.set(pending if pending and pending.engine else None)


def claimed(messages: Sequence[ChatMessage]) -> Pending | None:
    """What a memory left for the call that shows these messages, if it did."""
    pending = _pending.get()
    if pending is None or pending.engine is None or not _is_at_work(pending.engine):
        return None
    first = pending.claim(messages, wrapped=not _alone.get())
    return pending if first and not _rewritten.get() else None


@contextmanager
def standing_alone(*, rewritten: bool = False) -> Generator[None, None, None]:
    """Calls begun in here are no turns of a conversation, unless a memory says so.

    What is wrong with a call is raised as a plain `StewrdError`: LlamaIndex's synthesizers take
    a ValueError for an answer without content, and go on with "Empty Response".

    Args:
        rewritten: The memory is given something else than was answered, so none is a turn.
    """
    tokens = _alone.set(True), _rewritten.set(rewritten)
    try:
        yield
    except InvalidInputError as error:
        raise StewrdError(error.message, advice=error.advice) from error
    finally:
        _alone.reset(tokens[0])
        _rewritten.reset(tokens[1])


def stands_alone() -> bool:
    """Whether the call at hand stands alone."""
    return _alone.get()
