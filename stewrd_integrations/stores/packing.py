"""How the memory store keeps bindings and notes: in few bytes, of which they are soon made again.

A conversation in which nobody speaks is little more than its digests, and as a text of Python each
takes five times the room that it needs. Also, whoever is handed what was made of bytes holds
nothing that is kept. The format is of this process alone: it never leaves it.
"""

from __future__ import annotations

import binascii
import json
import marshal
from dataclasses import fields
from operator import add, attrgetter
from typing import Any, TypeAlias

from ..sessions.binding import Binding, Run
from ..sessions.digest import Covered
from ..sessions.effects import NoteState
from ..sessions.soundness import Sound

Packed: TypeAlias = "bytes | Binding"

_NAMES = [field.name for field in fields(Binding)]
_ID, _COVERED, _RUN, _KEYS = map(_NAMES.index, ("id", "covered", "run", "keys"))
_VALUES = attrgetter(*_NAMES)
_VALUES_OF_RUN = attrgetter(*(field.name for field in fields(Run)))

_LETTERS = 33
"""Characters of a digest: a letter for the role, and 16 bytes as hex digits."""

_LEAVES = frozenset((str, int, float, bool, type(None)))
_TEXT = {str}
_WITHOUT_REFERENCES = 2
"""The format in which a list that stands in two places comes back as two, as from JSON."""

_MANY = 10_000
"""Values in a note, beyond which JSON's own code takes a look at it."""


def packed(binding: Binding) -> Packed:
    """All of a binding but its id and its keys, which the store has at hand anyway."""
    values = list(_VALUES(binding))
    values[_ID] = values[_KEYS] = None
    covered: Covered = binding.covered
    recent = _packed_digests(covered.recent)
    values[_COVERED] = (covered.base, covered.base_count, recent, covered.first)
    values[_RUN] = None if binding.run is None else _VALUES_OF_RUN(binding.run)
    try:
        return marshal.dumps(values)
    except ValueError:
        return binding  # something in it is of a kind that is derived from a plain one


def unpacked(kept: Packed, id_: str, keys: tuple[str, ...]) -> Binding:
    """The binding that was packed."""
    if isinstance(kept, Binding):
        return kept
    values: list[Any] = marshal.loads(kept)  # noqa: S302 - it was packed here, in this process
    values[_ID], values[_KEYS] = id_, keys
    base, count, recent, first = values[_COVERED]
    values[_COVERED] = Covered(base, count, _unpacked_digests(recent), first)
    if values[_RUN] is not None:
        values[_RUN] = Run(*values[_RUN])
    return Binding(*values)


def _packed_digests(digests: tuple[str, ...]) -> object:
    """Their letters and their bytes; the digests themselves if they are not such as ours are."""
    text = " ".join([*digests, ""])
    if len(text) != (_LETTERS + 1) * len(digests) or not text.isascii() or text != text.lower():
        return digests
    letters = bytearray(text.encode())
    spaces, roles = letters[_LETTERS :: _LETTERS + 1], letters[:: _LETTERS + 1]
    del letters[_LETTERS :: _LETTERS + 1]
    del letters[::_LETTERS]
    if spaces.strip():
        return digests
    try:
        return roles.decode(), binascii.unhexlify(letters)
    except binascii.Error:
        return digests


def _unpacked_digests(kept: tuple[Any, ...]) -> tuple[str, ...]:
    if len(kept) != 2 or type(kept[1]) is not bytes:
        return kept
    roles, hashes = kept
    return tuple(map(add, roles, hashes.hex(" ", 16).split(" ")))


def packed_note(note: NoteState) -> bytes:
    """A note as plain JSON values, packed."""
    if type(note) is Sound:
        note = dict(note)
    if not _is_plain(note):
        note = json.loads(json.dumps(note))  # as it comes back from every other store
    return marshal.dumps(note, _WITHOUT_REFERENCES)


def unpacked_note(kept: bytes) -> NoteState:
    """A note of the caller's own."""
    note: NoteState = marshal.loads(kept)  # noqa: S302 - it was packed here, in this process
    return note


def _is_plain(note: NoteState) -> bool:
    """Whether it is made of nothing but what JSON gives back as it was."""
    seen: list[Any] = [note]
    for one in seen:  # it grows on the way
        kind = type(one)
        if kind in _LEAVES:
            continue
        if kind is list:
            seen += one
        elif kind is dict and set(map(type, one)) <= _TEXT:
            seen += one.values()
        else:
            return False
        if len(seen) > _MANY:
            return False  # perhaps it holds itself
    return True
