from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM
from tests.servers import serve


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEWRD_API_KEY", "STEWRD_BASE_URL", "STEWRD_STORE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve() as running:
        yield running


@pytest.fixture
async def make(emulator: Emulator) -> AsyncIterator[Callable[..., StewrdLLM]]:
    made: list[StewrdLLM] = []

    def build(**options: Any) -> StewrdLLM:
        given = {"api_key": emulator.api_key, "base_url": emulator.url, **options}
        made.append(StewrdLLM(**given))
        return made[-1]

    yield build
    for llm in made:
        await llm.aclose()


@pytest.fixture
def llm(make: Callable[..., StewrdLLM]) -> StewrdLLM:
    return make()


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def system(text: str) -> ChatMessage:
    return ChatMessage(role="system", content=text)


class Way:
    """One of the four ways to have a conversation with a model."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.streams = "stream" in name

    async def chunks(
        self, llm: StewrdLLM, messages: Sequence[ChatMessage], **who: Any
    ) -> list[ChatResponse]:
        if self.name == "chat":
            return [llm.chat(messages, **who)]
        if self.name == "achat":
            return [await llm.achat(messages, **who)]
        if self.name == "stream_chat":
            return list(llm.stream_chat(messages, **who))
        return [chunk async for chunk in await llm.astream_chat(messages, **who)]

    async def ask(
        self, llm: StewrdLLM, messages: Sequence[ChatMessage], **who: Any
    ) -> ChatResponse:
        return (await self.chunks(llm, messages, **who))[-1]


@pytest.fixture(params=["chat", "achat", "stream_chat", "astream_chat"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


class Talk:
    """A conversation that an application keeps as a list, like any chat engine."""

    def __init__(self, llm: StewrdLLM, way: Way, *start: ChatMessage, **who: Any) -> None:
        self.llm, self.way, self.who = llm, way, who
        self.messages = list(start)
        self.keeps_marks = True

    async def say(self, text: str) -> ChatResponse:
        self.messages.append(user(text))
        response = await self.way.ask(self.llm, self.messages, **self.who)
        answer = response.message
        if not self.keeps_marks:
            answer = ChatMessage(role="assistant", content=answer.content)
        self.messages.append(answer)
        return response


def told(response: Any) -> dict[str, Any]:
    found = response.additional_kwargs["stewrd"]
    assert isinstance(found, dict)
    return found


def sent(emulator: Emulator) -> list[str]:
    """The texts that the agent was sent, on whatever road."""
    return [run.message for run in emulator.runs]
