"""What a turn asks the outside world to do.

A turn is a generator of these. A driver performs each and sends the answer in, or throws in
the error that it met. The comment behind each class says what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import field
from typing import Any, Literal, TypeAlias, TypeVar

from ..types import AgentRequest, Event, Message, Token, ToolOutput
from ..values import dataclass
from .binding import Binding
from .stop import Stop

NoteState: TypeAlias = "dict[str, Any]"
Road: TypeAlias = Literal["session", "stateless"]
Turn: TypeAlias = Literal[
    "continued", "opened", "replayed", "rolled_over", "recreated", "stateless"
]


@dataclass(frozen=True, slots=True)
class Decision:
    """How a turn travels, and why.

    Attributes:
        road: On a session, or stateless.
        turn: The kind of turn.
        reason: One line that names the rule, and the place where that is known: messages are
            counted from 1, without the system messages.
        omitted: Older messages that the replay leaves out.
        omitted_files: Names of files that the replay leaves out.
        generation: How many sessions the conversation has had, this one included.
        messages_used: Messages that the session will hold after the answer, by our count.
        fresh: Messages of the call that are sent, since the session has not heard them.
    """

    road: Road
    turn: Turn
    reason: str
    omitted: int = 0
    omitted_files: tuple[str, ...] = ()
    generation: int = 0
    messages_used: int = 0
    fresh: int = 0


@dataclass(frozen=True, slots=True)
class Now:
    """-> seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """-> None, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Warn:
    """-> None. Tells the user once for each ``kind``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Take:
    """-> the binding under the first key that hits, popped, or None.

    With ``unique`` a key hits only if a single live binding has it.
    """

    keys: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """-> None."""

    binding: Binding
    ttl: float


@dataclass(frozen=True, slots=True)
class Occupy:
    """-> whether the slot is ours: refreshed, or taken while fewer than ``limit`` are."""

    pool: str
    slot: str
    limit: int
    ttl: float


@dataclass(frozen=True, slots=True)
class Vacate:
    """-> None."""

    pool: str
    slot: str


@dataclass(frozen=True, slots=True)
class ReadNote:
    """-> the note, empty if there is none."""

    key: str


@dataclass(frozen=True, slots=True)
class ChangeNote:
    """-> the note as ``change`` left it. The change is atomic and may run more than once."""

    key: str
    change: Callable[[NoteState], NoteState]


@dataclass(frozen=True, slots=True)
class Summarise:
    """-> the user's summary of messages that a replay leaves out."""

    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Open:
    """-> a new `Session`."""


@dataclass(frozen=True, slots=True)
class Send:
    """-> the `Reply`; or, if ``stream``, None: then `Pieces` hands them out.

    ``session_id`` is None on the stateless road.
    """

    request: AgentRequest
    session_id: str | None
    stream: bool
    decision: Decision


@dataclass(frozen=True, slots=True)
class Submit:
    """-> the `Reply` of a run that was given the outputs of its tools."""

    request_id: str
    compute_instance: str | None
    outputs: tuple[ToolOutput, ...]
    session_id: str | None
    decision: Decision


@dataclass(frozen=True, slots=True)
class Pieces:
    """-> `Done`, after the caller was handed the stream's pieces on the way to it.

    The driver asks `piece_of` about each and hands it out by itself. A stream has thousands,
    and the way into a turn and out again is long.

    Attributes:
        stop: What is shown of the answer.
        shown: Told before the first piece goes out.
        said: The texts of the tokens, as they came.
        texts: What was shown of them.
    """

    stop: Stop
    shown: Callable[[], None]
    said: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def piece_of(self, event: Event) -> Event | None:
        """What the caller is handed of an event; None if nothing yet, or nothing any more."""
        if isinstance(event, Token):
            self.said.append(event.text)
            text = self.stop.feed(event.text)
            self.texts.append(text)
            if not text:
                return None
            if text != event.text:
                event = Token(text)
        self.shown()
        return event


@dataclass(frozen=True, slots=True)
class Emit:
    """-> None, after the caller was handed the event."""

    event: Event


class Abandoned(BaseException):
    """Thrown into a turn whose caller has walked away, in the place of `GeneratorExit`.

    Python does not throw that one into a generator behind ``yield from``: it closes it, and a
    generator that is closed can't ask for anything any more.
    """


Effect: TypeAlias = (
    Now
    | Sleep
    | Warn
    | Take
    | Put
    | Occupy
    | Vacate
    | ReadNote
    | ChangeNote
    | Summarise
    | Open
    | Send
    | Submit
    | Pieces
    | Emit
)

T = TypeVar("T")
Flow: TypeAlias = Generator[Effect, Any, T]
"""A generator of effects that ends with a value.

Where it is closed (`GeneratorExit`), as in a child of a fork, it asks for nothing any more: nobody
would perform it, and Python would complain. Whoever walks away throws in `Abandoned`.
"""
