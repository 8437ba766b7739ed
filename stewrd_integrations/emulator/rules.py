"""The rules by which a request is refused, each a pure function with its source.

The tag that opens a docstring says where the rule comes from: `[documented]` by the
vendor, `[observed]` in the official SDK, or `[assumed]`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from email.utils import formatdate
from typing import Any

from . import tools
from .agent import File
from .errors import Refusal, refuse, refuse_oddly
from .reading import Heard
from .records import Ask, Session
from .settings import CAPABILITIES, Settings

# [documented] credits by capability, summed over a request
PRICES = {"chat": 1, "data": 1, "files": 2, "research": 3, "code": 3, "documents": 5}
# [documented] what the free plan has
FREE = ("chat", "data")
_MINUTE = 60.0


def check_key(api_key: str, headers: Mapping[str, str]) -> None:
    """[documented] Every request carries `Authorization: Bearer <key>`, else 401."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key != api_key:
        raise refuse("invalid_api_key")


def check_rate(settings: Settings, arrivals: Collection[float], now: float) -> None:
    """[documented] More than 60 requests a minute are 429.

    [assumed] The window slides, and a request refused by it does not count.
    """
    limit = settings.rate_limit
    recent = sorted(at for at in arrivals if now - at < _MINUTE)
    if limit is None or len(recent) < limit:
        return
    wait = recent[0] + _MINUTE - now if recent else _MINUTE
    raise refuse("rate_limited", headers=_retry_after(settings, now, wait))


def _retry_after(settings: Settings, now: float, wait: float) -> tuple[tuple[str, str], ...]:
    """[assumed] Retry-After in whole seconds or as a date, if at all."""
    seconds = math.ceil(wait)
    if settings.retry_after == "seconds":
        return (("retry-after", str(seconds)),)
    if settings.retry_after == "date":
        return (("retry-after", formatdate(math.ceil(now) + seconds, usegmt=True)),)
    return ()


def check_quota(settings: Settings, runs: int) -> None:
    """[documented] A period's quota that is used up is 429 quota_exceeded."""
    if settings.quota is not None and runs >= settings.quota:
        raise refuse("quota_exceeded")


def parse_ask(settings: Settings, body: bytes) -> Ask:
    """[documented] A body that is not an AgentRequest is 400, with the code of its fault."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise refuse("invalid_body", "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise refuse("invalid_body", "The body is not a JSON object.")
    _check_message(settings, value.get("message"))
    stream = value.get("stream", False)
    if not isinstance(stream, bool):
        raise refuse("invalid_body", "The field 'stream' must be a boolean.")
    offered = tools.parse_tools(settings, value.get("tools"))
    return Ask(
        message=value["message"],
        capabilities=_capabilities(value.get("capabilities")),
        files=_files(value.get("files")),
        stream=tools.streams(settings, offered, stream),
        tools=offered,
    )


def _check_message(settings: Settings, message: Any) -> None:
    """[documented] The message is required and not empty; [assumed] nor blank."""
    if message is None or message == "":
        raise refuse("missing_message")
    if not isinstance(message, str):
        raise refuse("invalid_body", "The field 'message' must be a string.")
    if not message.strip():
        raise refuse("missing_message")
    if settings.max_message is not None and len(message) > settings.max_message:
        raise refuse("invalid_body", "The message is too long.")


def _capabilities(value: Any) -> tuple[str, ...]:
    """[documented] A list of six known names. [assumed] An empty one is no filter."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise refuse("invalid_capabilities", "The field 'capabilities' must be a list.")
    for name in value:
        if name not in CAPABILITIES:
            raise refuse("invalid_capabilities", f"Unknown capability: {name!r}.")
    return tuple(dict.fromkeys(value))


def _files(value: Any) -> tuple[File, ...]:
    """[documented] A list of objects with a name and a content, both strings."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(_is_file(file) for file in value):
        raise refuse("invalid_body", "The field 'files' must hold a name and a content each.")
    return tuple(File(file["name"], file["content"]) for file in value)


def _is_file(value: Any) -> bool:
    """[documented] Both are strings; [assumed] the name is not empty."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and value["name"] != ""
        and isinstance(value.get("content"), str)
    )


def check_capabilities(settings: Settings, wanted: Sequence[str]) -> None:
    """[documented] 403: not enabled for the project, or not in the free plan."""
    for name in wanted:
        if name not in settings.capabilities:
            message = f"The capability '{name}' is not enabled for this project."
            raise refuse("capability_not_enabled", message)
        if settings.plan == "free" and name not in FREE:
            raise refuse("plan_restricted", f"The capability '{name}' needs purchased credits.")


def check_plan(settings: Settings) -> None:
    """[documented] Free accounts cannot create sessions; these are the vendor's words."""
    if settings.plan == "free":
        raise refuse("plan_restricted", "Persistent sessions require the Scale plan or higher.")


def check_slots(settings: Settings, active: int) -> None:
    """[documented] One session too many is 429; [assumed] its code."""
    if active >= settings.max_sessions:
        message = f"{settings.max_sessions} sessions are active already."
        raise refuse_oddly(429, settings.limit_code, message)


def is_idle(settings: Settings, session: Session, now: float) -> bool:
    """[documented] A session expires after its idle time."""
    return now - session.last_used >= settings.idle_timeout


def check_alive(settings: Settings, session: Session | None) -> Session:
    """[documented] An expired session is 410. [assumed] Its code, and 404 for an unknown one."""
    if session is None:
        raise refuse("not_found", "No such session.")
    if session.expired:
        raise refuse_oddly(410, settings.expired_code, "The session has expired.")
    return session


def check_room(settings: Settings, held: int, more: int = 2) -> None:
    """[assumed] With `over_limit="error"`, an exchange that would pass the cap is refused."""
    if settings.over_limit == "error" and held + more > settings.history_limit:
        message = f"The session holds {held} of {settings.history_limit} messages."
        raise refuse_oddly(settings.over_limit_status, settings.over_limit_code, message)


def count(settings: Settings, log: Sequence[Heard]) -> int:
    """[documented] Messages count towards the cap. [assumed] So do calls and their outputs."""
    return sum(settings.count_rounds or not heard.of_tools for heard in log)


def price(capabilities: Sequence[str]) -> int:
    """[documented] The sum over the capabilities. [assumed] Without a filter: chat."""
    return sum(PRICES[name] for name in capabilities or ("chat",))


def check_credits(balance: int, cost: int) -> None:
    """[documented] A balance of zero is 402. [assumed] So is one that is too small."""
    if balance < cost or balance <= 0:
        raise refuse("insufficient_credits")


def is_refunded(refusal: Refusal) -> bool:
    """[documented] Credits come back if the compute service failed."""
    return refusal.code in ("compute_error", "compute_unavailable")


def leaves_message(settings: Settings, refusal: Refusal) -> bool:
    """[assumed] What a refused or failed message leaves in its session's log."""
    if refusal.form == "hang_up":
        return False
    if refusal.status >= 500:
        return settings.failed_appended
    refused = refusal.status in (402, 403) or refusal.code == "quota_exceeded"
    return refused and settings.refused_appended
