"""What a test may let go wrong with the next request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .refusals import Refusal

Endpoint: TypeAlias = Literal["any", "create", "message", "agent", "outputs", "work", "send"]
Kind: TypeAlias = Literal[
    "refuse",
    "hang up",
    "silent",
    "cut",
    "stall",
    "error event",
    "no done",
    "body",
    "slow",
    "json",
    "expire",
]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, once.

    Args:
        kind: What happens. ``refuse``: the request is answered with an error; ``hang up``: the
            connection closes without an answer; ``silent``: no answer comes; ``cut``: the answer
            breaks off; ``stall``: it stops and stays open; ``error event``: a stream tells an
            error; ``no done``: a stream ends well, without its last event; ``body``: another
            body comes in place of the answer; ``slow``: the answer takes its time; ``json``: a
            plain answer comes to who asked for a stream; ``expire``: the session or the run has
            just died.
        endpoint: Which request it is for; ``work`` are all that run the
            agent, ``send`` those with a message.
        worked: Whether the agent did its work all the same.
        after: Pieces of the answer that come first.
        refusal: The error of ``refuse``; its code is that of an ``error event``.
        body: The bytes of ``body``.
        status: The status that goes with ``body``.
        seconds: How long ``slow`` takes.
        label: What whoever ordered it calls it.
    """

    kind: Kind
    endpoint: Endpoint = "work"
    worked: bool = True
    after: int = 1
    refusal: Refusal | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200
    seconds: float = 0.0
    label: str = ""

    def fits(self, endpoint: str, stream: bool) -> bool:
        """Whether it is for this request."""
        if self.kind in {"error event", "no done", "json"} and not stream:
            return False
        if self.kind == "expire" and endpoint not in {"message", "outputs"}:
            return False
        if self.endpoint == "work":
            return endpoint != "create"
        if self.endpoint == "send":
            return endpoint in {"message", "agent"}
        return self.endpoint in {"any", endpoint}


@dataclass
class Response:
    """What goes back over the wire, and what happens on the way.

    Args:
        pieces: The body, in the pieces that it goes out in.
        ending: What comes after the pieces: nothing more (``whole``), a closed connection
            (``cut``), or silence until the client goes (``silent``).
        begun: Whether even the first line goes out.
        conclude_at: The piece before which the work counts as delivered.
        settle: Told whether the answer went out whole; may be told False after True.
    """

    status: int
    content_type: str = ""
    pieces: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    ending: Literal["whole", "cut", "silent"] = "whole"
    begun: bool = True
    latency: float = 0.0
    pause: float = 0.0
    conclude_at: int = 0
    code: str = ""
    settle: Callable[[bool], None] = field(default=lambda delivered: None)

    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)

    def break_off(self, fault: Fault) -> None:
        """Let the delivery fail as ordered."""
        match fault.kind:
            case "hang up":
                self.begun, self.ending, self.pieces = False, "cut", []
            case "silent":
                self.begun, self.ending, self.pieces = False, "silent", []
            case "cut":
                self.ending, self.pieces = "cut", self._first(fault.after)
            case "stall":
                self.ending, self.pieces = "silent", self._first(fault.after)
            case "slow":
                self.latency += fault.seconds
            case _:
                return

    def _first(self, count: int) -> list[bytes]:
        if len(self.pieces) > 1:
            return self.pieces[: min(count, len(self.pieces) - 1)]
        return list(self._half())

    def _half(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield piece[: len(piece) // 2]
