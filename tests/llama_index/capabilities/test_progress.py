"""What is told while a tool is at work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import (  # type: ignore[attr-defined]  # its public names, though it does not mark them so
    get_dispatcher,
)
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.tools import ToolMetadata
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index.events import StewrdProgress, StewrdProgressEvent

from .asking import Ask, Make, aask, ask, both, only

STARTED = {"type": "tool_start", "tool": "research", "by": "stewrd_research"}


class Events(BaseEventHandler):
    seen: list[StewrdProgressEvent] = []  # noqa: RUF012 - pydantic copies it
    spoilt: bool = False

    def handle(self, event: Any, **kwargs: Any) -> None:
        if isinstance(event, StewrdProgressEvent):
            self.seen.append(event)
            if self.spoilt:
                raise ValueError("A handler of somebody's.")


@pytest.fixture(params=["root", "stewrd_integrations.llama_index.events"])
def events(request: pytest.FixtureRequest) -> Iterator[Events]:
    dispatcher = get_dispatcher(request.param)
    handler = Events()
    dispatcher.add_event_handler(handler)
    yield handler
    dispatcher.event_handlers.remove(handler)


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    dispatcher = get_dispatcher()
    handler = SimpleSpanHandler()
    dispatcher.add_span_handler(handler)
    yield handler
    dispatcher.span_handlers.remove(handler)


def check(seen: list[Any]) -> None:
    start, end = (
        {name: getattr(one, name) for name in ("type", "tool", "message", "by")} for one in seen
    )
    assert {**start, "message": None} == {**STARTED, "message": None} and start["message"]
    assert end == {**STARTED, "type": "tool_end", "message": None}


@both
async def test_progress_is_told_to_handlers(
    stewrd: Emulator, spec: Make, ask: Ask, events: Events, spans: SimpleSpanHandler
) -> None:
    output = await ask(only(spec()), message="Hello")
    check(events.seen)
    assert output.raw_output["usage"]["credits"] == 3 and stewrd.runs[0].stream
    (span,) = {event.span_id for event in events.seen}
    assert span in {one.id_ for one in spans.completed_spans}
    assert events.seen[0].model_dump()["class_name"] == "StewrdProgressEvent"


@both
async def test_a_handler_that_fails_costs_no_answer(
    stewrd: Emulator, spec: Make, ask: Ask, events: Events
) -> None:
    events.spoilt = True
    assert (await ask(only(spec()), message="Hello")).content == "Hello! What can I do for you?"
    assert len(events.seen) == 2 and len(stewrd.requests) == 1


@both
async def test_it_is_told_under_the_tools_own_name(spec: Make, ask: Ask, events: Events) -> None:
    own = {"research": ToolMetadata("Ask Bo.", "colleague")}
    (tool,) = spec().to_tool_list(func_to_metadata_mapping=own)
    await ask(tool, message="Hello")
    assert {event.by for event in events.seen} == {"colleague"}


@both
async def test_it_is_streamed_only_where_somebody_listens(
    stewrd: Emulator, spec: Make, ask: Ask
) -> None:
    tool = only(spec())
    await ask(tool, message="Hello")
    handler, dispatcher = Events(), get_dispatcher()
    dispatcher.add_event_handler(handler)
    await ask(tool, message="Hello")
    dispatcher.event_handlers.remove(handler)
    await ask(tool, message="Hello")
    assert [run.stream for run in stewrd.runs] == [False, True, False]


@both
async def test_a_stream_that_breaks_off(
    stewrd: Emulator, spec: Make, ask: Ask, events: Events
) -> None:
    stewrd.fail_next("cut", on="agent", chunks=2)
    output = await ask(only(spec()), message="Hello")
    assert output.is_error and "charged: likely; retryable: no" in output.content


class Flow(Workflow):
    """A workflow of somebody's, whose steps call a tool without passing a context."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.call = call

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.call())


async def told_of(call: Any) -> list[StewrdProgress]:
    handler: Any = Flow(call).run()
    seen = [event async for event in handler.stream_events()]
    assert (await handler).content == "Hello! What can I do for you?"
    return [event for event in seen if isinstance(event, StewrdProgress)]


@both
async def test_progress_shows_in_the_stream_of_a_workflow(
    stewrd: Emulator, spec: Make, ask: Ask
) -> None:
    tool = only(spec())
    check(await told_of(lambda: ask(tool, message="Hello")))
    assert stewrd.runs[0].stream


async def test_threads_of_a_step_keep_silent(stewrd: Emulator, spec: Make) -> None:
    tool = only(spec())
    assert await told_of(lambda: asyncio.to_thread(tool, message="Hello")) == []
    assert not stewrd.runs[0].stream


async def test_workflows_of_older_versions_keep_silent(
    stewrd: Emulator, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Context, "get_step_context")  # they don't have it
    tool = only(spec())
    assert await told_of(lambda: aask(tool, message="Hello")) == []
    assert not stewrd.runs[0].stream


async def test_both_are_told(spec: Make, events: Events) -> None:
    tool = only(spec())
    check(await told_of(lambda: aask(tool, message="Hello")))
    check(events.seen)
    await ask(tool, message="Hello")  # no workflow any more
    assert len(events.seen) == 4
