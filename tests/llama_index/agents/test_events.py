"""What observers see of an agent: its stream, callbacks, and LlamaIndex's own events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import StewrdError
from stewrd_integrations.llama_index import StewrdLLM

from ...langchain.tooling import NOT_TAKING, TAKING, on
from .desk import AGENTS, QUIET, SPEAKING, Make, function_agent, workflow

pytestmark = QUIET

STREAMING = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])


async def streamed(agent: Any, text: str) -> tuple[str, list[AgentStream]]:
    handler = agent.run(user_msg=text)
    events = [event async for event in handler.stream_events()]
    return str(await handler), [event for event in events if isinstance(event, AgentStream)]


@pytest.mark.parametrize("made", [function_agent, workflow])
@on(TAKING, *NOT_TAKING)
async def test_a_call_and_its_answer_in_the_stream(
    stewrd: Emulator, llm: StewrdLLM, made: Any
) -> None:
    answer, events = await streamed(made(llm), "add_numbers(1, 2)")
    calling = [event for event in events if event.tool_calls]
    assert [one.tool_name for event in calling for one in event.tool_calls] == ["add_numbers"]
    assert calling[0].tool_calls[0].tool_kwargs == {"a": 1, "b": 2} and not calling[0].delta
    assert "".join(event.delta for event in events) == answer == stewrd.runs[-1].answer
    assert events[-1].response == answer
    raws = [event.raw for event in events if event.raw]
    # Where sessions take no tools, that is found out by the first of them.
    assert [raw["road"] for raw in raws] == [run.road for run in stewrd.runs][-2:]
    assert {raw["credits"] for raw in raws if "credits" in raw} <= {0, 1}


@on(TAKING)
async def test_pieces_where_no_tools_are_offered(stewrd: Emulator, llm: StewrdLLM) -> None:
    answer, events = await streamed(function_agent(llm, tools=[]), "My name is Ada.")
    assert len(events) > 3 and "".join(event.delta for event in events) == answer
    assert [bool(event.raw) for event in events] == [False] * (len(events) - 1) + [True]


@on(TAKING)
async def test_a_capability_at_work_in_the_stream(stewrd: Emulator, make: Make) -> None:
    agent = AGENTS["react"](make(capabilities=["research"]))  # it needs no tools of the API
    _, events = await streamed(agent, "Hi")
    kinds = [event.raw.get("type") for event in events if event.raw and not event.delta]
    assert kinds[:2] == ["tool_start", "tool_end"]


@pytest.mark.parametrize("kind_of_agent", ["react", "code"])
@on({**TAKING, **SPEAKING})
async def test_pieces_of_agents_that_speak_of_tools(
    stewrd: Emulator, llm: StewrdLLM, kind_of_agent: str
) -> None:
    _, events = await streamed(AGENTS[kind_of_agent](llm), "add_numbers(1, 2)")
    assert "".join(event.delta for event in events) == "".join(run.answer for run in stewrd.runs)


# -- callbacks and events --------------------------------------------------------------


class Callbacks(BaseCallbackHandler):
    """Counts what callback handlers are told of calls of the model."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.seen: Counter[str] = Counter()

    def on_event_start(self, event_type: CBEventType, *args: Any, **kwargs: Any) -> str:
        self.seen["start"] += event_type == CBEventType.LLM
        return ""

    def on_event_end(self, event_type: CBEventType, *args: Any, **kwargs: Any) -> None:
        self.seen["end"] += event_type == CBEventType.LLM

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


class Events(BaseEventHandler):
    """Counts the events of the model by their class."""

    seen: Counter[str]

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen[type(event).__name__] += 1


@pytest.fixture
def events() -> Iterator[Counter[str]]:
    dispatcher, handler = get_dispatcher(), Events(seen=Counter())
    dispatcher.add_event_handler(handler)
    yield handler.seen
    dispatcher.event_handlers.remove(handler)


@STREAMING
@on(TAKING, *NOT_TAKING)
async def test_each_call_is_told_once(
    stewrd: Emulator, make: Make, events: Counter[str], streaming: bool
) -> None:
    callbacks = Callbacks()
    llm = make(callback_manager=CallbackManager([callbacks]))
    await function_agent(llm, streaming=streaming).run(user_msg="add_numbers(1, 2)")
    assert callbacks.seen == {"start": 2, "end": 2}
    assert (events["LLMChatStartEvent"], events["LLMChatEndEvent"]) == (2, 2)
    assert events["LLMChatInProgressEvent"] == (3 if streaming else 0)
    assert events["ExceptionEvent"] == 0


@STREAMING
@on(TAKING)
async def test_a_failure_is_told_once(
    stewrd: Emulator, make: Make, events: Counter[str], streaming: bool
) -> None:
    callbacks = Callbacks()
    llm = make(callback_manager=CallbackManager([callbacks]), max_retries=0)
    stewrd.fail_next("error", on="tool_outputs", status=502)
    with pytest.raises(StewrdError):
        await function_agent(llm, streaming=streaming).run(user_msg="add_numbers(1, 2)")
    assert callbacks.seen == {"start": 2, "end": 2}
    assert (events["LLMChatStartEvent"], events["LLMChatEndEvent"]) == (2, 1)
    assert events["ExceptionEvent"] == streaming, "LlamaIndex tells it of streams alone"


@on(TAKING)
async def test_events_hold_no_key(stewrd: Emulator, llm: StewrdLLM) -> None:
    handler = function_agent(llm).run(user_msg="add_numbers(1, 2)")
    told = [repr(event) async for event in handler.stream_events()]
    assert told and not any(stewrd.api_key in text for text in told)
