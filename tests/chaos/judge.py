"""Whether an answer was given in the context that the application had shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stewrd_integrations.emulator.reading import Conversation

from .talks import Line, Pair


@dataclass(frozen=True)
class Told:
    """An answer as the application got it: its line, and what its metadata tell."""

    line: Line
    mode: str
    request_id: str
    session_id: str | None
    road: str
    turn: str
    reason: str
    omitted: int

    @classmethod
    def of(cls, line: Line, mode: str, metadata: dict[str, Any]) -> Told:
        """From an answer's metadata."""
        return cls(
            line=line,
            mode=mode,
            request_id=str(metadata["request_id"]),
            session_id=metadata["session_id"],
            road=metadata["road"],
            turn=metadata["turn"],
            reason=metadata["reason"],
            omitted=metadata["omitted_messages"],
        )


def plain(text: str) -> str:
    """A text without what the API and frameworks may change of it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def pairs(lines: Sequence[Line]) -> list[Pair]:
    """A list as (role, text)."""
    return [(line.role, plain(line.text)) for line in lines]


def fault_of(
    heard: Conversation, shown: Sequence[Line], gone: Sequence[Line], system: str
) -> str | None:
    """What is wrong with a context; None if it is the one that was shown.

    Args:
        heard: The context as the server's agent read it.
        shown: The list that the application showed, the current message last.
        gone: What it had shown before that list and has trimmed since; a session keeps it.
        system: The instructions that it showed.
    """
    if plain(heard.instructions) != plain(system):
        return f"other instructions: {heard.instructions!r}"
    read = [(said.role, plain(said.text)) for said in heard.messages]
    wanted = pairs(shown)
    missing = len(wanted) - len(read)
    if missing > 0:
        if heard.omitted < missing:
            return f"{missing} messages are missing, and {heard.omitted} are said to be"
        # A summary stands in front of all that the session knows, also where it replaced only
        # a part of what the replay had left out.
        front = 1 if heard.messages[0].summary else 0
        kept = wanted[:front] + wanted[front + missing :]
        return None if read == kept else "messages are missing or others"
    if -missing > len(gone):
        return "the server knows more than was ever shown"
    before = pairs(gone)[len(gone) + missing :]
    return None if read == before + wanted else "messages are others, or in another order"
