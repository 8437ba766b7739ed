"""One exchange as it was seen: what was sent, what came back, and nothing taken for granted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

KEPT = ("content-type", "retry-after")
"""The headers of an answer that are looked at."""


@dataclass(frozen=True)
class Seen:
    """One request and what came of it.

    ``status`` is None where no answer came; ``failure`` then names what happened, as it does
    where a body broke off. ``first`` and ``seconds`` are how long the first and the last byte
    took.
    """

    path: str
    sent: Any
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    failure: str | None = None
    first: float | None = None
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The body."""
        return self.raw.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The body's JSON, or None."""
        return parsed(self.text)

    @property
    def ok(self) -> bool:
        """Whether a whole answer came, with a status of success."""
        return self.failure is None and self.status is not None and 200 <= self.status < 300

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def get(self, *names: str) -> Any:
        """The value of a field of the answer, or of its `done` event; None if it is not there."""
        value = self.done if self.is_stream else self.json
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def text_of(self, *names: str) -> str:
        """The same, as text; empty if it is none."""
        value = self.get(*names)
        return value if isinstance(value, str) else ""

    def number_of(self, *names: str) -> int | None:
        """The same, as a count."""
        value = self.get(*names)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The (name, data) of an event stream, data None where it is no JSON."""
        told = []
        for block in self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
            fields = dict(line.partition(":")[::2] for line in block.split("\n"))
            if "event" in fields:
                told.append((fields["event"].strip(), parsed(fields.get("data", ""))))
        return told

    @property
    def done(self) -> Any:
        """The data of the `done` event, with what is nested in it brought up."""
        for name, data in self.events:
            if name == "done" and isinstance(data, dict):
                nested = data.get("response")
                return {**data, **nested} if isinstance(nested, dict) else data
        return None

    @property
    def refusal(self) -> str:
        """A refusal in short: its status, and its code or what it has in its place."""
        if self.status is None or self.failure is not None:
            return self.failure or "no answer"
        body = self.json
        if not isinstance(body, dict):
            if not self.raw.strip():
                return f"{self.status} without a body"
            return (
                f"{self.status} html" if "<" in self.text[:64] else f"{self.status} no JSON object"
            )
        return f"{self.status} {self.code or 'without a code'}"

    @property
    def code(self) -> str | None:
        """The code of an error, wrapped in `error` or not."""
        inner = self.get("error")
        code = inner.get("code") if isinstance(inner, dict) else self.get("code")
        return code if isinstance(code, str) else None

    @property
    def outcome(self) -> str:
        """What it was, in short: "accepted", or the refusal."""
        return "accepted" if self.ok else self.refusal


def parsed(text: str) -> Any:
    """The value of a JSON text, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def fields(value: Any) -> str:
    """The names of an object's fields, in order; "none" if it is no object."""
    return ", ".join(sorted(value)) if isinstance(value, dict) and value else "none"
