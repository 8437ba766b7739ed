"""Many at once in one process: threads, tasks of an event loop, several loops, and cancelling."""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest

from ..sessions.binding import Binding
from ..sessions.effects import NoteState
from ..stores import Store
from .chapter import LONG, Chapter, binding, coloured, drain, ids

T = TypeVar("T")

THREADS = 8
PATIENCE = 120.0
"""Seconds after which threads or tasks are thought to wait for each other."""


def add_one(note: NoteState) -> NoteState:
    """A change that is lost if another overwrites it."""
    return {**note, "n": note.get("n", 0) + 1}


def at_once(work: Callable[[int], T]) -> list[T]:
    """What the work returned in each of several threads that began together."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> T:
        start.wait(PATIENCE)
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begin, range(THREADS), timeout=PATIENCE))


def in_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run it in a fresh event loop."""
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


def flat(lists: list[list[str]]) -> list[str]:
    """What is in several lists, in one."""
    return [each for list_ in lists for each in list_]


class ThreadRules(Chapter):
    """Several threads may use one store, each by either colour."""

    @pytest.fixture(autouse=True)
    def _eager_threads(self) -> Iterator[None]:
        # Threads that take turns often meet in places where they else would once a year.
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        yield
        sys.setswitchinterval(before)

    def test_threads_never_take_one_binding_twice(self, calls: Store) -> None:
        """Two calls on one session would hear each other's words: this is the heart of it."""
        wanted = [f"{number}" for number in range(60)]
        for id_ in wanted:
            calls.put(binding(id_, "shared", id_), LONG)
        taken = at_once(lambda _: ids(drain(calls, "shared")))
        assert sorted(flat(taken)) == sorted(wanted)

    def test_threads_that_know_other_keys_never_take_one_binding_twice(self, calls: Store) -> None:
        """A binding is popped under all of its keys in one step."""
        keys = tuple(f"k{number}" for number in range(THREADS))
        for number in range(40):
            calls.put(binding(f"{number}", *(f"{key}-{number}" for key in keys)), LONG)

        def work(number: int) -> list[str]:
            found = [calls.take((f"{keys[number]}-{place}",)) for place in range(40)]
            return ids([each for each in found if each is not None])

        assert sorted(flat(at_once(work)), key=int) == [f"{number}" for number in range(40)]

    def test_threads_never_pass_the_limit(self, calls: Store) -> None:
        """To count and to take a slot is one step."""
        for round_ in range(5):
            pool = f"p{round_}"
            let_in = at_once(partial(_enter, calls, pool))
            assert let_in.count(True) == len(calls.slots(pool)) == 3

    def test_threads_lose_no_change_of_a_note(self, calls: Store) -> None:
        """To read and to write a note is one step."""

        def work(_: int) -> None:
            for _ in range(10):
                calls.note("n", add_one)

        at_once(work)
        assert calls.note("n") == {"n": 10 * THREADS}

    def test_threads_see_different_results_of_their_changes(self, calls: Store) -> None:
        """Of several who change a note, each is told of its own: one of them holds the name."""
        seen = at_once(lambda _: calls.note("n", add_one)["n"])
        assert sorted(seen) == list(range(1, THREADS + 1))

    def test_threads_lose_no_line(self, calls: Store) -> None:
        """Each one's lines are all there, in the order in which it appended them."""

        def work(number: int) -> None:
            for place in range(10):
                calls.append("c", [f"{number} {place} a", f"{number} {place} b"])

        at_once(work)
        lines = calls.load("c")
        for number in range(THREADS):
            mine = [line for line in lines if line.startswith(f"{number} ")]
            assert mine == [f"{number} {place} {half}" for place in range(10) for half in "ab"]
        pairs = zip(lines[::2], lines[1::2], strict=True)
        assert all(a[:-1] == b[:-1] for a, b in pairs), "what was appended at once stays together"

    def test_loops_of_several_threads_work_at_once(self, store: Store) -> None:
        """Servers have a loop in each worker thread: none may wait for what belongs to another."""

        async def talk(number: int) -> list[str]:
            found = []
            for place in range(10):
                await store.aput(binding(f"{number}-{place}", f"k{number}"), LONG)
                await store.anote("n", add_one)
                taken = await store.atake((f"k{number}",))
                found.append(taken.id if taken else "")
            return found

        found = at_once(lambda number: in_loop(talk(number)))
        wanted = [[f"{number}-{place}" for place in range(10)] for number in range(THREADS)]
        assert found == wanted
        assert store.note("n") == {"n": 10 * THREADS}


class TaskRules(Chapter):
    """Many tasks of one event loop, and one loop after another, may use one store."""

    def test_tasks_never_take_one_binding_twice(self, store: Store) -> None:
        """What an `await` lets in between may not come between finding and popping."""
        for number in range(30):
            store.put(binding(f"{number}", "k"), LONG)
        found = in_loop(_gather(store.atake(("k",)) for _ in range(40)))
        taken = [each for each in found if each is not None]
        assert sorted(ids(taken), key=int) == [f"{number}" for number in range(30)]

    def test_tasks_never_pass_the_limit(self, store: Store) -> None:
        """To count and to take a slot is one step for tasks, too."""
        let_in = in_loop(_gather(store.aoccupy("p", f"{n}", 5, LONG) for n in range(30)))
        assert let_in.count(True) == len(store.slots("p")) == 5

    def test_tasks_lose_no_change_of_a_note(self, store: Store) -> None:
        """To read and to write a note is one step for tasks, too."""
        seen = in_loop(_gather(store.anote("n", add_one) for _ in range(30)))
        assert sorted(note["n"] for note in seen) == list(range(1, 31))
        assert store.note("n") == {"n": 30}

    def test_tasks_lose_no_line(self, store: Store) -> None:
        """Each append is there, whole."""
        in_loop(_gather(store.aappend("c", [f"{n} a", f"{n} b"]) for n in range(30)))
        lines = store.load("c")
        assert sorted(lines) == sorted(f"{n} {half}" for n in range(30) for half in "ab")
        assert all(
            line[:-1] == lines[place - 1][:-1] for place, line in enumerate(lines) if place % 2
        )

    def test_one_loop_after_another_works(self, store: Store) -> None:
        """`asyncio.run` makes a loop each time: a connection may not be tied to a former one."""

        async def talk(number: int) -> Binding | None:
            await store.aput(binding(f"{number}", "k"), LONG)
            await store.aappend("c", [f"{number}"])
            await asyncio.gather(*(store.anote("n", add_one) for _ in range(4)))
            return await store.atake(("k",))

        found = [in_loop(talk(number)) for number in range(5)]
        assert found == [binding(f"{number}", "k") for number in range(5)]
        assert store.note("n") == {"n": 20}
        assert store.load("c") == [f"{number}" for number in range(5)]


class BlockingRules(Chapter):
    """An event loop serves many: a call that waits lets the others go on."""

    def test_async_methods_leave_the_loop_free(self, store: Store) -> None:
        """Each of the methods, eight at once: a heart beats beside them.

        A machine that is busy can stop a heart too, but not in each of several attempts.
        """
        held = {name: min(in_loop(_stall(store, name)) for _ in range(4)) for name in CALLS}
        assert {name: stall for name, stall in held.items() if stall > STALL} == {}


STALL = 0.08
"""Seconds for which eight calls at once may hold up the loop: ten milliseconds for each."""

CALLS: dict[str, Callable[[Store, str], Coroutine[Any, Any, object]]] = {
    "aput": lambda store, name: store.aput(binding(name, name), LONG),
    "apeek": lambda store, name: store.apeek((name,)),
    "atake": lambda store, name: store.atake((name,)),
    "aoccupy": lambda store, name: store.aoccupy("p", name, 100, LONG),
    "aslots": lambda store, _: store.aslots("p"),
    "avacate": lambda store, name: store.avacate("p", name),
    "anote": lambda store, name: store.anote(name, add_one),
    "aappend": lambda store, name: store.aappend(name, [name]),
    "aload": lambda store, name: store.aload(name),
    "aclear": lambda store, name: store.aclear(name),
}


async def _stall(store: Store, name: str) -> float:
    """The longest time between two beats while the loop makes such calls."""
    await CALLS[name](store, "first")  # what is opened once is none of it
    calls = [asyncio.ensure_future(CALLS[name](store, f"{number}")) for number in range(8)]
    longest, before = 0.0, time.monotonic()
    while not all(call.done() for call in calls):
        await asyncio.sleep(0)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    await asyncio.gather(*calls)
    return longest


class CancellingRules(Chapter):
    """A task may be cancelled at any point; a call is then done or not done, and never twice.

    A cancelled `atake` may lose its binding: the conversation is then replayed.
    """

    def test_a_cancelled_take_doubles_nothing(self, store: Store) -> None:
        """One who was cancelled and one who was not may not both have had a binding."""
        for number in range(len(PAUSES)):
            store.put(binding(f"{number}", f"k{number}"), LONG)

        async def contend() -> list[Binding]:
            found: list[Binding] = []
            for number, pause in enumerate(PAUSES):
                other = asyncio.create_task(store.atake((f"k{number}",)))
                await _cancelled(store.atake((f"k{number}",)), pause, found)
                found += [each for each in [await other] if each is not None]
            return found

        had = in_loop(contend())
        left = drain(store, *(f"k{number}" for number in range(len(PAUSES))))
        assert len(set(ids(had + left))) == len(had + left)
        _still_works(store)

    def test_a_cancelled_put_is_whole_or_not_at_all(self, store: Store) -> None:
        """A binding under some of its keys only, or twice, would be continued twice."""

        async def put_in_vain() -> None:
            for number, pause in enumerate(PAUSES):
                await _cancelled(
                    store.aput(binding(f"{number}", f"a{number}", f"b{number}"), LONG), pause
                )

        in_loop(put_in_vain())
        for number in range(len(PAUSES)):
            by_a, by_b = store.peek((f"a{number}",)), store.peek((f"b{number}",))
            assert by_a == by_b
            store.put(binding(f"{number}", f"b{number}", f"c{number}"), LONG)
            found = drain(store, f"a{number}", f"b{number}", f"c{number}")
            assert found == [binding(f"{number}", f"b{number}", f"c{number}")]
        _still_works(store)

    def test_a_cancelled_change_is_made_once_or_not_at_all(self, store: Store) -> None:
        """A note may not hear of one thing twice, nor be held for ever."""

        async def count_in_vain() -> int:
            done: list[NoteState] = []
            for pause in PAUSES:
                await _cancelled(store.anote("n", add_one), pause, done)
            return len(done)

        done = in_loop(count_in_vain())
        assert done <= store.note("n").get("n", 0) <= len(PAUSES)
        _still_works(store)

    def test_a_cancelled_occupant_leaves_the_pool_in_order(self, store: Store) -> None:
        """No place is counted that nobody can vacate, and none beyond the limit."""
        limit = len(PAUSES) // 2

        async def occupy_in_vain() -> None:
            for number, pause in enumerate(PAUSES):
                await _cancelled(store.aoccupy("p", f"{number}", limit, LONG), pause)

        in_loop(occupy_in_vain())
        assert len(store.slots("p")) <= limit
        for number in range(len(PAUSES)):
            store.vacate("p", f"{number}")
        assert store.slots("p") == {}
        assert [store.occupy("p", f"{n}", 2, LONG) for n in range(3)] == [True, True, False]
        _still_works(store)

    def test_a_cancelled_append_is_whole_or_not_at_all(self, store: Store) -> None:
        """A message without its answer, or an answer twice, is another conversation."""

        async def append_in_vain() -> None:
            for number, pause in enumerate(PAUSES):
                await _cancelled(store.aappend("c", [f"{number} a", f"{number} b"]), pause)

        in_loop(append_in_vain())
        lines = store.load("c")
        heads = [line.removesuffix(" a") for line in lines[::2]]
        assert lines == [f"{head} {half}" for head in heads for half in "ab"]
        assert len(set(heads)) == len(heads)
        _still_works(store)


class CopyingRules(Chapter):
    """Models are pickled and copied, to caches and to other processes, with their store."""

    def test_a_pickled_store_works(self, store: Store, colour: str) -> None:
        """It opens what it needs anew; one that lives in the process only is an empty one."""
        store.put(binding("used before", "k"), LONG)
        _still_works(coloured(_pickled(store), colour))

    def test_a_pickled_store_doubles_no_binding(self, store: Store, colour: str) -> None:
        """It shares the bindings, or has none: the same session may not be had by both."""
        calls, copy = coloured(store, colour), coloured(_pickled(store), colour)
        calls.put(binding("1", "k"), LONG)
        again = coloured(_pickled(store), colour)
        assert len(drain(again, "k") + drain(copy, "k") + drain(calls, "k")) == 1


PAUSES: tuple[tuple[int, float], ...] = (
    *((turns, 0.0) for turns in range(20)),
    *((1, milliseconds / 4_000) for milliseconds in range(20)),
)
"""When a task is cancelled: after so many turns of the loop, and then after so many seconds."""


async def _cancelled(
    call: Coroutine[Any, Any, T], pause: tuple[int, float], done: list[Any] | None = None
) -> None:
    """Cancel a call after a pause; what it returned all the same, if anything, is added."""
    task = asyncio.create_task(call)
    turns, seconds = pause
    for _ in range(turns):
        await asyncio.sleep(0)
    if seconds:
        await asyncio.sleep(seconds)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, asyncio.CancelledError):
        return
    if isinstance(result, BaseException):
        raise result
    if done is not None and result is not None:
        done.append(result)


def _enter(calls: Store, pool: str, number: int) -> bool:
    return calls.occupy(pool, f"{number}", 3, LONG)


async def _gather(calls: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*calls))


def _pickled(store: Store) -> Store:
    copy: Store = pickle.loads(pickle.dumps(store))  # noqa: S301 - of our own making
    return copy


def _still_works(store: Store) -> None:
    """One of each call, under names that no test uses."""
    store.put(binding("works", "works"), LONG)
    assert store.take(("works",)) == binding("works", "works")
    assert store.occupy("works", "s", 1, LONG)
    store.vacate("works", "s")
    assert store.slots("works") == {}
    before = store.note("works").get("n", 0)
    assert store.note("works", add_one) == {"n": before + 1}
    store.append("works", ["line"], replace=True)
    assert store.load("works") == ["line"]
    store.clear("works")
