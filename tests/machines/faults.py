"""What goes wrong on the emulated server, and the ways in which it may behave."""

from __future__ import annotations

from typing import Any

FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("error", {"status": 400, "code": "invalid_body"}),
    ("error", {"status": 401, "code": "invalid_api_key"}),
    ("error", {"status": 402, "code": "insufficient_credits"}),
    ("error", {"status": 403, "code": "capability_not_enabled"}),
    ("error", {"status": 429, "code": "rate_limited"}),
    ("error", {"status": 429, "code": "quota_exceeded"}),
    ("error", {"status": 500, "code": "internal_error"}),
    ("error", {"status": 500, "code": "internal_error", "after": True}),
    ("error", {"status": 502, "code": "compute_error"}),
    ("error", {"status": 502, "code": "compute_unavailable", "after": True}),
    ("error", {"status": 503, "code": "service_unavailable"}),
    ("error", {"status": 503, "code": "service_unavailable", "retry_after": 0}),
    ("html", {"status": 504}),
    ("empty", {"status": 408}),
    ("hang_up", {}),
    ("hang_up", {"after": True}),
    ("cut", {"chunks": 1}),
    ("garbage", {}),
    ("wrong_shape", {}),
    ("slow", {"seconds": 3600.0}),
    ("stream_error", {"chunks": 1}),
    ("no_done", {}),
    ("expire", {}),
    ("json_instead_of_stream", {}),
)
CREATE_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("error", {"status": 429, "code": "rate_limited", "times": 2}),
    ("error", {"status": 429, "code": "too_many", "times": 1}),
    ("error", {"status": 403, "code": "plan_restricted"}),
    ("error", {"status": 500, "code": "internal_error"}),
    ("hang_up", {"after": True}),
    ("garbage", {}),
)
BEHAVIOURS: dict[str, tuple[Any, ...]] = {
    "session_tools": (*["accepted"] * 5, "refused", "empty", "ignored"),
    "session_rounds": ("all", "all", "answer", "message"),
    "count_rounds": (True, False),
    "waiting_run": ("message", "calls", "nothing"),
    "outputs_reset_idle": (True, False),
    "expired_session_run": ("expired", "context_expired", "answered"),
    "compute_instance": ("fresh", "same", "none"),
    "calls_message": ("absent", "null", "empty"),
    "over_limit": ("drop_oldest", "error"),
}
