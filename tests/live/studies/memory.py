"""What refused, failed, abandoned and repeated messages leave in a session, and on the bill."""

from __future__ import annotations

import re
import uuid

from ..lab import HOW, Lab, Unclear, Word
from ..questions import Question, Study, anything, one_of
from ..seen import Seen

LEFT = one_of("left in the session", "not left in the session")
DROPPED = "it may be there, and the session is not used again"


def _refused(lab: Lab) -> None:
    lab.require_memory()
    session, word, before = lab.shared(), lab.word(), lab.line.balance
    seen = lab.send(session, word.message, capabilities=["no_such_capability"])
    if seen.ok:
        raise Unclear("an unknown capability was not refused")
    lab.found("refused.400", lab.left(session, word), seen, *lab.trail[-1:], how=HOW)
    charged = lab.charged_since(before)
    if charged is None:
        lab.unclear("refused.charge", "the answers do not tell the balance")
    else:
        lab.found("refused.charge", "nothing" if charged == 0 else f"{charged}")
    _disabled(lab, session)


def _disabled(lab: Lab, session: str) -> None:
    name = lab.limits.disabled
    if name is None:
        why = "needs a capability that the project has not enabled: name it with --disabled"
        lab.not_tried("refused.403", why)
        return
    word = lab.word()
    seen = lab.send(session, word.message, capabilities=[name])
    if seen.status != 403:
        lab.unclear("refused.403", f"the capability {name} was not refused with 403")
        return
    lab.found("refused.403", lab.left(session, word), seen, *lab.trail[-1:], how=HOW)


REFUSED = Study(
    "refused",
    (
        Question(
            "refused.400",
            "Does a message that is refused with 400 stay in the session?",
            "it does not: the session is kept",
            one_of("not left in the session"),
            "the failure table must drop the session after a 400",
        ),
        Question(
            "refused.charge",
            "What does such a message cost?",
            "nothing",
            one_of("nothing"),
            "errors must not say that nothing was charged",
        ),
        Question(
            "refused.403",
            "Does a message that is refused with 403 stay in the session?",
            DROPPED,
            LEFT,
            "",
        ),
    ),
    _refused,
    credits=7,
    requests=5,
    sessions=1,
    needs_memory=True,
)


def _low_balance(lab: Lab) -> None:
    lab.require_memory()
    session, word = lab.shared(), lab.word()
    everything = ["chat", "data", "files", "research", "code", "documents"]
    if lab.line.balance is None or not 1 < lab.line.balance < 15:
        why = f"the balance is {lab.line.balance}: it must be known, above 1 and below 15"
        lab.not_tried("refused.402", why)
        return
    seen = lab.send(session, word.message, capabilities=everything)
    if seen.status != 402:
        raise Unclear("a message that costs more than the balance was not refused with 402")
    lab.found("refused.402", lab.left(session, word), seen, *lab.trail[-1:], how=HOW)


LOW_BALANCE = Study(
    "low-balance",
    (
        Question(
            "refused.402",
            "Does a message that is refused with 402 stay in the session?",
            DROPPED,
            LEFT,
            "",
        ),
    ),
    _low_balance,
    credits=16,
    requests=3,
    sessions=1,
    group="low-balance",
    needs_memory=True,
)


# -- failures --------------------------------------------------------------------------


def _failed(lab: Lab) -> None:
    lab.require_memory()
    session = lab.open()
    lab.tell(session)
    _given_up(lab, session)
    _abandoned(lab, session)
    if lab.target.can_fail:
        _broken(lab, session)
        return
    why = "the live API cannot be ordered to fail; see incidents, in case it did"
    lab.not_tried("failed.502", why)
    lab.not_tried("failed.502.charge", why)


def _given_up(lab: Lab, session: str) -> None:
    word, before = lab.word(), lab.line.balance
    lab.target.hold_back()
    options = {"patience": lab.target.patience}
    seen = lab.send(session, word.message, send_options=options)
    if seen.failure != "ReadTimeout":
        for name in ("failed.timeout", "failed.timeout.charge"):
            lab.unclear(name, f"it did not time out within {lab.target.patience:g} seconds")
        return
    lab.target.wait(10)
    lab.found("failed.timeout", lab.left(session, word), seen, *lab.trail[-1:], how=HOW)
    _charge(lab, "failed.timeout.charge", before)


def _abandoned(lab: Lab, session: str) -> None:
    word = lab.word()
    seen = lab.send(session, word.message, stream=True, send_options={"leave": True})
    if not seen.ok or not seen.raw:
        lab.unclear("failed.abandoned", f"no stream began: {seen.outcome}")
        return
    lab.target.wait(10)
    lab.found("failed.abandoned", lab.left(session, word), seen, *lab.trail[-1:], how=HOW)


def _broken(lab: Lab, session: str) -> None:
    word, before = lab.word(), lab.line.balance
    lab.target.fail()
    seen = lab.send(session, word.message)
    if seen.status != 502:
        raise Unclear("the ordered 502 did not come")
    lab.found("failed.502", lab.left(session, word), seen, *lab.trail[-1:], how=HOW)
    _charge(lab, "failed.502.charge", before)


def _charge(lab: Lab, name: str, before: int | None) -> None:
    charged = lab.charged_since(before)
    if charged is None:
        lab.unclear(name, "the answers do not tell the balance")
    else:
        lab.found(name, "nothing" if charged == 0 else f"{charged}")


FAILED = Study(
    "failed",
    (
        Question(
            "failed.timeout",
            "Does a message stay in the session whose answer was given up?",
            DROPPED,
            LEFT,
            "",
        ),
        Question("failed.timeout.charge", "What does it cost?", "maybe 1", anything, ""),
        Question(
            "failed.abandoned",
            "Does a message stay whose stream was left at its beginning?",
            DROPPED,
            LEFT,
            "",
        ),
        Question(
            "failed.502",
            "Does a message stay in the session that was answered with 502?",
            DROPPED,
            LEFT,
            "",
        ),
        Question(
            "failed.502.charge",
            "What does it cost?",
            "nothing: it is refunded",
            one_of("nothing"),
            "errors must not say that it was refunded",
        ),
    ),
    _failed,
    credits=7,
    requests=8,
    sessions=1,
    needs_memory=True,
)


# -- repeated requests -----------------------------------------------------------------


def _idempotency(lab: Lab) -> None:
    lab.require_memory()
    session, word, key = lab.shared(), lab.word(), str(uuid.uuid4())
    options = {"headers": {"Idempotency-Key": key}}
    first = lab.said(session, word.message, send_options=options)
    before = lab.line.balance
    second = lab.send(session, word.message, send_options=options)
    if not second.ok:
        lab.found("idempotency.answer", f"the second is refused: {second.refusal}")
    else:
        same = first.text_of("id") != "" and first.text_of("id") == second.text_of("id")
        lab.found("idempotency.answer", "one answer" if same else "two answers")
    seen = lab.said(session, _counting(word))
    _times(lab, seen)
    charged = lab.charged_since(before)
    if charged is None:
        lab.unclear("idempotency.charge", "the answers do not tell the balance")
    else:
        lab.found("idempotency.charge", "once" if charged == 0 else "twice", second, seen)


def _counting(word: Word) -> str:
    return (
        f"How many times have I told you my code word number {word.number}? Count the messages "
        "of mine that tell it, and answer with nothing but the number in digits."
    )


def _times(lab: Lab, seen: Seen) -> None:
    number = re.search(r"\d+", seen.text_of("message"))
    if number is None or int(number[0]) not in (1, 2):
        lab.unclear("idempotency.history", "the agent did not count: it was not 1 and not 2")
        return
    how = "The agent was asked to count; models count badly."
    lab.found("idempotency.history", {1: "once", 2: "twice"}[int(number[0])], how=how)


IDEMPOTENCY = Study(
    "idempotency",
    (
        Question(
            "idempotency.answer",
            "Is the second of two requests with one Idempotency-Key answered anew?",
            "it is: nothing is repeated that may have been done",
            one_of("two answers"),
            "lost answers could be asked for again: more could be repeated",
        ),
        Question(
            "idempotency.charge", "How often is it charged?", "twice", one_of("twice"), "as above"
        ),
        Question(
            "idempotency.history",
            "How often is it in the session?",
            "twice",
            one_of("twice"),
            "as above",
        ),
    ),
    _idempotency,
    credits=3,
    requests=4,
    sessions=1,
    needs_memory=True,
)
