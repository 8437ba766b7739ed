"""The record of all that happened: every request, and every answer of the agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .errors import Refusal
from .records import Exchange, Run
from .settings import Settings
from .wire import Request, Response


class Journal:
    """The requests and runs, in order; `on_answered` is told of each request's answer."""

    def __init__(self, on_answered: Callable[[Exchange], None] | None) -> None:
        self.exchanges: list[Exchange] = []
        self.runs: list[Run] = []
        self._on_answered = on_answered

    def open(self, request: Request, now: float, session_id: str | None) -> int:
        """Note a request that has come, and give it its number."""
        number = len(self.exchanges)
        body = _readable(request.body)
        self.exchanges.append(Exchange(number, now, request.method, request.path, session_id, body))
        return number

    def close(self, response: Response, refusal: Refusal | None, **told: Any) -> Response:
        """Note how a request was answered; `told` are other fields of its `Exchange`."""
        exchange = replace(
            self.exchanges[response.number],
            status=response.status if response.delivery.answered else None,
            code=refusal.code if refusal is not None and refusal.form == "json" else None,
            **told,
        )
        self.exchanges[response.number] = exchange
        if self._on_answered is not None:
            self._on_answered(exchange)
        return response

    @property
    def refused(self) -> list[Exchange]:
        """The requests that got an error status which nobody had ordered."""
        return [one for one in self.exchanges if one.fault is None and (one.status or 0) >= 400]


def note(settings: Settings, run: Run, held: int | None) -> str:
    """One answer in short; `held` is how many messages its session holds."""
    parts = ["stream"] if run.stream else []
    if run.round:
        parts.append(f"round {run.round}/{settings.max_rounds}")
    if run.calls:
        parts.append(f"calls {', '.join(call.name for call in run.calls)}")
    if held is not None:
        parts.append(f"{held}/{settings.history_limit} messages")
    if not run.round:
        parts.append(f"{run.credits} credit{'' if run.credits == 1 else 's'}")
    return " ".join(parts)


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
