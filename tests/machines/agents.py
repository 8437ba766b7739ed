"""The agents of the machines' servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from stewrd_integrations.emulator.agent import Answer, Context, File
from tests.sessions.tooling import due


class Scripted:
    """The server's agent: it does what the user's words say, and draws if they want it to."""

    def __init__(self, *, colliding: bool) -> None:
        self.colliding = colliding
        self.answers = 0

    def __call__(self, context: Context) -> str | Answer:
        """Colliding: the same words and the same ids of calls; unique: never the same twice."""
        self.answers += 1
        calls = due(context)
        if calls and self.colliding:
            return Answer(calls=[_numbered(call, at) for at, call in enumerate(calls)])
        if calls:
            return Answer(calls=calls)
        text = "ok" if self.colliding else f"answer {self.answers}"
        return Answer(text, files=self._files(context.message))

    def _files(self, message: str) -> tuple[File, ...]:
        content = "1,2" if self.colliding else f"drawn {self.answers}"
        if message.startswith("draw"):
            return (File("chart.csv", content),)
        if message.startswith("link"):
            return (File("chart.png", url="https://files.stewrd.dev/chart.png"),)
        return ()


def _numbered(call: Any, at: int) -> Any:
    return type(call)(call.name, call.arguments, id=f"call_{at}")


PATIENCE = 120.0
"""Seconds that the agent may be held."""


class Gate:
    """An agent that thinks until it is let go on."""

    def __init__(self, agent: Scripted) -> None:
        self._agent = agent
        self._changed = threading.Condition()
        self._open = True
        self.entered = 0

    def __call__(self, context: Context) -> str | Answer:
        with self._changed:
            self.entered += 1
            assert self._changed.wait_for(lambda: self._open, PATIENCE)
            return self._agent(context)

    def shut(self) -> None:
        """Hold whoever comes from now on."""
        with self._changed:
            self._open, self.entered = False, 0

    def open(self) -> None:
        """Let all go on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def wait_for(self, count: int, pipes: Sequence[Any]) -> None:
        """Wait until so many are held, or have been answered without coming here."""
        until = time.monotonic() + PATIENCE
        while self.entered + sum(pipe.poll() for pipe in pipes) < count:
            assert time.monotonic() < until, "nobody came and nobody was answered"
            time.sleep(0.001)
