"""One call with its retries, told step by step: what to send, how long to wait, what came of it.

Sans-I/O: both clients drive :func:`attempts` and do what its steps say. A POST is only repeated
where the first one was certainly not worked on, as the API honours no idempotency key.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from ..errors import (
    MalformedResponseError,
    NeverSentError,
    QuotaExceededError,
    RateLimitError,
    SessionLimitError,
    StewrdError,
    TimedOutError,
)
from ..values import dataclass
from .requests import HttpRequest, Kind
from .responses import Answer, Live, error_for, settled

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0

STALL = 300.0
"""Seconds that a stream may say nothing unless said otherwise: research may take minutes between
two events, and a whole answer is waited for as long."""

T = TypeVar("T")


class Deadline:
    """The moment by which a call must be over; None is never."""

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def left(self) -> float:
        """Seconds that are left; infinite where there is no deadline."""
        return float("inf") if self._end is None else self._end - self._clock()

    def cap(self, seconds: float) -> float:
        """A time-out of ``seconds``, or of what is left if that is less."""
        return min(seconds, max(self.left(), 0.001))

    def exceeded(self, kind: Kind, *, streaming: bool = False) -> TimedOutError | None:
        """The error to raise if the moment has passed."""
        if self.left() > 0:
            return None
        message = f"{kind.value} was not complete within {self._seconds:g} seconds."
        return TimedOutError(message, charged="likely" if streaming else None)


class Silence:
    """How long a stream has said nothing; keep-alive comments are nothing said.

    Args:
        longest: Seconds that it may last; None for as long as the deadline allows.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, longest: float | None, clock: Callable[[], float]) -> None:
        self._longest = longest
        self._clock = clock
        self._since = clock()

    def exceeded(self, chunk: bytes) -> TimedOutError | None:
        """The error to raise if it lasts for too long, now that these bytes have come.

        To be asked when their events were handed out: time that the caller takes for them is no
        silence.
        """
        if self._longest is None:
            return None
        now = self._clock()
        if not _is_comment(chunk):
            self._since = now
        if now - self._since <= self._longest:
            return None
        return TimedOutError(
            f"The stream said nothing for more than {self._longest:g} seconds (stall_timeout), "
            "though its connection was kept alive.",
            charged="likely",
        )


def _is_comment(chunk: bytes) -> bool:
    """Whether there is nothing but comments, as servers send them to keep a connection open."""
    if chunk[:1] not in b":\r\n":  # nor is it empty: most chunks begin with a field
        return False
    return all(not line or line.startswith(b":") for line in chunk.splitlines())


@dataclass(frozen=True, slots=True)
class Exchange:
    """A step: send this request, and come back with an ``Answer`` or an error."""

    request: HttpRequest
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: wait so many seconds."""

    seconds: float


Step: TypeAlias = "Exchange | Wait"
Outcome: TypeAlias = "Answer[Live] | StewrdError | None"
Call: TypeAlias = "Generator[Step, Outcome[Live], T]"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take, and how often it may be sent again.

    Args:
        timeout: Seconds for the whole call with its retries; None for no limit.
        max_retries: How often a request is sent again at most.
        clock: Seconds of a clock that never goes back.
        jitter: A random number from 0 to 1.
        stall_timeout: Seconds that a stream may say nothing; None for no limit of its own.
    """

    timeout: float | None = 600.0
    max_retries: int = 2
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    stall_timeout: float | None = STALL

    def deadline(self) -> Deadline:
        """The deadline of a call that begins now."""
        return Deadline(self.timeout, self.clock)

    def silence(self) -> Silence:
        """The silence of a stream that begins now."""
        return Silence(self.stall_timeout, self.clock)

    def pause(self, attempt: int, failure: StewrdError) -> float:
        """Seconds to wait after the given attempt, counted from 0."""
        if failure.retry_after is not None:
            return failure.retry_after
        return self.jitter() * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 16))


def attempts(
    request: HttpRequest,
    patience: Patience,
    deadline: Deadline,
    read: Callable[[Answer[Live]], T],
) -> Call[Live, T]:
    """One call: yields its steps, is sent their outcomes, returns what ``read`` makes of it.

    Raises:
        StewrdError: What the last attempt ended with.
    """
    attempt, arrived = 0, False
    while True:
        outcome = yield Exchange(request, deadline)
        assert outcome is not None
        result = _judge(request.kind, outcome, read)
        if not isinstance(result, StewrdError):
            return result
        arrived = arrived or result.sent
        result.sent = arrived  # an earlier attempt may have, though this one did not
        if attempt >= patience.max_retries or not may_repeat(request.kind, result):
            raise result
        pause = patience.pause(attempt, result)
        if pause >= deadline.left():
            raise result
        yield Wait(pause)
        attempt += 1


def may_repeat(kind: Kind, failure: StewrdError) -> bool:
    """Whether the very same request can be sent again without doing anything twice."""
    if isinstance(failure, NeverSentError):
        return True
    if isinstance(failure, (QuotaExceededError, SessionLimitError)):
        return False
    if isinstance(failure, RateLimitError):
        return failure.code in (None, "rate_limited")
    # Without Retry-After a 503 does not say that it will pass, nor a proxy's that we may repeat.
    return kind is Kind.RUN and failure.status == 503 and failure.retryable


def _judge(
    kind: Kind, outcome: Answer[Live] | StewrdError, read: Callable[[Answer[Live]], T]
) -> T | StewrdError:
    if isinstance(outcome, StewrdError):
        return settled(kind, outcome)
    if not outcome.ok:
        return error_for(kind, outcome.status, outcome.headers, outcome.body, veil=outcome.veil)
    try:
        return read(outcome)
    except MalformedResponseError as error:
        # Without the frames that read it, whose locals hold what the server wrote.
        return settled(kind, error.with_traceback(None))
