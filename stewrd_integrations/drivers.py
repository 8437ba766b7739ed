"""The two drivers, one for each colour: they perform the effects of a turn.

A driver hands the caller the events of a stream as they come, and last of all the outcome.
Whatever goes wrong, also a caller who walks away, is thrown into the turn, which then says its
last word: only so is a session of unknown content never continued.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .api import AsyncStewrdClient, StewrdClient
from .budget import Spending
from .errors import InterruptedStreamError
from .locks import held_here
from .sessions.binding import Binding
from .sessions.call import Outcome
from .sessions.effects import (
    Abandoned,
    ChangeNote,
    Effect,
    Emit,
    Flow,
    NoteState,
    Now,
    Occupy,
    Open,
    Pieces,
    Put,
    ReadNote,
    Send,
    Sleep,
    Submit,
    Summarise,
    Take,
    Vacate,
    Warn,
)
from .surroundings import Surroundings, nothing
from .types import AgentRequest, Done, Event, Reply, Session

logger = logging.getLogger("stewrd_integrations")

T = TypeVar("T")

STORE_CHANCES = 2
"""Failures after which a turn leaves the store alone: each may have cost it a time-out."""

_last_words: set[asyncio.Task[None]] = set()
_under_way: WeakKeyDictionary[object, Flow[Outcome]] = WeakKeyDictionary()
"""The turns by who performs them. Where a stream is garbage, so that its turn were garbage too, the
collector could close the turn before it was asked for its last words."""


def drive(
    flow: Flow[Outcome], client: StewrdClient, around: Surroundings
) -> Generator[Event | Outcome, None, None]:
    """Perform a turn; yields its events and then its outcome."""
    hands = _Hands(client, around)
    _under_way[hands] = flow
    try:
        effect = next(flow)
        while True:
            try:
                answer = None
                if isinstance(effect, Emit):
                    yield effect.event
                elif isinstance(effect, Pieces):
                    while not isinstance(answer := hands.next_piece(effect), Done):
                        yield answer
                else:
                    answer = hands.perform(effect)
            except GeneratorExit:
                return  # the caller walked away: the turn hears of it below
            except BaseException as error:  # the turn must hear of everything
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as ended:
        yield ended.value
    finally:
        # Also for an interrupt that fell between two effects, of which the turn has not heard.
        hands.end(_LastWords(flow, Abandoned()))


class _LastWords:
    """The effects that a turn asks for once it is given up, none if it has ended."""

    def __init__(self, flow: Flow[Outcome], why: BaseException) -> None:
        self._flow = flow
        self._why = why
        self._told = False
        self.answer: Any = None

    def __iter__(self) -> _LastWords:
        return self

    @property
    def wanted(self) -> bool:
        """Whether the turn has not ended yet."""
        return inspect.getgeneratorstate(self._flow) == inspect.GEN_SUSPENDED

    def __next__(self) -> Effect:
        if not self.wanted:
            raise StopIteration
        try:
            if self._told:
                return self._flow.send(self.answer)
            self._told = True
            return self._flow.throw(self._why)
        except (Abandoned, asyncio.CancelledError):
            raise StopIteration from None


def _in_another_thread(work: Callable[[], None]) -> None:
    try:
        threading.Thread(target=work, name="stewrd-last-words").start()
    except RuntimeError as error:
        # The interpreter is about to end, and what the turn held is let go by time.
        logger.debug("the last words of a turn are left out: %s", error)


class _Hands:
    def __init__(self, client: StewrdClient, around: Surroundings) -> None:
        self._client = client
        self._around = around
        self._process = os.getpid()
        self._stream: Any = None
        self._sent = False
        self._store_failures = 0
        self._spending: Spending

    def end(self, last: _LastWords) -> None:
        if os.getpid() != self._process:
            return  # a forked child has a copy of a turn that is not its own
        if last.wanted and held_here():
            # It is garbage, and was collected while this thread was busy with a store.
            _in_another_thread(partial(self._say, last))
        else:
            self._say(last)

    def _say(self, last: _LastWords) -> None:
        for effect in last:
            last.answer = self.perform(effect)
        self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def perform(self, effect: Effect) -> Any:
        if type(effect) in _ASKED_OF_STORE:
            return self._ask_store(effect)
        match effect:
            case Now():
                return self._around.clock()
            case Send(request, session_id, stream):
                return self._send(request, session_id, stream)
            case Sleep(seconds):
                return time.sleep(seconds)
            case Warn(kind, text):
                return self._around.warn(kind, text)
            case Summarise(messages):
                assert self._around.recap is not None
                return self._around.recap(messages)
            case Open():
                self._sent = True
                return self._client.create_session()
            case Submit(request_id, compute_instance, outputs):
                self._sent = True
                return self._client.submit_tool_outputs(
                    request_id, outputs, compute_instance=compute_instance
                )
            case _:
                raise AssertionError(f"nobody performs {effect!r}")

    def _send(self, request: AgentRequest, session_id: str | None, stream: bool) -> Reply | None:
        self._spending = self._around.budget.reserve(request)
        self._sent = True
        with self._spending:
            if not stream:
                reply = self._client.perform(request, session_id=session_id)
                return self._spending.told(reply)
            self.close()
            self._stream = self._client.stream(request, session_id=session_id)
            return None

    def next_piece(self, pieces: Pieces) -> Event:
        """What the caller is handed next of the stream; at its end, `Done`."""
        piece: Event | None = None
        while piece is None:
            with self._spending:
                event = _event(next(self._stream, None))
            if isinstance(event, Done):
                self._spending.told(event.reply)
                return event
            piece = pieces.piece_of(event)
        return piece

    def _ask_store(self, effect: Effect) -> Any:
        method, arguments_of = _ASKED_OF_STORE[type(effect)]
        if self._store_failures >= STORE_CHANCES:
            return nothing(effect)
        try:
            return getattr(self._around.store, method)(*arguments_of(effect))
        except Exception as error:
            self._store_failures += 1
            return self._around.store_failed(error, nothing(effect), sent=self._sent)


_ASKED_OF_STORE: Mapping[type, tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    Take: ("take", attrgetter("keys", "unique")),
    Put: ("put", attrgetter("binding", "ttl")),
    Occupy: ("occupy", attrgetter("pool", "slot", "limit", "ttl")),
    Vacate: ("vacate", attrgetter("pool", "slot")),
    ReadNote: ("note", lambda effect: (effect.key,)),
    ChangeNote: ("note", attrgetter("key", "change")),
}
"""The store's method for an effect, and its arguments."""


async def adrive(
    flow: Flow[Outcome], client: AsyncStewrdClient, around: Surroundings
) -> AsyncGenerator[Event | Outcome, None]:
    """`drive` for the event loop."""
    hands = _AsyncHands(client, around)
    _under_way[hands] = flow
    try:
        effect = next(flow)
        while True:
            try:
                answer = None
                if isinstance(effect, Emit):
                    yield effect.event
                elif isinstance(effect, Pieces):
                    while not isinstance(answer := await hands.next_piece(effect), Done):
                        yield answer
                else:
                    answer = await hands.perform(effect)
            except GeneratorExit:
                return  # the caller walked away: the turn hears of it below
            except asyncio.CancelledError as cancelled:
                await _out_of_reach(_finish(_LastWords(flow, cancelled), hands))
                raise
            except BaseException as error:  # the turn must hear of everything
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as ended:
        yield ended.value
    finally:
        await hands.end(_LastWords(flow, Abandoned()))


async def _finish(last: _LastWords, hands: _AsyncHands) -> None:
    for effect in last:
        last.answer = await hands.perform(effect)


async def _out_of_reach(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, however often the caller's task is cancelled meanwhile.

    A cancelled scope of anyio cancels every further await, so a networked store would never
    hear that a name is free again.
    """
    task = asyncio.ensure_future(work)
    _last_words.add(task)  # the loop itself holds tasks weakly
    task.add_done_callback(_last_words.discard)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        # Not left to itself: a loop that ends soon, as `asyncio.run`'s, would end it too.
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled


class _AsyncHands:
    def __init__(self, client: AsyncStewrdClient, around: Surroundings) -> None:
        self._client = client
        self._around = around
        self._process = os.getpid()
        self._stream: Any = None
        self._sent = False
        self._store_failures = 0
        self._spending: Spending

    async def end(self, last: _LastWords) -> None:
        if os.getpid() != self._process:
            return
        if last.wanted:
            await _out_of_reach(_finish(last, self))
        await self.close()

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    async def perform(self, effect: Effect) -> Any:
        if type(effect) in _ASKED_OF_STORE:
            return await self._ask_store(effect)
        match effect:
            case Now():
                return self._around.clock()
            case Send(request, session_id, stream):
                return await self._send(request, session_id, stream)
            case Sleep(seconds):
                return await asyncio.sleep(seconds)
            case Warn(kind, text):
                return self._around.warn(kind, text)
            case Summarise(messages):
                assert self._around.recap is not None
                summary = self._around.recap(messages)
                return await summary if asyncio.iscoroutine(summary) else summary
            case Open():
                self._sent = True
                return await self._client.create_session()
            case Submit(request_id, compute_instance, outputs):
                self._sent = True
                return await self._client.submit_tool_outputs(
                    request_id, outputs, compute_instance=compute_instance
                )
            case _:
                raise AssertionError(f"nobody performs {effect!r}")

    async def _send(
        self, request: AgentRequest, session_id: str | None, stream: bool
    ) -> Reply | None:
        self._spending = self._around.budget.reserve(request)
        self._sent = True
        with self._spending:
            if not stream:
                reply = await self._client.perform(request, session_id=session_id)
                return self._spending.told(reply)
            await self.close()
            self._stream = self._client.stream(request, session_id=session_id)
            return None

    async def next_piece(self, pieces: Pieces) -> Event:
        """What the caller is handed next of the stream; at its end, `Done`."""
        piece: Event | None = None
        while piece is None:
            with self._spending:
                event = _event(await anext(self._stream, None))
            if isinstance(event, Done):
                self._spending.told(event.reply)
                return event
            piece = pieces.piece_of(event)
        return piece

    async def _ask_store(self, effect: Effect) -> Any:
        method, arguments_of = _ASKED_OF_STORE[type(effect)]
        if self._store_failures >= STORE_CHANCES:
            return nothing(effect)
        try:
            return await getattr(self._around.store, f"a{method}")(*arguments_of(effect))
        except Exception as error:
            self._store_failures += 1
            return self._around.store_failed(error, nothing(effect), sent=self._sent)


def _event(event: Event | None) -> Event:
    if event is None:
        raise InterruptedStreamError("The stream ended without saying that it was done.")
    return event


NEW_SESSION = "(a new session)"


def rehearse(flow: Flow[Outcome], around: Surroundings) -> Send | Submit:
    """Walk a turn up to what it would send, without sending, taking or changing anything."""
    looks = _Looks(around)
    effect = next(flow)
    while not isinstance(effect, (Send, Submit)):
        effect = flow.send(looks.answer(effect))
    send, last = effect, _LastWords(flow, Abandoned())
    for effect in last:
        last.answer = looks.answer(effect)
    return send


class _Looks:
    """Answers effects by looking only; what they would change is remembered here alone."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._store = around.store
        self._taken: set[str] = set()
        self._notes: dict[str, NoteState] = {}

    def answer(self, effect: Effect) -> Any:
        try:
            return self._answer(effect)
        except Exception as error:
            return self._around.store_failed(error, nothing(effect), sent=False)

    def _answer(self, effect: Effect) -> Any:
        match effect:
            case Now():
                return self._around.clock()
            case Take(keys, unique):
                return self._look(keys, unique)
            case Occupy(pool, slot, limit):
                alive = self._store.slots(pool)
                return slot in alive or len(alive) < limit
            case ReadNote(key):
                return self._note(key)
            case ChangeNote(key, change):
                self._notes[key] = change(self._note(key))
                return self._notes[key]
            case Open():
                return Session(NEW_SESSION)
            case Summarise(messages):
                return f"(your recap of {len(messages)} messages)"
            case _:
                return None

    def _look(self, keys: tuple[str, ...], unique: bool) -> Binding | None:
        for binding in self._store.peek(keys, unique):
            if binding.id not in self._taken:
                self._taken.add(binding.id)
                return binding
        return None

    def _note(self, key: str) -> NoteState:
        return self._notes[key] if key in self._notes else dict(self._store.note(key))
