"""The chat on LlamaIndex: `StewrdLLM` streams, `StewrdMemory` keeps the words."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.llms import ChatMessage, DocumentBlock, MessageRole, TextBlock
from typing_extensions import override

from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory, save_files

from . import File, Piece, Question, Step, Talk

if TYPE_CHECKING:
    from stewrd_integrations.conversations import SessionInfo
    from stewrd_integrations.runtime import Explanation


class LlamaIndexTalk(Talk):
    """A conversation on LlamaIndex.

    Args:
        name: The conversation's name.
        llm: The model; any number of conversations can share one. The memory takes key,
            address and store from it.
    """

    def __init__(self, name: str, llm: StewrdLLM) -> None:
        self.name, self.llm = name, llm
        self.memory = StewrdMemory.from_defaults(conversation_id=name, llm=llm)
        self.addresses: list[File] = []  # a message keeps contents, and no address of a file

    @override
    def ask(self, question: Question, capabilities: Sequence[str]) -> Generator[Piece, None, None]:
        shown = [*self.memory.get_all(), _message(question)]
        chunks = self.llm.stream_chat(
            shown, conversation_id=self.name, capabilities=list(capabilities)
        )
        # Whoever leaves this block closes the stream, and the model gives the session up.
        with closing(chunks):
            for chunk in chunks:
                told: Any = chunk.raw or {}
                if "tool" in told:
                    yield Step(told["tool"], told["type"] == "tool_start", told.get("message"))
                if chunk.delta:
                    yield chunk.delta
        # The last chunk holds the whole answer, and the facts about it.
        self.memory.put_messages([shown[-1], chunk.message])
        facts = told["stewrd"]
        self.addresses += [file for file in facts["files"] if not file["content"]]
        yield facts

    @override
    def explain(self, question: Question, capabilities: Sequence[str]) -> Explanation:
        shown = [*self.memory.get_all(), _message(question)]
        return self.llm.explain(shown, conversation_id=self.name, capabilities=list(capabilities))

    @property
    @override
    def texts(self) -> list[str]:
        return [message.content or "" for message in self.memory.get_all()]

    @property
    @override
    def files(self) -> list[File]:
        written = [
            _file(block)
            for message in self.memory.get_all()
            if message.role == MessageRole.ASSISTANT
            for block in message.blocks
            if isinstance(block, DocumentBlock)
        ]
        return [*written, *self.addresses]

    @property
    @override
    def session(self) -> SessionInfo | None:
        return self.memory.session

    @override
    def rewind(self, exchanges: int) -> None:
        self.memory.set(self.memory.get_all()[: -2 * exchanges])

    @override
    def beside(self, name: str) -> LlamaIndexTalk:
        return LlamaIndexTalk(name, self.llm)

    @override
    def copied(self, name: str) -> LlamaIndexTalk:
        copy = self.beside(name)
        copy.memory.put_messages(self.memory.get_all())
        copy.addresses = list(self.addresses)
        return copy

    @override
    def save(self, file: File, folder: Path) -> Path:
        return save_files({"files": [file]}, folder)[0]

    @override
    def close(self) -> None:
        self.llm.close()


def begin(name: str, place: Mapping[str, Any], **options: Any) -> LlamaIndexTalk:
    """A conversation with a model of its own."""
    return LlamaIndexTalk(name, StewrdLLM(**place, **options))


def _message(question: Question) -> ChatMessage:
    # Encoded, because LlamaIndex takes a text that could be base64 for base64.
    files = [
        DocumentBlock(data=b64encode(text.encode()), title=name, document_mimetype="text/plain")
        for name, text in question.files
    ]
    return ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text=question.text), *files])


def _file(block: DocumentBlock) -> File:
    content: Any = block.resolve_document().read()
    return {"name": block.title or "file.txt", "content": content.decode(), "url": None}
