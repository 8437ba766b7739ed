"""Who is asked: the live API, or an emulator, on which waiting takes no time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from stewrd_integrations.emulator import Emulator

ADDRESS = "https://api.stewrd.dev"
HELD = 5.0
"""Seconds for which an emulator holds an answer back."""


class Target(Protocol):
    """A server, its key, and what can be done about it from outside."""

    name: str
    address: str
    key: str
    patience: float
    can_fail: bool

    def now(self) -> float:
        """Its time, in seconds."""

    def wait(self, seconds: float) -> None:
        """Let so much of its time pass."""

    def hold_back(self) -> None:
        """Let the next answer to a session's message be late, if that can be ordered."""

    def fail(self) -> None:
        """Let the next message of a session be done, and answered with 502."""


@dataclass
class Live:
    """The live API. Nothing can be ordered from it; ``patience`` is for answers that are late."""

    key: str
    address: str = ADDRESS
    name: str = "live"
    patience: float = 1.0
    can_fail: bool = False

    def now(self) -> float:
        """This machine's time."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait in earnest."""
        time.sleep(seconds)

    def hold_back(self) -> None:
        """Nothing: a model needs longer than our patience."""

    def fail(self) -> None:
        """It cannot be ordered to."""
        raise RuntimeError("the live API cannot be told to fail")


class Emulated:
    """An emulator that serves."""

    name = "emulator"
    can_fail = True

    def __init__(self, emulator: Emulator, patience: float = 1.0) -> None:
        self._emulator = emulator
        # Long enough for a busy machine to take the request, and far less than HELD.
        self.patience = patience
        self.address = emulator.url
        self.key = emulator.api_key

    def now(self) -> float:
        """The emulator's time."""
        return self._emulator.now()

    def wait(self, seconds: float) -> None:
        """At once."""
        self._emulator.advance(seconds)

    def hold_back(self) -> None:
        """One answer waits."""
        self._emulator.fail_next("slow", seconds=HELD)

    def fail(self) -> None:
        """One answer is lost after the work."""
        self._emulator.fail_next("error", status=502, code="compute_error", after=True)
