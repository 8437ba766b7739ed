"""What goes wrong on the server, and how often."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

HELD_BACK = 0.7
"""Seconds that a slow answer waits: too long for the models that are in a hurry."""


class Trouble(NamedTuple):
    """A fault as `Emulator.fail_next` takes it; the weight says how often."""

    weight: int
    kind: str
    details: dict[str, Any]


OF_ANSWERS: tuple[Trouble, ...] = (
    Trouble(6, "hang_up", {}),
    Trouble(6, "hang_up", {"after": True}),
    Trouble(6, "cut", {}),
    Trouble(6, "cut", {"chunks": 1}),
    Trouble(2, "garbage", {}),
    Trouble(2, "wrong_shape", {}),
    Trouble(1, "wrong_shape", {"shape": "list"}),
    Trouble(8, "slow", {"seconds": HELD_BACK}),
    Trouble(3, "slow", {"seconds": HELD_BACK, "chunks": 1}),
    Trouble(4, "stream_error", {"chunks": 1}),
    Trouble(4, "no_done", {}),
    Trouble(2, "json_instead_of_stream", {}),
    Trouble(1, "expire", {}),
    Trouble(1, "error", {"status": 404, "code": None}),
    Trouble(2, "error", {"status": 400, "code": "invalid_body"}),
    Trouble(1, "error", {"status": 401, "code": "invalid_api_key"}),
    Trouble(2, "error", {"status": 402, "code": "insufficient_credits"}),
    Trouble(1, "error", {"status": 403, "code": "capability_not_enabled"}),
    Trouble(3, "error", {"status": 429, "code": "rate_limited", "retry_after": 0.05}),
    Trouble(1, "error", {"status": 429, "code": "quota_exceeded"}),
    Trouble(3, "error", {"status": 500, "code": "internal_error"}),
    Trouble(3, "error", {"status": 500, "code": "internal_error", "after": True}),
    Trouble(3, "error", {"status": 502, "code": "compute_error"}),
    Trouble(2, "error", {"status": 502, "code": "compute_unavailable", "after": True}),
    Trouble(2, "error", {"status": 503, "code": "service_unavailable"}),
    Trouble(3, "error", {"status": 503, "code": "service_unavailable", "retry_after": 0.05}),
    Trouble(2, "html", {"status": 502, "after": True}),
    Trouble(2, "html", {"status": 504, "after": True}),
    Trouble(2, "empty", {"status": 408}),
)
OF_CREATES: tuple[Trouble, ...] = (
    Trouble(4, "hang_up", {}),
    Trouble(4, "hang_up", {"after": True}),
    Trouble(3, "slow", {"seconds": HELD_BACK}),
    Trouble(3, "cut", {}),
    Trouble(2, "garbage", {}),
    Trouble(2, "html", {"status": 502, "after": True}),
    Trouble(2, "error", {"status": 500, "code": "internal_error"}),
)
REFUSED_CREATES = (
    Trouble(3, "error", {"status": 429, "code": "too_many"}),
    Trouble(3, "error", {"status": 429, "code": "rate_limited", "times": 2}),
    Trouble(3, "error", {"status": 503, "code": "service_unavailable"}),
    Trouble(1, "error", {"status": 403, "code": "plan_restricted"}),
)
"""After these a project opens no session for half a minute and longer."""


def any_trouble(chance: random.Random, *, surly: bool) -> tuple[str, dict[str, Any]]:
    """Arguments of `Emulator.fail_next`: the kind, and the rest by name.

    ``surly`` servers also refuse to open sessions.
    """
    on_create = chance.random() < 0.08
    troubles = OF_ANSWERS
    if on_create:
        troubles = OF_CREATES + REFUSED_CREATES if surly else OF_CREATES
    trouble = chance.choices(troubles, [one.weight for one in troubles])[0]
    on = "create" if on_create else chance.choice(("message", "message", "send"))
    if trouble.kind == "expire":
        on = "message"
    return trouble.kind, {"on": on, **trouble.details}
