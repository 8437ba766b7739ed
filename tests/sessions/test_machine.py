"""The state machine: short in every run, long under ``make soak``.

``STEWRD_MACHINE_EXAMPLES`` and ``STEWRD_MACHINE_STEPS`` say how many conversations' lives are
played in the short run, and how long they are.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.sessions.machine import Colliding, Machine


def profile(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


SHORT = profile(
    int(os.environ.get("STEWRD_MACHINE_EXAMPLES", "100")),
    int(os.environ.get("STEWRD_MACHINE_STEPS", "40")),
)
LONG = profile(5_000, 60)

TestUnique = type("TestUnique", (Machine.TestCase,), {"settings": SHORT})
TestColliding = type("TestColliding", (Colliding.TestCase,), {"settings": SHORT})
TestUniqueLong = pytest.mark.soak(type("TestUniqueLong", (Machine.TestCase,), {"settings": LONG}))
TestCollidingLong = pytest.mark.soak(
    type("TestCollidingLong", (Colliding.TestCase,), {"settings": LONG})
)
