"""Stewrd for LlamaIndex: a model whose conversations live in Stewrd's sessions."""

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.llama_index needs llama-index-core: "
        'pip install "stewrd-integrations[llama-index]"'
    ) from missing

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .llm import StewrdLLM

if TYPE_CHECKING:
    from .events import StewrdProgress, StewrdProgressEvent
    from .memory import StewrdMemory
    from .saving import asave_files, save_files
    from .tools import StewrdToolSpec

__all__ = [
    "StewrdLLM",
    "StewrdMemory",
    "StewrdProgress",
    "StewrdProgressEvent",
    "StewrdToolSpec",
    "asave_files",
    "save_files",
]

_PLACES = {
    "StewrdMemory": ".memory",
    "StewrdProgress": ".events",
    "StewrdProgressEvent": ".events",
    "StewrdToolSpec": ".tools",
    "asave_files": ".saving",
    "save_files": ".saving",
}


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: most programs want the model only.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
