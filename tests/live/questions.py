"""Questions, and what was found: a value, a reason not to have tried, or why it stays open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from .seen import Seen

if TYPE_CHECKING:
    from .lab import Lab

Verdict: TypeAlias = Literal["observed", "not tried", "inconclusive"]


@dataclass(frozen=True)
class Question:
    """One thing that is not documented, or not sure.

    ``assumes`` is what the library takes for granted, ``holds`` whether a value agrees with
    that, ``otherwise`` what follows if it does not.
    """

    name: str
    text: str
    assumes: str
    holds: Callable[[str], bool]
    otherwise: str


@dataclass(frozen=True)
class Finding:
    """What became of a question. ``why`` is empty for what was observed; ``how`` it was seen."""

    question: Question
    verdict: Verdict
    value: str = ""
    why: str = ""
    how: str = ""
    exchanges: tuple[Seen, ...] = ()
    credits: int = 0

    @property
    def agrees(self) -> bool | None:
        """Whether it is as the library assumes; None where nothing was observed."""
        return self.question.holds(self.value) if self.verdict == "observed" else None


Group: TypeAlias = Literal["", "wait", "slots", "cap", "rate", "length", "low-balance"]
GROUPS: dict[Group, str] = {
    "wait": "needs 36 minutes of waiting: ask for it with --wait",
    "slots": "takes all of the project's session slots for 30 minutes: ask for it with --slots",
    "cap": "costs some 60 credits, as it fills two sessions: ask for it with --cap",
    "rate": "uses up the project's requests of a minute: ask for it with --rate",
    "length": "sends long messages, whose tokens cost: ask for it with --length CHARACTERS",
    "low-balance": "needs a balance below 15 credits, and spends it: ask for it with --low-balance",
}
"""What is done only if it is asked for, and why."""


@dataclass(frozen=True)
class Study:
    """Questions that are answered together.

    ``credits``, ``requests`` and ``sessions`` are the most that it takes. ``needs_memory``: it
    asks the agent what it remembers, which shows something only if the control has shown that.
    """

    name: str
    questions: tuple[Question, ...]
    run: Callable[[Lab], None] = field(repr=False)
    credits: int
    requests: int
    sessions: int = 0
    group: Group = ""
    needs_memory: bool = False


def one_of(*values: str) -> Callable[[str], bool]:
    """Whether a value is one of these."""
    return lambda value: value in values


def starts(*beginnings: str) -> Callable[[str], bool]:
    """Whether a value begins with one of these."""
    return lambda value: value.startswith(beginnings)


def anything(value: str) -> bool:
    """Whatever it is, the library has a way with it."""
    return bool(value)
