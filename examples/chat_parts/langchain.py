"""The chat on LangChain: `ChatStewrd` streams, `StewrdChatMessageHistory` keeps the words."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from typing_extensions import override

from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory, save_files

from . import File, Piece, Question, Step, Talk

if TYPE_CHECKING:
    from stewrd_integrations.conversations import SessionInfo
    from stewrd_integrations.runtime import Explanation


class LangChainTalk(Talk):
    """A conversation on LangChain.

    Args:
        name: The conversation's name.
        place: `api_key`, `base_url` and `store`: the history needs the same as the model.
        model: The model; any number of conversations can share one.
    """

    def __init__(self, name: str, place: Mapping[str, Any], model: ChatStewrd) -> None:
        self.name, self.place, self.model = name, place, model
        self.history = StewrdChatMessageHistory(name, **place)

    @override
    def ask(self, question: Question, capabilities: Sequence[str]) -> Generator[Piece, None, None]:
        shown = [*self.history.messages, _message(question)]
        answer = AIMessageChunk(content="")
        chunks = self.model.stream(
            shown, conversation_id=self.name, capabilities=list(capabilities)
        )
        # Whoever leaves this block closes the stream, and the model gives the session up.
        with closing(cast("Generator[AIMessageChunk, None, None]", chunks)):
            for chunk in chunks:
                for step in chunk.response_metadata.get("stewrd_progress", []):
                    yield Step(step["tool"], step["type"] == "tool_start", step["message"])
                if chunk.text:
                    yield chunk.text
                answer += chunk  # the last chunk has the facts about the answer
        self.history.add_messages([shown[-1], answer])
        yield answer.response_metadata["stewrd"]

    @override
    def explain(self, question: Question, capabilities: Sequence[str]) -> Explanation:
        shown = [*self.history.messages, _message(question)]
        return self.model.explain(shown, conversation_id=self.name, capabilities=list(capabilities))

    @property
    @override
    def texts(self) -> list[str]:
        return [message.text for message in self.history.messages]

    @property
    @override
    def files(self) -> list[File]:
        told = [
            message.response_metadata.get("stewrd", {})
            for message in self.history.messages
            if isinstance(message, AIMessage)
        ]
        return [file for facts in told for file in facts.get("files", [])]

    @property
    @override
    def session(self) -> SessionInfo | None:
        return self.history.session

    @override
    def rewind(self, exchanges: int) -> None:
        self.history.messages = self.history.messages[: -2 * exchanges]

    @override
    def beside(self, name: str) -> LangChainTalk:
        return LangChainTalk(name, self.place, self.model)

    @override
    def copied(self, name: str) -> LangChainTalk:
        copy = self.beside(name)
        copy.history.add_messages(self.history.messages)
        return copy

    @override
    def save(self, file: File, folder: Path) -> Path:
        return save_files({"files": [file]}, folder)[0]

    @override
    def close(self) -> None:
        self.model.close()


def begin(name: str, place: Mapping[str, Any], **options: Any) -> LangChainTalk:
    """A conversation with a model of its own."""
    return LangChainTalk(name, place, ChatStewrd(**place, **options))


def _message(question: Question) -> HumanMessage:
    if not question.files:
        return HumanMessage(question.text)
    files = [
        {"type": "text-plain", "mime_type": "text/plain", "title": name, "text": text}
        for name, text in question.files
    ]
    return HumanMessage([{"type": "text", "text": question.text}, *files])
