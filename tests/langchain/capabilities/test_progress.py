"""What is told while a tool is at work."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableLambda

from stewrd_integrations.emulator import Emulator

from .asking import Ask, Events, Make, aask, ask, both

STARTED = {"type": "tool_start", "tool": "research", "by": "stewrd_research"}


class AsyncEvents(AsyncCallbackHandler):
    raise_error = True

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.run: Any = None

    async def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.run = run_id

    async def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:
        assert run_id == self.run
        self.seen.append((name, data))


def check_progress(seen: list[Any]) -> None:
    assert [name for name, _ in seen] == ["stewrd_progress"] * 2
    start, end = (data for _, data in seen)
    assert {**start, "message": None} == {**STARTED, "message": None} and start["message"]
    assert end == {**STARTED, "type": "tool_end", "message": None}


@both
async def test_progress_is_told_as_custom_events(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    events = Events()
    answer = await ask(tool(), "Hello", {"callbacks": [events]})
    check_progress(events.seen)
    assert answer.artifact["usage"]["credits"] == 3 and stewrd.runs[0].stream


async def test_progress_to_async_handlers(tool: Make) -> None:
    events = AsyncEvents()
    await aask(tool(), "Hello", {"callbacks": [events]})
    check_progress(events.seen)


async def test_progress_in_streams_of_events(tool: Make) -> None:
    chain: Any = RunnableLambda(lambda text: {"message": text}) | tool()
    seen = [
        (event["name"], event["data"])
        async for event in chain.astream_events("Hello", version="v2")
        if event["event"] == "on_custom_event"
    ]
    check_progress(seen)


async def test_it_is_streamed_only_where_somebody_listens(stewrd: Emulator, tool: Make) -> None:
    class Deaf(Events):
        ignore_custom_event = True

    research = tool()
    for config in (None, {"callbacks": [Deaf()]}, {"callbacks": [Events()]}):
        await ask(research, "Hello", config)
        await aask(research, "Hello", config)
    assert [run.stream for run in stewrd.runs] == [False] * 4 + [True] * 2


async def test_it_can_be_called_outside_of_a_run(stewrd: Emulator, tool: Make) -> None:
    content, artifact = tool()._run("Hello")
    acontent, aartifact = await tool()._arun("Hello")
    assert content == acontent == "Hello! What can I do for you?"
    assert artifact["answer"] == aartifact["answer"] == content
