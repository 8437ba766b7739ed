"""LangChain and LlamaIndex on Stewrd sessions.

- `stewrd_integrations.langchain`: `ChatStewrd`
- `stewrd_integrations.llama_index`: `StewrdLLM`
- `stewrd_integrations.emulator`: `Emulator`, a local Stewrd to develop and test against
- here: the clients of the HTTP API, the root of all errors, and the stores
"""

from .api import AsyncStewrdClient, StewrdClient
from .errors import StewrdError
from .stores import open_store

__all__ = ["AsyncStewrdClient", "StewrdClient", "StewrdError", "open_store"]
