"""What the world remembers: its sessions, and the records that a test looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .agent import File, Road
from .reading import Conversation, Heard


@dataclass
class Session:
    """A live or expired session. `busy` holds the numbers of the requests on it."""

    id: str
    created: float
    last_used: float
    log: list[Heard] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    expired: bool = False


@dataclass(frozen=True)
class SessionRecord:
    """A session as it was when asked for: times in seconds, messages in its log."""

    id: str
    created: float
    last_used: float
    messages: int
    expired: bool


@dataclass(frozen=True)
class Ask:
    """The body of a run request, found valid."""

    message: str
    capabilities: tuple[str, ...]
    files: tuple[File, ...]
    stream: bool


@dataclass(frozen=True)
class Run:
    """One answer of the agent, on either road, and all that the agent saw for it.

    `message` is the text as sent, `conversation` what it reads as; `number` is that
    of the request in the log of requests. `tools` is empty as long as the emulator
    refuses custom functions.
    """

    number: int
    id: str
    road: Road
    session_id: str | None
    message: str
    files: tuple[File, ...]
    capabilities: tuple[str, ...]
    stream: bool
    tools: tuple[dict[str, Any], ...]
    conversation: Conversation
    answer: str
    credits: int
    time: float


@dataclass(frozen=True)
class Exchange:
    """One HTTP request and how it was answered.

    `status` is None while it is at work and when it was never answered. `fault` is
    the kind of the ordered fault that it met. `body` is the parsed JSON, or the
    text if it is none.
    """

    number: int
    time: float
    method: str
    path: str
    session_id: str | None
    body: Any
    status: int | None = None
    code: str | None = None
    fault: str | None = None
    note: str = ""


class Overlap(NamedTuple):
    """Two requests that were on one session at once, by their numbers."""

    session_id: str
    earlier: int
    later: int
