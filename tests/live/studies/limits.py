"""Limits, each in a group of its own: what it takes to reach one is too much to do unasked."""

from __future__ import annotations

from collections.abc import Callable

from ..lab import CHAT, HOW, Lab, Unclear, Word, asking, repeated
from ..questions import Question, Study, anything, starts
from ..seen import Seen
from .tooling import OFFER, ONCE, asks, give

MARGIN = 60.0
EMPTY = {**CHAT, "message": ""}
SHORT = 1_000
STEPS = 14


# -- the length of a message -----------------------------------------------------------


def _length(lab: Lab) -> None:
    low, high = SHORT, lab.limits.longest
    last = _sized(lab, high)
    if last.ok:
        lab.found("length.message", f"no limit up to {high} characters")
        return
    if not _sized(lab, low).ok:
        raise Unclear(f"a message of {low} characters was not answered either")
    for _ in range(STEPS - 2):
        if high - low <= max(100, low // 50):
            break
        middle = (low + high) // 2
        seen = _sized(lab, middle)
        low, high, last = (middle, high, last) if seen.ok else (low, middle, seen)
    lab.found("length.message", f"between {low} and {high} characters: {last.refusal}", last)


def _sized(lab: Lab, size: int) -> Seen:
    begin, end = "Ignore this: ", " Answer only with: OK"
    filler = "ab " * (size // 3 + 1)
    seen = lab.send(None, begin + filler[: size - len(begin) - len(end)] + end)
    if seen.status is not None and (seen.ok or seen.status in (400, 413, 414, 422)):
        return seen
    raise Unclear(f"a message of {size} characters was neither answered nor refused as such")


LENGTH = Study(
    "length",
    (
        Question(
            "length.message",
            "How long may a message be?",
            "at least the 100,000 characters of replay_budget",
            starts("no limit"),
            "set replay_budget below the limit",
        ),
    ),
    _length,
    credits=STEPS,
    requests=STEPS,
    group="length",
)


# -- the requests of a minute ----------------------------------------------------------


def _rate(lab: Lab) -> None:
    lab.target.wait(MARGIN)
    with lab.line.unpaced():
        told = _until(429, lab.limits.rate + 10, lambda: lab.line.post("/v1/agent", EMPTY))
    lab.target.wait(MARGIN)
    last = told[-1]
    if last.status != 429:
        lab.found("rate.limit", f"none of {len(told)} refused requests is too many", last)
        lab.not_tried("rate.retry_after", "no 429 came")
        return
    lab.found("rate.limit", f"{last.refusal} at request {len(told)}", last)
    lab.found("rate.retry_after", retry_after(last), last)


def _until(status: int | None, times: int, send: Callable[[], Seen]) -> list[Seen]:
    """Send until an answer has this status, or is a refusal if it is None, or often enough."""
    told: list[Seen] = []
    while len(told) < times:
        told.append(send())
        if told[-1].status == status or (status is None and not told[-1].ok):
            break
    return told


def retry_after(seen: Seen) -> str:
    """The form of a Retry-After."""
    value = seen.headers.get("retry-after", "")
    if not value:
        return "absent"
    return "in seconds" if value.strip().isdigit() else "as a date"


RATE = Study(
    "rate",
    (
        Question(
            "rate.limit",
            "What does one request too many in a minute get?",
            "429 rate_limited",
            starts("429 rate_limited", "none"),
            "a 429 with another code is not repeated",
        ),
        Question("rate.retry_after", "Does it say when to come again?", "it may", anything, ""),
    ),
    _rate,
    credits=1,
    requests=70,
    group="rate",
)


# -- the messages of a session ---------------------------------------------------------


def _cap(lab: Lab) -> None:
    lab.require_memory()
    session, first = lab.open(), lab.word()
    lab.said(session, first.message)
    _fill(lab, session, lab.limits.history // 2 - 2)
    last = lab.tell(session)
    lab.found("cap.message_51", _passing(lab, session, first, last), how=HOW)
    if not lab.takes_tools:
        lab.not_tried("cap.rounds", "no session's message asked for outputs")
        return
    lab.found("cap.rounds", _rounds(lab), how=HOW)


def _fill(lab: Lab, session: str, exchanges: int) -> None:
    for _ in range(exchanges):
        lab.said(session, "Answer only with: OK")


def _passing(lab: Lab, session: str, first: Word, last: Word) -> str:
    """What becomes of the message that passes the cap, which asks for two words."""
    words = (first, last)
    seen = lab.send(session, asking(*words))
    if not seen.ok:
        return f"refused: {seen.refusal}"
    heard = repeated(seen, *words)
    if not heard[1]:
        raise Unclear("the agent did not repeat the newest word either")
    return "nothing is dropped" if heard[0] else "the oldest are dropped"


def _rounds(lab: Lab) -> str:
    """The same with a round of tools in the session, which is full only if that counts."""
    session, first = lab.open(), lab.word()
    lab.said(session, first.message)
    asked = lab.send(session, ONCE, **OFFER)
    if not asks(asked) or not give(lab, asked, "entry one").ok:
        raise Unclear("the session's run did not ask for outputs, or did not take them")
    _fill(lab, session, lab.limits.history // 2 - 4)
    told = _passing(lab, session, first, lab.tell(session))
    return "do not count" if told == "nothing is dropped" else "count"


CAP = Study(
    "cap",
    (
        Question(
            "cap.message_51",
            "What becomes of a session's message beyond the cap?",
            "it is never sent",
            anything,
            "",
        ),
        Question(
            "cap.rounds",
            "Do the calls and outputs of a run with tools count?",
            "they are counted",
            starts("count"),
            "harmless: sessions are left some messages early",
        ),
    ),
    _cap,
    credits=54,
    requests=56,
    sessions=2,
    group="cap",
    needs_memory=True,
)


# -- the life of a session -------------------------------------------------------------


def _wait(lab: Lab) -> None:
    session = lab.open()
    lab.tell(session)
    asked = lab.send(None, ONCE, **OFFER)
    lab.target.wait(lab.limits.tools + MARGIN)
    if asks(asked):
        late = give(lab, asked, "entry one")
        lab.found("wait.outputs", late.outcome, asked, late)
    else:
        lab.unclear("wait.outputs", "the agent did not call the tool that it was told to call")
    lab.target.wait(lab.limits.idle - lab.limits.tools)
    seen = lab.send(session, "Answer only with: OK")
    lab.found("wait.expired", "still alive" if seen.ok else seen.refusal, seen)
    lab.drop_shared()
    if seen.ok:
        lab.unclear("wait.order", "the session had not expired")
        return
    wrong = lab.send(session, "")
    first = "the body" if wrong.status == 400 else "the session"
    lab.found("wait.order", f"{first} first: {wrong.status}", wrong)


WAIT = Study(
    "wait",
    (
        Question(
            "wait.expired",
            "What does a message to an expired session get?",
            "410, or 404, with whatever code",
            starts("410", "404"),
            "an expired session would not be recreated",
        ),
        Question(
            "wait.order",
            "Is the body checked before the session has expired?",
            "either: bodies are checked before they are sent",
            anything,
            "",
        ),
        Question(
            "wait.outputs",
            "What do outputs get that come too late?",
            "404: calls and results are replayed",
            starts("404", "410"),
            "a run that is gone would not be replayed",
        ),
    ),
    _wait,
    credits=4,
    requests=6,
    sessions=1,
    group="wait",
)


# -- the sessions of a project ---------------------------------------------------------


def _slots(lab: Lab) -> None:
    told = _until(None, lab.limits.sessions + 1, lab.create)
    last = told[-1]
    if last.ok:
        lab.found("slots.limit", f"none in {len(told)} creates", last)
        lab.not_tried("slots.retry_after", "no create was refused")
        return
    how = f"It was create {len(told)} of this study; sessions of before take slots, too."
    lab.found("slots.limit", last.refusal, last, how=how)
    lab.found("slots.retry_after", retry_after(last), last)


SLOTS = Study(
    "slots",
    (
        Question(
            "slots.limit",
            "What does one session too many get?",
            "429 on a create is the session limit, unless it is quota_exceeded",
            lambda value: value.startswith("429") and "quota" not in value,
            "the turn would fail and not run without a session",
        ),
        Question("slots.retry_after", "Does it say when to come again?", "it may", anything, ""),
    ),
    _slots,
    credits=0,
    requests=11,
    sessions=10,
    group="slots",
)
