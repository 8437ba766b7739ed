"""Stewrd for LlamaIndex: a model whose conversations live in Stewrd's sessions."""

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.llama_index needs llama-index-core: "
        'pip install "stewrd-integrations[llama-index]"'
    ) from missing

from .events import StewrdProgress, StewrdProgressEvent
from .llm import StewrdLLM
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
