"""What the studies work with: sessions, code words to tell and to ask for, and their findings.

What a session holds can be seen only by asking its agent. So it is told code words that nobody
could guess, and asked for them later: a word that it repeats, it was shown.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .line import Line
from .questions import Finding, Question, Study
from .seen import Seen
from .targets import Target

CHAT = {"capabilities": ["chat"]}
TOOL = {
    "name": "look_up",
    "description": "Looks up the entry that has a number.",
    "parameters": {
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
    },
}


class Unclear(Exception):
    """A study cannot go on; the message says why."""


class Word(NamedTuple):
    """A code word that nobody could guess."""

    number: int
    token: str

    @property
    def told(self) -> str:
        """The sentence that tells it."""
        return f"My code word number {self.number} is {self.token}."

    @property
    def message(self) -> str:
        """The message that tells it, and wants no echo."""
        return f"{self.told} Answer only with: OK"


@dataclass(frozen=True)
class Limits:
    """The documented limits, and how far the studies go."""

    history: int = 50
    sessions: int = 10
    idle: float = 1800.0
    tools: float = 300.0
    rate: int = 60
    longest: int = 100_000
    disabled: str | None = None


@dataclass
class Lab:
    """One run's sessions, words and findings."""

    line: Line
    limits: Limits
    findings: dict[str, Finding] = field(default_factory=dict)
    remembers: bool = False
    takes_tools: bool = False
    _numbers: int = 0
    _shared: str | None = None
    _study: Study | None = None
    _from: int = 0
    _credits: int = 0

    @property
    def target(self) -> Target:
        """Who is asked."""
        return self.line.target

    # -- a study's way -----------------------------------------------------------------

    def begin(self, study: Study) -> None:
        """A study begins."""
        self._study, self._from = study, len(self.line.seen)
        self._credits = self.line.credits

    @property
    def trail(self) -> tuple[Seen, ...]:
        """The last exchanges of this study."""
        return tuple(self.line.seen[self._from :][-2:])

    def found(self, name: str, value: str, *seen: Seen, how: str = "") -> None:
        """Answer a question; without exchanges, by the last one."""
        kept = seen or self.trail[-1:]
        finding = Finding(self._question(name), "observed", value, "", how, kept, self._spent())
        self.findings[name] = finding

    def not_tried(self, name: str, why: str) -> None:
        """Leave a question, for a reason."""
        self.findings[name] = Finding(self._question(name), "not tried", why=why)

    def unclear(self, name: str, why: str) -> None:
        """Leave a question open that was tried."""
        self.findings[name] = Finding(
            self._question(name),
            "inconclusive",
            why=why,
            exchanges=self.trail,
            credits=self._spent(),
        )

    def _question(self, name: str) -> Question:
        assert self._study is not None
        return next(each for each in self._study.questions if each.name == name)

    def _spent(self) -> int:
        spent, self._credits = self.line.credits - self._credits, self.line.credits
        return spent

    # -- sessions ----------------------------------------------------------------------

    def create(self) -> Seen:
        """Try to open a session."""
        return self.line.post("/v1/sessions")

    def open(self) -> str:
        """Open a session; its id."""
        return self.opened(self.create())

    def share(self, created: Seen) -> str:
        """Let the session that was created be the shared one; its id."""
        self._shared = self.opened(created)
        return self._shared

    def opened(self, seen: Seen) -> str:
        """The id of a session that was created."""
        session = seen.text_of("id")
        if not seen.ok or not session.replace("-", "").replace("_", "").isalnum():
            raise Unclear(f"no session could be opened: {seen.refusal}")
        return session

    def shared(self) -> str:
        """The session of all studies that leave it usable."""
        if self._shared is None:
            self._shared = self.open()
        return self._shared

    def drop_shared(self) -> None:
        """The next study that wants the shared session opens another."""
        self._shared = None

    def send(self, session: str | None, message: Any, **more: Any) -> Seen:
        """Send a message to a session, or to the agent; `send_options` go to the line."""
        options = more.pop("send_options", {})
        path = "/v1/agent" if session is None else f"/v1/sessions/{session}/messages"
        return self.line.post(path, {"message": message, **CHAT, **more}, **options)

    def said(self, session: str | None, message: Any, **more: Any) -> Seen:
        """The same, for what must be answered."""
        seen = self.send(session, message, **more)
        if not seen.ok:
            raise Unclear(f"a plain message was not answered: {seen.refusal}")
        return seen

    # -- words -------------------------------------------------------------------------

    def word(self) -> Word:
        """A new one."""
        self._numbers += 1
        return Word(self._numbers, f"plum{secrets.token_hex(4)}")

    def tell(self, session: str) -> Word:
        """Tell a session a word, for sure."""
        word = self.word()
        self.said(session, word.message)
        return word

    def ask(self, session: str, *words: Word) -> tuple[bool, ...]:
        """Whether the agent of a session repeats these words."""
        return repeated(self.said(session, asking(*words)), *words)

    def require_memory(self) -> None:
        """Go on only if it was shown that the agent repeats what it heard, and nothing else."""
        if not self.remembers:
            raise Unclear("the control failed: what this agent answers does not show what it heard")

    def left(self, session: str, word: Word) -> str:
        """Whether a message that told a word is in the session."""
        [heard] = self.ask(session, word)
        return "left in the session" if heard else "not left in the session"

    def charged_since(self, balance: int | None) -> int | None:
        """Credits that went from the balance, without those of the last request."""
        if balance is None or self.line.balance is None:
            return None
        return balance - self.line.balance - self.line.cost


HOW = "The agent was asked for a code word of that message; what a model answers is no proof."


def asking(*words: Word) -> str:
    """The message that asks for words."""
    numbers = " and ".join(str(word.number) for word in words)
    what = "is my code word number" if len(words) == 1 else "are my code words numbers"
    return (
        f"What {what} {numbers}? Answer with nothing but the code words, and with NONE for one "
        "that was not told in this conversation."
    )


def repeated(seen: Seen, *words: Word) -> tuple[bool, ...]:
    """Which words an answer repeats."""
    answer = seen.text_of("message").lower()
    return tuple(word.token in answer for word in words)
