"""A worker process: holds models of both frameworks on a shared store, and calls them when told.

It may be killed at any moment: from outside, or by itself at a step of its store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from stewrd_integrations.sessions import opening

from .shelves import Place, opened
from .stepped import When
from .talks import Asked, Toolbox
from .variants import Key, asked_of, foreseen, model_of, wound
from .voices import VOICES


@dataclass(frozen=True)
class Begin:
    """A new life of the machine: another server, and another store."""

    place: Place
    url: str
    api_key: str


@dataclass(frozen=True)
class Speak:
    """Call a model; with ``asked`` None, only say what it would do.

    Attributes:
        ahead: Seconds by which all clocks are ahead.
        dies: The step of the store at which the process dies: its method, when, and the how
            manieth of that method it is.
    """

    key: Key
    system: str
    held: tuple[Any, ...]
    who: dict[str, Any]
    tools: Toolbox
    asked: Asked | None
    ahead: float
    dies: tuple[str, When, int] | None = None


@dataclass(frozen=True)
class Reopen:
    """Close all stores; they open again by themselves."""


Command: TypeAlias = "Begin | Speak | Reopen"


class Death:
    """A hook that kills its process at one step."""

    def __init__(self) -> None:
        self.at: tuple[str, When, int] | None = None
        self._seen = 0

    def arm(self, at: tuple[str, When, int] | None) -> None:
        """Choose the step."""
        self.at, self._seen = at, 0

    def __call__(self, method: str, when: When) -> None:
        """Die, if this is it."""
        if self.at is None or self.at[:2] != (method, when):
            return
        self._seen += 1
        if self._seen == self.at[2]:
            os.kill(os.getpid(), signal.SIGKILL)


class Worker:
    """The models of one process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.death = Death()
        self.ahead = 0.0
        self.models: dict[Key, Any] = {}
        self.begun: Begin | None = None

    def clock(self) -> float:
        """The time by which all go."""
        return time.time() + self.ahead

    def do(self, command: Command) -> Any:
        """Do what one is told."""
        match command:
            case Begin():
                self._close()
                self.begun = command
            case Reopen():
                for model in self.models.values():
                    self.loop.run_until_complete(_closed(model.store))
            case Speak():
                return self._speak(command)
        return None

    def _speak(self, command: Speak) -> Any:
        self.ahead = command.ahead
        model, voice = self._model(command.key), VOICES[command.key[0]]
        told = (command.system, command.held, command.who, command.tools)
        if command.asked is None:
            return foreseen(voice, model, *told)
        self.death.arm(command.dies)
        try:
            return asked_of(self.loop, voice, model, *told, command.asked)
        finally:
            self.death.arm(None)

    def _model(self, key: Key) -> Any:
        assert self.begun is not None
        if key not in self.models:
            store = opened(self.begun.place, key[1], self.clock)
            store.hook = self.death
            options = {"api_key": self.begun.api_key, "base_url": self.begun.url, "store": store}
            self.models[key] = wound(model_of(key, {**options, "timeout": 60.0}), self.clock)
        return self.models[key]

    def _close(self) -> None:
        for model in self.models.values():
            self.loop.run_until_complete(model.aclose())
            self.loop.run_until_complete(_closed(model.store))
        self.models = {}


async def _closed(store: Any) -> None:
    await store.aclose() if hasattr(store, "aclose") else store.close()


def work(pipe: Connection) -> None:
    """Do commands until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the package warns of is what the machine does to it.
    logging.getLogger("stewrd_integrations").setLevel(logging.CRITICAL)
    opening.SHORT_WAIT = 0.0
    worker = Worker()
    while True:
        try:
            command = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(worker.do(command))
        except Exception as error:  # noqa: BLE001 - the machine judges it
            pipe.send(Crashed(repr(error)))


@dataclass(frozen=True)
class Crashed:
    """Something came up that no user should see."""

    why: str
