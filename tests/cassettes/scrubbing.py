"""What a recording must not hold: keys, ids, accounts and times, each replaced by a number.

The same thing gets the same number everywhere, in the order of first appearance, so that a
recording made anew differs from the old one only where something has changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

_NONCE = re.compile(r"\[\[stewrd:[0-9a-f]{32}\b")
_KEY = re.compile(r"sk-stw_[\x21\x23-\x5b\x5d-\x7e]*")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_IDS = {"id", "request_id", "session_id", "tool_call_id", "_compute_instance"}
_FIXED: dict[str, Any] = {"duration_ms": 0, "project_id": "project"}
_BALANCE = 1000
"""What is left of an account's credits is nobody's business: only by how much it sinks."""
_LONG = 8
"""Characters of an id that is looked for in texts; a shorter one may be a word."""

Told = list[dict[str, Any]]


def without_nonce(text: str) -> str:
    """A message whose envelope has the code 0: in earnest nobody can foresee it."""
    return _NONCE.sub("[[stewrd:" + "0" * 32, text)


def scrub(told: Told) -> Told:
    """The exchanges as a cassette may hold them."""
    numbers = _Numbers(told)
    return [numbers.exchange(each) for each in told]


class _Numbers:
    def __init__(self, told: Told) -> None:
        self._ids: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._balance: int | None = None
        for value in _values(told):
            self._number(value)
        long = [re.escape(each) for each in self._ids if len(each) >= _LONG]
        parts = "|".join(sorted(long, key=len, reverse=True))
        self._known = re.compile(parts) if parts else None

    def _number(self, value: str) -> None:
        number = len(self._ids) + 1
        short = f"id-{number}"
        whole = f"00000000-0000-4000-8000-{number:012d}"
        self._ids.setdefault(value, whole if _UUID.fullmatch(value) else short)

    def exchange(self, told: dict[str, Any]) -> dict[str, Any]:
        request, response = told["request"], told["response"]
        body = {"string": self._body(response["body"]["string"])}
        return {
            "request": {
                **request,
                "uri": self._uri(request["uri"]),
                "body": self._body(request["body"]),
            },
            "response": {**response, "body": body},
        }

    def _uri(self, uri: str) -> str:
        parts = urlsplit(uri)
        host = "127.0.0.1" if parts.hostname == "127.0.0.1" else parts.netloc
        path = "/".join(self._ids.get(part, part) for part in parts.path.split("/"))
        return f"{parts.scheme}://{host}{path}"

    def _body(self, text: str) -> str:
        lines = [self._line(line) for line in text.split("\n")]
        return _KEY.sub("[key]", without_nonce("\n".join(lines)))

    def _line(self, line: str) -> str:
        """A whole JSON body, or a line of a stream."""
        name, colon, data = line.partition(": ") if line.startswith("data: ") else ("", "", line)
        value = _parsed(data)
        if not isinstance(value, (dict, list)):
            return line
        separators = (",", ":") if '":"' in data or '":{' in data else None
        plain = json.dumps(self._clean(value), ensure_ascii=False, separators=separators)
        return name + colon + plain

    def _clean(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._clean(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self._clean(each, key) for each in value]
        if key == "url" and isinstance(value, str):
            number = len(self._addresses) + 1
            return self._addresses.setdefault(value, f"https://files.example/{number}")
        if key == "credits_remaining" and isinstance(value, int):
            self._balance = value if self._balance is None else self._balance
            return _BALANCE - (self._balance - value)
        if key in _FIXED:
            return _FIXED[key]
        if isinstance(value, str):
            return self._ids[value] if key in _IDS else self._told(value)
        return value

    def _told(self, text: str) -> str:
        """A text, which may quote an id: replays name the calls of tools."""
        if self._known is not None:
            text = self._known.sub(lambda match: self._ids[match[0]], text)
        return text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _values(told: Told) -> Iterator[str]:
    """Every id, in order."""
    for each in told:
        for text in (each["request"]["body"], each["response"]["body"]["string"]):
            for line in text.split("\n"):
                yield from _ids(_parsed(line.removeprefix("data: ")))


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in _IDS and isinstance(each, str):
                yield each
            else:
                yield from _ids(each)
    elif isinstance(value, list):
        for each in value:
            yield from _ids(each)
