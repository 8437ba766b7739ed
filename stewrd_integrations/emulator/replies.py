"""Responses: the bodies of answers and errors, and how a fault spoils them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from . import streams
from .agent import File
from .errors import Refusal
from .faults import Fault
from .records import Run
from .runs import Waiting
from .settings import Settings
from .wire import Delivery, Response, encode

_HTML = b"<html><body><h1>Something went wrong</h1></body></html>"
_TOKEN = 4  # characters, more or less


def created(settings: Settings, number: int, session_id: str, fault: Fault | None) -> Response:
    """[documented] The answer to a create: 201."""
    body = {"id": session_id, "object": "session", "status": "active"}
    return _whole(settings, number, 201, body | _extra(settings), fault)


def run_body(
    settings: Settings, run: Run, files: Sequence[File], used: Sequence[str], balance: int
) -> dict[str, Any]:
    """[documented] An AgentResponse, or a SessionMessageResponse."""
    in_session = run.session_id is not None
    body: dict[str, Any] = {
        "id": run.id,
        "object": "session.message" if in_session else "agent.response",
        "status": "completed",
        "session_id": run.session_id,
        "message": run.answer,
        "capabilities_used": list(used),
        "files": [_file(file) for file in files],
        "usage": _usage(settings, run, balance),
        "meta": {
            "duration_ms": 0,
            "project_id": settings.project_id,
            "plan": settings.plan,
        },
    }
    if not in_session:
        del body["session_id"]
    if settings.omit_status:
        del body["status"]
    if settings.usage == "none":
        del body["usage"]
    return body | _extra(settings)


def asking(
    settings: Settings, body: dict[str, Any], run: Run, waiting: Waiting | None
) -> dict[str, Any]:
    """[documented] The answer of a run that asks for tool outputs.

    [assumed] In a session, whose documented answer has no place for calls, they may be
    left out: then nobody waits for them.
    """
    told = {key: value for key, value in body.items() if key not in ("status", "message")}
    if waiting is None:
        return told
    told["status"] = "requires_tool_outputs"
    told["tool_calls"] = [asdict(call) | _call_extra(settings) for call in run.calls]
    if waiting.instance is not None:
        told["_compute_instance"] = waiting.instance
    # [documented] the message is there when the run is completed; [assumed] else it may be
    messages = {"null": None, "empty": "", "text": run.answer}
    if settings.calls_message in messages:
        told["message"] = messages[settings.calls_message]
    return told


def run_response(
    settings: Settings,
    number: int,
    body: dict[str, Any],
    stream: bool,
    fault: Fault | None,
) -> Response:
    """The answer to a run, streamed or whole."""
    kind = None if fault is None else fault.kind
    if not stream or kind in ("json_instead_of_stream", "garbage", "wrong_shape"):
        return _whole(settings, number, 200, body, fault)
    told = streams.events(settings, body)
    if fault is not None and kind == "stream_error":
        tokens = 2 if fault.chunks is None else fault.chunks
        told = streams.broken_off(told, tokens, fault.code or "compute_error")
    if kind == "no_done":
        told = told[:-1]
    pieces = streams.chunks(settings, told)
    delivery = _delivery(settings, fault)
    if fault is not None and kind == "cut":
        pieces = pieces[: len(pieces) // 2 if fault.chunks is None else fault.chunks]
    headers = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))
    return Response(200, headers, tuple(pieces), delivery, number)


def refused(settings: Settings, number: int, refusal: Refusal) -> Response:
    """An error, as JSON or as a proxy in between would say it; or no answer at all."""
    delivery = Delivery(latency=settings.latency)
    if refusal.form == "hang_up":
        return Response(0, (), (), replace(delivery, answered=False), number)
    kind, body = "application/json", encode(refusal.body(settings.error_shape))
    if refusal.form == "html":
        kind, body = "text/html", _HTML
    if refusal.form == "empty":
        kind, body = "text/plain", b""
    headers = _headers(kind, body) + refusal.headers
    return Response(refusal.status, headers, (body,) if body else (), delivery, number)


def _whole(
    settings: Settings,
    number: int,
    status: int,
    value: dict[str, Any],
    fault: Fault | None,
) -> Response:
    body = encode(_spoilt(value, fault))
    if fault is not None and fault.kind == "garbage":
        body = body[: len(body) // 2] + b"\xff<?"
    headers = _headers("application/json", body)
    if fault is not None and fault.kind == "cut":
        body = body[: len(body) // 2]
    return Response(status, headers, (body,), _delivery(settings, fault), number)


def _spoilt(value: dict[str, Any], fault: Fault | None) -> Any:
    if fault is None or fault.kind != "wrong_shape":
        return value
    if fault.shape == "list":
        return [value]
    # An object that lacks the one thing that the request was for.
    return {"object": value["object"], "status": "completed"}


def _delivery(settings: Settings, fault: Fault | None) -> Delivery:
    delivery = Delivery(latency=settings.latency, chunk_delay=settings.chunk_delay)
    if fault is None:
        return delivery
    if fault.kind == "cut":
        return replace(delivery, complete=False)
    if fault.kind == "slow" and fault.chunks is not None:
        return replace(delivery, stall_at=fault.chunks, stall=fault.seconds)
    if fault.kind == "slow":
        return replace(delivery, latency=delivery.latency + fault.seconds)
    return delivery


def _headers(kind: str, body: bytes) -> tuple[tuple[str, str], ...]:
    return (("content-type", kind), ("content-length", str(len(body))))


def _file(file: File) -> dict[str, str]:
    # [documented] content and url are both optional
    return {key: value for key, value in asdict(file).items() if value is not None}


def _usage(settings: Settings, run: Run, balance: int) -> dict[str, int]:
    read = sum(len(said.text) for said in run.conversation.messages)
    tokens = {"tokens_used": (read + len(run.answer)) // _TOKEN + 1}
    if settings.usage == "legacy":
        # [observed] in older answers
        used = settings.credits - balance
        return {
            "requests_used": used,
            "requests_limit": settings.credits,
        } | tokens
    # [documented]
    return {
        "credits_this_request": run.credits,
        "credits_remaining": balance,
    } | tokens


def _call_extra(settings: Settings) -> dict[str, Any]:
    # [assumed] as above
    return {"type": "function"} if settings.extra_fields else {}


def _extra(settings: Settings) -> dict[str, Any]:
    # [assumed] fields may be added to the API
    return {"region": {"name": "loopback"}} if settings.extra_fields else {}
