"""The record that ties a conversation to a session."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

from ..values import dataclass
from .digest import Covered

DAY = 86_400.0
"""Seconds that bindings and notes are kept; the session inside may be dead long before."""

SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Run:
    """A run that waits for the outputs of custom tools (R11).

    Attributes:
        request_id: Of the answer that asked for them.
        compute_instance: To be given back unchanged.
        deadline: When it is gone (seconds since the epoch).
        rounds: How often it has asked.
        calls: The ids of the calls it waits for.
        offered: Digest of the tools and instructions under which it began.
        rolled: Rolling digest of everything up to the calls.
        on_session: Whether it is the session's; else it has its own context and no session.
        demanded: Digest of what was demanded of its answer.
        refused: Digest of outputs that the API has refused for it ("" for none).
    """

    request_id: str
    compute_instance: str | None
    deadline: float
    rounds: int
    calls: tuple[str, ...] = ()
    offered: str = ""
    rolled: str = ""
    on_session: bool = False
    demanded: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """One conversation, and the session that has heard it, if there is one.

    Attributes:
        id: Identity of this record in the store; fresh at each put.
        session_id: The session, or None: recognised, but answered stateless so far.
        covered: What need not be said again.
        tip_mark: The hashed mark of the last answer.
        used: Messages that the session holds by our count.
        held: The last so many of the covered messages are in the session word by word.
        sent_at: When the last message was sent (seconds since the epoch).
        answered_at: When its answer was complete.
        instructions: Digest of the instructions in force in the session ("" for none).
        instructions_size: Their length in characters.
        superseded: Characters of instructions in the session that others have replaced.
        generation: How many sessions the conversation has had.
        opened: When sessions were opened for it that a steadier list would not have needed.
        provisional: Opened on the first turn of an unnamed list and not come back yet.
        plain: The session knows no more than the covered messages' words: no files, no research,
            no former instructions, nothing that was trimmed since.
        run: A tool run that waits for outputs.
        keys: The keys it was put under, so that it can go back untouched.
        epoch: How often its conversation had been forgotten when its call arrived.
    """

    id: str
    session_id: str | None
    covered: Covered
    tip_mark: str = ""
    used: int = 0
    held: int = 0
    sent_at: float = 0.0
    answered_at: float = 0.0
    instructions: str = ""
    instructions_size: int = 0
    superseded: int = 0
    generation: int = 0
    opened: tuple[float, ...] = ()
    provisional: bool = False
    plain: bool = True
    run: Run | None = None
    keys: tuple[str, ...] = ()
    epoch: int = 0

    def to_json(self) -> str:
        """As stores keep it: plain JSON without any text of the conversation."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Binding | None:
        """Read what `to_json` wrote; None if it is of another schema: then it is replayed.

        Raises:
            ValueError: It is no binding: a field is missing, is unknown, or has a wrong type.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("A binding is an object.")  # noqa: TRY004 - the text is what is wrong
        if data.pop("schema", None) != SCHEMA:
            return None
        covered, run = data.pop("covered", None), data.pop("run", None)
        return cls(
            **_checked(cls, data),
            covered=Covered(**_checked(Covered, covered)),
            run=None if run is None else Run(**_checked(Run, run)),
        )


def leads_nowhere(binding: Binding) -> bool:
    """Whether its session's id goes into no path: somebody else's hand was in the store."""
    id_ = binding.session_id
    return id_ is not None and re.fullmatch(r"[A-Za-z0-9_-]{1,128}", id_) is None


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and -1e15 < value < 1e15  # and so no NaN


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(map(fits, value))


_FITS: dict[Any, Callable[[Any], bool]] = {
    "str": _is_text,
    "str | None": lambda value: value is None or type(value) is str,
    "int": lambda value: type(value) is int and 0 <= value < 2**53,
    "float": _is_time,
    "bool": lambda value: type(value) is bool,
    "tuple[str, ...]": _is_list_of(_is_text),
    "tuple[float, ...]": _is_list_of(_is_time),
}
"""Whether a value of JSON may stand in a field, by the field's type."""

_FIELDS: dict[type, dict[str, tuple[Callable[[Any], bool], bool]]] = {
    kind: {
        field.name: (_FITS[field.type], field.default is dataclasses.MISSING)
        for field in dataclasses.fields(kind)
        if field.name not in ("covered", "run")
    }
    for kind in (Binding, Covered, Run)
}
"""For each field what fits, and whether it may not be missing."""


def _checked(kind: type, data: Any) -> dict[str, Any]:
    """The fields of a record as it was kept."""
    fields = _FIELDS[kind]
    if not isinstance(data, dict) or data.keys() - fields.keys():
        raise ValueError("A binding has other fields.")
    for name, (fits, needed) in fields.items():
        if name not in data:
            if needed:
                raise ValueError(f"A binding has no field {name}.")
        elif not fits(data[name]):
            raise ValueError(f"The field {name} of a binding has a wrong type.")
    return {name: tuple(value) if type(value) is list else value for name, value in data.items()}
