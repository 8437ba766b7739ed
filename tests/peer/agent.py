"""The agent that answers when a test brings none: simple rules over what it really has."""

from __future__ import annotations

import json
import re
from typing import Any

from .reading import Conversation, conversation
from .records import Answer, Context, Entry, File

_NAME = re.compile(r"my name is (\w+)", re.IGNORECASE)
_FAVOURITE = re.compile(r"my favou?rite (\w+) is (\w+)", re.IGNORECASE)
_ASKED_FAVOURITE = re.compile(r"what is my favou?rite (\w+)", re.IGNORECASE)
_CALL = re.compile(r"\b(\w+)\(([^()]*)\)")


def answering(context: Context) -> Answer:
    """Answer from what the service holds, and call the functions that a message names."""
    last = context.entries[-1]
    if last.role == "tool":
        return Answer(_outputs(context.entries))
    known = conversation(context.entries)
    words = known.messages[-1].text if known.messages else ""
    calls = _calls(words, context)
    return Answer(calls=calls) if calls else Answer(_words(words, known, context.ask.files))


def _outputs(entries: tuple[Entry, ...]) -> str:
    names = {call.id: call.name for entry in entries for call in entry.calls}
    said: list[str] = []
    for entry in reversed(entries):
        if entry.role != "tool":
            break
        said.insert(0, f"The tool {names.get(entry.call_id, 'tool')} answered: {entry.text}")
    return "\n".join(said)


def _calls(words: str, context: Context) -> tuple[tuple[str, dict[str, Any]], ...]:
    tools = {tool.name: tool for tool in context.ask.tools}
    found = []
    for name, inside in _CALL.findall(words):
        if name in tools:
            names = list(tools[name].parameters.get("properties", {}))
            values = [_value(text) for text in inside.split(",")] if inside.strip() else []
            found.append((name, dict(zip(names, values, strict=False))))
    return tuple(found)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _words(words: str, known: Conversation, files: tuple[File, ...]) -> str:
    users = [said.text for said in known.messages if said.role == "user"]
    if files:
        return "; ".join(_of_file(file) for file in files)
    if re.search(r"what is my name|who am i", words, re.IGNORECASE):
        return _found(_NAME, users, "Your name is {0}.", "You have not told me your name.")
    if asked := _ASKED_FAVOURITE.search(words):
        told = re.compile(rf"my favou?rite ({asked[1]}) is (\w+)", re.IGNORECASE)
        return _found(told, users, "Your favourite {0} is {1}.", "You have not told me.")
    if named := _NAME.search(words):
        return f"Nice to meet you, {named[1]}."
    if liked := _FAVOURITE.search(words):
        return f"I will remember that your favourite {liked[1]} is {liked[2]}."
    return f"You have said {len(users)} things; the last was “{words}”."


def _found(pattern: re.Pattern[str], users: list[str], yes: str, no: str) -> str:
    for text in reversed(users):
        if found := pattern.search(text):
            return yes.format(*found.groups())
    return no


def _of_file(file: File) -> str:
    lines = (file.content or "").splitlines()
    first = lines[0] if lines else ""
    return f"{file.name} has {len(lines)} lines; the first one is “{first}”."
