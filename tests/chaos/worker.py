"""A worker: takes turn after turn, of any conversation, in every mode, until it is told to stop.

It may be killed at any moment, and knows nothing that must not be lost.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Client
from typing import Any, TypeAlias

from stewrd_integrations.errors import StewrdError
from stewrd_integrations.stores import Store

from .desk import Turn
from .judge import Told
from .plan import Plan
from .server import Caller
from .stores import open_for
from .talks import Framework
from .voices import LangChainVoice, LlamaIndexVoice, Voice

PATIENT = 4.0
HASTY = 0.3
"""Seconds that a call may take: less than a slow answer does."""

VARIANTS: tuple[dict[str, Any], ...] = (
    {"timeout": PATIENT},
    {"timeout": HASTY},
    {"timeout": PATIENT, "replay_budget": 700},
    {
        "timeout": PATIENT,
        "on_trim": "replay",
        "on_instructions_change": "replay",
        "on_store_error": "error",
        "retry_on_compute_error": True,
    },
)
VOICES: dict[Framework, Callable[[dict[str, Any]], Voice]] = {
    "langchain": LangChainVoice,
    "llama_index": LlamaIndexVoice,
}
Outcome: TypeAlias = "Told | str"
Who: TypeAlias = "dict[str, Any]"


class Models:
    """The models of one process: for each project and variant one, made when first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[tuple[object, ...], Voice] = {}

    def of(self, turn: Turn, variant: int) -> Voice:
        """The model for a turn."""
        key = (turn.project, turn.framework, variant)
        if key not in self._made:
            options = turn.address._asdict() | VARIANTS[variant]
            self._made[key] = VOICES[turn.framework]({**options, "store": self._store})
        return self._made[key]


class Worker:
    """One thread of a worker process."""

    def __init__(self, plan: Plan, number: int, seed: str, models: Models) -> None:
        self.number = number
        self.chance = random.Random(seed)  # noqa: S311
        self.models = models
        self.call = Caller(Client(plan.address, "AF_UNIX"))
        self.modes: dict[Callable[[Voice, Any, Who], Outcome], int] = {
            self.plain: 40,
            self.stream: 32,
            self.left_stream: 1,
            self.dropped_stream: 1,
        }
        self.amodes: dict[Callable[[Voice, Any, Who], Awaitable[Outcome]], int] = {
            self.aplain: 30,
            self.astream: 30,
            self.left_astream: 1,
            self.cancelled: 2,
            self.cancelled_stream: 1,
            self.waited: 1,
        }

    def work(self) -> None:
        """Take turns until there are none."""
        loop = asyncio.new_event_loop()
        try:
            while self._take(loop):
                continue
        finally:
            # Generators that were left to the garbage collector are still being closed.
            loop.run_until_complete(asyncio.sleep(0.1))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _take(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self.chance.random() < 0.7:
            turn = self.call("pick", self.number)
            if turn is not None:
                self._speak(turn)
            return turn is not None
        turns = [self.call("pick", self.number) for _ in range(self.chance.randint(1, 3))]
        going = [self._aspeak(turn) for turn in turns if turn is not None]
        loop.run_until_complete(_all(going))
        return len(going) == len(turns)

    # -- one turn ------------------------------------------------------------------------

    def _voice(self, turn: Turn) -> tuple[Voice, Any, Who]:
        # What is known by its words alone needs the same model object again.
        same = turn.root % len(VARIANTS)
        variant = same if turn.kind == "content" else self.chance.randrange(len(VARIANTS))
        voice = self.models.of(turn, variant)
        who: Who = {"conversation_id": turn.name, "tenant": turn.tenant}
        if self.chance.random() < 0.1:
            who["sessions"] = self.chance.choice(("always", "always", "never"))
        shown = voice.shown(turn)
        if self.chance.random() < 0.05:
            voice.explain(shown, who)
        return voice, shown, who

    def _speak(self, turn: Turn) -> None:
        mode = self.chance.choices(list(self.modes), list(self.modes.values()))[0]
        try:
            outcome = mode(*self._voice(turn))
        except Exception as error:  # noqa: BLE001 - what it is, is judged
            outcome = self._failed(error)
        self._tell(turn, mode.__name__, outcome)

    async def _aspeak(self, turn: Turn) -> None:
        mode = self.chance.choices(list(self.amodes), list(self.amodes.values()))[0]
        try:
            outcome = await mode(*self._voice(turn))
        except Exception as error:  # noqa: BLE001 - what it is, is judged
            outcome = self._failed(error)
        self._tell(turn, mode.__name__, outcome)

    def _failed(self, error: Exception) -> str:
        """What users may see is an outcome like any other."""
        if isinstance(error, StewrdError):
            return type(error).__name__
        self.call("crashed", "".join(traceback.format_exception(error)))
        return "crash"

    def _tell(self, turn: Turn, mode: str, outcome: Outcome) -> None:
        if isinstance(outcome, Told):
            self.call("answered", turn.number, outcome)
        else:
            self.call("unanswered", turn.number, mode, outcome)

    # -- modes ---------------------------------------------------------------------------

    def plain(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The whole answer."""
        return voice.whole([voice.ask(shown, who)], "plain")

    def stream(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """In pieces."""
        return voice.whole(list(voice.stream(shown, who)), "stream")

    def left_stream(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The caller closes the stream after a piece or two."""
        chunks = voice.stream(shown, who)
        for _, chunk in zip(range(self.chance.randint(1, 2)), chunks, strict=False):
            assert chunk is not None
        chunks.close()
        return "left"

    def dropped_stream(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The caller forgets the stream after its first piece."""
        next(voice.stream(shown, who))
        return "dropped"

    async def aplain(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The whole answer, on the event loop."""
        return voice.whole([await voice.aask(shown, who)], "async")

    async def astream(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """In pieces, on the event loop."""
        chunks = [chunk async for chunk in voice.astream(shown, who)]
        return voice.whole(chunks, "async stream")

    async def left_astream(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The caller closes the stream after its first piece."""
        chunks = voice.astream(shown, who)
        await anext(chunks)
        await chunks.aclose()
        return "left"

    async def cancelled(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The task is cancelled at any time."""
        return await self._cancel(self.aplain(voice, shown, who))

    async def cancelled_stream(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The task that reads a stream is cancelled at any time."""
        return await self._cancel(self.astream(voice, shown, who))

    async def _cancel(self, speaking: Any) -> Outcome:
        task: asyncio.Task[Outcome] = asyncio.ensure_future(speaking)
        await asyncio.wait([task], timeout=self.chance.uniform(0, 0.05))
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cancelled"

    async def waited(self, voice: Voice, shown: Any, who: Who) -> Outcome:
        """The caller waits for so long and no longer."""
        try:
            return await asyncio.wait_for(self.aplain(voice, shown, who), HASTY / 2)
        except asyncio.TimeoutError:
            return "not waited for"


async def _all(going: list[Any]) -> None:
    await asyncio.gather(*going)


def work(plan: Plan, number: int, life: int) -> None:
    """Run one worker process to its end."""
    models = Models(open_for(plan.store))
    workers = [
        Worker(plan, number + each, f"{plan.seed}/{number}/{life}/{each}", models)
        for each in range(plan.threads)
    ]
    threads = [threading.Thread(target=_guarded, args=(worker,)) for worker in workers[1:]]
    for thread in threads:
        thread.start()
    workers[0].work()
    for thread in threads:
        thread.join()


def _guarded(worker: Worker) -> None:
    try:
        worker.work()
    except BaseException:  # noqa: BLE001 - a thread that dies unseen is a worker that hangs
        traceback.print_exc()
        os._exit(CRASHED)


CRASHED = 70
