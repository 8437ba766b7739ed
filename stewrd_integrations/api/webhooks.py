"""Checking that a webhook comes from Stewrd (contract, *Webhooks*).

Anybody can post to the address of a webhook. What Stewrd posts has a signature of its time and of
its very bytes, made with a secret that only the project knows.
"""

from __future__ import annotations

import hmac
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError, InvalidInputError, StewrdError, WebhookError
from .responses import LONGEST_BODY, parse_json

SIGNATURE = "X-Stewrd-Signature"
TOLERANCE = 300.0
"""Seconds that a webhook's time may differ from ours."""

LONGEST_HEADER = 4096
"""Characters; Stewrd's is under a hundred, and each further secret adds as many."""

MOST_SECRETS = 16

_TIME = re.compile(r"[0-9]{1,12}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    now: float | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Check a webhook's signature and time, and give back what it says.

    Stewrd posts again what was not answered with success, so the same event may come more than
    once: the signed ``id`` in it tells, while nobody has signed ``X-Stewrd-Webhook-Id`` (contract,
    *Webhooks*).

    Args:
        body: The bytes of the request as they came; JSON that was read and written again is
            other bytes.
        headers: The request's headers; the case of their names does not matter.
        secret: The signing secret, or several while it is changed: any of them will do.
        now: Seconds since the epoch; None asks the clock.
        tolerance: Seconds that its time may differ from ``now``, either way.

    Returns:
        Its JSON: ``event``, such as ``"agent.completed"``, and the fields of the answer, with
        ``session_id`` for messages of sessions.

    Raises:
        WebhookError: It was not signed with the secret, not within the tolerance, or is no
            event. Neither body nor signature nor secret are in it.
        InvalidInputError: ``body`` is not bytes, or ``tolerance`` is no number of seconds.
        ConfigurationError: There is no secret, or an empty one.
    """
    failure = _misused(body, tolerance) or _unusable(secret)
    event: dict[str, Any] | None = None
    if failure is None:
        moment = time.time() if now is None else now
        keys = [secret] if isinstance(secret, str) else secret
        event, problem = _read(body, headers, keys, lambda t: abs(moment - t) <= tolerance)
        failure = WebhookError(f"The webhook {problem}.")
    if event is not None:
        return event
    del body, headers, secret  # a traceback that shows locals must not show them
    keys = ()
    raise failure


def _misused(body: object, tolerance: object) -> StewrdError | None:
    if not isinstance(body, bytes):
        return InvalidInputError(
            f"body is a {type(body).__name__}, and only bytes can be verified.",
            advice="Pass the request's raw body: `await request.body()` in Starlette and FastAPI, "
            "`request.get_data()` in Flask, `request.body` in Django.",
        )
    if isinstance(tolerance, bool):
        tolerance = None  # no number of seconds
    if isinstance(tolerance, (int, float)) and 0 <= tolerance < math.inf:
        return None
    return InvalidInputError("tolerance must be a number of seconds, 0 or more.")


def _unusable(secret: object) -> StewrdError | None:
    secrets = list(secret) if isinstance(secret, (list, tuple)) else [secret]
    problem = _problem_with(secrets)
    if problem is None:
        return None
    return ConfigurationError(
        f"The webhook's secret {problem}.",
        advice="Copy the signing secret from the project's settings, and pass it as text.",
    )


def _problem_with(secrets: Sequence[object]) -> str | None:
    if not 0 < len(secrets) <= MOST_SECRETS:
        return f"is missing: pass 1 to {MOST_SECRETS}"
    for each in secrets:
        if not isinstance(each, str):
            return f"is a {type(each).__name__}"
        if not each.strip():
            return "is empty"
        if each != each.strip() or not each.isprintable():
            return "begins or ends with white space, or holds control characters"
    return None


def _signature(key: bytes, t: bytes, body: bytes) -> bytes:
    made = hmac.new(key, t + b".", "sha256")
    made.update(body)
    return made.digest()


def _read(
    body: bytes,
    headers: Mapping[str, str],
    secrets: Sequence[str],
    in_time: Callable[[int], bool],
) -> tuple[dict[str, Any] | None, str]:
    """The event, or None and what is wrong."""
    if len(body) > LONGEST_BODY:
        return None, f"is longer than {LONGEST_BODY // 2**20} MiB"
    header, problem = _header(headers)
    if header is None:
        return None, problem
    t, given = _parts(header)
    if t is None or not given:
        return None, f"has a malformed {SIGNATURE}"
    expected = [_signature(each.encode(), t.encode(), body) for each in secrets]
    if not _any_equal(expected, given):
        return None, "was not signed with this secret"
    if not in_time(int(t)):
        return None, "was signed too long ago, or in the future: check this machine's clock"
    event = parse_json(body)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None, "is signed, but not a JSON object with an event"
    return event, ""


def _header(headers: Mapping[str, str]) -> tuple[str | None, str]:
    wanted = SIGNATURE.lower()
    found = [value for name, value in headers.items() if str(name).lower() == wanted]
    if not found:
        return None, f"has no {SIGNATURE}"
    if len(found) > 1 or not isinstance(found[0], str) or len(found[0]) > LONGEST_HEADER:
        return None, f"has a malformed {SIGNATURE}"
    return found[0], ""


def _parts(header: str) -> tuple[str | None, list[bytes]]:
    """The one ``t``, None if it is not one, and every ``v1``; other schemes are passed over."""
    pairs = [part.strip(" \t").partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    digests = [value for name, _, value in pairs if name == "v1"]
    sound = len(times) == 1 and _TIME.fullmatch(times[0]) is not None
    given = [bytes.fromhex(value) for value in digests if _DIGEST.fullmatch(value)]
    return times[0] if sound else None, given


def _any_equal(expected: Sequence[bytes], given: Sequence[bytes]) -> bool:
    """Whether any two are the same, in a time that tells nothing of where they differ."""
    equal = False
    for ours in expected:
        for theirs in given:
            equal |= hmac.compare_digest(ours, theirs)
    return equal
