"""Faults that a test orders: what goes wrong, on which call, and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from .errors import ERRORS, UNLISTED, Form, Refusal

Kind = Literal[
    "error",
    "html",
    "empty",
    "hang_up",
    "cut",
    "garbage",
    "wrong_shape",
    "slow",
    "stream_error",
    "no_done",
    "expire",
    "json_instead_of_stream",
]
On = Literal["message", "create", "agent", "tool_outputs", "send", "any"]
Road = Literal["message", "create", "agent", "tool_outputs"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_ROADS: dict[str, set[str]] = {
    "message": {"message"},
    "create": {"create"},
    "agent": {"agent"},
    "tool_outputs": {"tool_outputs"},
    "send": {"message", "agent"},
    "any": {"message", "create", "agent", "tool_outputs"},
}
_REFUSING: dict[str, Form] = {
    "error": "json",
    "html": "html",
    "empty": "empty",
    "hang_up": "hang_up",
}
_OF_STREAMS = {"stream_error", "no_done", "json_instead_of_stream"}
_UNFINISHED = {"cut", "stream_error", "no_done"}
_FAR_TOO_LONG = 3600.0


@dataclass(frozen=True)
class Fault:
    """One ordered fault; the fields are the arguments of `Emulator.fail_next`."""

    kind: Kind
    on: On = "message"
    times: int = 1
    after: bool = False
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after: str | float | None = None
    chunks: int | None = None
    seconds: float = _FAR_TOO_LONG
    shape: Literal["object", "list"] = "object"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, not {self.kind!r}")
        if self.on not in _ROADS:
            raise ValueError(f"on must be one of {tuple(_ROADS)}, not {self.on!r}")
        if self.times < 1:
            raise ValueError("times must be 1 or more")
        if (
            self.status is not None
            and self.kind in ("error", "html", "empty")
            and self.status < 400
        ):
            raise ValueError("status must be 400 or more")

    def meets(self, road: Road, stream: bool) -> bool:
        """Whether the fault is for a request on this road."""
        if self.kind in _OF_STREAMS and not stream:
            return False
        if self.kind == "expire" and road not in ("message", "tool_outputs"):
            return False
        return road in _ROADS[self.on]

    @property
    def refuses(self) -> bool:
        """Whether the client gets no answer at all, but an error or a closed connection."""
        return self.kind in _REFUSING

    @property
    def loses_answer(self) -> bool:
        """Whether the client cannot have the whole answer, though the work was done."""
        return self.kind in _UNFINISHED or (self.refuses and self.after)

    def refusal(self) -> Refusal:
        """The error of a fault that refuses."""
        known = (ERRORS | UNLISTED).get(self.code or "")
        status = self.status or (known.status if known else 502)
        # A code is said by the API itself, and not by a proxy or by a closed connection.
        code = self.code or (_USUAL.get(status) if self.kind == "error" else None)
        message = self.message or (known.message if known else "The emulator was told to fail.")
        headers = () if self.retry_after is None else (("retry-after", f"{self.retry_after}"),)
        return Refusal(status, code, message, form=_REFUSING[self.kind], headers=headers)


_USUAL: dict[int, str] = {
    **{known.status: code for code, known in reversed(ERRORS.items())},
    500: "internal_error",
}


class Faults:
    """The faults that wait for their request, in the order in which they were ordered."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Order a fault."""
        self._waiting.append(fault)

    def take(self, road: Road, stream: bool) -> Fault | None:
        """The first fault that is for this request; it is used up by one."""
        for at, fault in enumerate(self._waiting):
            if fault.meets(road, stream):
                rest = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                self._waiting[at : at + 1] = rest
                return fault
        return None

    def count(self) -> int:
        """How many requests will still fail."""
        return sum(fault.times for fault in self._waiting)
