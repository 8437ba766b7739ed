"""The emulator's settings as the peer's rules and choices, where both have them."""

from __future__ import annotations

from typing import Any

from stewrd_integrations.emulator import Settings

from .unknowns import Unknowns
from .world import Rules

SESSION_TOOLS = {
    "accepted": "accepted",
    "refused": "invalid_tools",
    "ignored": "ignored",
    "empty": "calls left out",
}
KEPT = {True: "appended", False: "not appended"}


def rules_of(settings: Settings, key: str) -> Rules:
    """The numbers, and the state of the account."""
    return Rules(
        key=key,
        plan=settings.plan,
        credits=settings.credits,
        quota=settings.quota,
        idle=settings.idle_timeout,
        history=settings.history_limit,
        sessions=settings.max_sessions,
        per_minute=settings.rate_limit,
        wait_for_outputs=settings.tool_timeout,
        rounds=settings.max_rounds,
        enabled=settings.capabilities,
        expired_code=settings.expired_code or "",
        limit_code=settings.limit_code or "",
    )


def unknowns_of(settings: Settings) -> Unknowns:
    """The choices."""
    rounds = {"all": "outputs and answer", "answer": "answer only", "message": "neither"}
    pieces = {"words": "words", "characters": "characters", "whole": "one"}
    done = {"live": "flat", "documented": "flat with usage", "nested": "nested"}
    usage = {"current": "credits", "legacy": "requests", "none": "left out"}
    chosen: dict[str, Any] = {
        "expired_body": _body(settings.expired_code),
        "limit_body": _body(settings.limit_code),
        "overflow": "drop the oldest" if settings.over_limit == "drop_oldest" else "400",
        "refused_message": KEPT[settings.refused_appended],
        "failed_message": KEPT[settings.failed_appended],
        "idle_from": {"arrival": "the message", "answer": "the answer"}[settings.idle_reset],
        "session_tools": SESSION_TOOLS[settings.session_tools],
        "outputs_enter": rounds[settings.session_rounds],
        "outputs_count": "counted" if settings.count_rounds else "not counted",
        "calling_message": {"text": "a text"}.get(settings.calls_message, settings.calls_message),
        "retry_after": settings.retry_after or "none",
        "token_pieces": pieces[settings.token_split],
        "token_field": settings.token_key,
        "done_form": done[settings.done],
        "usage_form": usage[settings.usage],
        "after_ten_rounds": {
            "invalid_tool_outputs": "calls, outputs refused",
            "context_expired": "calls, outputs not found",
            "compute_error": "compute_error",
            "completed": "no calls",
        }[settings.over_rounds],
        "waiting_run": {"message": "message", "calls": "message and calls", "nothing": "nothing"}[
            settings.waiting_run
        ],
        "outputs_keep_alive": "yes" if settings.outputs_reset_idle else "no",
        "expired_session_run": {
            "expired": "410",
            "context_expired": "not found",
            "answered": "answered",
        }[settings.expired_session_run],
        "tools_capabilities": {
            "charged": "all charged",
            "ignored": "chat charged",
            "refused": "refused",
        }[settings.tools_capabilities],
        "tools_with_stream": {"refused": "invalid_tools", "whole": "answered plainly"}[
            settings.tools_stream
        ],
        "status_field": "left out" if settings.omit_status else "given",
        "unknown_fields": "everywhere" if settings.extra_fields else "none",
        "newline": settings.newline,
        "error_form": {"wrapped": "wrapped", "flat": "unwrapped"}[settings.error_shape],
        "compute_instance": {"fresh": "new each round", "same": "given", "none": "absent"}[
            settings.compute_instance
        ],
    }
    return Unknowns(**chosen)


def _body(code: str | None) -> str:
    return {None: "no code", "html": "html"}.get(code, "a code of its own")
