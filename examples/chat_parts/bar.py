"""What stands at the bottom: session, messages, countdown, credits, and the last turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from textwrap import wrap
from typing import TYPE_CHECKING

from prompt_toolkit.utils import get_cwidth

from . import Facts, Question, Talk, many

if TYPE_CHECKING:
    from stewrd_integrations.conversations import SessionInfo


class Bar:
    """Knows where the conversation stands; it asks after each turn, and not at each stroke."""

    def __init__(self) -> None:
        self.name, self.next = "", ""
        self.facts: Facts = {}
        self.session: SessionInfo | None = None
        self.goes_on = False
        self.expired = ""  # the session that this side, but not the model, knows to be gone
        self.spent = 0.0
        self.left: int | None = None
        self.estimated = False
        self.unclear = 0  # turns that may have been charged

    def count(self, facts: Facts) -> None:
        """Take note of an answer."""
        self.facts, usage = facts, facts["usage"]
        self.spent += usage["credits"] or 0
        self.left = usage["credits_remaining"]
        self.estimated |= usage["estimated"]

    def look(self, talk: Talk, capabilities: Sequence[str]) -> None:
        """Ask what session there is, and whether the next turn would go on with it."""
        self.name, self.session = talk.name, talk.session
        plan = talk.explain(Question("..."), capabilities)
        self.next = f"{plan.turn}, since {plan.reason}"
        self.goes_on = plan.turn == "continued"

    def lines(self, width: int) -> list[str]:
        """What the bar says, in as few lines of this width as hold it."""
        fields = [self.name, *self._of_session(), self._of_credits()]
        if self.facts:
            fields.append(f"{self.facts['turn']}: {self.facts['reason']}")
        return _packed(fields, width)

    def _of_session(self) -> list[str]:
        if self.session is None:
            return ["stateless" if self.facts.get("road") == "stateless" else "no session"]
        used, left = self.session.messages_used, self.session.messages_left
        told = [f"session {self.session.session_id[:8]}", f"{used} of {used + left} messages"]
        seconds = (self.session.idle_deadline - datetime.now(timezone.utc)).total_seconds()
        if self.session.session_id == self.expired:
            return [*told, "expired on the server"]
        if seconds <= 0:
            return [*told, "idle for too long: the next turn replays"]
        if not self.goes_on:
            return [*told, "the next turn leaves it"]
        return [*told, f"expires in {int(seconds) // 60}:{int(seconds) % 60:02}"]

    def _of_credits(self) -> str:
        told = f"{'~' if self.estimated else ''}{many(self.spent, 'credit')} spent"
        told += "" if self.left is None else f", {self.left} left"
        return told + (f", {many(self.unclear, 'turn')} unclear" if self.unclear else "")


def _packed(fields: list[str], width: int) -> list[str]:
    lines: list[str] = []
    for field in fields:
        joined = f"{lines[-1]} · {field}" if lines else field
        if lines and get_cwidth(joined) <= width:
            lines[-1] = joined
        else:
            lines += wrap(field, width)
    return [_cut(line, width) for line in lines]


def _cut(line: str, width: int) -> str:
    if get_cwidth(line) <= width:
        return line
    while get_cwidth(line) >= width:
        line = line[:-1]
    return f"{line}…"
