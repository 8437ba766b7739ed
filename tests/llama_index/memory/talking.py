"""Memories in either colour, and conversations that they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, TypeAlias

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # its public name
from llama_index.core.llms import ChatMessage, ChatResponse

from stewrd_integrations.conversations import SessionInfo
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

from ..conftest import user

Make: TypeAlias = Callable[..., StewrdLLM]
Memories: TypeAlias = Callable[..., StewrdMemory]

KEY = "sk-stw_" + "s3cret" * 4
NOWHERE = "http://127.0.0.1:9"
TEXTS = ["My name is Ada.", "Who am I?", "How many messages have I sent?"]
LAST = "You have sent me 3 messages, this one included."


def answer(text: str, **more: Any) -> ChatMessage:
    return ChatMessage(role="assistant", content=text, **more)


class Calls:
    """The methods of a memory, by one colour."""

    def __init__(self, memory: StewrdMemory, colour: str) -> None:
        self.memory = memory
        self._is_async = colour == "async"

    async def get(self, **given: Any) -> list[ChatMessage]:
        return await self.memory.aget(**given) if self._is_async else self.memory.get(**given)

    async def get_all(self) -> list[ChatMessage]:
        return await self.memory.aget_all() if self._is_async else self.memory.get_all()

    async def put(self, *messages: ChatMessage) -> None:
        for message in messages:
            await self.memory.aput(message) if self._is_async else self.memory.put(message)

    async def put_messages(self, messages: Sequence[ChatMessage]) -> None:
        if self._is_async:
            await self.memory.aput_messages(messages)
        else:
            self.memory.put_messages(messages)

    async def set(self, messages: Sequence[ChatMessage]) -> None:
        await self.memory.aset(messages) if self._is_async else self.memory.set(messages)

    async def reset(self) -> None:
        await self.memory.areset() if self._is_async else self.memory.reset()

    async def session(self) -> SessionInfo | None:
        return await self.memory.aget_session() if self._is_async else self.memory.session

    async def say(self, llm: StewrdLLM, *texts: str, **who: Any) -> ChatResponse:
        """A turn for each text, as `SimpleChatEngine` has them; gives back the last answer."""
        for text in texts:
            await self.put(user(text))
            shown = await self.get()
            response: ChatResponse = (
                await llm.achat(shown, **who) if self._is_async else llm.chat(shown, **who)
            )
            await self.put(response.message)
        return response


def say(llm: StewrdLLM, memory: StewrdMemory, *texts: str, **who: Any) -> ChatResponse:
    """The same in the sync colour."""
    for text in texts:
        memory.put(user(text))
        response: ChatResponse = llm.chat(memory.get(), **who)
        memory.put(response.message)
    return response


def texts(messages: Sequence[ChatMessage]) -> list[str | None]:
    return [message.content for message in messages]


def bare(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages as they were put, without the stamps that a memory adds."""
    return [{**message.model_dump(), "additional_kwargs": _extra(message)} for message in messages]


def _extra(message: ChatMessage) -> dict[str, Any]:
    extra = dict(message.additional_kwargs)
    ours = {k: v for k, v in extra.pop("stewrd", {}).items() if k != "conversation"}
    return {**extra, **({"stewrd": ours} if ours else {})}


def stamp_of(message: ChatMessage) -> dict[str, Any]:
    found = message.additional_kwargs["stewrd"]["conversation"]
    assert isinstance(found, dict)
    return found


def heard(emulator: Emulator) -> list[list[str]]:
    """What users said in each session, in the order of the sessions."""
    logs = [emulator.context(session).messages for session in emulator.sessions]
    return [[one.text for one in log if one.role == "user"] for log in logs]


def locals_of(trace: TracebackType | None) -> Iterator[str]:
    """What a report that shows locals would show of this package's frames."""
    while trace is not None:
        if "stewrd_integrations" in trace.tb_frame.f_code.co_filename:
            yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def all_said(error: BaseException) -> str:
    """What an error and all that it came of say."""
    return " ".join(f"{one!r} {one}" for one in chain(error))


def all_shown(error: BaseException) -> str:
    """The same, and what a report with locals shows."""
    shown = "".join(text for one in chain(error) for text in locals_of(one.__traceback__))
    return f"{all_said(error)} {shown}"


span = get_dispatcher().span


class Engine(SimpleChatEngine):
    """An engine that does what it is told."""

    @span
    def run(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return work(*given, **named)

    @span
    async def arun(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return await work(*given, **named)


def in_an_engine(work: Callable[..., Any]) -> Callable[..., Any]:
    """What engines do with all their methods: a stamp counts within the engine that asked."""

    @wraps(work)
    def run(*given: Any, **named: Any) -> Any:
        return Engine.__new__(Engine).run(work, *given, **named)

    @wraps(work)
    async def arun(*given: Any, **named: Any) -> Any:
        return await Engine.__new__(Engine).arun(work, *given, **named)

    return arun if iscoroutinefunction(work) else run
