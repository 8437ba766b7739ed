"""The state machine: short in every run, long in `tests.soak`.

``STEWRD_MACHINE_SHRINK=0`` tells of what was found as it was, for who needs to know only whether;
``STEWRD_MACHINE_EXAMPLES`` and ``STEWRD_MACHINE_STEPS`` say how many conversations' lives are
played in the short run, and how long they are.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

from tests.sessions.machine import Colliding, Machine

SHRINKS = os.environ.get("STEWRD_MACHINE_SHRINK") != "0"


def profile(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        phases=[phase for phase in Phase if SHRINKS or phase is not Phase.shrink],
    )


SHORT = profile(
    int(os.environ.get("STEWRD_MACHINE_EXAMPLES", "50")),
    int(os.environ.get("STEWRD_MACHINE_STEPS", "40")),
)

TestUnique = type("TestUnique", (Machine.TestCase,), {"settings": SHORT})
TestColliding = type("TestColliding", (Colliding.TestCase,), {"settings": SHORT})
