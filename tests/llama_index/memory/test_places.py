"""What a process remembers of keys and stores, for memories that come back from JSON."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stewrd_integrations.api.credentials import ApiKey
from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.llama_index import StewrdMemory, places
from stewrd_integrations.llama_index.places import MOST, Place, recalled, remembered
from stewrd_integrations.stores import MemoryStore

from ..conftest import user
from .talking import NOWHERE, texts


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(places, "_places", type(places._places)())
    monkeypatch.setattr(places, "_tokens", {})
    return iter(())


def memory_of(project: int, store: MemoryStore | None = None) -> StewrdMemory:
    options: dict[str, Any] = {"api_key": f"sk-stw_{project}", "base_url": NOWHERE}
    return StewrdMemory("c", store=MemoryStore() if store is None else store, **options)


def place(store: MemoryStore | None = None) -> Place:
    return Place(ApiKey("sk-stw_x"), MemoryStore() if store is None else store, None)


def test_one_token_for_a_project_on_a_store() -> None:
    store = MemoryStore()
    first, second = memory_of(1, store), memory_of(1, store)
    tokens = {one.to_dict()["place"]["token"] for one in (first, second, first)}
    assert len(tokens) == 1
    others = {one.to_dict()["place"]["token"] for one in (memory_of(2, store), memory_of(1))}
    assert len(tokens | others) == 3
    assert len(places._places) == len(places._tokens) == 3


def test_no_more_are_remembered_than_are_bearable() -> None:
    first = place()
    tokens = [remembered(first, "p")] + [remembered(place(), "p") for _ in range(MOST - 1)]
    assert len(places._places) == MOST and recalled(tokens[0]) is first
    remembered(first, "p")  # it was used again
    later = [remembered(place(), "p") for _ in range(3)]
    assert len(places._places) == len(places._tokens) == MOST
    assert recalled(tokens[0]) is first and recalled(later[-1]) is not None
    assert [recalled(token) for token in tokens[1:4]] == [None] * 3
    assert recalled(tokens[4]) is not None


def test_what_was_forgotten_is_as_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = memory_of(1)
    told = memory.to_dict()
    places._places.clear()
    places._tokens.clear()
    with pytest.raises(ConfigurationError, match="STEWRD_STORE"):
        StewrdMemory.from_dict(told)
    monkeypatch.setenv("STEWRD_STORE", "memory://")
    with pytest.raises(ConfigurationError, match="STEWRD_API_KEY"):
        StewrdMemory.from_dict(told)
    monkeypatch.setenv("STEWRD_API_KEY", "sk-stw_1")
    assert StewrdMemory.from_dict(told).get() == []


def test_a_dead_stores_number_is_not_given_to_another() -> None:
    """A store that is remembered lives, so its `id` is nobody else's."""
    memory = memory_of(1)
    memory.put(user("1"))
    told, dead = memory.to_dict(), weakref.ref(memory._place.store)
    del memory
    gc.collect()
    assert dead() is not None
    for _ in range(50):
        assert memory_of(1).to_dict()["place"]["token"] != told["place"]["token"]
    assert texts(StewrdMemory.from_dict(told).get()) == ["1"]
    places._places.clear()
    places._tokens.clear()
    gc.collect()
    assert dead() is None


def test_threads_never_get_another_projects_key() -> None:
    stores = [MemoryStore() for _ in range(4)]
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(30)
        for turn in range(30):
            project = (number + turn) % 5
            memory = memory_of(project, stores[turn % 4])
            again = StewrdMemory.from_json(memory.to_json())
            assert again._place.api_key.reveal() == f"sk-stw_{project}"
            assert again._place.store is stores[turn % 4]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(places._places) == len(places._tokens) == 20


def test_many_threads_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST", 3)

    def work(number: int) -> None:
        for turn in range(50):
            mine = place()
            found = recalled(remembered(mine, f"{number} {turn}"))
            assert found is None or found is mine

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(places._places) == len(places._tokens) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Nothing forks on Windows.")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_remembers_and_its_lock_is_free() -> None:
    memory = memory_of(1)
    memory.put(user("1"))
    told = memory.to_dict()
    with places._lock:  # as another thread may, in the moment of the fork
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # a lock that is held for ever would end in this
            is_right = False
            try:
                again = StewrdMemory.from_dict(told)
                is_right = texts(again.get()) == ["1"] and again.to_dict() == told
            finally:
                os._exit(0 if is_right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_project_whose_key_has_changed_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["sk-stw_1"]
    memory = StewrdMemory("c", api_key=lambda: keys[0], store=MemoryStore(), base_url=NOWHERE)
    told = memory.to_dict()
    keys[0] = "sk-stw_2"
    with pytest.raises(ConfigurationError, match="another project"):
        StewrdMemory.from_dict(told)
    assert StewrdMemory.from_dict(memory.to_dict()).get() == []
    keys[0] = "sk-stw_1"
    assert StewrdMemory.from_dict(told).get() == []
