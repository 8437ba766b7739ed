"""The sessions: who is at work on them, when they die, and what their logs keep of a turn."""

from __future__ import annotations

from collections.abc import Sequence

from . import rules
from .errors import Refusal
from .reading import Heard
from .records import Overlap, Session, SessionRecord
from .settings import Settings


class Sessions:
    """Every session ever created.

    `over_limit` counts the messages that were pushed out of full logs, `overlaps` are
    the pairs of requests that were on one session at once.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._all: dict[str, Session] = {}
        self.over_limit = 0
        self.overlaps: list[Overlap] = []

    def create(self, session_id: str, now: float) -> Session:
        """A new session, without a word in it."""
        session = self._all[session_id] = Session(session_id, now, now)
        return session

    def find(self, session_id: str | None) -> Session | None:
        """The session of an id, if there is one."""
        return self._all.get(session_id or "")

    def log(self, session_id: str) -> list[Heard]:
        """What a session has heard. An unknown id is a KeyError."""
        return list(self._all[session_id].log)

    # -- who is at work ----------------------------------------------------------

    def enter(self, session: Session, number: int) -> None:
        """A request begins its work on a session."""
        self.overlaps += [Overlap(session.id, other, number) for other in sorted(session.busy)]
        session.busy.add(number)

    def leave(self, number: int) -> None:
        """A request is done, with whichever session."""
        for session in self._all.values():
            session.busy.discard(number)

    # -- life and death ----------------------------------------------------------

    def expire(self, session_id: str | None) -> None:
        """Let one session die at once, or all. An unknown id is a KeyError."""
        ids = list(self._all) if session_id is None else [session_id]
        for session in [self._all[each] for each in ids]:
            session.expired = True

    def expire_idle(self, now: float) -> None:
        """Let those die that were idle for too long."""
        for session in self._all.values():
            if rules.is_idle(self.settings, session, now):
                session.expired = True

    def active(self) -> int:
        """How many sessions take a slot."""
        return sum(not session.expired for session in self._all.values())

    def records(self) -> dict[str, SessionRecord]:
        """Every session as it is now, by id."""
        return {each.id: self._record(each) for each in self._all.values()}

    def _record(self, session: Session) -> SessionRecord:
        held = self.held(session)
        return SessionRecord(session.id, session.created, session.last_used, held, session.expired)

    # -- logs --------------------------------------------------------------------

    def held(self, session: Session) -> int:
        """How many messages of a log count towards the cap."""
        return rules.count(self.settings, session.log)

    def append(self, session: Session, heard: Heard) -> None:
        """Put a message into a log."""
        session.log.append(heard)
        while self.held(session) > self.settings.history_limit:
            # [assumed] whatever passes the cap pushes the oldest out, without a word
            del session.log[0]
            self.over_limit += 1


class Turn:
    """What one request says in a session: at once, later on, or not at all.

    `unsaid` holds what enters the log when the run is complete; a request with tool
    outputs goes on from what its run has `unsaid`.
    """

    def __init__(
        self, sessions: Sessions, session: Session, unsaid: Sequence[Heard] | None = None
    ) -> None:
        self.session = session
        self.unsaid = list(unsaid or ())
        self._sessions = sessions
        self._settings = sessions.settings
        self._is_first = unsaid is None
        self._appended: list[Heard] = []

    def hear(self, message: Heard) -> None:
        """The user's message enters the log."""
        self._append(message)

    def hear_outputs(self, outputs: Sequence[Heard]) -> None:
        """[assumed] Outputs, like calls, enter the log as `session_rounds` and others say."""
        if self._settings.session_rounds != "all":
            return
        if self._settings.waiting_run == "calls":
            self._append(*outputs)
        else:
            self.unsaid.extend(outputs)

    def say(self, said: Heard) -> None:
        """The answer enters the log, with all that was kept back for it; calls still wait."""
        if said.tool_calls:
            if self._settings.waiting_run == "nothing" and self._is_first:
                self.unsaid = self.take_back()
            self.hear_outputs([said])
        elif self._is_first or self._settings.session_rounds != "message":
            self._append(*self.unsaid, said)
        else:
            self._append(*self.unsaid)

    def fail(self, refusal: Refusal, message: str) -> None:
        """[assumed] What the log keeps of a request that got no answer."""
        leaves = rules.leaves_message(self._settings, refusal)
        if self._appended and not leaves:
            self.take_back()
        elif self._is_first and not self._appended and leaves and not self.session.expired:
            self._append_refused(Heard("user", message))

    def take_back(self) -> list[Heard]:
        """Take out of the log what this request has put in; equal messages of others stay."""
        taken, self._appended = self._appended, []
        gone = {id(heard) for heard in taken}
        self.session.log[:] = [each for each in self.session.log if id(each) not in gone]
        return taken

    def _append(self, *messages: Heard) -> None:
        for heard in messages:
            self._sessions.append(self.session, heard)
            self._appended.append(heard)

    def _append_refused(self, heard: Heard) -> None:
        full = self._sessions.held(self.session) >= self._settings.history_limit
        if not (full and self._settings.over_limit == "error"):
            self._append(heard)
