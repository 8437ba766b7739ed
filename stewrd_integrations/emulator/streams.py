"""The answer as server-sent events, in every shape that the API is known to use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .errors import ERRORS
from .settings import Settings
from .wire import encode


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    data: dict[str, Any]


def events(settings: Settings, body: dict[str, Any]) -> list[Event]:
    """The events that tell the answer whose whole body, as without streaming, is `body`."""
    tools = [tool for tool in body["capabilities_used"] if tool != "chat"]
    # [documented] tool_start and tool_end name a capability at work; the message is optional
    starts = [Event("tool_start", _start(tool, at)) for at, tool in enumerate(tools)]
    ends = [Event("tool_end", {"tool": tool}) for tool in reversed(tools)]
    # [documented] [observed] a token's text is in `content` or in `text`
    tokens = [
        Event("token", {settings.token_key: part}) for part in _split(settings, body["message"])
    ]
    # [assumed] events may be added to the API
    unknown = [Event("trace", {"step": "answered"})] if settings.extra_fields else []
    return [*starts, *tokens, *ends, *unknown, Event("done", _done(settings, body))]


def broken_off(told: list[Event], tokens: int, code: str) -> list[Event]:
    """[documented] The events up to a number of tokens, then an `error` event under status 200."""
    kept = []
    for event in told:
        if event.name == "done" or (event.name == "token" and tokens == 0):
            break
        tokens -= event.name == "token"
        kept.append(event)
    message = ERRORS[code].message if code in ERRORS else "The stream was broken off."
    return [*kept, Event("error", {"code": code, "message": message})]


def chunks(settings: Settings, told: list[Event]) -> list[bytes]:
    """The bytes of a stream, one piece for an event, or pieces of `chunk_bytes`."""
    pieces = [_bytes(settings, event) for event in told]
    if pieces and not settings.final_blank_line:
        pieces[-1] = pieces[-1][: -len(settings.newline)]
    size = settings.chunk_bytes
    if size is None:
        return pieces
    whole = b"".join(pieces)
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _bytes(settings: Settings, event: Event) -> bytes:
    # [assumed] comments keep a connection open; they belong to no event
    lines = [b": keep-alive", b""] if settings.keep_alive else []
    lines += [
        b"event: " + event.name.encode(),
        b"data: " + encode(event.data),
        b"",
        b"",
    ]
    return settings.newline.encode().join(lines)


def _start(tool: str, at: int) -> dict[str, str]:
    # Both forms, so that no client comes to rely on the optional message.
    return {"tool": tool} if at % 2 else {"tool": tool, "message": f"Working with {tool}…"}


def _split(settings: Settings, text: str) -> list[str]:
    if settings.token_split == "characters":
        return list(text)
    if settings.token_split == "words":
        return re.findall(r"\s*\S+|\s+$", text)
    return [text] if text else []


def _done(settings: Settings, body: dict[str, Any]) -> dict[str, Any]:
    usage = body.get("usage")
    if settings.done == "nested":
        # [observed] in the first releases of the SDKs
        nested = {key: value for key, value in body.items() if key != "usage"}
        return {"response": nested} | ({} if usage is None else {"usage": usage})
    flat = {
        "request_id": body["id"],
        "message": body["message"],
        "files": body["files"],
    }
    flat["duration_ms"] = body["meta"]["duration_ms"]
    if settings.done == "documented":
        # [documented]
        return flat | ({} if usage is None else {"usage": usage})
    # [observed] what the live API sends
    return flat | ({} if usage is None else {"tokens_used": usage["tokens_used"]})
