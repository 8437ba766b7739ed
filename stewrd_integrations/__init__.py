"""LangChain and LlamaIndex on Stewrd sessions.

- `stewrd_integrations.langchain`: `ChatStewrd`
- `stewrd_integrations.llama_index`: `StewrdLLM`
- `stewrd_integrations.emulator`: `Emulator`, a local Stewrd to develop and test against
- here: the clients of the HTTP API, the check of its webhooks, the root of all errors, and the
  stores
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import AsyncStewrdClient, StewrdClient, verify_webhook
    from .errors import StewrdError
    from .stores import open_store

__all__ = ["AsyncStewrdClient", "StewrdClient", "StewrdError", "open_store", "verify_webhook"]

_PLACES = {
    "AsyncStewrdClient": ".api",
    "StewrdClient": ".api",
    "StewrdError": ".errors",
    "open_store": ".stores",
    "verify_webhook": ".api",
}


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: each room imports this package first, and none needs all.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
