"""Stewrd for LlamaIndex: a model whose conversations live in Stewrd's sessions."""

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.llama_index needs llama-index-core: "
        'pip install "stewrd-integrations[llama-index]"'
    ) from missing

from .llm import StewrdLLM
from .memory import StewrdMemory

__all__ = ["StewrdLLM", "StewrdMemory"]
