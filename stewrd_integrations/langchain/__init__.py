"""LangChain on Stewrd sessions: the chat model `ChatStewrd`."""

try:
    import langchain_core
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.langchain needs langchain-core: "
        'pip install "stewrd-integrations[langchain]"'
    ) from missing

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Core is imported here, and not from the depths of our modules, since it imports hundreds itself:
# where calls are nested that deep, CPython may fetch and give back memory at every one.
import langchain_core.language_models.chat_models  # noqa: F401 - for the order alone

from .chat_models import ChatStewrd

if TYPE_CHECKING:
    from .credits import CreditsCallbackHandler, get_credits_callback
    from .history import StewrdChatMessageHistory
    from .saving import asave_files, save_files
    from .tools import StewrdTool, StewrdToolkit

__all__ = [
    "ChatStewrd",
    "CreditsCallbackHandler",
    "StewrdChatMessageHistory",
    "StewrdTool",
    "StewrdToolkit",
    "asave_files",
    "get_credits_callback",
    "save_files",
]

_PLACES = {
    "CreditsCallbackHandler": ".credits",
    "StewrdChatMessageHistory": ".history",
    "StewrdTool": ".tools",
    "StewrdToolkit": ".tools",
    "asave_files": ".saving",
    "get_credits_callback": ".credits",
    "save_files": ".saving",
}


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: most programs want the chat model only.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
