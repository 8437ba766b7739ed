"""One run: the studies that were asked for, one after the other, within what was agreed to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from .lab import Lab, Limits, Unclear
from .line import Line, Stop, WrongKey
from .questions import GROUPS, Finding, Group, Study
from .studies import STUDIES
from .targets import Target

ALWAYS = ("basics", "figures")
INTERRUPTED = "The run was interrupted."


@dataclass(frozen=True)
class Wish:
    """What is to be asked.

    Args:
        groups: What is done only if it is asked for.
        only: Names of studies; none for all.
        limits: The documented limits.
        max_credits: Fewer than the studies take at most; None for that many.
    """

    groups: frozenset[Group] = frozenset()
    only: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    max_credits: int | None = None

    def why_not(self, study: Study) -> str | None:
        """Why a study is not done; None if it is."""
        if study.name in ALWAYS:
            return None
        if "low-balance" in self.groups and study.group != "low-balance":
            return "the group low-balance is done alone"
        if study.group and study.group not in self.groups:
            return GROUPS[study.group]
        return "not asked for" if self.only and study.name not in self.only else None

    @property
    def studies(self) -> tuple[Study, ...]:
        """What is done."""
        return tuple(study for study in STUDIES if self.why_not(study) is None)

    @property
    def credits(self) -> int:
        """The most that it may cost."""
        most = sum(study.credits for study in self.studies)
        return most if self.max_credits is None else min(most, self.max_credits)

    @property
    def requests(self) -> int:
        """The most requests that it may send."""
        return sum(study.requests for study in self.studies)

    @property
    def sessions(self) -> int:
        """The most sessions that it may open."""
        return min(sum(study.sessions for study in self.studies), self.limits.sessions)


@dataclass
class Outcome:
    """What a run has found, so far or to its end; ``stopped`` says why it did not get there."""

    target: str
    address: str
    key: str = field(repr=False)
    began: str
    findings: list[tuple[Study, Finding]] = field(default_factory=list)
    spent: dict[str, tuple[int, int]] = field(default_factory=dict)
    stopped: str = ""
    exit_code: int = 0

    @property
    def credits(self) -> int:
        """Credits spent."""
        return sum(credits for credits, _ in self.spent.values())

    @property
    def requests(self) -> int:
        """Requests sent."""
        return sum(requests for _, requests in self.spent.values())


def run(target: Target, wish: Wish, told: Callable[[str], None] | None = None) -> Outcome:
    """Do what is wished, and tell of each study as it begins; no server's answer ends it."""
    outcome = Outcome(target.name, target.address, target.key, _now())
    line = Line(target, max_requests=wish.requests, max_credits=wish.credits)
    lab = Lab(line, wish.limits)
    try:
        _studies(lab, wish, outcome, told)
    except WrongKey as wrong:
        outcome.stopped, outcome.exit_code = str(wrong), 2
    except Stop as stop:
        outcome.stopped, outcome.exit_code = str(stop), 1
    except KeyboardInterrupt:
        outcome.stopped, outcome.exit_code = INTERRUPTED, 130
    finally:
        line.close()
    outcome.findings = _all(lab, wish, outcome.stopped)
    return outcome


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _studies(lab: Lab, wish: Wish, outcome: Outcome, told: Callable[[str], None] | None) -> None:
    left = list(wish.studies)
    while left:
        study = left[0]
        _check_balance(lab.line, left, wish)
        if told is not None:
            told(f"{study.name}: at most {study.credits} credits and {study.requests} requests")
        before = lab.line.credits, lab.line.requests
        try:
            _study(lab, study)
        finally:
            spent = lab.line.credits - before[0], lab.line.requests - before[1]
            outcome.spent[study.name] = spent
        left.pop(0)


def _check_balance(line: Line, left: Sequence[Study], wish: Wish) -> None:
    """Refuse to go on towards a balance of zero."""
    needed = min(sum(study.credits for study in left), wish.credits - line.credits)
    if "low-balance" in wish.groups or line.balance is None or line.balance >= needed:
        return
    raise Stop(
        f"The balance of {line.balance} credits is less than the {needed} that the rest may take: "
        "buy credits, or ask for less (--only)."
    )


def _study(lab: Lab, study: Study) -> None:
    lab.begin(study)
    why = "the study did not come to it"
    try:
        study.run(lab)
    except Unclear as unclear:
        why = str(unclear)
    for question in study.questions:
        if question.name not in lab.findings:
            lab.unclear(question.name, why)


def _all(lab: Lab, wish: Wish, stopped: str) -> list[tuple[Study, Finding]]:
    """A finding for every question there is."""
    told = []
    for study in STUDIES:
        why = wish.why_not(study) or stopped
        for question in study.questions:
            missing = Finding(question, "not tried", why=why)
            told.append((study, lab.findings.get(question.name, missing)))
    return told
