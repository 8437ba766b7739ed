"""The store's contract, in both colours, on the store of one process."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from typing import Any

import pytest

from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.sessions.binding import DAY, Binding, Run
from stewrd_integrations.sessions.digest import Covered
from stewrd_integrations.stores import MemoryStore, open_store
from tests.worlds import Clock


class Sync:
    """A store by its sync methods."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Async(Sync):
    """A store by its async methods."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, f"a{name}")
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[Sync, Async])
def store(request: pytest.FixtureRequest, clock: Clock) -> Any:
    return request.param(MemoryStore(clock))


def binding(id_: str, *keys: str) -> Binding:
    covered = Covered("base", 3, ("u1", "a1"), "u0")
    return Binding(id_, "s1", covered, used=2, keys=keys, run=Run("r", None, 1.0, 2))


def test_take_pops_by_the_first_key_that_hits(store: Any) -> None:
    one, two = binding("1", "k1", "k2"), binding("2", "k3")
    store.put(one, DAY)
    store.put(two, DAY)
    assert store.take(("k0", "k2", "k3")) == one
    assert store.take(("k1", "k2")) is None
    assert store.take(("k3",)) == two


def test_a_later_put_does_not_orphan_an_earlier_binding(store: Any) -> None:
    one, two = binding("1", "k", "k1"), binding("2", "k", "k2")
    store.put(one, DAY)
    store.put(two, DAY)
    assert store.peek(("k",)) == [two, one]
    assert (store.take(("k",)), store.take(("k",)), store.take(("k",))) == (two, one, None)


def test_unique_keys_hit_only_if_one_live_binding_has_them(store: Any, clock: Clock) -> None:
    store.put(binding("1", "k"), 10)
    store.put(binding("2", "k"), DAY)
    assert store.take(("k",), unique=True) is None
    assert store.peek(("k",), unique=True) == []
    clock.now += 11
    assert store.take(("k",), unique=True) == binding("2", "k")


def test_bindings_age_out_and_are_swept(store: Any, clock: Clock) -> None:
    store.put(binding("1", "k"), 10)
    clock.now += 10
    assert store.take(("k",)) is None
    for number in range(600):
        store.put(binding(f"x{number}", f"y{number}"), 1)
        clock.now += 1
    assert len(store.store._bindings) < 300
    assert len(store.store._by_key) < 300


def test_putting_the_same_binding_twice_keeps_one(store: Any) -> None:
    store.put(binding("1", "k"), DAY)
    store.put(binding("1", "k2"), DAY)
    assert store.peek(("k", "k2")) == [binding("1", "k2")]


def test_slots_are_taken_refreshed_and_lapse(store: Any, clock: Clock) -> None:
    assert store.occupy("p", "a", 2, 10)
    assert store.occupy("p", "b", 2, 20)
    assert not store.occupy("p", "c", 2, 10)
    assert store.occupy("p", "a", 2, 30), "a refresh needs no room"
    assert store.occupy("other", "c", 2, 10), "pools do not share"
    assert store.slots("p") == {"a": 30, "b": 20}
    clock.now += 20
    assert store.occupy("p", "c", 2, 10)
    store.vacate("p", "a")
    store.vacate("p", "nobody")
    assert store.slots("p") == {"c": 10}


def test_notes_are_changed_atomically_and_age_out(store: Any, clock: Clock) -> None:
    assert store.note("n") == {}
    assert store.note("n", lambda note: {**note, "a": 1}) == {"a": 1}
    assert store.note("n", lambda note: {**note, "b": 2}) == {"a": 1, "b": 2}
    clock.now += DAY
    assert store.note("n") == {}


def test_many_threads_never_take_one_binding_twice() -> None:
    store = MemoryStore()
    for number in range(2_000):
        store.put(binding(f"{number}", f"k{number}"), DAY)
    taken: list[str] = []

    def work() -> None:
        for number in range(2_000):
            found = store.take((f"k{number}",))
            if found is not None:
                taken.append(found.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == [f"{number}" for number in range(2_000)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
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
    assert Binding.from_json(whole.to_json().replace('"schema": 1', '"schema": 99')) is None


def test_memory_is_one_per_process() -> None:
    assert open_store("memory://") is open_store(None)


@pytest.mark.parametrize("url", ["mysql://user:sk-stw_secret@host", "nonsense", ""])
def test_an_unreadable_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
