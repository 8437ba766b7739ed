"""What the world remembers: its sessions, and the records that a test looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .agent import File, Road, Tool
from .reading import Conversation, Heard, ToolCall


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
    """A session as it was when asked for: times in seconds, messages that count."""

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
    tools: tuple[Tool, ...] = ()


class ToolOutput(NamedTuple):
    """What a custom function gave back, as sent."""

    tool_call_id: str
    output: str


@dataclass(frozen=True)
class Submission:
    """The body of a request with tool outputs, found valid. `instance` is None if not sent."""

    outputs: tuple[ToolOutput, ...]
    instance: str | None


@dataclass(frozen=True)
class Run:
    """One answer of the agent, on either road, and all that the agent saw for it.

    `message` is the text as sent, `conversation` what it reads as; `number` is that
    of the request in the log of requests. A run with custom functions is answered
    once for each round, under one `id`: `round` is 0 for the request that offered
    `tools`, and then counts the `outputs` sent, where `message` is empty. `calls` is
    what the answer asked for; the run is complete when it asks for nothing.
    """

    number: int
    id: str
    road: Road
    session_id: str | None
    message: str
    files: tuple[File, ...]
    capabilities: tuple[str, ...]
    stream: bool
    tools: tuple[Tool, ...]
    conversation: Conversation
    answer: str
    credits: int
    time: float
    round: int = 0
    outputs: tuple[ToolOutput, ...] = ()
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """One HTTP request and how it was answered.

    `status` is None while it is at work and when it was never answered. `fault` is
    the kind of the ordered fault that it met. `body` is the parsed JSON, or the
    text if it is none. `run_id` is the run that it started or gave outputs to.
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
    run_id: str | None = None


class Overlap(NamedTuple):
    """Two requests that were on one session at once, by their numbers."""

    session_id: str
    earlier: int
    later: int
