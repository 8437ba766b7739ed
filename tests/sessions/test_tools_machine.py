"""The state machine of conversations with tools: short in every run, long in `tests.soak`.

``STEWRD_MACHINE_EXAMPLES`` and ``STEWRD_MACHINE_STEPS`` set the short run, as in `test_machine`.
"""

from __future__ import annotations

import os

from tests.sessions.test_machine import profile
from tests.sessions.tools_machine import Colliding, ToolsMachine

SHORT = profile(
    int(os.environ.get("STEWRD_MACHINE_EXAMPLES", "30")),
    int(os.environ.get("STEWRD_MACHINE_STEPS", "30")),
)

TestTools = type("TestTools", (ToolsMachine.TestCase,), {"settings": SHORT})
TestCollidingTools = type("TestCollidingTools", (Colliding.TestCase,), {"settings": SHORT})
