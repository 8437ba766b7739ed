"""The machine of the frameworks: short in every run, long in `tests.soak`.

``STEWRD_MACHINE_EXAMPLES`` and ``STEWRD_MACHINE_STEPS`` set the short run, as in
`tests.sessions.test_machine`; ``STEWRD_STORES_EXAMPLES`` that of the stores.
"""

from __future__ import annotations

import os

from tests.machines.frameworks import FrameworksMachine
from tests.machines.variants import SPARING_ONES
from tests.sessions.test_machine import profile

STEPS = int(os.environ.get("STEWRD_MACHINE_STEPS", "30"))
IN_MEMORY = profile(int(os.environ.get("STEWRD_MACHINE_EXAMPLES", "8")), STEPS)
IN_STORES = profile(int(os.environ.get("STEWRD_STORES_EXAMPLES", "4")), STEPS)


class Unique(FrameworksMachine):
    """In memory; no answer is given twice."""


class Colliding(FrameworksMachine):
    """In memory; everybody says the same few words."""

    colliding = True


class UniqueOnSQLite(FrameworksMachine):
    """The store objects share a file."""

    shelf_kind = "sqlite"


class CollidingOnSQLite(FrameworksMachine):
    """The store objects share a file."""

    shelf_kind, colliding = "sqlite", True


class UniqueOnRedis(FrameworksMachine):
    """The store objects share a server."""

    shelf_kind = "redis"


class CollidingOnRedis(FrameworksMachine):
    """The store objects share a server."""

    shelf_kind, colliding = "redis", True


class Sparing(FrameworksMachine):
    """Models that have little to spend, in credits and in characters."""

    variants = SPARING_ONES


TestSparing = type("TestSparing", (Sparing.TestCase,), {"settings": IN_STORES})
TestUnique = type("TestUnique", (Unique.TestCase,), {"settings": IN_MEMORY})
TestColliding = type("TestColliding", (Colliding.TestCase,), {"settings": IN_MEMORY})
TestUniqueOnSQLite = type("TestUniqueOnSQLite", (UniqueOnSQLite.TestCase,), {"settings": IN_STORES})
TestCollidingOnSQLite = type(
    "TestCollidingOnSQLite", (CollidingOnSQLite.TestCase,), {"settings": IN_STORES}
)
TestUniqueOnRedis = type("TestUniqueOnRedis", (UniqueOnRedis.TestCase,), {"settings": IN_STORES})
TestCollidingOnRedis = type(
    "TestCollidingOnRedis", (CollidingOnRedis.TestCase,), {"settings": IN_STORES}
)
