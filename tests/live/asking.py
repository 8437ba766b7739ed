"""Runs against an emulator, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.emulator.wire import Request, Response

from .agent import agent
from .lab import Limits
from .questions import Group
from .run import Outcome, Wish, run
from .targets import Emulated

CAPABILITIES = ("chat", "research", "code", "data", "files")
SHORT = Limits(history=12, disabled="documents", longest=6_000)
"""Limits under which filling a session is quick; the emulator's are set to them."""
Handle = Callable[[Request], Response]


def ask(
    *studies: str,
    groups: tuple[Group, ...] = (),
    between: Callable[[Handle], Handle] | None = None,
    max_credits: int | None = None,
    patience: float = 1.0,
    **settings: Any,
) -> Outcome:
    """Run some studies, or all, on an emulator that is set so; ``between`` changes what it does."""
    given = {"capabilities": CAPABILITIES, "history_limit": SHORT.history, **settings}
    with Emulator(agent=agent, **given) as emulator:
        if between is not None:
            world: Any = emulator.world
            world.handle = between(world.handle)
        wish = Wish(frozenset(groups), studies, SHORT, max_credits)
        return run(Emulated(emulator, patience), wish)


def values(outcome: Outcome, *studies: str) -> dict[str, str]:
    """What was found, by question: a value, or the verdict in its stead."""
    return {
        finding.question.name: finding.value or f"({finding.verdict})"
        for study, finding in outcome.findings
        if not studies or study.name in studies
    }


def whys(outcome: Outcome) -> dict[str, str]:
    """Why questions stayed open."""
    return {finding.question.name: finding.why for _, finding in outcome.findings if finding.why}
