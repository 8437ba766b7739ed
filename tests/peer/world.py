"""What the service knows and goes by: its rules, credits, sessions, and what went over the wire."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import asked
from .agent import answering
from .faults import Fault
from .records import Agent, Answered, Ask, Entry, Logged, Run, Session
from .refusals import Refusal
from .unknowns import Unknowns

KEY = "sk-stw_" + "peer" * 6


@dataclass(frozen=True)
class Rules:
    """The documented numbers, and the state of the account.

    Args:
        idle: Seconds without a message after which a session has expired.
        history: Messages that a session may hold.
        sessions: Sessions that may be active at once.
        per_minute: Requests a minute; None for no limit.
        wait_for_outputs: Seconds that a run waits for the outputs of its tools.
        rounds: Rounds of tools of one run.
        enabled: Capabilities that the project has enabled.
        longest: Bytes of a request that is not too long, where there is a limit.
        expired_code: The code of a 410, where it has one of its own.
        limit_code: The code of a refused eleventh session, likewise.
    """

    key: str = KEY
    plan: str = "scale"
    credits: int = 1_000
    quota: int | None = None
    idle: float = 30 * 60.0
    history: int = 50
    sessions: int = 10
    per_minute: int | None = 60
    wait_for_outputs: float = 5 * 60.0
    rounds: int = 10
    enabled: tuple[str, ...] = asked.CAPABILITIES
    longest: int = 200_000
    expired_code: str = "session_expired"
    limit_code: str = "session_limit_reached"


@dataclass
class World:
    """All that the service knows, behind one lock; agents work outside it."""

    unknowns: Unknowns = field(default_factory=Unknowns)
    rules: Rules = field(default_factory=Rules)
    agent: Agent = answering
    clock: Callable[[], float] = time.time
    latency: float = 0.0
    pause: float = 0.0
    available: bool = True
    log: list[Logged] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    moved: float = 0.0
    over_limit: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.credits = self.rules.credits
        self.key = self.rules.key

    @property
    def now(self) -> float:
        """Seconds since the epoch, by the injected clock and what tests added to it."""
        return self.clock() + self.moved

    # -- money -----------------------------------------------------------------------------

    def allow(self, ask: Ask) -> None:
        """Refuse what the project or its plan has no right to."""
        for name in ask.capabilities or ():
            if name not in self.rules.enabled:
                raise Refusal("capability_not_enabled")
            if self.rules.plan == "free" and name not in {"chat", "data"}:
                raise Refusal("plan_restricted")

    def charge(self, cost: int) -> int:
        """Take credits; gives back how many were taken."""
        if self.rules.quota is not None and len(self.answered) >= self.rules.quota:
            raise Refusal("quota_exceeded")
        if self.credits <= 0 or (self.credits < cost and self.unknowns.short_balance == "refused"):
            raise Refusal("insufficient_credits")
        taken = min(cost, self.credits)
        self.credits -= taken
        return taken

    def price(self, ask: Ask) -> int:
        """What a request costs before it is known what it used."""
        if ask.tools and self.unknowns.tools_capabilities != "all charged":
            return asked.PRICES["chat"]
        if ask.capabilities is not None:
            return sum(asked.PRICES[name] for name in set(ask.capabilities))
        if self.unknowns.capabilities_left_out == "all charged":
            return sum(asked.PRICES[name] for name in self._enabled())
        return asked.PRICES["chat"]

    def _enabled(self) -> Sequence[str]:
        if self.rules.plan == "free":
            return [name for name in self.rules.enabled if name in {"chat", "data"}]
        return self.rules.enabled

    # -- sessions --------------------------------------------------------------------------

    def active(self) -> list[Session]:
        """The sessions that hold a slot."""
        return [each for each in self.sessions.values() if not self._has_expired(each)]

    def _has_expired(self, session: Session) -> bool:
        return session.gone or self.now - session.used >= self.rules.idle

    def create(self) -> Session:
        """Open a session, or refuse to."""
        if self.rules.plan == "free":
            raise Refusal("plan_restricted", "Persistent sessions require purchased credits.")
        if len(self.active()) >= self.rules.sessions:
            if not any(session.foreign for session in self.active()):
                self.complaints.append("an 11th session was asked for")
            body = self.unknowns.limit_body
            raise Refusal(self.rules.limit_code, "Too many sessions.", 429, body)
        session = Session(str(uuid.uuid4()), self.now, self.now)
        self.sessions[session.id] = session
        return session

    def session(self, name: str) -> Session:
        """A session that is there, or the refusal that says it is not."""
        session = self.sessions.get(name)
        body = self.unknowns.expired_body
        if session is None:
            raise Refusal("session_not_found", status=404, body=body)
        if session.doubtful:
            self.complaints.append(f"session {name} was used after an unknown outcome")
        if self._has_expired(session):
            first, session.gone = not session.gone, True
            late = self.unknowns.expired_status == "410 once, then 404" and not first
            status = 404 if late or self.unknowns.expired_status == "404" else 410
            session.doubtful = True
            raise Refusal(self.rules.expired_code, status=status, body=body)
        return session

    def add(self, session: Session, *entries: Entry) -> None:
        """Put messages into a session's history."""
        session.history += entries
        over = session.count() - self.rules.history
        if over > 0:
            self.complaints.append(f"session {session.id} was led past its limit")
            self.over_limit += over
            del session.history[:over]

    def make_room(self, session: Session, count: int) -> None:
        """What happens at message 51."""
        if session.count() + count <= self.rules.history:
            return
        self.complaints.append(f"session {session.id} was sent message 51")
        if self.unknowns.overflow != "drop the oldest":
            raise Refusal("history_full", status=int(self.unknowns.overflow), body="no code")
