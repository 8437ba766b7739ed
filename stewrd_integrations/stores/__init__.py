"""Where bindings, slots and notes are kept."""

from __future__ import annotations

import os

from ..errors import ConfigurationError
from .base import Store
from .memory import MemoryStore

__all__ = ["MemoryStore", "Store", "open_store"]

_SHARED = MemoryStore()


def open_store(url: str | None = None) -> Store:
    """Open a store by its URL.

    Args:
        url: ``memory://`` is the one store of this process, shared by everything in it.
            None takes ``STEWRD_STORE`` from the environment, else ``memory://``.

    Raises:
        ConfigurationError: The URL names no known kind of store.
    """
    url = url if url is not None else os.environ.get("STEWRD_STORE") or "memory://"
    if url == "memory://":
        return _SHARED
    scheme = url.partition("://")[0] if "://" in url else ""
    # The URL itself may hold a password, so only its scheme is shown.
    raise ConfigurationError(
        f"The store's URL has an unknown scheme ({scheme!r}).",
        advice='Use "memory://", or pass a store object.',
    )
