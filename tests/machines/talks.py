"""What an application holds of a conversation, and what it knows to be true of it.

`Talk.messages` is the truth in plain values; `Talk.held` are the same messages as their framework
keeps them, one for one. The framework's may go through any serialiser; what the server hears is
held against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from stewrd_integrations import errors
from stewrd_integrations.sessions.digest import normalise
from stewrd_integrations.types import Message

Framework: TypeAlias = Literal["langchain", "llama_index"]
FRAMEWORKS: tuple[Framework, ...] = ("langchain", "llama_index")
Kind: TypeAlias = Literal["name", "mark", "content"]
Toolbox: TypeAlias = Literal["none", "usual", "other"]
Mode: TypeAlias = Literal["plain", "stream", "async", "async stream"]
MODES: tuple[Mode, ...] = ("plain", "stream", "async", "async stream")

GIVEN_UP = (
    errors.UnknownOutcomeError,
    errors.ServerError,
    errors.InsufficientCreditsError,
    errors.PermissionDeniedError,
    errors.QuotaExceededError,
)
"""After these the server may have the turn: the session must never be used again."""


@dataclass
class Talk:
    """One conversation of an application.

    Attributes:
        root: Who shares it may share a session, unless there is a name.
        app: Which of the applications that share a store it belongs to.
        variant: Which of the application's models it talks to.
        trimmed: Whether a session may know more than is shown.
        texts: All that was ever said in it.
        contents: The contents of all files that were ever in it.
        stamped: Whether its messages say themselves which conversation they are of.
    """

    root: int
    framework: Framework
    kind: Kind
    app: str = "a"
    variant: int = 0
    tenant: str | None = None
    name: str | None = None
    system: str = ""
    tools: Toolbox = "none"
    messages: tuple[Message, ...] = ()
    held: tuple[Any, ...] = ()
    trimmed: bool = False
    texts: frozenset[str] = frozenset()
    contents: frozenset[str | None] = frozenset()
    stamped: bool = False

    @property
    def scope(self) -> tuple[object, ...]:
        """Who may share a session with it."""
        own = self.name if self.kind == "name" else self.root
        return (self.app, self.kind == "name", self.tenant, own)

    @property
    def waits(self) -> bool:
        """Whether the list ends in calls."""
        return bool(self.messages and self.messages[-1].tool_calls)

    @property
    def attachments(self) -> list[int]:
        """Where users sent files."""
        of_users = [bool(one.files) and one.role == "user" for one in self.messages]
        return [at for at, has_some in enumerate(of_users) if has_some]

    def change(self, messages: Any, held: Any) -> None:
        """Put other messages in the place of all."""
        self.messages, self.held = tuple(messages), tuple(held)
        assert len(self.messages) == len(self.held)
        self.texts |= {normalise(message.text) for message in self.messages}
        self.contents |= {file.content for one in self.messages for file in one.files}

    def add(self, message: Message, held: Any) -> None:
        """Put a message at the end."""
        self.change((*self.messages, message), (*self.held, held))


@dataclass(frozen=True)
class Asked:
    """How a model is called.

    Attributes:
        abandon: The caller leaves the stream at this piece, unless it is the last.
        sessions: The option of the call, if it has one.
    """

    mode: Mode = "plain"
    abandon: int | None = None
    sessions: str | None = None


@dataclass(frozen=True)
class Answered:
    """An answer as the application got it: the message, and what its metadata tell."""

    message: Message
    held: Any
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def session_id(self) -> str | None:
        """The session that it says it came from."""
        session: str | None = self.told["session_id"]
        return session


@dataclass(frozen=True)
class Failed:
    """What came instead of an answer; nothing at all, if the stream was left or nobody lives."""

    name: str = "left"
    sent: bool = True
    gives_up: bool = True

    @classmethod
    def of(cls, error: errors.StewrdError) -> Failed:
        """What an error says."""
        return cls(type(error).__name__, error.sent, isinstance(error, GIVEN_UP))


Outcome: TypeAlias = "Answered | Failed"
