"""LangChain on Stewrd sessions: the chat model `ChatStewrd`."""

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.langchain needs langchain-core: "
        'pip install "stewrd-integrations[langchain]"'
    ) from missing

from .chat_models import ChatStewrd
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
