"""What a turn is performed in besides a client: its store, its clock, its budget, its warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import field
from typing import Any, TypeVar

from .budget import Budget
from .errors import ConfigurationError, StoreError
from .sessions.effects import ChangeNote, Effect, Occupy, ReadNote
from .sessions.soundness import FAILED
from .stores import Store
from .values import dataclass

logger = logging.getLogger("stewrd_integrations")

T = TypeVar("T")

WARN_AGAIN = 1_800.0
"""Seconds after which the same warning is worth saying again."""

_warned: dict[tuple[str, str], float] = {}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What both drivers need besides a client.

    Attributes:
        store: Where bindings, slots and notes are.
        project: Names the project; warnings are given once for each.
        recap: The user's summary of messages that a replay leaves out.
        store_errors: "stateless" takes a failing store for an empty one, "error" raises.
        clock: Seconds since the epoch.
        budget: What may be spent.
    """

    store: Store
    project: str
    recap: Callable[..., Any] | None = None
    store_errors: str = "stateless"
    clock: Callable[[], float] = field(default=time.time)
    budget: Budget = field(default_factory=lambda: Budget(None))

    def warn(self, kind: str, text: str) -> None:
        """Log a warning once for each kind and project."""
        now = time.monotonic()
        if now - _warned.get((self.project, kind), -WARN_AGAIN) >= WARN_AGAIN:
            _warned[self.project, kind] = now
            logger.warning("Stewrd: %s", text)

    def store_failed(self, error: Exception, instead: T, *, sent: bool) -> T:
        """Raise or pass over a failure of the store, as the user chose.

        Never raised once something was ``sent``: an answer that was paid for, or the error that
        says so, is worth more than the news of the store. A store that is set up wrongly is
        no failure: it would stay so, and nobody would notice.
        """
        if isinstance(error, ConfigurationError) and not sent:
            raise error
        if self.store_errors == "error" and not sent:
            if isinstance(error, StoreError):
                raise error
            raise StoreError(f"The store failed ({type(error).__name__}).") from error
        # A StoreError's own words hold no secret; another store's error may.
        told = error.message if isinstance(error, StoreError) else type(error).__name__
        self.warn("store", f"the store failed ({told}), so turns run stateless")
        return instead


def nothing(effect: Effect) -> Any:
    """What a store that is empty and full at once would answer."""
    match effect:
        case Occupy():
            return False
        case ReadNote() | ChangeNote():
            return {FAILED: True}
        case _:
            return None
