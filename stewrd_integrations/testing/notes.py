"""Notes: small JSON objects that are changed atomically and never popped."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest

from ..sessions.effects import NoteState
from ..stores import Store
from .chapter import Chapter

NESTED: NoteState = {
    "answers": [["instructions", "pair"], ["", "ünïcödé 漢字 🦜 \u2028"]],
    "opened": [[1_800_000_000.25, "lost"]],
    "session": {"id": "s", "used": 3, "inner": {"none": None, "yes": True, "no": False}},
    "generation": 10**12,
    "call": "",
    "side": [],
    "": "an empty name",
}


class NoteRules(Chapter):
    """`note` reads, or applies a pure function to what is there.

    A store may call the function more than once (a database that reports a conflict does so),
    and in any thread: it keeps what the last call returned, and returns that.
    """

    def test_an_unknown_note_is_empty(self, calls: Store) -> None:
        """A name that nobody has noted anything of is no error."""
        assert calls.note("n") == {}

    def test_reading_creates_nothing(self, calls: Store) -> None:
        """Two reads of nothing are nothing, and the first change starts from nothing."""
        calls.note("n")
        assert calls.note("n") == {}
        assert calls.note("n", lambda note: {"was": note}) == {"was": {}}

    def test_a_change_is_kept_and_returned(self, calls: Store) -> None:
        """Whoever changes a note must know what it then says: it tells who holds a name."""
        assert calls.note("n", lambda note: {**note, "a": 1}) == {"a": 1}
        assert calls.note("n", lambda note: {**note, "b": 2}) == {"a": 1, "b": 2}
        assert calls.note("n") == {"a": 1, "b": 2}

    def test_a_change_may_take_away(self, calls: Store) -> None:
        """What the function leaves out is gone: a note is replaced, not merged."""
        calls.note("n", lambda _: {"a": 1, "b": 2})
        assert calls.note("n", lambda _: {"b": 2}) == {"b": 2}
        assert calls.note("n", lambda _: {}) == {}
        assert calls.note("n") == {}

    def test_what_is_kept_is_what_was_returned(self, calls: Store) -> None:
        """Also where the function was called more than once, and gave something else each time."""
        tries = itertools.count()
        kept = calls.note("n", lambda note: {**note, "try": next(tries)})
        assert calls.note("n") == kept

    def test_a_note_holds_any_json(self, calls: Store) -> None:
        """Lists, objects, numbers, null and any text, nested, come back equal and of their kind."""
        calls.note("n", lambda _: NESTED)
        found = calls.note("n")
        assert found == NESTED
        assert repr(_sorted(found)) == repr(_sorted(NESTED)), "True is not 1, and 1.0 is not 1"

    def test_notes_do_not_share(self, calls: Store) -> None:
        """What is noted of one name is nobody else's."""
        for key in ("n", "N", "n ", "ü", "n:1", "*"):
            calls.note(key, partial(_named, key))
        for key in ("n", "N", "n ", "ü", "n:1", "*"):
            assert calls.note(key) == {"key": key}

    def test_a_change_that_raises_leaves_the_note(self, calls: Store) -> None:
        """Half a change is none, and the caller gets the very exception that was raised."""
        calls.note("n", lambda _: {"a": 1})
        error = LookupError("of the caller")

        def fails(note: NoteState) -> NoteState:
            note["a"] = 2
            raise error

        with pytest.raises(LookupError) as caught:
            calls.note("n", fails)
        assert caught.value is error
        assert calls.note("n") == {"a": 1}

    def test_a_change_that_raised_holds_nobody_up(self, calls: Store) -> None:
        """The next change goes through: no lock and no transaction was left open."""

        def fails(_: NoteState) -> NoteState:
            raise LookupError

        for _ in range(3):
            with pytest.raises(LookupError):
                calls.note("n", fails)
        assert calls.note("n", lambda note: {**note, "a": 1}) == {"a": 1}
        assert calls.note("other", lambda _: {"b": 1}) == {"b": 1}

    def test_a_note_that_was_read_is_the_callers_own(self, calls: Store) -> None:
        """To change what was read, also deep inside, changes nothing in the store."""
        calls.note("n", lambda _: {"list": [1], "a": 1})
        found = calls.note("n")
        found["list"].append(2)
        found["a"] = 2
        assert calls.note("n") == {"list": [1], "a": 1}

    def test_a_note_that_was_changed_is_the_callers_own(self, calls: Store) -> None:
        """Neither does what a change returned tie the caller to the store."""
        mine: NoteState = {"list": [1]}
        found = calls.note("n", lambda _: mine)
        found["list"].append(2)
        mine["list"].append(3)
        assert calls.note("n") == {"list": [1]}


def _named(key: str, _: NoteState) -> NoteState:
    return {"key": key}


def _sorted(value: Any) -> Any:
    """The same with the names of each object in order, which JSON does not keep for certain."""
    if isinstance(value, dict):
        return [(name, _sorted(value[name])) for name in sorted(value)]
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    return value
