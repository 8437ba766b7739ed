"""The state machine, short for every run; ``make soak`` runs it long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.sessions.machine import Colliding, Machine

EXAMPLES = int(os.environ.get("STEWRD_MACHINE_EXAMPLES", "60"))
STEPS = int(os.environ.get("STEWRD_MACHINE_STEPS", "40"))

_profile = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


TestUnique = Machine.TestCase
TestUnique.settings = _profile
TestColliding = Colliding.TestCase
TestColliding.settings = _profile
