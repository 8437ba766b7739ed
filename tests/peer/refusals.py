"""Refusals, as the contract's table of errors has them, in each form that they may come in."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

from .unknowns import Unknowns

STATUS = {
    "invalid_body": 400,
    "missing_message": 400,
    "invalid_capabilities": 400,
    "invalid_tools": 400,
    "invalid_tool_outputs": 400,
    "tool_output_too_large": 400,
    "invalid_api_key": 401,
    "insufficient_credits": 402,
    "capability_not_enabled": 403,
    "plan_restricted": 403,
    "context_expired": 404,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "compute_error": 502,
    "compute_unavailable": 502,
    "service_unavailable": 503,
}
"""The codes that are documented, each with its status."""

HTML = b"<!doctype html><html><head><title>Error</title></head><body><h1>Error</h1></body></html>"


class Refusal(Exception):
    """A request is not served.

    Args:
        code: The code of the error; with ``status`` left out, a documented one.
        message: What a person may read.
        status: The HTTP status.
        body: The form of a body whose code is not documented.
    """

    def __init__(self, code: str, message: str = "", status: int = 0, body: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = status or STATUS[code]
        self.message = message or f"The request was refused: {code}."
        self.body = body
        self.headers: dict[str, str] = {}


def written(refusal: Refusal, unknowns: Unknowns) -> tuple[str, bytes]:
    """The content type and the body of a refusal."""
    if refusal.body:
        return _undocumented(refusal)
    if refusal.status >= 500 and unknowns.failure_form != "json":
        return _of_a_proxy(unknowns.failure_form)
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if unknowns.error_form == "wrapped with docs":
        error["docs"] = f"https://stewrd.dev/docs/errors#{refusal.code}"
    return _json(error if unknowns.error_form == "unwrapped" else {"error": error})


def _json(value: object) -> tuple[str, bytes]:
    return "application/json", json.dumps(value, ensure_ascii=False).encode()


def _of_a_proxy(form: str) -> tuple[str, bytes]:
    match form:
        case "html":
            return "text/html", HTML
        case "text":
            return "text/plain", b"upstream connect error or disconnect/reset before headers"
        case _:
            return "", b""


def _undocumented(refusal: Refusal) -> tuple[str, bytes]:
    said = {"code": refusal.code, "message": refusal.message}
    match refusal.body:
        case "another documented code":
            return _json({"error": {**said, "code": "context_expired"}})
        case "rate_limited":
            return _json({"error": {**said, "code": "rate_limited"}})
        case "no code":
            return _json({"error": {"message": refusal.message}})
        case "no error object":
            return _json({"detail": refusal.message})
        case "unwrapped":
            return _json(said)
        case "a bare text":
            return _json({"error": refusal.message})
        case "html":
            return _of_a_proxy("html")
        case "empty":
            return _of_a_proxy("empty")
        case "broken json":
            return "application/json", b'{"error": {"code": '
        case _:
            return _json({"error": said})


def retry_after(refusal: Refusal, unknowns: Unknowns, now: float) -> dict[str, str]:
    """The header that says when to come back, where there is one."""
    if refusal.status not in {429, 503} or refusal.body:
        return {}
    match unknowns.retry_after:
        case "seconds":
            return {"Retry-After": "1"}
        case "date":
            return {"Retry-After": formatdate(now + 1, usegmt=True)}
        case "zero":
            return {"Retry-After": "0"}
        case "not a number":
            return {"Retry-After": "soon"}
        case _:
            return {}
