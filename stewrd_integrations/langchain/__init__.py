"""LangChain on Stewrd sessions: the chat model `ChatStewrd`."""

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.langchain needs langchain-core: "
        'pip install "stewrd-integrations[langchain]"'
    ) from missing

from .chat_models import ChatStewrd

__all__ = ["ChatStewrd"]
