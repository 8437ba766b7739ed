"""The plain values that every room of the package passes around.

All of them are frozen: a value that was handed out never changes behind anyone's back.
Nothing here knows a framework, HTTP or a store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

from .values import dataclass

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Charged: TypeAlias = Literal["no", "maybe", "likely", "yes"]

CAPABILITIES = ("chat", "research", "documents", "code", "data", "files")
"""Every capability that the API knows (contract, *AgentRequest*)."""

CREDITS: Mapping[str, int] = {
    "chat": 1,
    "data": 1,
    "files": 2,
    "research": 3,
    "code": 3,
    "documents": 5,
}
"""What a request costs for each capability it names, summed (contract, *Credits*)."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that goes in with a message or comes out with an answer.

    ``content`` is its text; an answer may hold a signed ``url`` instead, which dies after
    24 hours.
    """

    name: str
    content: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a custom function that the agent asks for."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as a framework shows it.

    ``mark`` is the token that an earlier answer of ours carried, if the message still has it.
    ``remembered`` is the text to recognise the message by later on, where a framework wraps
    what the user wrote on its way to the model and stores it unwrapped.
    """

    role: Role
    text: str
    name: str | None = None
    files: tuple[File, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    error: bool = False
    mark: str | None = None
    remembered: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A custom function offered to the agent (contract, *Custom tools*)."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a custom function gave back."""

    tool_call_id: str
    output: str


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """The body of a message to the agent or to a session (contract, *AgentRequest*).

    ``capabilities`` is a filter; None leaves all that the project has enabled.
    """

    message: str
    capabilities: tuple[str, ...] | None = None
    files: tuple[File, ...] = ()
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Credits and tokens of one request; None where the API did not say.

    ``estimated`` is true where ``credits`` was reckoned from the capabilities named.
    """

    credits: int | None = None
    credits_remaining: int | None = None
    tokens: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer of the agent (contract, *AgentResponse*)."""

    id: str | None = None
    status: Literal["completed", "requires_tool_outputs"] = "completed"
    message: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    capabilities_used: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    usage: Usage = field(default_factory=Usage)
    duration_ms: int | None = None
    session_id: str | None = None
    project_id: str | None = None
    plan: str | None = None
    compute_instance: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was just created (contract, *Endpoints*)."""

    id: str
    status: str = "active"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer's text, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStart:
    """A capability of the agent went to work (not a custom function)."""

    tool: str
    message: str | None = None


@dataclass(frozen=True, slots=True)
class ToolEnd:
    """A capability of the agent has finished."""

    tool: str


@dataclass(frozen=True, slots=True)
class Done:
    """The stream is complete; the last event of every good stream."""

    reply: Reply


Event: TypeAlias = Token | ToolStart | ToolEnd | Done
"""What a stream hands out (contract, *Streaming*)."""
