"""The bytes of answers: JSON objects and streams of events, in every form they may have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .unknowns import Unknowns

_HALF = re.compile("[\ud800-\udfff]")
FUTURE = {"x_new": {"deeper": [1, None, "ü"]}, "version": 7}
"""Fields that nobody has documented yet."""


def dumped(value: object, unknowns: Unknowns) -> bytes:
    """JSON in one of its styles."""
    match unknowns.json_style:
        case "escaped":
            return json.dumps(value).encode()
        case "indented":
            return b"\n" + json.dumps(value, indent=2).encode() + b"\n"
        case _:
            return written(value).encode()


def written(value: object) -> str:
    """JSON in plain letters, or escaped where half a character has no letter."""
    plain = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _HALF.search(plain) else plain


def with_future(value: Any, unknowns: Unknowns) -> Any:
    """The same with fields nobody knows, at every depth but in the arguments of calls."""
    if unknowns.unknown_fields == "none":
        return value
    if isinstance(value, dict):
        kept = {key: _deeper(key, inner, unknowns) for key, inner in value.items()}
        return {**FUTURE, **kept}
    if isinstance(value, list):
        return [with_future(each, unknowns) for each in value]
    return value


def _deeper(key: str, inner: Any, unknowns: Unknowns) -> Any:
    return inner if key == "arguments" else with_future(inner, unknowns)


def usage(unknowns: Unknowns, credits_used: int, left: int, tokens: int) -> Any:
    """What was used, in the newer or the older words; an ellipsis where it is left out."""
    newer = {"credits_this_request": credits_used, "credits_remaining": left}
    older = {"requests_used": 12, "requests_limit": 1_000}
    match unknowns.usage_form:
        case "credits":
            return {**newer, "tokens_used": tokens}
        case "requests":
            return {**older, "tokens_used": tokens}
        case "both":
            return {**newer, **older, "tokens_used": tokens}
        case "null":
            return None
        case _:
            return ...


def optional(form: str, value: Any) -> Any:
    """A field that may be left out or null."""
    return {"left out": ..., "null": None}.get(form, value)


def stripped(value: dict[str, Any], unknowns: Unknowns) -> dict[str, Any]:
    """Without what is left out; empty lists in their form."""
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        shown = optional(unknowns.empties, inner) if inner == [] else inner
        if shown is not ...:
            kept[name] = shown
    return kept


def pieces(text: str, unknowns: Unknowns) -> list[str]:
    """The pieces that a stream tells a text in."""
    match unknowns.token_pieces:
        case "none":
            return []
        case "one":
            return [text] if text else []
        case "characters":
            return list(text)
        case "empty ones between":
            return [
                piece for word in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text) for piece in ("", word)
            ]
        case _:
            return re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text)


def events(answer: dict[str, Any], unknowns: Unknowns) -> list[tuple[str, Any]]:
    """The events of a stream that tells this answer, the last one being done."""
    told: list[tuple[str, Any]] = []
    for name in answer.get("capabilities_used") or ():
        told += _progress(name, unknowns)
    for piece in pieces(answer.get("message") or "", unknowns):
        told.append(("token", _token(piece, unknowns)))
    return [*told, ("done", with_future(_done(answer, unknowns), unknowns))]


def _progress(name: str, unknowns: Unknowns) -> list[tuple[str, Any]]:
    if name == "chat" or unknowns.progress == "none":
        return []
    start: dict[str, Any] = {"tool": name}
    if unknowns.progress != "without message":
        start["message"] = None if unknowns.progress == "null message" else "Working…"
    return [("tool_start", start), ("tool_end", {"tool": name})]


def _token(piece: str, unknowns: Unknowns) -> dict[str, str]:
    match unknowns.token_field:
        case "text":
            return {"text": piece}
        case "content":
            return {"content": piece}
        case _:
            return {"text": piece, "content": piece}


def _done(answer: dict[str, Any], unknowns: Unknowns) -> dict[str, Any]:
    response = {**answer, "message": _done_message(answer["message"], unknowns)}
    if unknowns.done_form in {"nested", "nested, usage inside"}:
        return _nested(stripped(response, unknowns), unknowns)
    flat = {
        "request_id": answer["id"],
        "message": response["message"],
        "files": answer.get("files", ...),
        "duration_ms": 5,
    }
    if unknowns.done_form == "flat with usage":
        return stripped({**flat, "usage": answer.get("usage", ...)}, unknowns)
    tokens = (answer.get("usage") or {}).get("tokens_used", 0)
    return stripped({**flat, "tokens_used": tokens}, unknowns)


def _nested(response: dict[str, Any], unknowns: Unknowns) -> dict[str, Any]:
    if unknowns.done_form == "nested, usage inside":
        return {"response": response}
    told = response.pop("usage", ...)
    return stripped({"response": response, "usage": told}, unknowns)


def _done_message(text: str, unknowns: Unknowns) -> Any:
    if unknowns.token_pieces == "none":
        return text  # else nobody would ever see it
    match unknowns.done_message:
        case "trimmed":
            return text.strip()
        case "shortened":
            return text[: len(text) // 2]
        case "left out":
            return ...
        case "null":
            return None
        case _:
            return text


def stream(told: list[tuple[str, Any]], unknowns: Unknowns, *, whole: bool = True) -> list[bytes]:
    """The blocks of a stream; ``whole`` says that it ends as streams end."""
    blocks = [block for event in told for block in _blocks(*event, unknowns)]
    if whole and blocks:
        blocks[-1:] = _end(blocks[-1], unknowns)
    if unknowns.sse_extras == "byte order mark":
        blocks.insert(0, "\ufeff")
    return [block.replace("\n", unknowns.newline).encode() for block in blocks]


def _blocks(name: str, data: Any, unknowns: Unknowns) -> Iterator[str]:
    value = json.dumps(data) if unknowns.json_style == "escaped" else written(data)
    head, line = f"event: {name}\n", f"data: {value}\n"
    match unknowns.sse_extras:
        case "comments":
            yield f": keep-alive\n\n{head}: another\n{line}\n"
        case "ids":
            yield f"id: 7\n{head}{line}\nid: 8\n\n"
        case "retry":
            yield f"retry: 3000\n{head}{line}\n"
        case "no space":
            yield f"event:{name}\ndata:{value}\n\n"
        case "several data lines":
            lines = json.dumps(data, indent=1).split("\n")
            yield head + "".join(f"data: {each}\n" for each in lines) + "\n"
        case "data first":
            yield f"{line}{head}\n"
        case "empty data":
            yield f"event: token\ndata:\n\n{head}{line}\n"
        case "unknown events":
            yield f'event: thinking\ndata: {{"text": "Hm."}}\n\n{head}{line}\nevent: ping\ndata\n\n'
        case "unnamed events":
            yield f'data: {{"note": 1}}\n\n{head}{line}\n'
        case _:
            yield f"{head}{line}\n"


def _end(last: str, unknowns: Unknowns) -> list[str]:
    match unknowns.sse_end:
        case "line end":
            return [last.rstrip("\n") + "\n"]
        case "nothing":
            return [last.rstrip("\n")]
        case "comments after":
            return [last, ": the end\n\n"]
        case "[DONE] after":
            return [last, "data: [DONE]\n\n"]
        case _:
            return [last]


def cut_up(blocks: list[bytes], unknowns: Unknowns) -> list[bytes]:
    """The pieces that go over the wire, of which one need not be one event."""
    whole = b"".join(blocks)
    match unknowns.sse_borders:
        case "bytes":
            return [whole[place : place + 3] for place in range(0, len(whole), 3)]
        case "one piece":
            return [whole]
        case "within characters":
            return _within_characters(whole)
        case _:
            return blocks


def _within_characters(whole: bytes) -> list[bytes]:
    """Cut behind the first byte of every character of several bytes, and amid line ends."""
    borders = [place + 1 for place, byte in enumerate(whole) if byte >= 0xC0 or byte == 0x0D]
    starts, ends = [0, *borders], [*borders, len(whole)]
    return [whole[start:end] for start, end in zip(starts, ends, strict=True) if end > start]
