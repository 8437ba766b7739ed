"""What an agent is: a function from what it has heard to what it answers.

The emulator's own one stands in `builtin`; here stands what any of them is shown and
may give back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .reading import Conversation, Said

Road = Literal["session", "stateless"]


@dataclass(frozen=True)
class File:
    """A file, as sent with a request or as returned with an answer."""

    name: str
    content: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Tool:
    """A custom function that a request offers. `parameters` is its JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of a custom function that an agent asks for. Without an `id`, it is given one."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class Context:
    """All that the agent sees when it answers.

    `conversation` ends with the current message, whose text is `message` (empty if
    the agent is to go on from tool results). `files` came with this request,
    `earlier_files` with earlier ones of the session or of the run. `capabilities` is
    the request's filter; empty is none. `tools` are the functions that may be called,
    `round` how often this run was given outputs so far: 0 at first.
    """

    conversation: Conversation
    message: str
    files: tuple[File, ...] = ()
    earlier_files: tuple[File, ...] = ()
    capabilities: tuple[str, ...] = ()
    session_id: str | None = None
    road: Road = "stateless"
    tools: tuple[Tool, ...] = ()
    round: int = 0

    @property
    def results(self) -> tuple[Said, ...]:
        """The tool messages since the user last said something, be they new or told again."""
        found: list[Said] = []
        for said in reversed(self.conversation.messages):
            if said.role == "user" and not said.summary:
                break
            if said.role == "tool":
                found.insert(0, said)
        return tuple(found)


@dataclass(frozen=True)
class Answer:
    """What an agent answers: a text, or calls of the tools that it was offered.

    With `calls` the run waits for their outputs, and the agent is asked again when
    they have come:

        def agent(context: Context) -> str | Answer:
            if not context.results:
                return Answer(calls=[Call("add", {"a": 1, "b": 2})])
            return f"It is {context.results[-1].text}."

    Without `capabilities_used`, those of the request count.
    """

    text: str = ""
    files: tuple[File, ...] = ()
    capabilities_used: tuple[str, ...] = ()
    calls: Sequence[Call] = ()


Agent = Callable[[Context], "str | Answer"]
