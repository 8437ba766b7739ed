"""Locks in whose midst garbage may be collected.

Garbage is collected at any moment, in whichever thread is at work. If a stream is among it that its
reader left unread, then the stream's turn says its last words to the store right there; if that is
in the midst of the store itself, it would wait for ever for a lock that its own thread holds. So
these locks let their holder in once more, and whoever comes by way of the garbage collector asks
first whether the thread holds one, and if so leaves the work to another thread.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from _thread import RLock

# No WeakSet, which other threads must leave alone while somebody looks through it.
_made: dict[int, ref[RLock]] = {}


def new_lock() -> RLock:
    """A lock that `held_here` knows."""
    lock = threading.RLock()
    number = id(lock)
    _made[number] = ref(lock, partial(_forget, number))
    return lock


def _forget(number: int, _gone: ref[RLock]) -> None:
    _made.pop(number, None)


def held_here() -> bool:
    """Whether this thread holds one of these locks."""
    locks = [known() for known in list(_made.values())]
    return any(lock is not None and _is_held_here(lock) for lock in locks)


def _is_held_here(lock: RLock) -> bool:
    try:
        threading.Condition(lock).notify(0)  # a condition is told of by its lock's holder only
    except RuntimeError:
        return False
    return True
