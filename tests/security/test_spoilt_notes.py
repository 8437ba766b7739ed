"""Notes that others have written into: whatever is in them, a turn goes on as without a note."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.conversations import Conversation
from stewrd_integrations.options import Options
from stewrd_integrations.sessions import notes
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.sessions.soundness import FAILED, Change, sound
from stewrd_integrations.stores import MemoryStore
from tests.talks import Talk
from tests.worlds import ADDRESS, KEY, Stage

NOW = 1_800_000_000.0
SESSION = {"id": "s", "used": 2, "limit": 50, "deadline": NOW, "generation": 1}
ARRIVAL = notes.Arrival("call", "main", frozenset({"pair"}), NOW, NOW + 10)


def whole() -> NoteState:
    """A note that has had everything happen to it."""
    note: NoteState = {}
    for change in CHANGES.values():
        note = change(note)
    return {**note, "opened": [[NOW, "lost"]], "session": SESSION, "tools": NOW, "doubts": 1}


CHANGES = {
    "arrive": notes.arrive(ARRIVAL),
    "answered": notes.answered("call", "main", "pair", SESSION, NOW),
    "released": notes.released("call", dropped=True),
    "forgotten": notes.forgotten(NOW),
    "opened": notes.opened("lost", NOW),
    "not opened": notes.not_opened("lost", NOW),
    "unheard": notes.unheard("s", NOW),
    "heard": notes.heard("s"),
    "thread": notes.seen_thread("call"),
    "plan": notes.refused("plan", NOW),
    "full": notes.refused("full", NOW),
    "tools doubted": notes.tools_doubted(NOW),
    "tools refused": notes.tools_refused(NOW),
    "tools taken": notes.tools_taken(NOW),
}
ODD: tuple[Any, ...] = (
    *(None, "x", 1.5, -1, True, [], {}, [1], ["a", 1], [["a"]], [[NOW, 5]], [[NOW, "a", "b"]]),
    *({"id": "s"}, {"s": "x"}, {**SESSION, "used": "2"}, {**SESSION, "deadline": 1e300}),
    *(math.nan, math.inf, 10**400, [["a", "b"]] * 1_000, {str(n): NOW for n in range(1_000)}),
)


def misfits() -> Iterator[tuple[str, Any]]:
    """Each field of a note with each odd value, but for those that fit."""
    for name in [*whole(), "until", "first", "plan", "epoch", FAILED]:
        for value in ODD:
            if not fits(name, value):
                yield name, value


def fits(name: str, value: Any) -> bool:
    flags, empty = ("dropped", FAILED), ("side", "answers", "opened")
    if name in flags:
        return value is True
    if name in ("call", "first"):
        return isinstance(value, str)
    if name in ("session", "unheard") and value == {}:
        return True
    if name == "unheard" and isinstance(value, dict):
        return False
    times = ("until", "forgotten", "plan", "full", "tools", "tools_ok")
    counts = ("epoch", "generation", "doubts")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        sound = 0 <= value < 1e11
        return (name in times and sound) or (name in counts and value == 10**400)
    return name in empty and value == []


MISFITS = list(misfits())


def test_a_note_of_ours_is_sound() -> None:
    note: NoteState = {}
    for change in CHANGES.values():
        note = change(note)
        assert sound(note) is note
    assert sound(whole()) == whole()
    assert sound({"of a later version": [{}]}) == {"of a later version": [{}]}


@pytest.mark.parametrize(("name", "value"), MISFITS, ids=[f"{n}={str(v)[:20]}" for n, v in MISFITS])
def test_a_note_with_anything_of_the_wrong_kind_is_empty(name: str, value: Any) -> None:
    if name == "unheard" and isinstance(value, dict) and len(value) < 5 and "s" not in value:
        return
    spoilt = {**whole(), name: value}
    assert sound(spoilt) == {}
    assert notes.hold_nothing(spoilt, NOW) == 0
    assert not notes.takes_tools(spoilt, NOW - 1) and not notes.takes_no_tools(spoilt, NOW - 1)
    for change in CHANGES.values():
        assert change(spoilt) == change({})


@pytest.mark.parametrize("note", [None, [], "x", 5, [1, 2]])
def test_what_is_no_object_is_an_empty_note(note: Any) -> None:
    assert sound(note) == {}
    for change in CHANGES.values():
        assert change(note) == change({})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted([*whole(), "first", "until"])), JSON))
def test_no_change_stumbles_over_any_note(note: NoteState) -> None:
    for change in CHANGES.values():
        assert sound(change(note)) is not None
    read = sound(note)
    notes.holds(read, ARRIVAL)
    notes.is_side_call(read, "main")
    notes.churns(read, NOW)
    notes.was_opened(read, NOW)
    notes.is_forgotten(read, 1, NOW)
    assert notes.hold_nothing(note, NOW) >= 0


# -- where they are read ---------------------------------------------------------------


class Spoilt(MemoryStore):
    """A store into whose notes somebody writes."""

    written: Any = None

    def note(self, key: str, change: Change | None = None) -> NoteState:
        """The note, if one is only read, as somebody wrote it."""
        return super().note(key, change) if change else self.written


SPOILT: list[Any] = [
    None,
    [],
    {"plan": "x"},
    {"full": []},
    {"unheard": 5},
    {"tools": "x"},
    {"session": 5},
]
SPOILT += [{"session": {"id": "s"}}, {"session": {**SESSION, "deadline": 1e300}}]


@pytest.mark.parametrize("written", SPOILT)
def test_a_conversation_goes_on_over_a_spoilt_note(written: Any) -> None:
    store = Spoilt()
    store.written = written
    stage = Stage.make()
    stage.store = store
    talk = Talk(stage.model(), "ada")
    assert talk.say("hello").decision.turn == "opened"
    assert talk.say("and on").decision.turn == "continued"
    place: dict[str, Any] = {"api_key": KEY, "base_url": ADDRESS, "store": store}
    assert Conversation(Options(conversation_id="ada", **place)).session() is None


@pytest.mark.parametrize("bad", ["../agent", "", "a/b", "a\n", "é", "x" * 129])
@pytest.mark.parametrize("named", [True, False])
def test_a_binding_whose_session_fits_into_no_path_is_dropped(named: bool, bad: str) -> None:
    stage = Stage.make()
    talk = Talk(stage.model(), "ada" if named else None)
    talk.say("hello")
    talk.say("and on")
    assert isinstance(stage.store, MemoryStore)
    for binding, until in list(stage.store._bindings):
        stage.store.put(replace(binding, session_id=bad), until)
    assert talk.say("and on again").decision.turn in ("replayed", "stateless")
    talk.say("once more")
    assert {
        kept.binding.session_id for kept in stage.store.inventory().bindings if kept.binding
    } & {bad} == set()
    assert all(bad not in request.path for request in stage.requests if bad)
