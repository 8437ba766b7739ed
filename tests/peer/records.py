"""What the peer holds and writes down: messages, runs, requests, and what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["user", "assistant", "tool"]
Road: TypeAlias = Literal["session", "stateless"]


@dataclass(frozen=True)
class File:
    """A file of a message; agents may give a link in place of the content."""

    name: str
    content: str | None = None
    url: str | None = None

    def shown(self) -> dict[str, str]:
        """As the answer has it."""
        found = {"name": self.name, "content": self.content, "url": self.url}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Tool:
    """A custom function that a request offers."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """What the agent asks of a custom function."""

    id: str
    name: str
    arguments: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        """As the answer has it."""
        return {"id": self.id, "name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Entry:
    """One message that an agent has before it."""

    role: Role
    text: str
    files: tuple[File, ...] = ()
    calls: tuple[Call, ...] = ()
    call_id: str = ""
    counts: bool = True


@dataclass(frozen=True)
class Ask:
    """A valid AgentRequest."""

    message: str
    capabilities: tuple[str, ...] | None = None
    files: tuple[File, ...] = ()
    stream: bool = False
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What an agent gives back: a message, or calls of custom functions, perhaps with ids."""

    message: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    files: tuple[File, ...] = ()
    capabilities_used: tuple[str, ...] | None = None
    ids: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Context:
    """All that an agent has when it answers.

    ``entries`` is what the service holds, the new message last, or the outputs of the round.
    """

    entries: tuple[Entry, ...]
    ask: Ask
    road: Road
    session: str | None = None
    round: int = 0


Agent: TypeAlias = "Callable[[Context], Answer | str]"


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass
class Logged:
    """A request, what became of it, and whether its answer went out whole."""

    request: Request
    at: float
    status: int = 0
    code: str = ""
    session: str | None = None
    run: str | None = None
    fault: str = ""
    delivered: bool = False


@dataclass
class Session:
    """A log on the server.

    ``history`` is what an agent sees. ``told`` is what both sides have said aloud on it, in order,
    whatever of that the service keeps.
    """

    id: str
    used: float
    created: float = 0.0
    history: list[Entry] = field(default_factory=list)
    told: list[Entry] = field(default_factory=list)
    gone: bool = False
    doubtful: bool = False
    foreign: bool = False
    busy: int = 0

    def count(self) -> int:
        """Messages that count towards the limit."""
        return sum(entry.counts for entry in self.history)


@dataclass
class Run:
    """An execution of the agent; with tools, it may wait for their outputs."""

    id: str
    session: Session | None
    ask: Ask
    entries: list[Entry]
    instance: str | None = None
    waiting: tuple[Call, ...] = ()
    held: list[Entry] = field(default_factory=list)
    deadline: float = 0.0
    rounds: int = 0
    numbered: int = 0
    dead: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Answered:
    """One answer of the agent, and all that it had before it.

    ``told`` is what both sides had said aloud by then; ``credits`` is what the request cost.
    """

    context: Context
    answer: Answer
    request_id: str
    logged: Logged
    calls: tuple[Call, ...] = ()
    credits: int = 0
    told: tuple[Entry, ...] = ()
