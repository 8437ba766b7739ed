"""A call of a runtime in both colours, which its caller may leave early."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import Any

from stewrd_integrations.runtime import Runtime
from stewrd_integrations.sessions.call import Outcome


def run_here(model: Runtime, call: Any, abandon: int | None) -> Outcome | None:
    """The outcome; None if the caller left at the event of this number."""
    last: Any = None
    with closing(model.stream(call)) as items:
        for number, item in enumerate(items):
            if number == abandon and not isinstance(item, Outcome):
                return None
            last = item
    return last if isinstance(last, Outcome) else None


async def run_on_loop(model: Runtime, call: Any, abandon: int | None) -> Outcome | None:
    """`run_here` on the event loop."""
    last: Any = None
    async with aclosing(model.astream(call)) as items:
        number = 0
        async for item in items:
            if number == abandon and not isinstance(item, Outcome):
                return None
            last, number = item, number + 1
    return last if isinstance(last, Outcome) else None
