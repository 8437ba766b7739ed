"""The store: whether it opens, how fast it is, and what it holds. Looking changes nothing."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, urlencode

from ..errors import StewrdError
from ..stores import Store, open_store
from ..stores.base import Inspected
from ..stores.memory import MemoryStore
from .findings import Finding

VARIABLE = "STEWRD_STORE"
SLOW = 0.1
"""Seconds beyond which each turn feels it: it asks the store some four times."""

OLDEST_REDIS = (6, 2)
_OURS = ("namespace", "transcript_ttl")


def look_at_store(given: str | None, project: str | None) -> Finding:
    """Open it and look.

    Args:
        given: Its URL; None takes the environment's.
        project: The project's name in stores, if the key is known.
    """
    url = given or os.environ.get(VARIABLE) or "memory://"
    try:
        store = open_store(url)
        if isinstance(store, MemoryStore):
            told = "memory: each process has its own, and forgets it when it ends"
            advice = f"For several workers, set {VARIABLE} to redis://... or sqlite:///file.db."
            return Finding("store", "ok", told, advice)
        path = getattr(store, "path", None)
        if path is not None:
            return _file(store, Path(path), project)
        return _server(store, url, project)
    except StewrdError as error:
        return Finding("store", "problem", error.message, error.advice)


def _file(store: Store, path: Path, project: str | None) -> Finding:
    if not path.exists():
        if os.access(path.parent, os.W_OK | os.X_OK):
            return Finding("store", "ok", f"{path} is not there yet; the first turn makes it")
        told = f"{path} is not there, and can't be made: no such folder, or no right to write"
        return Finding("store", "problem", told, "Make the folder, or name another file.")
    began = time.monotonic()
    held = cast(Inspected, store).inventory()  # one with a path is of ours
    took = time.monotonic() - began
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        advice = "Let this user write to it and to its folder."
        return Finding("store", "problem", f"{path} can't be written to", advice)
    told = f"{path}: {len(held.bindings)} bindings, {_slots(held.pools.get(project or '', {}))}"
    return Finding("store", "ok", f"{told} (read in {took * 1000:.0f} ms)")


def _server(store: Store, url: str, project: str | None) -> Finding:
    slots = store.slots(project or "doctor")  # connects
    began = time.monotonic()
    slots = store.slots(project or "doctor")
    took = time.monotonic() - began
    version = _redis_version(url)
    told = f"Redis {version} answers in {took * 1000:.1f} ms; {_slots(slots)}"
    if _numbers(version) < OLDEST_REDIS:
        return Finding("store", "problem", told, "Redis 6.2 or newer, or a Valkey, is needed.")
    if took > SLOW:
        advice = "Each turn asks it some four times: bring it nearer."
        return Finding("store", "note", told, advice)
    return Finding("store", "ok", told)


def _slots(slots: dict[str, float]) -> str:
    return f"{len(slots)} of the project's slots in use"


def _redis_version(url: str) -> str:
    from ..stores.redis_connections import Connections  # noqa: PLC0415 - it needs the extra
    from ..stores.redis_scripts import Request, Script  # noqa: PLC0415 - likewise

    bare, _, query = url.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _OURS]
    address = f"{bare}?{urlencode(kept)}" if kept else bare
    script = Script("return {redis.call('INFO', 'server')}")
    connections = Connections(address, 5.0)
    try:
        (info,) = connections.run(Request(script, (), ()))
    finally:
        connections.close()
    found = re.search(rb"redis_version:([0-9.]+)", info)
    return found[1].decode() if found else "of an unknown version"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit()) or OLDEST_REDIS
