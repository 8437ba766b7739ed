"""Where conversations are kept, for memories that come back from JSON as other objects.

Agents that go on with an earlier run have made plain JSON of their memory in between. Keys,
connections and stores are none, so this process remembers them, and another one is told as much
as is no secret.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..api.credentials import ApiKey
from ..errors import ConfigurationError
from ..stores import Store
from ..values import dataclass

MOST = 1_024
"""Places that are remembered. Each is a project on a store, however many conversations it has."""

ELSEWHERE = "elsewhere"
"""In the place of a store that can't be told of: an object, or a URL that may hold a secret."""


@dataclass(frozen=True, slots=True)
class Place:
    """A project's key, and the store that its conversations are in.

    Attributes:
        api_key: The project's.
        store: The store.
        told: Its URL, None for the default, or `ELSEWHERE`.
    """

    api_key: ApiKey
    store: Store
    told: str | None


_places: OrderedDict[tuple[str, int], tuple[str, Place]] = OrderedDict()
_tokens: dict[str, tuple[str, int]] = {}
_lock = threading.Lock()


def told_store(store: Store | str | None) -> str | None:
    """What another process may be told of a store."""
    if store is None:
        return None
    if not isinstance(store, str) or "@" in store or urlsplit(store).query:
        return ELSEWHERE
    return store


def remembered(place: Place, project: str) -> dict[str, Any]:
    """Remember a place, and tell by what it is found again, as plain JSON."""
    known = (project, id(place.store))  # the place keeps the store, so the id stays its own
    with _lock:
        token, _ = _places.setdefault(known, (secrets.token_hex(8), place))
        _places.move_to_end(known)
        _tokens[token] = known
        if len(_places) > MOST:
            _, (oldest, _) = _places.popitem(last=False)
            del _tokens[oldest]
    return {"token": token, "project": project, "store": place.told}


def recalled(told: Mapping[str, Any]) -> Place | None:
    """The place that was told of, if this process remembers it.

    Raises:
        ConfigurationError: It is not what `remembered` told.
    """
    if not isinstance(told, Mapping):
        raise ConfigurationError(
            f"place is a {type(told).__name__}, not what a memory's JSON says of its place.",
            advice="Leave it out: StewrdMemory(conversation_id, store=...).",
        )
    with _lock:
        known = _tokens.get(str(told.get("token")))
        return None if known is None else _places[known][1]


def store_elsewhere(told: Mapping[str, Any]) -> str | None:
    """The URL of the store that was told of in another process; None for the default.

    Raises:
        ConfigurationError: It was not told, and ``STEWRD_STORE`` does not tell it either.
    """
    url = told.get("store")
    if url != ELSEWHERE:
        return url
    if os.environ.get("STEWRD_STORE"):
        return None
    raise ConfigurationError(
        "A memory came back from JSON, which does not say where its store is.",
        advice="Set STEWRD_STORE, or make the memory anew: StewrdMemory(conversation_id, "
        "store=...).",
    )


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it in the moment of the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
