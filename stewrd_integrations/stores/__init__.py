"""Where bindings, slots, notes and transcripts are kept.

=====================  ===========================================================================
base                   the contract, and what a store of your own is written with
memory, opening        the store of one process; `open_store`, which finds a store by its URL
settings, sealing      namespaces and times, checked; encryption, and the *canary*: a sealed word
                       beside the transcripts, by which a wrong key is noticed before it adds lines
sqlite                 the store of one machine; sqlite_statements has its SQL
sqlite_connection      one connection, through threads, failures and forks; *takes*: how many
                       bindings a file has given away, by which an older content is noticed
sqlite_schema          the file: its tables, how it is made and refused; *place*: device and inode,
                       by which a copy is noticed; *life*: a transcript's, from its first line until
                       it ages out
sqlite_looking         the file, looked into without a trace; sqlite_threads: those of event loops
redis                  the store of many machines; redis_connections: of processes and of loops
redis_scripts          what runs in the server; *era*: its run and the line of its replication
                       history, of which a binding must be; *heading*: a transcript's first item,
                       its name and which edition it is
redis_values           what Redis keeps, as values
=====================  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sessions.binding import DAY, Binding
from ..sessions.effects import NoteState
from .base import Inventory, Kept, Store, changed, popped
from .memory import MemoryStore
from .opening import open_store

if TYPE_CHECKING:
    from .redis import RedisStore
    from .sqlite import SQLiteStore

__all__ = [
    "DAY",
    "Binding",
    "Inventory",
    "Kept",
    "MemoryStore",
    "NoteState",
    "RedisStore",
    "SQLiteStore",
    "Store",
    "changed",
    "open_store",
    "popped",
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
