"""What is the memory store's alone; the contract of all stores is the published suite's."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.sessions.binding import DAY, Binding, Run
from stewrd_integrations.sessions.digest import Covered
from stewrd_integrations.stores import MemoryStore, open_store
from stewrd_integrations.stores.memory import SWEEP_EVERY, SWEPT
from stewrd_integrations.stores.shelves import RECENT
from tests.worlds import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


def write_on(store: MemoryStore, times: int) -> None:
    for _ in range(times):
        store.note("written", lambda note: note)


class Looked(dict[str, Any]):
    """A dict that counts how often somebody looks into it, once for each entry that it shows."""

    looks = 0

    def get(self, name: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.looks += 1
        return super().pop(name, *default)

    def items(self) -> Any:
        self.looks += len(self)
        return super().items()


def binding(id_: str, *keys: str) -> Binding:
    covered = Covered("base", 3, ("u1", "a1"), "u0")
    return Binding(id_, "s1", covered, used=2, keys=keys, run=Run("r", None, 1.0, 2))


def test_a_binding_ages_out_to_the_second(store: MemoryStore, clock: Clock) -> None:
    store.put(binding("1", "k"), 10)
    clock.now += 9.9
    assert store.peek(("k",)) == [binding("1", "k")]
    clock.now += 0.1
    assert store.peek(("k",)) == []
    assert store.take(("k",)) is None


def test_old_bindings_are_swept(store: MemoryStore, clock: Clock) -> None:
    for number in range(600):
        store.put(binding(f"x{number}", f"y{number}"), 1)
        clock.now += 1
    assert len(store._bindings) < 300
    assert len(store._bindings.keys()) < 300


def test_no_write_has_to_look_at_all_that_is_kept() -> None:
    store = MemoryStore()
    for number in range(5_000):
        store.put(binding(f"x{number}", f"y{number}"), DAY)
    shelves = store._bindings
    settled, recent = Looked(shelves.settled.entries), Looked(shelves.recent.entries)
    shelves.settled.entries, shelves.recent.entries = settled, recent
    most = 0
    for number in range(1_000):
        before = settled.looks + recent.looks
        store.put(binding(f"z{number}", f"y{number}"), DAY)
        most = max(most, settled.looks + recent.looks - before)
    assert 1 < most <= 3 * SWEPT + 4  # one on either shelf, and one to carry it over


def test_new_bindings_lie_apart_from_the_many(store: MemoryStore) -> None:
    for number in range(5_000):
        store.put(binding(f"x{number}", f"y{number}"), DAY)
    assert RECENT <= len(store._bindings.recent.entries) <= RECENT + SWEEP_EVERY
    assert len(store._bindings) == 5_000
    taken = {store.take((f"y{number}",)) for number in range(5_000)}
    assert taken == {binding(f"x{number}", f"y{number}") for number in range(5_000)}
    assert (len(store._bindings), store._bindings.keys()) == (0, set())


def test_the_newest_under_a_key_is_found_first_on_whichever_shelf_it_lies(
    store: MemoryStore,
) -> None:
    for number in range(20):
        store.put(binding(f"x{number}", "k"), DAY)
    for number in range(2 * RECENT):
        store.put(binding(f"z{number}", f"z{number}"), DAY)
    for number in range(20, 40):
        store.put(binding(f"x{number}", "k"), DAY)
    settled = set(store._bindings.settled.entries)
    assert "x19" in settled and "x20" not in settled
    found = [one.id for one in store.peek(("k",))]
    assert found == [f"x{number}" for number in reversed(range(40))]


def test_an_old_binding_that_is_put_again_replaces_itself(store: MemoryStore) -> None:
    store.put(binding("1", "old"), DAY)
    for number in range(3_000):
        store.put(binding(f"x{number}", f"y{number}"), DAY)
    assert "1" in store._bindings.settled.entries
    store.put(binding("1", "new"), DAY)
    assert (store.peek(("old",)), store.peek(("new",))) == ([], [binding("1", "new")])


def test_what_was_put_and_taken_often_does_not_pile_up(store: MemoryStore, clock: Clock) -> None:
    store.put(binding("stays", "stays"), DAY)
    for _ in range(10_000):
        clock.now += 0.001
        store.put(binding("1", "k"), DAY)
        store.take(("k",))
        store.note("n", lambda _: {})
    assert store._bindings.queued() + len(store._ageing) < 1_000


def test_a_slot_lapses_to_the_second(store: MemoryStore, clock: Clock) -> None:
    store.occupy("p", "a", 2, 10)
    store.occupy("p", "b", 2, 20)
    clock.now += 9.5
    assert store.slots("p") == {"a": 0.5, "b": 10.5}
    clock.now += 0.5
    assert store.slots("p") == {"b": 10}


def test_notes_age_out_and_are_swept(store: MemoryStore, clock: Clock) -> None:
    for number in range(600):
        store.note(f"n{number}", lambda _: {"a": 1})
    clock.now += DAY - 1
    assert store.note("n0") == {"a": 1}
    assert store.note("n1", lambda note: {**note, "b": 2}) == {"a": 1, "b": 2}
    clock.now += 1
    assert store.note("n0") == {}
    assert store.note("n1") == {"a": 1, "b": 2}, "a change begins its day anew"
    write_on(store, 600)
    assert len(store._notes) == 2


def test_transcripts_are_kept_for_ever() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    store.append("c", ["1"])
    clock.now += 1_000 * DAY
    assert store.load("c") == ["1"]
    assert [kept.left for kept in store.inventory().transcripts] == [None]


def test_transcripts_age_out_after_their_last_line_and_are_swept(clock: Clock) -> None:
    store = MemoryStore(clock, transcript_ttl=10)
    store.append("c", ["1"])
    clock.now += 9
    store.append("c", ["2"])
    clock.now += 9
    assert store.load("c") == ["1", "2"]
    assert [kept.left for kept in store.inventory().transcripts] == [1]
    clock.now += 1
    assert store.load("c") == []
    assert store.inventory().transcripts == ()
    store.append("c", ["3"])
    assert store.load("c") == ["3"]
    clock.now += 10
    write_on(store, 300)
    assert store._transcripts == {}


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), float("nan"), True, "10"])
def test_an_odd_transcript_ttl_is_refused(ttl: float) -> None:
    with pytest.raises(ConfigurationError, match="transcript_ttl"):
        MemoryStore(transcript_ttl=ttl)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_holds_no_binding_of_its_parent() -> None:
    store = MemoryStore()
    store.put(binding("1", "k"), DAY)
    with store._lock:  # as another thread might, in the moment of the fork
        child = multiprocessing.get_context("fork").Process(target=_take_in_child, args=(store,))
        child.start()
        child.join(20)
        child.kill()  # one that waits for a lock for ever must not outlive the test
    assert child.exitcode == 0
    assert store.take(("k",)) == binding("1", "k")


def _take_in_child(store: MemoryStore) -> None:
    if store.take(("k",)) is not None:
        raise SystemExit(1)


def test_a_binding_survives_json() -> None:
    whole = binding("1", "k1", "k2")
    assert Binding.from_json(whole.to_json()) == whole
    assert Binding.from_json(whole.to_json().replace('"schema": 2', '"schema": 99')) is None


def test_memory_is_one_per_process() -> None:
    assert open_store("memory://") is open_store(None)


@pytest.mark.parametrize("url", ["mysql://user:sk-stw_secret@host", "nonsense", ""])
def test_an_unreadable_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
