"""What the Redis store keeps, as values: to bytes, and back with a word for what can't be read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from ..errors import ConfigurationError, StoreError
from ..sessions.binding import DAY, Binding
from ..sessions.effects import NoteState
from .base import Kept
from .settings import LAYOUT

CENTURY = 100 * 365 * DAY


def digest(part: str) -> str:
    """A part of a key's name, of a fixed length and without what a pattern would obey."""
    return blake2b(to_bytes(part), digest_size=16).hexdigest()


def milliseconds(seconds: float) -> int:
    """A time that Redis can hold: rounded up, so that nothing ends too early."""
    return math.ceil(max(0.0, min(seconds, CENTURY)) * 1_000)


def to_bytes(text: str) -> bytes:
    """A text as it is kept, half a surrogate pair too."""
    return text.encode("utf-8", "surrogatepass")


def damaged() -> StoreError:
    """The error for what can't be read."""
    return StoreError(
        "Something that the Redis store keeps can't be read.",
        advice="Its conversation is replayed; look whether another program writes there.",
    )


def text(kept: bytes) -> str:
    """A text that was kept.

    Raises:
        StoreError: It is no text.
    """
    try:
        return kept.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise damaged() from None


def read_json(kept: bytes) -> dict[str, Any]:
    """A JSON object that was kept.

    Raises:
        StoreError: It is none.
    """
    try:
        found = json.loads(kept)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise damaged()
    return found


def read_note_or_empty(kept: bytes) -> NoteState:
    """The note; an empty one in the place of one that can't be read, so that it is renewed."""
    try:
        return read_note(kept)
    except StoreError:
        return {}


def read_note(kept: bytes) -> NoteState:
    """A note, empty if there is none."""
    return read_json(kept) if kept else {}


def read_binding(kept: bytes) -> Binding | None:
    """A binding, None if it is of another schema.

    Raises:
        StoreError: It can't be read.
    """
    try:
        return Binding.from_json(text(kept))
    except (ValueError, RecursionError):
        raise damaged() from None


def read_bindings(listed: list[bytes]) -> list[Binding]:
    """Those of our schema."""
    return [binding for kept in listed if (binding := read_binding(kept)) is not None]


def kept_bindings(listed: list[tuple[bytes, int]]) -> Iterator[Kept]:
    """Those of our schema, for an inventory; each came with the milliseconds that it has left."""
    for body, left in listed:
        binding = read_binding(body)
        if binding is not None:
            yield Kept(binding.id, left / 1_000, binding=binding)


def read_slots(listed: list[Any]) -> dict[str, float]:
    """The slots behind a pool's label, each with the seconds that it has left."""
    pairs = zip(listed[1::2], listed[2::2], strict=True)
    return {text(slot).removeprefix("slot:"): left / 1_000 for slot, left in pairs}


def other_layout(namespace: str, found: bytes) -> ConfigurationError:
    """The error for a namespace that another version or another program holds."""
    # Only what looks like a layout's number is shown: it may be anybody's data.
    shown = text(found) if re.fullmatch(rb"\d{1,6}", found) else None
    what = f"layout {shown}" if shown else f"a schema key that is not ours ({_kind(found)})"
    return ConfigurationError(
        f"The Redis namespace {namespace!r} holds {what}; this version writes layout {LAYOUT}.",
        advice="Use another namespace=, or the version of this package that wrote it. "
        "Nothing was touched.",
    )


def _kind(found: bytes) -> str:
    kinds = (b"hash", b"list", b"set", b"zset", b"stream")
    return f"a {found.decode()}" if found in kinds else "another text"
