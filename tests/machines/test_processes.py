"""The machine of the processes: short in every run, long in `tests.soak`."""

from __future__ import annotations

import os

from tests.machines.processes import ProcessesMachine
from tests.sessions.test_machine import profile

SHORT = profile(
    int(os.environ.get("STEWRD_PROCESSES_EXAMPLES", "5")),
    int(os.environ.get("STEWRD_MACHINE_STEPS", "20")),
)


class Unique(ProcessesMachine):
    """On SQLite; no answer is given twice."""


class Colliding(ProcessesMachine):
    """On SQLite; everybody says the same few words."""

    colliding = True


class UniqueOnRedis(ProcessesMachine):
    """On Redis."""

    shelf_kind = "redis"


class CollidingOnRedis(ProcessesMachine):
    """On Redis."""

    shelf_kind, colliding = "redis", True


class Together(ProcessesMachine):
    """Nothing goes wrong, so that much is said at once by several who know of each other."""

    colliding = True


for left_out in (
    *("time_passes", "something_expires", "something_will_fail", "a_create_will_fail"),
    *("a_message_changes", "is_trimmed", "is_rewound", "loses_on_a_journey"),
    *("instructions_change", "goes_on_a_journey", "tools_change", "a_worker_dies_in_its_sleep"),
):
    setattr(Together, left_out, None)  # no rule any more


TestTogether = type("TestTogether", (Together.TestCase,), {"settings": SHORT})
TestUnique = type("TestUnique", (Unique.TestCase,), {"settings": SHORT})
TestColliding = type("TestColliding", (Colliding.TestCase,), {"settings": SHORT})
TestUniqueOnRedis = type("TestUniqueOnRedis", (UniqueOnRedis.TestCase,), {"settings": SHORT})
TestCollidingOnRedis = type(
    "TestCollidingOnRedis", (CollidingOnRedis.TestCase,), {"settings": SHORT}
)
