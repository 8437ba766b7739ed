"""Keyed digests of messages and conversations.

Everything that leaves the process for a store is a BLAKE2b hash under a key derived from the
API key, so that a stolen store tells nothing, not even of a message as short as "Yes.".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring_ascii

from ..types import File, Message, ToolCall
from ..values import dataclass

EMPTY = ""
"""The rolling digest of no messages."""

_ANY_TEXT = ("utf-8", "surrogatepass")


def normalise(text: str) -> str:
    """Drop outer white space and unify line endings: frameworks change both on the way."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.strip()


class Digester:
    """Makes every digest and key of one project, for as long as a turn takes.

    Args:
        secret: Up to 64 bytes that only holders of the API key can derive.
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=16)
        # A turn rolls up the same history several times: to find its binding, to hold it
        # against that, and to cover it.
        self._known: tuple[tuple[str, ...], list[str]] = ((), [EMPTY])
        self._covered: tuple[Covered | None, str] = (None, EMPTY)

    def key(self, *parts: str) -> str:
        """A store key from parts that can't run into one another."""
        return self.under(*parts[:1])(*parts[1:])

    def under(self, *parts: str) -> Callable[..., str]:
        """What makes the keys that begin with these parts: each as `key` makes it of all parts."""
        # What `json.dumps` makes of a list of texts, in a third of its time: a turn has a dozen.
        begun = self._keyed.copy()
        begun.update(f"[{', '.join(map(encode_basestring_ascii, parts))}".encode())

        def key(*more: str) -> str:
            hasher = begun.copy()
            hasher.update(f"{', '.join(['', *map(encode_basestring_ascii, more)])}]".encode())
            return hasher.hexdigest()

        return key

    def message(self, message: Message) -> str:
        """The digest of one message: a letter for its role, then the hash of what counts.

        An assistant's name is left out, and the files of a marked answer: frameworks stamp the
        one, and keep the other or not as they like, on what came from the session itself.
        """
        text = message.text if message.remembered is None else message.remembered
        text, role, kind = normalise(text), message.role, ""
        if message.tool_calls or message.tool_call_id or (message.files and _files(message)):
            kind, text = "+", json.dumps([text, *_attached(message)], sort_keys=True)
        name = ("" if role == "assistant" else message.name) or ""
        hasher = self._keyed.copy()
        hasher.update(f"{role}{kind}:{len(name)}:{name}:{text}".encode(*_ANY_TEXT))
        return role[0] + hasher.hexdigest()

    def answer(self, text: str, tool_calls: Sequence[ToolCall] = ()) -> str:
        """The digest of an assistant's message of these words and calls."""
        return self.message(Message("assistant", text, tool_calls=tuple(tool_calls)))

    def roll(self, before: str, digest: str) -> str:
        """The rolling digest of a prefix and one message more."""
        return self.rolling((digest,), before)[-1]

    def rolling(self, digests: Iterable[str], before: str = EMPTY) -> list[str]:
        """The rolling digests of every prefix: entry *n* is that of the first *n* messages."""
        rolled, fresh = [before], self._keyed.copy
        for digest in digests:  # in one loop, as histories have thousands
            hasher = fresh()
            hasher.update(f"{before}+{digest}".encode())
            before = hasher.hexdigest()
            rolled.append(before)
        return rolled

    def prefix(self, digests: tuple[str, ...], count: int) -> str:
        """The rolling digest of the first so many of them.

        Those of one list, asked for again and again in a turn, are rolled up once.
        """
        if self._known[0] is not digests:
            self._known = (digests, self.rolling(digests))
        return self._known[1][count]

    def remember(self, covered: Covered, rolled: str) -> Covered:
        """Note what was covered last, and its rolling digest."""
        self._covered = (covered, rolled)
        return covered

    def recall(self, covered: Covered) -> str | None:
        """The rolling digest of what was covered last, if it is this."""
        return self._covered[1] if self._covered[0] is covered else None


def _files(message: Message) -> tuple[File, ...]:
    ours = message.role == "assistant" and message.mark is not None
    return () if ours else message.files


def _attached(message: Message) -> tuple[object, ...]:
    return (
        [[file.name, file.content, file.url] for file in _files(message)],
        [[call.id, call.name, dict(call.arguments)] for call in message.tool_calls],
        message.tool_call_id,
        message.error,
    )


@dataclass(frozen=True, slots=True)
class Covered:
    """What need not be said again, small whatever its length.

    ``base`` is the rolling digest of all but the ``recent`` messages, of which there are
    ``base_count``; ``recent`` are the digests of the last ones, at most 64; ``first`` is the
    digest of the very first, which tells a rewind from a trim.
    """

    base: str = EMPTY
    base_count: int = 0
    recent: tuple[str, ...] = ()
    first: str = ""

    KEPT = 64

    @classmethod
    def of(cls, digester: Digester, digests: Sequence[str]) -> Covered:
        """All of these messages."""
        every = tuple(digests)  # the very same, if it is one
        surplus = max(0, len(every) - cls.KEPT)
        base, first = digester.prefix(every, surplus), every[0] if every else ""
        covered = cls(base, surplus, every[surplus:], first)
        return digester.remember(covered, digester.prefix(every, len(every)))

    @property
    def count(self) -> int:
        """How many messages are covered."""
        return self.base_count + len(self.recent)

    def rolling(self, digester: Digester) -> str:
        """The rolling digest of everything that is covered."""
        rolled = digester.recall(self)
        return digester.rolling(self.recent, self.base)[-1] if rolled is None else rolled

    def extended(self, digester: Digester, digests: Sequence[str]) -> Covered:
        """The same and these messages after it."""
        recent = self.recent + tuple(digests)
        surplus = max(0, len(recent) - self.KEPT)
        base = digester.rolling(recent[:surplus], self.base)[-1] if surplus else self.base
        first = self.first or (recent[0] if recent else "")
        covered = Covered(base, self.base_count + surplus, recent[surplus:], first)
        rolled = digester.recall(self)
        if rolled is not None:
            digester.remember(covered, digester.rolling(digests, rolled)[-1])
        return covered
