"""Reads what clients say in one message when they have several things to say.

The form explains itself on the wire: a first line with a code, parts that begin at lines with the
same code, and messages as JSON lines. This reader was written from such messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from .records import Call, Entry

FIRST = re.compile(r"\[\[stewrd:([0-9a-f]{32}) parts (\{[^\n]*?\})\]\]")


@dataclass(frozen=True)
class Spoken:
    """One message of the conversation, as the client means it."""

    role: str
    text: str
    files: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    call_id: str = ""
    name: str = ""
    error: bool = False
    summary: bool = False


@dataclass
class Conversation:
    """What somebody knows who has read all messages of a log."""

    messages: list[Spoken] = field(default_factory=list)
    instructions: str = ""
    omitted: int = 0
    omitted_files: tuple[str, ...] = ()
    summary: str = ""
    summarised: int = 0
    demand: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """The messages as (role, text)."""
        return [(said.role, said.text) for said in self.messages]


@dataclass(frozen=True)
class Part:
    """One part of a message: its kind, what its head says, and what follows."""

    kind: str
    head: dict[str, Any]
    text: str


def parts(message: str) -> list[Part] | None:
    """The parts of a message that has several; None of a plain one."""
    first = FIRST.match(message)
    if first is None:
        return None
    code = first[1]
    begins = re.compile(rf"^\[\[stewrd:{code} ([a-z_]+) (\{{.*?\}})\]\][^\n]*", re.MULTILINE)
    heads = [found for found in begins.finditer(message) if found[1] != "parts"]
    ends = [found.start() - 1 for found in heads[1:]] + [len(message)]
    found = [
        Part(head[1], json.loads(head[2]), message[head.end() + 1 : end])
        for head, end in zip(heads, ends, strict=True)
    ]
    if len(found) != json.loads(first[2])["count"]:
        raise ValueError(f"{len(found)} parts are not what was announced: {message[:80]!r}")
    return found


def conversation(entries: Iterable[Entry]) -> Conversation:
    """What an agent knows that has these messages before it."""
    known = Conversation()
    for entry in entries:
        known.demand = ""
        envelope = parts(entry.text) if entry.role == "user" else None
        if envelope is None:
            known.messages.append(_plain(entry))
        else:
            _read(envelope, known, tuple(file.name for file in entry.files))
    return known


def _plain(entry: Entry) -> Spoken:
    names = tuple(file.name for file in entry.files)
    return Spoken(entry.role, entry.text, names, entry.calls, entry.call_id)


def _read(envelope: list[Part], known: Conversation, sent: tuple[str, ...]) -> None:
    told: list[str] = []
    for part in envelope:
        match part.kind:
            case "instructions":
                known.instructions = "" if part.head["none"] else part.text
            case "summary":
                known.summary, known.summarised = part.text, part.head["messages"]
            case "transcript":
                told += _transcript(part, known)
            case "demand":
                known.demand = part.text
            case "message":
                own = tuple(name for name in sent if name not in told)
                name = part.head.get("name", "")
                known.messages.append(Spoken("user", part.text, own, name=name))
            case "continue":
                continue
            case other:
                raise ValueError(f"A part of an unknown kind: {other}")


def _transcript(part: Part, known: Conversation) -> list[str]:
    known.omitted += part.head.get("omitted", 0)
    known.omitted_files += tuple(part.head.get("omitted_files", ()))
    heard = len(known.messages)
    files: list[str] = []
    for line in part.text.split("\n"):
        if not line:
            continue
        row = json.loads(line)
        said = _said(row)
        files += said.files
        _place(known, heard, said, row.get("before", 0))
        heard += bool(row.get("before", 0))
    return files


def _place(known: Conversation, heard: int, said: Spoken, before: int) -> None:
    """Put a message where it belongs: before the last so many that were known already."""
    if before:
        known.messages.insert(heard - before, said)
    else:
        known.messages.append(said)


def _said(row: dict[str, Any]) -> Spoken:
    calls = tuple(
        Call(call["id"], call["name"], call["arguments"]) for call in row.get("tool_calls", ())
    )
    return replace(
        Spoken(row["role"], row["text"], tuple(row.get("files", ())), calls),
        call_id=row.get("tool_call_id", ""),
        name=row.get("name", ""),
        error=bool(row.get("error")),
        summary=bool(row.get("summary")),
    )
