"""The state machine of conversations with tools: short in every run, long under ``make soak``.

``STEWRD_MACHINE_EXAMPLES`` and ``STEWRD_MACHINE_STEPS`` set the short run, as in `test_machine`.
"""

from __future__ import annotations

import os

import pytest

from tests.sessions.test_machine import profile
from tests.sessions.tools_machine import Colliding, ToolsMachine

SHORT = profile(
    int(os.environ.get("STEWRD_MACHINE_EXAMPLES", "60")),
    int(os.environ.get("STEWRD_MACHINE_STEPS", "30")),
)
LONG = profile(3_000, 50)

TestTools = type("TestTools", (ToolsMachine.TestCase,), {"settings": SHORT})
TestCollidingTools = type("TestCollidingTools", (Colliding.TestCase,), {"settings": SHORT})
TestToolsLong = pytest.mark.soak(
    type("TestToolsLong", (ToolsMachine.TestCase,), {"settings": LONG})
)
TestCollidingToolsLong = pytest.mark.soak(
    type("TestCollidingToolsLong", (Colliding.TestCase,), {"settings": LONG})
)
