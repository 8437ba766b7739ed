"""How each framework holds a message, and how its model is called in every mode."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from typing import Any, Protocol

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.tools import FunctionTool

from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.types import File, Message, ToolCall

from .talks import Answered, Asked, Framework, Toolbox


def add(n: int) -> int:
    """A function."""
    return n


def mul(n: int) -> int:
    """A function."""
    return n


def sub(n: int) -> int:
    """A function."""
    return n


def another_add(n: int) -> int:
    """Another one."""
    return n


another_add.__name__ = "add"
TOOLS: dict[Toolbox, list[Callable[[int], int]]] = {
    "none": [],
    "usual": [add, mul, sub],
    "other": [another_add, mul, sub],
}


class Voice(Protocol):
    """One framework: its messages, and its model's answers."""

    def held(self, message: Message) -> Any:
        """A message that the application wrote."""

    def retold(self, held: Any, text: str) -> Any:
        """The same message with another text, all else as it was."""

    def bare(self, held: Sequence[Any]) -> list[Any]:
        """The messages without what we put beside them."""

    def say(self, model: Any, system: str, held: Sequence[Any], who: Any, tools: Toolbox) -> Say:
        """A call that is ready to be made."""

    def answered(self, pieces: Sequence[Any]) -> Answered | None:
        """The answer that all pieces make; None if it is not whole."""

    def explain(
        self, model: Any, system: str, held: Sequence[Any], who: Any, tools: Toolbox
    ) -> Any:
        """What a call would do."""


class Say(Protocol):
    """A call in both colours, in pieces or as one."""

    def pieces(self, stream: bool) -> Generator[Any, None, None]:
        """The pieces of the answer."""

    def apieces(self, stream: bool) -> AsyncGenerator[Any, None]:
        """The same on the event loop."""


def spoken(voice: Voice, say: Say, asked: Asked) -> Answered | None:
    """Make a call as it is asked to be made; None if the caller left."""
    pieces: list[Any] = []
    with closing(say.pieces("stream" in asked.mode)) as items:
        for number, item in enumerate(items):
            pieces.append(item)
            if number == asked.abandon and voice.answered(pieces) is None:
                return None
    return voice.answered(pieces)


async def aspoken(voice: Voice, say: Say, asked: Asked) -> Answered | None:
    """`spoken` on the event loop."""
    pieces: list[Any] = []
    async with aclosing(say.apieces("stream" in asked.mode)) as items:
        async for item in items:
            pieces.append(item)
            if len(pieces) - 1 == asked.abandon and voice.answered(pieces) is None:
                return None
    return voice.answered(pieces)


# -- LangChain -------------------------------------------------------------------------


class LangChainSay:
    """A call of `ChatStewrd`."""

    def __init__(self, model: Any, shown: Any, who: dict[str, Any]) -> None:
        self.model, self.shown, self.who = model, shown, who

    def pieces(self, stream: bool) -> Generator[Any, None, None]:
        """By `invoke` or `stream`."""
        if not stream:
            yield self.model.invoke(self.shown, **self.who)
            return
        with closing(self.model.stream(self.shown, **self.who)) as chunks:
            yield from chunks

    async def apieces(self, stream: bool) -> AsyncGenerator[Any, None]:
        """By `ainvoke` or `astream`."""
        if not stream:
            yield await self.model.ainvoke(self.shown, **self.who)
            return
        async with aclosing(self.model.astream(self.shown, **self.who)) as chunks:
            async for chunk in chunks:
                yield chunk


class LangChainVoice:
    """Messages of LangChain."""

    def held(self, message: Message) -> BaseMessage:
        """A message that the application wrote."""
        match message.role:
            case "user":
                return HumanMessage(_content(message), name=message.name)
            case "tool":
                return ToolMessage(
                    message.text,
                    tool_call_id=message.tool_call_id,
                    name=message.name,
                    status="error" if message.error else "success",
                )
            case _:
                calls = [
                    {"id": call.id, "name": call.name, "args": dict(call.arguments)}
                    for call in message.tool_calls
                ]
                return AIMessage(message.text, tool_calls=calls)

    def retold(self, held: BaseMessage, text: str) -> BaseMessage:
        """The same message with another text."""
        if isinstance(held.content, str):
            return held.model_copy(update={"content": text})
        rest = [block for block in held.content if block["type"] != "text"]  # type: ignore[index]  # our own blocks
        return held.model_copy(update={"content": [{"type": "text", "text": text}, *rest]})

    def bare(self, held: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Without marks and metadata; what is generated is lost with them."""
        return [_bare(message) for message in held]

    def say(self, model: Any, system: str, held: Sequence[Any], who: Any, tools: Toolbox) -> Say:
        """A call, with tools if there are any."""
        bound = model.bind_tools(TOOLS[tools]) if TOOLS[tools] else model
        return LangChainSay(bound, self._shown(system, held), who)

    def explain(
        self, model: Any, system: str, held: Sequence[Any], who: Any, tools: Toolbox
    ) -> Any:
        """What a call would do."""
        bound: Any = model.bind_tools(TOOLS[tools]) if TOOLS[tools] else None
        given = bound.kwargs if bound else {}
        return model.explain(self._shown(system, held), **who, **given)

    def _shown(self, system: str, held: Sequence[Any]) -> list[BaseMessage]:
        return [*([SystemMessage(system)] if system else []), *held]

    def answered(self, pieces: Sequence[Any]) -> Answered | None:
        """The pieces added up."""
        whole = pieces[0] if pieces else AIMessage("")
        for piece in pieces[1:]:
            whole += piece
        told = whole.response_metadata.get("stewrd")
        if told is None:
            return None
        calls = [ToolCall(str(call["id"]), call["name"], call["args"]) for call in whole.tool_calls]
        files = [File(one["name"], one["content"]) for one in told["files"] if one["content"]]
        mark = whole.additional_kwargs["stewrd"]["mark"]
        return Answered(_truth(whole.text, calls, files, mark), whole, told)


def _content(message: Message) -> Any:
    if not message.files:
        return message.text
    files = [_file_block(file, number) for number, file in enumerate(message.files)]
    return [{"type": "text", "text": message.text}, *files]


def _file_block(file: File, number: int) -> dict[str, Any]:
    """The two forms that users write, by turns."""
    text = file.content or ""
    if number % 2:
        return {"type": "text-plain", "mime_type": "text/plain", "text": text, "title": file.name}
    data = base64.b64encode(text.encode()).decode()
    return {"type": "file", "mime_type": "text/plain", "base64": data, "filename": file.name}


def _bare(message: BaseMessage) -> BaseMessage:
    if not isinstance(message, AIMessage):
        return message
    return AIMessage(message.text, tool_calls=message.tool_calls)


# -- LlamaIndex --------------------------------------------------------------------------


class LlamaIndexSay:
    """A call of `StewrdLLM`."""

    def __init__(self, model: StewrdLLM, shown: Any, who: dict[str, Any], tools: Toolbox) -> None:
        self.model, self.shown, self.who = model, shown, who
        self.with_tools = {
            "tools": [FunctionTool.from_defaults(function) for function in TOOLS[tools]],
            "allow_parallel_tool_calls": True,
        }

    def pieces(self, stream: bool) -> Generator[Any, None, None]:
        """By `chat`, `stream_chat` or their kin with tools."""
        model, who = self.model, self.who
        if self.with_tools["tools"]:
            who = {**who, **self.with_tools, "chat_history": self.shown}
            if not stream:
                yield model.chat_with_tools(**who)
                return
            chunks: Any = model.stream_chat_with_tools(**who)
        elif not stream:
            yield model.chat(self.shown, **who)
            return
        else:
            chunks = model.stream_chat(self.shown, **who)
        with closing(chunks):
            yield from chunks

    async def apieces(self, stream: bool) -> AsyncGenerator[Any, None]:
        """The same on the event loop."""
        model, who = self.model, self.who
        if self.with_tools["tools"]:
            who = {**who, **self.with_tools, "chat_history": self.shown}
            if not stream:
                yield await model.achat_with_tools(**who)
                return
            chunks: Any = await model.astream_chat_with_tools(**who)
        elif not stream:
            yield await model.achat(self.shown, **who)
            return
        else:
            chunks = await model.astream_chat(self.shown, **who)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


class LlamaIndexVoice:
    """Messages of LlamaIndex."""

    def held(self, message: Message) -> ChatMessage:
        """A message that the application wrote."""
        documents = [_document(file) for file in message.files]
        extra: dict[str, Any] = {}
        if message.role == "tool":
            extra = {"tool_call_id": message.tool_call_id, "name": message.name}
        calls = [
            ToolCallBlock(tool_call_id=c.id, tool_name=c.name, tool_kwargs=dict(c.arguments))
            for c in message.tool_calls
        ]
        return ChatMessage(
            role=MessageRole(message.role),
            blocks=[TextBlock(text=message.text), *documents, *calls],
            additional_kwargs=extra,
        )

    def retold(self, held: ChatMessage, text: str) -> ChatMessage:
        """The same message with another text."""
        rest = [block for block in held.blocks if not isinstance(block, TextBlock)]
        return held.model_copy(update={"blocks": [TextBlock(text=text), *rest]})

    def bare(self, held: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Without marks; what is generated is lost with them."""
        return [_bare_chat_message(message) for message in held]

    def say(self, model: Any, system: str, held: Sequence[Any], who: Any, tools: Toolbox) -> Say:
        """A call, with tools if there are any."""
        return LlamaIndexSay(model, self._shown(system, held), who, tools)

    def explain(
        self, model: Any, system: str, held: Sequence[Any], who: Any, tools: Toolbox
    ) -> Any:
        """What a call would do."""
        functions = [FunctionTool.from_defaults(function) for function in TOOLS[tools]]
        formatted = [function.metadata.to_openai_tool() for function in functions]
        given = {"tools": formatted} if formatted else {}
        return model.explain(self._shown(system, held), **who, **given)

    def _shown(self, system: str, held: Sequence[Any]) -> list[ChatMessage]:
        return [*([ChatMessage(system, role="system")] if system else []), *held]

    def answered(self, pieces: Sequence[ChatResponse]) -> Answered | None:
        """The last piece, if it is the whole answer."""
        last = pieces[-1] if pieces else None
        if last is None or "stewrd" not in last.additional_kwargs:
            return None
        message, told = last.message, last.additional_kwargs["stewrd"]
        calls = [
            ToolCall(block.tool_call_id or "", block.tool_name, _arguments(block))
            for block in message.blocks
            if isinstance(block, ToolCallBlock)
        ]
        files = [File(one["name"], one["content"]) for one in told["files"] if one["content"]]
        mark = message.additional_kwargs["stewrd"]["mark"]
        return Answered(_truth(message.content or "", calls, files, mark), message, told)


def _arguments(block: ToolCallBlock) -> dict[str, Any]:
    assert isinstance(block.tool_kwargs, dict)
    return dict(block.tool_kwargs)


def _document(file: File) -> DocumentBlock:
    data = base64.b64encode((file.content or "").encode())
    return DocumentBlock(data=data, title=file.name, document_mimetype="text/plain")


def _bare_chat_message(message: ChatMessage) -> ChatMessage:
    if message.role != MessageRole.ASSISTANT:
        return message
    kept = [block for block in message.blocks if not isinstance(block, DocumentBlock)]
    return ChatMessage(role=message.role, blocks=kept)


def _truth(text: str, calls: list[ToolCall], files: list[File], mark: str) -> Message:
    return Message("assistant", text, files=tuple(files), tool_calls=tuple(calls), mark=mark)


VOICES: dict[Framework, Voice] = {"langchain": LangChainVoice(), "llama_index": LlamaIndexVoice()}
MODELS: dict[Framework, Callable[..., Any]] = {"langchain": ChatStewrd, "llama_index": StewrdLLM}
