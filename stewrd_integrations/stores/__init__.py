"""Where bindings, slots, notes and transcripts are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Inventory, Kept, Store
from .memory import MemoryStore
from .opening import open_store

if TYPE_CHECKING:
    from .redis import RedisStore
    from .sqlite import SQLiteStore

__all__ = [
    "Inventory",
    "Kept",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "Store",
    "open_store",
]


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: most programs use one kind of store.
    if name == "RedisStore":
        from .redis import RedisStore  # noqa: PLC0415 - see above

        return RedisStore
    if name == "SQLiteStore":
        from .sqlite import SQLiteStore  # noqa: PLC0415 - see above

        return SQLiteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
