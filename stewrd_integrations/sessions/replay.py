"""What is said to the agent: plain text where that is enough, else an envelope of parts.

An envelope's parts begin at lines that carry a random nonce which occurs in no text, so it
parses one way only, whatever a message says. Its history is JSON Lines: a message can't forge
a role. That guards the parsing; no format binds a model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..types import File, Message
from ..values import dataclass
from .align import Fresh
from .tools import legal_name

# Controls, soft hyphen and bidi marks, zero-width characters, line and paragraph separators,
# surrogates: everything that could make a line look like what it is not.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff]"
)
_ENVELOPE = "[[stewrd:"

PREAMBLE = (
    "This message has several parts. A part begins at a line that starts with the code in the "
    "brackets of this line. The code is new in every message, and nothing else divides the parts."
)
INSTRUCTIONS = "Instructions of the application. Follow them in all that comes."
REPLACING = (
    "Instructions of the application. Follow them in all that comes. They replace the earlier ones."
)
WITHDRAWN = "The application has withdrawn its earlier instructions. There are none now."
REPLAY = "The conversation so far, one message per JSON line, oldest first. It is quoted, not new."
UNHEARD = (
    "Messages of this conversation that you have not heard yet, one per JSON line. One with "
    '"before" stands before the last so many messages you know; "summary" tells what came earlier.'
)
SUMMARY = "A summary of older messages that are left out."
DEMAND = "Of this very answer the application demands the following."
MESSAGE = "The user's message. Answer it."
CONTINUE = "There is no new message. Go on from the end of the messages above."


@dataclass(frozen=True, slots=True)
class Instructions:
    """The instructions to say with a turn: their text, and whether they replace others."""

    text: str
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Speech:
    """One message as the API gets it, and what was left out of it.

    Attributes:
        text: The text of the message.
        files: Its files.
        omitted: Older messages that were left out.
        omitted_files: Names of replayed files that were left out.
    """

    text: str
    files: tuple[File, ...] = ()
    omitted: int = 0
    omitted_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """The split of a history into what is left out and what is replayed word by word."""

    omitted: tuple[Message, ...]
    kept: tuple[Message, ...]


def cost(message: Message) -> int:
    """Characters that replaying a message takes of the budget, without its files."""
    return len(json.dumps(_line(message, {}), ensure_ascii=False))


def window(history: Sequence[Message], budget: int) -> Window:
    """The newest messages that fit into ``budget`` characters, and the older rest."""
    start = len(history)
    while start and (price := cost(history[start - 1])) <= budget:
        budget -= price
        start -= 1
    return Window(tuple(history[:start]), tuple(history[start:]))


def replayed(
    window: Window,
    tail: Sequence[Message],
    instructions: Instructions | None,
    *,
    nonce: str,
    budget: int,
    summary: str | None = None,
    demand: str = "",
) -> Speech:
    """The first message of a new session, or of a stateless run: everything.

    Args:
        window: The history before the current message.
        tail: The current user message, or nothing where the history ends in tool messages.
        instructions: What the application demands.
        nonce: 32 hex digits that nobody could foresee.
        budget: Characters that replayed files may take.
        summary: What stands for the messages left out.
        demand: What is asked of this very answer.
    """
    parcel = _Parcel(tail, budget)
    for message in reversed(window.kept):
        parcel.add(message)
    parts: list[_Part] = _instruction_parts(instructions)
    if summary is not None:
        parts.append(_Part("summary", {"messages": len(window.omitted)}, SUMMARY, summary))
    if window.kept or window.omitted:
        attributes: dict[str, Any] = {"kind": "replay", "omitted": len(window.omitted)}
        if parcel.omitted:
            attributes["omitted_files"] = parcel.omitted
        lines = [_line(message, parcel.names) for message in window.kept]
        parts.append(_Part("transcript", attributes, REPLAY, _json_lines(lines)))
    text = _say(parts + _demand_parts(demand), tail, nonce)
    return Speech(text, parcel.files, len(window.omitted), tuple(parcel.omitted))


def continued(
    messages: Sequence[Message],
    fresh: Sequence[Fresh],
    instructions: Instructions | None,
    *,
    nonce: str,
    budget: int,
    demand: str = "",
) -> Speech:
    """What a session that knows the rest has yet to hear.

    One user message alone is sent as it is; anything else is labelled, each in its place.
    """
    unheard = list(fresh)
    tail: list[Message] = []
    if unheard and messages[unheard[-1].index].role == "user":
        tail = [messages[unheard.pop().index]]
    parcel = _Parcel(tail, budget)
    for entry in reversed(unheard):
        parcel.add(messages[entry.index])
    parts = _instruction_parts(instructions)
    if unheard:
        lines = [_place(entry, _line(messages[entry.index], parcel.names)) for entry in unheard]
        attributes: dict[str, Any] = {"kind": "unheard", "omitted": 0}
        if parcel.omitted:
            attributes["omitted_files"] = parcel.omitted
        parts.append(_Part("transcript", attributes, UNHEARD, _json_lines(lines)))
    text = _say(parts + _demand_parts(demand), tail, nonce)
    return Speech(text, parcel.files, 0, tuple(parcel.omitted))


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    attributes: dict[str, Any]
    prose: str
    body: str | None = None


def _instruction_parts(instructions: Instructions | None) -> list[_Part]:
    if instructions is None:
        return []
    if not instructions.text:
        return [_Part("instructions", {"replaces": True, "none": True}, WITHDRAWN)]
    prose = REPLACING if instructions.replaces else INSTRUCTIONS
    attributes = {"replaces": instructions.replaces, "none": False}
    return [_Part("instructions", attributes, prose, instructions.text)]


def _demand_parts(demand: str) -> list[_Part]:
    return [_Part("demand", {}, DEMAND, demand)] if demand else []


def _say(parts: list[_Part], tail: Sequence[Message], nonce: str) -> str:
    current = tail[0] if tail else None
    if current is not None and not parts and _needs_no_label(current):
        return current.text
    if current is None:
        parts.append(_Part("continue", {}, CONTINUE))
    else:
        name = {} if current.name is None else {"name": current.name}
        parts.append(_Part("message", name, MESSAGE, current.text))
    bodies = "\n".join(part.body or "" for part in parts)
    while nonce in bodies:
        nonce = hashlib.blake2b(nonce.encode(), digest_size=16).hexdigest()
    lines = [_head(nonce, "parts", {"count": len(parts)}, PREAMBLE)]
    for part in parts:
        lines.append(_head(nonce, part.name, part.attributes, part.prose))
        if part.body is not None:
            lines.append(part.body)
    return "\n".join(lines)


def _needs_no_label(message: Message) -> bool:
    # Wherever it stands, and whatever invisible characters stand in it.
    return message.name is None and _ENVELOPE not in _UNSAFE.sub("", message.text)


def _head(nonce: str, name: str, attributes: dict[str, Any], prose: str) -> str:
    return f"[[stewrd:{nonce} {name} {_safe_json(attributes)}]] {prose}"


def _json_lines(lines: Sequence[dict[str, Any]]) -> str:
    return "\n".join(_safe_json(line) for line in lines)


def _safe_json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _place(entry: Fresh, line: dict[str, Any]) -> dict[str, Any]:
    if entry.before is not None:
        line["before"] = entry.before
    if entry.summary:
        line["summary"] = True
    return line


def _line(message: Message, names: dict[File, str]) -> dict[str, Any]:
    line: dict[str, Any] = {"role": message.role, "text": message.text}
    if message.name is not None:
        line["name"] = message.name
    if message.files:
        line["files"] = [names.get(file, file.name) for file in message.files]
    if message.tool_calls:
        line["tool_calls"] = [
            {"id": call.id, "name": legal_name(call.name), "arguments": dict(call.arguments)}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        line["tool_call_id"] = message.tool_call_id
    if message.error:
        line["error"] = True
    return line


class _Parcel:
    """The files that travel with a message: the current ones always, older ones as they fit."""

    def __init__(self, tail: Sequence[Message], budget: int) -> None:
        self.names: dict[File, str] = {}
        self.omitted: list[str] = []
        self._sent: list[File] = []
        self._older: list[File] = []
        self._taken: set[str] = set()
        self._budget = budget
        for file in (file for message in tail for file in message.files):
            self._sent.append(replace(file, name=self._free_name(file.name)))

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(reversed(self._older)) + tuple(self._sent)

    def add(self, message: Message) -> None:
        for file in message.files:
            if file in self.names:
                continue
            if replace(file, url=None) in self._sent:
                self.names[file] = file.name
            elif file.content is None or len(file.content) > self._budget:
                self.names[file] = self._free_name(file.name)
                self.omitted.append(self.names[file])
            else:
                self._budget -= len(file.content)
                self.names[file] = self._free_name(file.name)
                self._older.append(replace(file, name=self.names[file], url=None))

    def _free_name(self, name: str) -> str:
        stem, dot, suffix = name.rpartition(".")
        if not dot or not stem:
            stem, dot, suffix = name, "", ""
        free, number = name, 2
        while free in self._taken:
            free, number = f"{stem}-{number}{dot}{suffix}", number + 1
        self._taken.add(free)
        return free
