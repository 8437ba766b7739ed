"""What tests order of the emulator by `fail_next`, as faults of the peer."""

from __future__ import annotations

import json
from typing import Any

from .faults import Fault, Kind
from .refusals import STATUS, Refusal

ENDPOINTS: dict[str, str] = {
    "message": "message",
    "create": "create",
    "agent": "agent",
    "tool_outputs": "outputs",
    "send": "send",
    "any": "any",
}
USUAL = {
    400: "invalid_body",
    401: "invalid_api_key",
    402: "insufficient_credits",
    403: "capability_not_enabled",
    404: "context_expired",
    410: "not_found",
    429: "rate_limited",
    500: "internal_error",
    502: "compute_error",
    503: "service_unavailable",
}
ALIKE: dict[str, Kind] = {
    "cut": "cut",
    "no_done": "no done",
    "json_instead_of_stream": "json",
    "expire": "expire",
}


def ordered(kind: str, *, on: str = "message", times: int = 1, **details: Any) -> list[Fault]:
    """The faults that an order stands for, one for each request."""
    return [_fault(kind, ENDPOINTS[on], **details)] * times


def _fault(kind: str, endpoint: Any, **details: Any) -> Fault:
    after, chunks = details.get("after", False), details.get("chunks")
    pieces = 1 if chunks is None else chunks
    common: dict[str, Any] = {"endpoint": endpoint, "after": pieces, "label": kind}
    if kind in ALIKE:
        return Fault(ALIKE[kind], **common)
    match kind:
        case "error" | "html" | "empty":
            return _error(kind, after, details, common)
        case "hang_up":
            return Fault("hang up", worked=after, **common)
        case "garbage":
            return Fault("body", body=b"<html>not JSON", **common)
        case "wrong_shape":
            listed = details.get("shape") == "list"
            return Fault("body", body=b"[1]" if listed else b'{"answer": 42}', **common)
        case "slow":
            return _slow(chunks, details.get("seconds", 3_600.0), common)
        case "stream_error":
            refusal = Refusal(details.get("code") or "compute_error", status=502)
            return Fault("error event", refusal=refusal, **common)
        case _:
            raise ValueError(f"nobody can order {kind!r}")


def _slow(chunks: int | None, seconds: float, common: dict[str, Any]) -> Fault:
    if chunks is not None:
        return Fault("stall", **common)
    return Fault("slow", seconds=seconds, **common)


def _error(kind: str, after: bool, details: dict[str, Any], common: dict[str, Any]) -> Fault:
    code = details.get("code")
    status = details.get("status") or STATUS.get(code or "", 502)
    code = code or USUAL.get(status, "an_error")
    message = details.get("message") or "This was ordered."
    wait = details.get("retry_after")
    headers = {} if wait is None else {"Retry-After": f"{wait}"}
    if after:
        told = {"error": {"code": code, "message": message}}
        bodies = {"error": json.dumps(told).encode(), "html": b"<html></html>", "empty": b""}
        return Fault("body", body=bodies[kind], status=status, headers=headers, **common)
    form = "" if kind == "error" else kind
    refusal = Refusal(code, message, status, form)
    return Fault("refuse", refusal=refusal, worked=False, headers=headers, **common)
