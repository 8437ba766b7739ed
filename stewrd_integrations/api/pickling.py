"""What of a model's options may lie in a pickle, and what is found where it is read again.

Pickles go to queues, caches and other machines. So the key, the values of headers and a store
whose address holds a password stay behind; where the pickle is read, the environment tells them.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..values import dataclass

STORE = "STEWRD_STORE"
HEADERS = "STEWRD_DEFAULT_HEADERS"
"""Names of variables of the environment; the latter holds a JSON object."""

OF_THIS_PROCESS = ("api_key", "http_client", "http_async_client")
_SECRETIVE = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Stands in a pickle for an option that was left out.

    Attributes:
        option: Its name.
        names: Names of the headers, if it is those.
    """

    option: str
    names: tuple[str, ...] = ()


def portable(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they may lie in a pickle: without secrets, and what is of this process."""
    kept = {name: None if name in OF_THIS_PROCESS else options[name] for name in options}
    if _holds_secret(kept.get("store")):
        kept["store"] = LeftOut("store")
    headers = kept.get("default_headers")
    if headers and not isinstance(headers, LeftOut):
        kept["default_headers"] = LeftOut("default_headers", tuple(sorted(headers)))
    return kept


def restored(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a pickle, with those that were left out as the environment tells them.

    Raises:
        ConfigurationError: It does not tell one; says which variable to set.
    """
    found = dict(options)
    for name, value in options.items():
        if isinstance(value, LeftOut):
            found[name] = _elsewhere() if name == "store" else _headers(value)
    return found


def _holds_secret(store: object) -> bool:
    if store is None or isinstance(store, LeftOut):
        return False
    if not isinstance(store, str):
        return not _can_be_pickled(store)
    if store.startswith("sqlite:"):
        return False  # a path may have an @ in it
    return "@" in store or _SECRETIVE.search(urlsplit(store).query) is not None


def _can_be_pickled(store: object) -> bool:
    try:
        pickle.dumps(store)
    except ConfigurationError:  # it says so itself, as it holds a secret
        return False
    return True


def _elsewhere() -> str:
    url = os.environ.get(STORE)
    if url:
        return url
    raise ConfigurationError(
        "The store was left out of the pickle, as its address or its settings hold a secret.",
        advice=f"Set {STORE} where the pickle is read, or give the model its store again.",
    )


def _headers(left: LeftOut) -> dict[str, str]:
    try:
        found = json.loads(os.environ.get(HEADERS, ""))
    except ValueError:
        found = None
    if isinstance(found, dict) and {name.lower() for name in left.names} <= {
        name.lower() for name in found
    }:
        return found
    raise ConfigurationError(
        "The values of default_headers were left out of the pickle, as they may be secrets: "
        f"{', '.join(left.names)}.",
        advice=f"Set {HEADERS} where the pickle is read, to a JSON object of names and values, or "
        "give the model its default_headers again.",
    )
