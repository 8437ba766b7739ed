"""What is the memory store's alone; the contract of all stores is the published suite's."""

from __future__ import annotations

import enum
import multiprocessing
import os
import pickle
import tracemalloc
from collections import OrderedDict
from functools import partial
from secrets import token_hex
from typing import Any

import pytest

from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.sessions import notes
from stewrd_integrations.sessions.binding import DAY, Binding, Run
from stewrd_integrations.sessions.digest import Covered
from stewrd_integrations.stores import MemoryStore, open_store
from stewrd_integrations.stores.latest import LATEST
from stewrd_integrations.stores.memory import SWEEP_EVERY, SWEPT
from stewrd_integrations.stores.shelves import RECENT
from stewrd_integrations.stores.slots import Slots
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


def write_others(store: MemoryStore) -> None:
    """What stood in the store so far is packed then."""
    for number in range(LATEST):
        store.put(binding(f"other{number}", f"other{number}"), DAY)
        store.note(f"other{number}", notes.seen_thread("c"))


class Looked(OrderedDict[str, Any]):
    """A dict that counts how often somebody looks into it, once for each entry that it shows."""

    looks = 0

    def __getitem__(self, name: str) -> Any:
        self.looks += 1
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.looks += 1
        return super().pop(name, *default)

    def items(self) -> Any:
        self.looks += len(self)
        return super().items()

    def values(self) -> Any:
        self.looks += len(self)
        return super().values()


class Charged(str, enum.Enum):
    LIKELY = "likely"


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


def test_a_short_lived_binding_is_swept_that_settled_behind_others(
    store: MemoryStore, clock: Clock
) -> None:
    for number in range(100):
        store.put(binding(f"long{number}", f"k{number}"), DAY)
    store.put(binding("short", "s"), 1_800)
    for number in range(2 * RECENT):
        store.put(binding(f"x{number}", f"y{number}"), DAY)
    assert "short" in store._bindings.settled.entries
    clock.now += 1_800
    write_on(store, SWEEP_EVERY * (len(store._bindings.settled.entries) // SWEPT + 1))
    assert "short" not in store._bindings
    assert {"s"}.isdisjoint(store._bindings.keys())


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
    # One beside the other, all that the store keeps of it: nothing is left of the many others.
    assert len(pickle.dumps((store._bindings, store._notes))) < 2_000


def test_a_long_conversation_that_is_idle_takes_little_room() -> None:
    """What a model keeps of one shall stay below 4 KiB, and nearly all of it is in the store."""
    store = MemoryStore()
    converse(store, 0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 101):
            converse(store, number)
        each = (tracemalloc.get_traced_memory()[0] - before) / 100
    finally:
        tracemalloc.stop()
    assert each < 3_600


def converse(store: MemoryStore, number: int) -> None:
    """More messages than a store keeps digests of, in a few turns of a named conversation."""
    session = f"ses_{token_hex(12)}"
    for turn in range(8):
        keys = tuple(token_hex(16) for _ in range(3))
        recent = tuple(f"u{token_hex(16)}" for _ in range(64))
        covered = Covered(token_hex(16), 2 * turn, recent, f"u{token_hex(16)}")
        one = Binding(token_hex(16), session, covered, token_hex(16), 2, 2, 1e9 + turn, keys=keys)
        store.put(one, DAY)
        store.note(f"{number:032}", partial(_answered, session))
        store.occupy("pool", session, 1_000, 60)
        if turn < 7:
            assert store.take(keys) == one


def _answered(session: str, _: dict[str, Any]) -> dict[str, Any]:
    facts = {"id": session, "used": 2, "limit": 50, "deadline": 1e9, "generation": 1}
    answers = [["", token_hex(16)] for _ in range(8)]
    return {"call": "", "until": 0.0, "side": [], "answers": answers, "session": facts}


DIGESTS = tuple(f"{'ua'[number % 2]}{number:032x}" for number in range(64))


@pytest.mark.parametrize(
    "recent",
    [
        (),
        DIGESTS,
        DIGESTS[:1],
        ("u" + "é" * 32,),
        ("é" + "0" * 32,),
        ("u" + "A" * 32,),
        ("u" + "g" * 32,),
        ("u" + "0" * 31 + " ",),
        ("u" + "0" * 31, "a" + "0" * 33),
        ("u" + "0" * 33, "a" + "0" * 31),
        (" " * 33, " " * 33),
        ("u1", ""),
        ("u" + "\ud800" * 32,),
    ],
)
def test_whatever_digests_a_binding_has_come_back(recent: tuple[str, ...]) -> None:
    store = MemoryStore()
    one = Binding("1", None, Covered("base", 3, recent, "u0"), keys=("k",))
    store.put(one, DAY)
    assert store.peek(("k",)) == [one]
    write_others(store)
    assert store.peek(("k",)) == [one]
    assert store.take(("k",)) == one


def test_a_binding_of_derived_values_comes_back() -> None:
    class Text(str):
        __slots__ = ()

    store = MemoryStore()
    one = Binding(Text("1"), Text("s"), Covered("", 0, (Text("u1"),)), keys=(Text("k"),))
    store.put(one, DAY)
    write_others(store)
    assert store.take(("k",)) == one


def test_what_was_written_last_is_the_same_when_others_came(store: MemoryStore) -> None:
    run = Run("r", None, 1.0, 2, calls=("c",))
    one = Binding("1", "s", Covered("base", 3, DIGESTS, "u0"), epoch=7, run=run, keys=("k", "l"))
    store.put(one, DAY)
    note = store.note("n", notes.answered("c", "", "pair", None, 1.0))
    assert isinstance(store._bindings.recent.entries["1"].kept, Binding)
    assert store.peek(("l",)) == [one]
    assert store.note("n") == note == {"answers": [["", "pair"]]}
    write_others(store)
    assert isinstance(store._bindings.recent.entries["1"].kept, bytes)
    assert isinstance(store._notes["n"][0], bytes)
    assert store.note("n") == note
    assert store.take(("l",)) == one


def test_a_talk_that_goes_on_takes_no_place_from_others(store: MemoryStore) -> None:
    mine = binding("mine", "k")
    store.put(mine, DAY)
    for turn in range(3 * LATEST):
        store.put(binding(f"turn{turn}", "other"), DAY)
        assert store.take(("other",)) is not None
    assert store.take(("k",)) is mine  # as it came: nothing was packed


def test_a_note_that_was_written_last_is_changed_by_changes_only(store: MemoryStore) -> None:
    store.note("n", notes.answered("c", "", "pair", None, 1.0))
    store.note("n")["answers"].append("mine")
    assert store.note("n") == {"answers": [["", "pair"]]}

    def fails(note: dict[str, Any]) -> dict[str, Any]:
        note["answers"].clear()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.note("n", fails)
    assert store.note("n") == {"answers": [["", "pair"]]}
    store.note("n", dict)["answers"].append("mine")
    assert store.note("n") == {"answers": [["", "pair"]]}


def test_a_key_that_is_given_twice_counts_once_and_leaves_nothing() -> None:
    store = MemoryStore()
    store.put(binding("1", "k", "k"), DAY)
    store.put(binding("2", "k", "l", "k"), DAY)
    assert [store.take(("l", "k")), store.take(("k",), unique=True)] == [
        binding("2", "k", "l", "k"),
        binding("1", "k", "k"),
    ]
    assert (len(store._bindings), store._bindings.keys()) == (0, set())


def test_to_refresh_a_slot_looks_at_no_other(store: MemoryStore, clock: Clock) -> None:
    """Each turn refreshes one, of thousands."""
    for number in range(1_000):
        clock.now += 0.01
        assert store.occupy("p", f"s{number}", 1_000, 60)
    pool = store._pools["p"] = LookedPool(store._pools["p"])
    assert store.occupy("p", "s7", 1_000, 60)
    assert not store.occupy("p", "another", 1_000, 60), "none has lapsed, as is known by the first"
    assert pool.looks == 0
    clock.now += 59.995
    assert not store.occupy("p", "another", 2, 60), "the last and the one that was refreshed"
    assert store.occupy("p", "another", 3, 60)
    assert set(store.slots("p")) == {"s999", "s7", "another"}


class LookedPool(Slots):
    """A pool that counts how often somebody looks at all of it."""

    looks = 0

    def __init__(self, pool: Slots) -> None:
        super().__init__()
        self.update(pool)
        self._earliest = pool._earliest

    def items(self) -> Any:
        self.looks += 1
        return super().items()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"a": (1, "b")}, {"a": [1, "b"]}),
        ({"a": [{"b": (1,)}]}, {"a": [{"b": [1]}]}),
        ({1: "a"}, {"1": "a"}),
        ({"a": [{None: 1}]}, {"a": [{"null": 1}]}),
        ({"a": Charged.LIKELY}, {"a": "likely"}),
    ],
)
def test_a_note_holds_plain_values_only(store: MemoryStore, given: Any, kept: Any) -> None:
    """As a note comes back from a store that writes JSON."""
    assert repr(store.note("n", lambda _: given)) == repr(kept) == repr(store.note("n"))


@pytest.mark.parametrize("bad", [{"a": b"bytes"}, {"a": {1, 2}}, {"a": [1j]}, {("a",): 1}])
def test_a_note_of_what_json_has_no_word_for_is_refused(store: MemoryStore, bad: Any) -> None:
    store.note("n", lambda _: {"a": 1})
    with pytest.raises(TypeError):
        store.note("n", lambda _: bad)
    assert store.note("n") == {"a": 1}


def test_a_note_that_holds_itself_is_refused(store: MemoryStore) -> None:
    note: dict[str, Any] = {}
    note["itself"] = [note]
    with pytest.raises(ValueError, match="Circular"):
        store.note("n", lambda _: note)
    assert store.note("n") == {}


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


def test_a_list_that_stands_twice_in_a_note_comes_back_as_two() -> None:
    store, shared = MemoryStore(), ["x"]
    store.note("key", lambda note: {**note, "a": shared, "b": shared})
    note = store.note("key")
    note["a"].append("y")
    assert note["b"] == ["x"]
