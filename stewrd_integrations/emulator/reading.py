"""Reading a session's raw log as the conversation that an agent understands.

A client may send plain text, or an envelope in which it tells a conversation that
took place elsewhere. The envelope's first line is
`[[stewrd:NONCE parts {…}]] prose`; every further part begins with a line
`[[stewrd:NONCE NAME {…}]]` under the same nonce. A text that breaks any rule of
the format is no envelope: it is plain text, and is read as such.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

_HEAD = re.compile(r"\[\[stewrd:([0-9a-f]{32}) ([a-z]+) (?=\{)")
_JSON = json.JSONDecoder()


@dataclass(frozen=True)
class ToolCall:
    """A call of a custom function that an assistant message asked for."""

    id: str
    name: str
    arguments: dict[str, Any]


class _Words(NamedTuple):
    role: str
    text: str


class Heard(_Words):
    """One message of a log, as it came over the wire: a pair of role and text.

    An assistant's message may ask for `tool_calls`. A tool's message, whose text is
    the output, answers the call with the id `tool_call_id` of the function `name`.
    A message that has any of these equals no plain pair.
    """

    tool_calls: tuple[ToolCall, ...]
    tool_call_id: str | None
    name: str | None

    def __new__(
        cls,
        role: str,
        text: str,
        *,
        tool_calls: Sequence[ToolCall] = (),
        tool_call_id: str | None = None,
        name: str | None = None,
    ) -> Heard:
        """Make a message; without the keywords, a plain pair."""
        heard = super().__new__(cls, role, text)
        heard.tool_calls = tuple(tool_calls)
        heard.tool_call_id = tool_call_id
        heard.name = name
        return heard

    @property
    def of_tools(self) -> bool:
        """Whether it is a call of custom functions, or an output of one."""
        return bool(self.tool_calls) or self.role == "tool"

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and _details(self) == _details(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return tuple.__hash__(self)

    def __repr__(self) -> str:
        known = {"tool_calls": self.tool_calls, "tool_call_id": self.tool_call_id}
        told = [f"{key}={value!r}" for key, value in (known | {"name": self.name}).items() if value]
        return f"Heard({', '.join([repr(self.role), repr(self.text), *told])})"


def _details(pair: object) -> tuple[Any, ...]:
    if isinstance(pair, Heard):
        return pair.tool_calls, pair.tool_call_id, pair.name
    return (), None, None


@dataclass(frozen=True)
class Said:
    """One message of a conversation. `summary`: it stands for the oldest ones."""

    role: str
    text: str
    name: str | None = None
    files: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    error: bool = False
    summary: bool = False


@dataclass(frozen=True)
class Conversation:
    """A conversation as read: its messages in order, the current one last.

    `omitted` counts the older messages that a replay left out, `summary` is the
    summary sent in the place of `summarised` older ones. `demand` is asked of the very
    next answer, beside the `instructions`.
    """

    instructions: str = ""
    messages: tuple[Said, ...] = ()
    omitted: int = 0
    omitted_files: tuple[str, ...] = ()
    summary: str | None = None
    summarised: int = 0
    demand: str = ""


def read(log: Sequence[tuple[str, str]]) -> Conversation:
    """Fold a raw log of (role, text) into the conversation that it tells."""
    conversation = Conversation()
    for heard in log:
        role, text = heard
        conversation = replace(conversation, demand="")
        if role == "user":
            conversation = _hear(conversation, text)
        else:
            calls, call_id, name = _details(heard)
            said = Said(role, text, name=name, tool_calls=calls, tool_call_id=call_id)
            conversation = _say(conversation, said)
    return conversation


def is_envelope(text: str) -> bool:
    """Whether a first message is an envelope and not plain text."""
    return _unpack(Conversation(), text) is not None


def _hear(conversation: Conversation, text: str) -> Conversation:
    told = _unpack(conversation, text)
    return _say(conversation, Said("user", text)) if told is None else told


def _say(conversation: Conversation, *said: Said) -> Conversation:
    return replace(conversation, messages=(*conversation.messages, *said))


class _Part(NamedTuple):
    name: str
    attrs: dict[str, Any]
    body: str


class _Malformed(Exception):
    """The text only looks like an envelope."""


def _unpack(conversation: Conversation, text: str) -> Conversation | None:
    try:
        parts = _parts(text)
        return None if parts is None else _fold(conversation, parts)
    except _Malformed:
        return None


def _parts(text: str) -> list[_Part] | None:
    lines = text.split("\n")
    first = _head(lines[0])
    if first is None or first[1] != "parts":
        return None
    nonce = first[0]
    starts = [at for at, line in enumerate(lines) if line.startswith(f"[[stewrd:{nonce} ")]
    # Whoever holds the nonce could forge a part: it may stand in the heads and nowhere else.
    _demand(text.count(nonce) == len(starts))
    found = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        head = _head(lines[start])
        if head is None:
            raise _Malformed
        found.append(_Part(head[1], head[2], "\n".join(lines[start + 1 : end])))
    _demand(not found[0].body)
    return found[1:]


def _head(line: str) -> tuple[str, str, dict[str, Any]] | None:
    match = _HEAD.match(line)
    if match is None:
        return None
    try:
        attrs, end = _JSON.raw_decode(line, match.end())
    except (ValueError, RecursionError):
        return None
    # After the closing brackets stands the end of the line, or a blank and prose.
    if line[end : end + 2] != "]]" or line[end + 2 : end + 3] not in ("", " "):
        return None
    return match[1], match[2], attrs


def _demand(holds: bool) -> None:
    if not holds:
        raise _Malformed


_ATTRS: dict[str, set[str]] = {
    "instructions": {"replaces", "none"},
    "summary": {"messages"},
    "transcript": {"kind", "omitted", "omitted_files"},
    "demand": set(),
    "message": {"name"},
    "continue": set(),
}


def _fold(conversation: Conversation, parts: list[_Part]) -> Conversation:
    names = [part.name for part in parts]
    _demand(len(set(names)) == len(names) and bool(names))
    _demand(names[-1] in ("message", "continue"))
    _demand(not {"message", "continue"} & set(names[:-1]))
    for part in parts:
        _demand(part.name in _ATTRS and set(part.attrs) <= _ATTRS[part.name])
    told = {part.name: part for part in parts}
    if "transcript" in told:
        conversation = _transcript(conversation, told["transcript"])
    if "summary" in told:
        conversation = _summary(conversation, told["summary"])
    if "instructions" in told:
        conversation = _instructions(conversation, told["instructions"])
    if "demand" in told:
        conversation = replace(conversation, demand=told["demand"].body)
    return _current(conversation, parts[-1])


def _instructions(conversation: Conversation, part: _Part) -> Conversation:
    withdrawn = _attr(part, "none", bool, False)
    replaces = _attr(part, "replaces", bool, False)
    if withdrawn:
        _demand(not part.body)
        return replace(conversation, instructions="")
    # Instructions that do not say that they replace the former ones are added to them.
    if conversation.instructions and not replaces:
        return replace(conversation, instructions=f"{conversation.instructions}\n{part.body}")
    return replace(conversation, instructions=part.body)


def _summary(conversation: Conversation, part: _Part) -> Conversation:
    count = _attr(part, "messages", int, 0)
    return replace(conversation, summary=part.body, summarised=count)


def _current(conversation: Conversation, part: _Part) -> Conversation:
    if part.name == "continue":
        _demand(not part.body)
        return conversation
    name: str | None = _attr(part, "name", str, None)
    return _say(conversation, Said("user", part.body, name=name))


def _transcript(conversation: Conversation, part: _Part) -> Conversation:
    lines = [_line(line) for line in part.body.split("\n")] if part.body else []
    kind = _attr(part, "kind", str, None)
    omitted = _attr(part, "omitted", int, 0)
    names = tuple(_strings(part.attrs.get("omitted_files", [])))
    if kind == "replay":
        _demand(all(before is None and not message.summary for message, before in lines))
        said = tuple(message for message, _ in lines)
        return Conversation(conversation.instructions, said, omitted, names)
    _demand(kind == "unheard")
    return replace(
        conversation,
        messages=_insert(conversation.messages, lines),
        omitted=conversation.omitted + omitted,
        omitted_files=conversation.omitted_files + names,
    )


def _insert(held: tuple[Said, ...], lines: list[tuple[Said, int | None]]) -> tuple[Said, ...]:
    """Put each line in its place, counted from the end of what this envelope found held."""
    gaps: list[list[Said]] = [[] for _ in range(len(held) + 1)]
    for said, before in lines:
        _demand((before or 0) <= len(held))
        gaps[len(held) - (before or 0)].append(said)
    whole = gaps[0]
    for message, gap in zip(held, gaps[1:], strict=True):
        whole += [message, *gap]
    return tuple(whole)


_KEYS = {
    "role",
    "text",
    "name",
    "files",
    "tool_calls",
    "tool_call_id",
    "error",
    "before",
    "summary",
}


def _line(line: str) -> tuple[Said, int | None]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as broken:
        raise _Malformed from broken
    _demand(isinstance(value, dict) and set(value) <= _KEYS)
    _demand(value.get("role") in ("user", "assistant", "tool"))
    said = Said(
        role=value["role"],
        text=_field(value, "text", str),
        name=_optional(value, "name", str),
        files=tuple(_strings(value.get("files", []))),
        tool_calls=tuple(_tool_calls(value.get("tool_calls", []))),
        tool_call_id=_optional(value, "tool_call_id", str),
        error=bool(_optional(value, "error", bool)),
        summary=bool(_optional(value, "summary", bool)),
    )
    return said, _count(value, "before")


def _tool_calls(value: Any) -> list[ToolCall]:
    _demand(isinstance(value, list) and all(isinstance(call, dict) for call in value))
    _demand(all(set(call) == {"id", "name", "arguments"} for call in value))
    return [
        ToolCall(
            _field(call, "id", str),
            _field(call, "name", str),
            _field(call, "arguments", dict),
        )
        for call in value
    ]


def _strings(value: Any) -> list[str]:
    _demand(isinstance(value, list) and all(isinstance(item, str) for item in value))
    return list(value)


def _field(value: dict[str, Any], key: str, kind: type) -> Any:
    # bool is an int to Python, but not to JSON
    _demand(type(value.get(key)) is kind)
    return value[key]


def _optional(value: dict[str, Any], key: str, kind: type) -> Any:
    return _field(value, key, kind) if key in value else None


def _count(value: dict[str, Any], key: str) -> int | None:
    count: int | None = _optional(value, key, int)
    _demand(count is None or count >= 0)
    return count


def _attr(part: _Part, key: str, kind: type, default: Any) -> Any:
    return _field(part.attrs, key, kind) if key in part.attrs else default
