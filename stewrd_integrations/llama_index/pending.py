"""What reaches the model besides the list: whether a call stands alone, and a memory's stamp.

Engines with a context of their own build their prompt as a template, ask for it by ``predict``,
and show no history at all on the first turn. So a memory leaves, for the call that it was asked
for, the conversation's stamp: in a context variable, which reaches the call in every mode. It
applies to one call only, and only to one that shows what the memory handed out. An engine that
fails before it calls the model leaves nothing to whoever comes next in its context.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation import (  # type: ignore[attr-defined]  # its public names, though it does not mark them so
    NullEventHandler,
    get_dispatcher,
)
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.span import SpanDropEvent  # type: ignore[attr-defined]  # likewise
from llama_index.core.instrumentation.span import active_span_id
from typing_extensions import override

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
        self.span = active_span_id.get()
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
        if text == said or not wrapped:
            return text == said
        # At first nothing but the text tells the call from others that are made meanwhile.
        first = not self._shown
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


_pending: ContextVar[Pending | None] = ContextVar("stewrd_pending", default=None)
_alone: ContextVar[bool] = ContextVar("stewrd_alone", default=False)
_rewritten: ContextVar[bool] = ContextVar("stewrd_rewritten", default=False)


class _Failures(NullEventHandler):
    """Ends what was left for an engine that fails, say when it retrieves: no call will come.

    It counts as none, since by it nobody hears of anything (see `events`).
    """

    @override
    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        pending = _pending.get()
        if pending and isinstance(event, SpanDropEvent) and event.span_id == pending.span:
            pending.over = True


get_dispatcher().add_event_handler(_Failures())


def leave(pending: Pending | None) -> None:
    """Leave a stamp for the call that follows in this context, in place of an earlier one.

    That one may still be wanted: by a stream that was begun here and calls the model in a
    copy of the context.
    """
    _pending.set(pending)


def claimed(messages: Sequence[ChatMessage]) -> Pending | None:
    """What a memory left for the call that shows these messages, if it did."""
    pending = _pending.get()
    if pending is None or _rewritten.get():
        return None
    if not pending.claim(messages, wrapped=not _alone.get()):
        return None
    return pending


@contextmanager
def standing_alone(*, rewritten: bool = False) -> Generator[None, None, None]:
    """Calls begun in here are no turns of a conversation, unless a memory says so.

    Args:
        rewritten: The memory is given something else than was answered, so none is a turn.
    """
    tokens = _alone.set(True), _rewritten.set(rewritten)
    try:
        yield
    finally:
        _alone.reset(tokens[0])
        _rewritten.reset(tokens[1])


def stands_alone() -> bool:
    """Whether the call at hand stands alone."""
    return _alone.get()
