"""The clients ask as the vendor documents it, and drop nothing of what it answers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient
from stewrd_integrations.errors import FailedStreamError, PlanRestrictedError, StewrdError
from stewrd_integrations.types import (
    Done,
    Event,
    File,
    Reply,
    Session,
    Token,
    Tool,
    ToolCall,
    ToolEnd,
    ToolOutput,
    ToolStart,
    Usage,
)

from .scenes import COLOURS, Colour
from .tape import ADDRESS, FOLDER, KEY, name_of, paths, play

SESSION = "550e8400-e29b-41d4-a716-446655440000"
META: dict[str, Any] = {"project_id": "proj-id", "plan": "scale"}
WEATHER = Tool(
    "get_weather",
    "Tell the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


class Asker:
    """A client of either colour, asked in the same words."""

    def __init__(self, client: StewrdClient | AsyncStewrdClient) -> None:
        self._client = client

    async def ask(self, method: str, *args: Any, **options: Any) -> Any:
        """What a method gives back."""
        got = getattr(self._client, method)(*args, **options)
        return await got if inspect.isawaitable(got) else got

    async def listen(self, method: str, *args: Any) -> tuple[list[Event], StewrdError | None]:
        """The events of a stream, and what it ended with."""
        events: list[Event] = []
        stream = getattr(self._client, method)(*args)
        try:
            if isinstance(self._client, StewrdClient):
                with stream:
                    events.extend(stream)
            else:
                async with stream:
                    async for event in stream:
                        events.append(event)
        except StewrdError as error:
            return events, error
        return events, None

    async def close(self) -> None:
        """Give the connections back."""
        await self.ask("close" if isinstance(self._client, StewrdClient) else "aclose")


async def session(client: Asker) -> None:
    assert await client.ask("create_session") == Session(SESSION, "active")
    first = await client.ask("send_message", SESSION, "Research the top 5 project management tools")
    assert first == Reply(
        id="request-uuid",
        message="Here are the top 5 project management tools...",
        capabilities_used=("research",),
        usage=Usage(credits=3, credits_remaining=4758, tokens=1847),
        duration_ms=8200,
        session_id=SESSION,
        **META,
    )
    text = "Create a comparison table of those tools as a CSV"
    assert await client.ask("send_message", SESSION, text) == Reply(
        id="request-uuid-2",
        message="The table is in comparison.csv.",
        capabilities_used=("data",),
        files=(
            File("comparison.csv", content="tool,price\nFirst,9\nSecond,12\n"),
            File("comparison.xlsx", url="https://files.example.com/comparison.xlsx"),
        ),
        usage=Usage(credits=1, credits_remaining=4757, tokens=2310),
        duration_ms=5100,
        session_id=SESSION,
        **META,
    )


async def plan_restricted(client: Asker) -> None:
    with pytest.raises(PlanRestrictedError) as caught:
        await client.ask("create_session")
    assert (caught.value.status, caught.value.code) == (403, "plan_restricted")
    assert "Persistent sessions require the Scale plan or higher." in caught.value.message
    assert (caught.value.charged, caught.value.retryable) == ("no", False)
    reply = await client.ask("run_agent", "What is a slot?")
    assert reply == Reply(
        id="request-uuid",
        message="One of the ten sessions that a project may have.",
        capabilities_used=("chat",),
        usage=Usage(credits=1, credits_remaining=199, tokens=64),
        duration_ms=900,
        project_id="proj-id",
        plan="free",
    )


async def agent(client: Asker) -> None:
    reply = await client.ask(
        "run_agent",
        "How many lines has this file?",
        capabilities=["chat", "data"],
        files=[File("t.csv", "a,b\n1,2\n")],
    )
    assert reply == Reply(
        id="request-uuid",
        message="It has two lines.",
        capabilities_used=("chat", "data"),
        usage=Usage(credits=2, credits_remaining=4755, tokens=120),
        duration_ms=1500,
        **META,
    )


async def tool_round(client: Asker) -> None:
    asked = await client.ask("run_agent", "What is the weather in Oslo?", tools=[WEATHER])
    assert asked == Reply(
        id="request-uuid",
        status="requires_tool_outputs",
        tool_calls=(ToolCall("call-1", "get_weather", {"city": "Oslo"}),),
        capabilities_used=("chat",),
        usage=Usage(credits=1, credits_remaining=4754, tokens=210),
        duration_ms=1100,
        compute_instance="instance-1",
        **META,
    )
    outputs = [ToolOutput("call-1", "It is sunny in Oslo.")]
    instance = {"compute_instance": asked.compute_instance}
    reply = await client.ask("submit_tool_outputs", asked.id, outputs, **instance)
    assert reply == Reply(
        id="request-uuid",
        message="The sun shines in Oslo.",
        capabilities_used=("chat",),
        usage=Usage(credits=0, credits_remaining=4754, tokens=260),
        duration_ms=900,
        **META,
    )


BEGUN: list[Event] = [ToolStart("research", "Searching…"), Token("A library ")]
ROADS = (("stream_message", SESSION), ("stream_agent",))


async def streamed(client: Asker, of_session: Reply, of_run: Reply) -> None:
    await client.ask("create_session")
    for (method, *args), reply in zip(ROADS, (of_session, of_run), strict=True):
        events, error = await client.listen(method, *args, "What is new in Oslo?")
        assert error is None
        assert events == [*BEGUN, Token("opened."), ToolEnd("research"), Done(reply)]


def library(**more: Any) -> Reply:
    return Reply(id="request-uuid", message="A library opened.", duration_ms=2600, **more)


PAID = Usage(credits=3, credits_remaining=4750, tokens=812)


async def stream_content(client: Asker) -> None:
    await streamed(client, library(usage=PAID), library(usage=PAID))


async def stream_text(client: Asker) -> None:
    await streamed(client, library(usage=Usage(tokens=812)), library(usage=Usage(tokens=812)))


async def stream_nested(client: Asker) -> None:
    told = {"capabilities_used": ("research",), "usage": PAID, **META}
    await streamed(client, library(session_id=SESSION, **told), library(**told))


async def stream_error(client: Asker) -> None:
    await client.ask("create_session")
    for method, *args in ROADS:
        events, error = await client.listen(method, *args, "What is new in Oslo?")
        assert events == BEGUN
        assert isinstance(error, FailedStreamError)
        assert error.code == "compute_error"
        assert "The compute service failed." in error.message


Play: TypeAlias = Callable[[Asker], Awaitable[None]]
PLAYS: dict[str, Play] = {
    "session": session,
    "plan_restricted": plan_restricted,
    "agent": agent,
    "tool_round": tool_round,
    "stream_content": stream_content,
    "stream_text": stream_text,
    "stream_nested": stream_nested,
    "stream_error": stream_error,
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("path", paths("vendor_page"), ids=name_of)
async def test_every_page_is_read(colour: Colour, path: Any) -> None:
    kind = StewrdClient if colour == "sync" else AsyncStewrdClient
    client = Asker(kind(api_key=KEY, base_url=ADDRESS, max_retries=0))
    try:
        with play(path):
            await PLAYS[path.stem](client)
    finally:
        await client.close()


def test_no_page_is_missing() -> None:
    assert {path.stem for path in paths("vendor_page")} == set(PLAYS)
    assert {path.parent.name for path in paths()} <= {"vendor_page", "emulator", "live"}
    assert FOLDER.is_dir()
