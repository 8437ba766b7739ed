"""What reaches the model besides the list: whether a call stands alone, and a memory's stamp.

Engines with a context of their own build their prompt as a template, ask for it by ``predict``,
and show no history at all on the first turn. So a memory leaves, for the call that it was asked
for, the conversation's stamp: in a context variable, which reaches the call in every mode. It
applies to one call only, and only to one that shows what the memory handed out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

from llama_index.core.base.llms.types import ChatMessage

from ..stamps import Stamp

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
        self.over = False
        self.calls = 0
        self._alone = alone
        self._shown = _fingerprints(shown)
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
        spoken = [message for message in messages if message.role.value not in _SYSTEM]
        if not spoken or spoken[-1].role.value != "user":
            return False
        text, said = (spoken[-1].content or "").strip(), self.said.strip()
        if text != said and not (wrapped and _stands_in(said, text)):
            return False
        before = _fingerprints(spoken[:-1])
        return before[len(before) - len(self._shown) :] == self._shown


def _stands_in(said: str, text: str) -> bool:
    return bool(said) and re.search(rf"(?<!\S){re.escape(said)}(?!\S)", text) is not None


def _fingerprints(messages: Sequence[ChatMessage]) -> list[str]:
    texts = (f"{one.role.value}\n{(one.content or '').strip()}" for one in messages)
    return [hashlib.blake2b(t.encode("utf-8", "surrogatepass")).hexdigest() for t in texts]


_pending: ContextVar[Pending | None] = ContextVar("stewrd_pending", default=None)
_alone: ContextVar[bool] = ContextVar("stewrd_alone", default=False)


def leave(pending: Pending | None) -> None:
    """Leave a stamp for the call that follows in this context, in place of an earlier one."""
    former = _pending.get()
    if former is not None:
        former.over = True
    _pending.set(pending)


def claimed(messages: Sequence[ChatMessage]) -> Pending | None:
    """What a memory left for the call that shows these messages, if it did."""
    pending = _pending.get()
    if pending is None or not pending.claim(messages, wrapped=not _alone.get()):
        return None
    return pending


@contextmanager
def standing_alone() -> Generator[None, None, None]:
    """Calls begun in here are no turns of a conversation, unless a memory says so."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def stands_alone() -> bool:
    """Whether the call at hand stands alone."""
    return _alone.get()
