"""What a note may hold, and a note that has been looked through.

Stores outlive versions, and others may write into them: a note that somebody else has spoilt
counts as empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, TypeGuard

from .effects import NoteState

FAILED = "failed"
"""Stands in a note that could not be read or written."""

LARGEST = 64
"""Entries that a list or an object in a note may have; ours have far fewer."""

LATEST = 1e11
"""Seconds since the epoch that calendars still know; no clock is that wrong."""

Change = Callable[[NoteState], NoteState]


class Sound(dict[str, Any]):
    """A note as a change of ours has left it: nobody need look through it once more.

    Nothing changes it in place, nor anything in it: a change makes another note.
    """

    __slots__ = ()


def sound(note: object) -> NoteState:
    """The note, or an empty one if anything in it is of the wrong kind.

    Stores outlive versions, and others may write into them: a turn must not fail for that.
    """
    if type(note) is Sound:
        return note
    if not isinstance(note, dict):
        return {}
    for name, value in note.items():
        fits = _KINDS.get(name)
        if fits is not None and not fits(value):
            return {}
    return note


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value < LATEST


def _are_texts(value: object) -> bool:
    return type(value) is list and len(value) <= LARGEST and _all_are(value, str)


def _are_answers(value: object) -> bool:
    return _are_pairs(value) and _all_are(chain.from_iterable(value), str)


def _are_openings(value: object) -> bool:
    return _are_pairs(value) and all(_is_time(at) and type(why) is str for at, why in value)


def _are_pairs(value: object) -> TypeGuard[list[list[object]]]:
    if type(value) is not list or len(value) > LARGEST:
        return False
    return _all_are(value, list) and set(map(len, value)) <= {2}


def _all_are(values: Iterable[object], kind: type) -> bool:
    # At the speed of C: every note is looked through twice a turn.
    return set(map(type, values)) <= {kind}


def _is_session(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    if not value:
        return True
    if not value.keys() >= _SESSION.keys():
        return False
    return all(fits(value[name]) for name, fits in _SESSION.items())


def _are_times(value: object) -> bool:
    return isinstance(value, dict) and len(value) <= LARGEST and all(map(_is_time, value.values()))


_SESSION: Mapping[str, Callable[[object], bool]] = {
    "id": _is_text,
    "deadline": _is_time,
    **dict.fromkeys(("used", "limit", "generation"), _is_count),
}
_KINDS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("call", "first"), _is_text),
    **dict.fromkeys(("until", "forgotten", "plan", "full", "tools", "tools_ok"), _is_time),
    **dict.fromkeys(("epoch", "generation", "doubts"), _is_count),
    **dict.fromkeys(("dropped", FAILED), _is_flag),
    "side": _are_texts,
    "answers": _are_answers,
    "opened": _are_openings,
    "unheard": _are_times,
    "session": _is_session,
}


class Pure:
    """A change that leaves the note that it is given alone, and makes another, which is sound."""

    __slots__ = ("_change",)

    def __init__(self, change: Change) -> None:
        self._change = change

    def __call__(self, note: NoteState) -> Sound:
        """The note that it makes of this one."""
        return Sound(self._change(sound(note)))
