"""Several processes on one store, spawned or forked."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from ..sessions.binding import Binding
from ..stores import Store
from .chapter import LONG, Chapter, Reopen, binding, coloured, drain, ids
from .concurrency import add_one, flat
from .workers import (
    COUNT,
    PATIENCE,
    Job,
    Workers,
    append_many,
    count_to,
    occupy_many,
    put_and_tell,
    take_all,
)

Elsewhere = Callable[[Job], list[Any]]


class ProcessRules(Chapter):
    """Processes that open the same store share it; they run only if `reopen` is given."""

    @pytest.fixture(scope="class")
    @classmethod
    def workers(cls) -> Iterator[Workers]:
        """Processes for all tests of the class."""
        workers = Workers()
        yield workers
        workers.close()

    @pytest.fixture
    def elsewhere(self, workers: Workers, reopen: Reopen | None, colour: str) -> Elsewhere:
        """Runs a job in several processes at once, each with the store opened once more."""
        if reopen is None:
            pytest.skip("The store lives in one process only.")
        return partial(workers.run, reopen, colour)

    def test_what_one_process_put_another_takes(self, calls: Store, elsewhere: Elsewhere) -> None:
        """Workers behind one load balancer serve the same conversations."""
        calls.put(binding("of the parent", "shared"), LONG)
        assert flat(elsewhere(take_all)) == ["of the parent"]
        elsewhere(put_and_tell)
        numbers = range(COUNT)
        assert [calls.take((f"k{n}",)) for n in numbers] == [
            binding(f"{n}", f"k{n}") for n in numbers
        ]

    def test_what_one_process_wrote_another_reads(self, calls: Store, elsewhere: Elsewhere) -> None:
        """Slots belong to the project, notes to a name, transcripts to a conversation."""
        names = elsewhere(put_and_tell)
        assert set(calls.slots("p")) == set(names)
        assert [calls.note(f"n{name}") for name in names] == [{"by": int(name)} for name in names]
        assert [calls.load(f"c{name}") for name in names] == [[f"line of {name}"] for name in names]

    def test_processes_never_take_one_binding_twice(
        self, calls: Store, elsewhere: Elsewhere
    ) -> None:
        """The pop is atomic for everybody who shares the store, not only in one process."""
        wanted = [f"{number}" for number in range(60)]
        for id_ in wanted:
            calls.put(binding(id_, "shared", id_), LONG)
        assert sorted(flat(elsewhere(take_all))) == sorted(wanted)
        assert calls.peek(tuple(wanted)) == []

    def test_processes_never_pass_the_limit(self, calls: Store, elsewhere: Elsewhere) -> None:
        """The server counts the sessions of all of them together."""
        held = flat(elsewhere(partial(occupy_many, 6)))
        assert len(held) == 6
        assert set(calls.slots("p")) == set(held)

    def test_processes_lose_no_change_of_a_note(self, calls: Store, elsewhere: Elsewhere) -> None:
        """A lock of one process is none for another."""
        elsewhere(partial(count_to, 15))
        assert calls.note("n") == {"n": 15 * COUNT}

    def test_processes_lose_no_line(self, calls: Store, elsewhere: Elsewhere) -> None:
        """Each one's lines are all there, in its order, and those of one append together."""
        elsewhere(partial(append_many, 10))
        lines = calls.load("c")
        for number in range(COUNT):
            mine = [line for line in lines if line.startswith(f"{number} ")]
            assert mine == [f"{number} {place} {half}" for place in range(10) for half in "ab"]
        pairs = zip(lines[::2], lines[1::2], strict=True)
        assert all(a[:-1] == b[:-1] for a, b in pairs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Nothing forks here.")
# Python 3.12 warns of threads at a fork: what becomes of the store then is what is tested.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
class ForkingRules(Chapter):
    """Servers load an application and then fork; a store may have been used before."""

    def test_a_forked_child_and_its_parent_never_take_one_binding_both(
        self, store: Store, colour: str
    ) -> None:
        """The child shares the bindings of its parent, or has none of them."""
        wanted = [f"{number}" for number in range(20)]
        calls = coloured(store, colour)
        for id_ in wanted:
            calls.put(binding(id_, "k"), LONG)
        first = calls.take(("k",))  # so that it is in use when the process forks
        child = Forked(lambda: ids(drain(calls, "k")))
        ours, theirs = ids(drain(calls, "k")), child.result()
        assert first is not None
        assert sorted([first.id, *ours, *theirs]) == sorted(wanted)

    def test_a_forked_child_can_use_the_store(self, store: Store, colour: str) -> None:
        """A connection that it inherited is its parent's; it opens one of its own."""
        calls = coloured(store, colour)
        calls.note("n", add_one)
        assert Forked(lambda: _use(calls, "child")).result() == binding("child", "child")

    def test_a_forked_child_leaves_its_parent_in_order(self, store: Store, colour: str) -> None:
        """What the child did, and its end, break no connection and no lock of the parent."""
        calls = coloured(store, colour)
        for number in range(3):
            calls.put(binding(f"{number}", "of the parent"), LONG)
            child = Forked(lambda: _use(calls, "child"))
            assert _use(calls, "parent") == binding("parent", "parent")
            child.result()
            assert calls.take(("of the parent",)) == binding(f"{number}", "of the parent")


def _use(calls: Store, who: str) -> Binding | None:
    calls.note("n", add_one)
    calls.append("c", [who])
    calls.put(binding(who, who), LONG)
    return calls.take((who,))


class Forked:
    """A forked child at work."""

    def __init__(self, work: Callable[[], Any]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=lambda: theirs.send(work()), daemon=True)
        self._process.start()
        theirs.close()

    def result(self) -> Any:
        """What the work returned."""
        try:
            if not self._pipe.poll(PATIENCE):
                pytest.fail(f"A forked child did not end in {PATIENCE} seconds.")
            return self._pipe.recv()
        except EOFError:
            pytest.fail("A forked child failed: see its traceback above.")
        finally:
            self._pipe.close()
            self._process.join(5)
            self._process.kill()  # one that hangs may not outlive the test
            self._process.join()
