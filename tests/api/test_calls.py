"""The retries, with a clock and a die of our own and no socket at all."""

from __future__ import annotations

from typing import Any

from stewrd_integrations.api.calls import Call, Deadline, Exchange, Patience, Wait, attempts
from stewrd_integrations.api.requests import HttpRequest, Kind
from stewrd_integrations.api.responses import Answer
from stewrd_integrations.errors import NeverSentError, RateLimitError, StewrdError, TimedOutError

RUN = HttpRequest(Kind.RUN, "/v1/agent", b"{}")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def drive(patience: Patience, *outcomes: Any) -> tuple[list[float], Any]:
    """The waits, and the result or error."""
    call: Call[None, bytes] = attempts(
        RUN, patience, patience.deadline(), lambda answer: answer.body
    )
    waits, pending, step = [], list(outcomes), next(call)
    try:
        while True:
            if isinstance(step, Exchange):
                step = call.send(pending.pop(0))
            else:
                assert isinstance(step, Wait)
                waits.append(step.seconds)
                step = call.send(None)
    except StopIteration as stop:
        return waits, stop.value
    except StewrdError as error:
        return waits, error


def refused(headers: Any = None) -> Answer[None]:
    return Answer(Kind.RUN, 429, headers or {}, b'{"error": {"code": "rate_limited"}}')


def test_pauses_grow_with_full_jitter() -> None:
    waits, result = drive(
        Patience(max_retries=7, clock=Clock(), jitter=lambda: 1.0),
        *[NeverSentError("x")] * 7,
        Answer(Kind.RUN, 200, {}, b"ok"),
    )
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    assert result == b"ok"
    waits, _ = drive(Patience(jitter=lambda: 0.25, clock=Clock()), *[NeverSentError("x")] * 3)
    assert waits == [0.125, 0.25]


def test_the_last_failure_is_raised() -> None:
    waits, result = drive(Patience(jitter=lambda: 0), refused(), refused(), refused())
    assert len(waits) == 2
    assert type(result) is RateLimitError
    assert result.__context__ is None


def test_what_an_earlier_attempt_has_sent_stays_sent() -> None:
    once = Patience(max_retries=1, jitter=lambda: 0, clock=Clock())
    for first, sent in ((refused(), True), (NeverSentError("x"), False)):
        _, error = drive(once, first, NeverSentError("y"))
        assert (error.message, error.sent) == ("y", sent)


def test_retry_after_goes_before_jitter() -> None:
    waits, _ = drive(
        Patience(clock=Clock()),
        refused({"retry-after": "7"}),
        refused({"retry-after": "900"}),
        Answer(Kind.RUN, 200),
    )
    assert waits == [7, 60]


def test_no_wait_beyond_the_deadline() -> None:
    patience = Patience(timeout=7, clock=Clock())
    waits, result = drive(patience, refused({"retry-after": "7"}))
    assert (waits, type(result)) == ([], RateLimitError)


def test_a_deadline() -> None:
    clock = Clock()
    deadline = Deadline(10, clock)
    assert (deadline.left(), deadline.cap(5), deadline.cap(30)) == (10, 5, 10)
    assert deadline.exceeded(Kind.RUN) is None
    clock.now += 10
    assert isinstance(deadline.exceeded(Kind.RUN), TimedOutError)
    assert deadline.cap(5) == 0.001
    assert Deadline(None, clock).cap(300) == 300
    assert Deadline(None, clock).exceeded(Kind.RUN) is None
