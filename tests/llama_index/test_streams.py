"""What a stream hands out, what becomes of one that is left, and what observers see."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import TextBlock
from llama_index.core.callbacks import CallbackManager, CBEventType, TokenCountingHandler
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InterruptedStreamError
from stewrd_integrations.llama_index import StewrdLLM
from tests.servers import serve

from .conftest import Talk, Way, told, user

Make = Callable[..., StewrdLLM]
NAMED = {"conversation_id": "ada"}
STREAMS = pytest.mark.parametrize("way", ["stream_chat", "astream_chat"], indirect=True)


@STREAMS
async def test_deltas_sum_to_the_answer_and_the_last_chunk_has_all(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    chunks = await way.chunks(llm, [user("My name is Ada.")])
    so_far = ""
    for chunk in chunks:
        so_far += chunk.delta or ""
        assert chunk.message.content == so_far
    assert len(chunks) > 3
    assert so_far == emulator.runs[0].answer
    *others, last = chunks
    assert last.message.blocks == [TextBlock(text=so_far)]
    assert told(last)["turn"] == "opened"
    assert last.message.additional_kwargs == {"stewrd": {"mark": told(last)["mark"]}}
    assert not any(chunk.message.additional_kwargs or chunk.raw for chunk in others)


@STREAMS
async def test_a_capability_at_work_is_told_by_empty_chunks(llm: StewrdLLM, way: Way) -> None:
    chunks = await way.chunks(llm, [user("Hi")], capabilities=["research"])
    progress = [chunk for chunk in chunks[:-1] if chunk.raw]
    assert [chunk.delta for chunk in progress] == ["", ""]
    start, end = (chunk.raw for chunk in progress)
    assert isinstance(start, dict)
    assert start.pop("message") is not None
    assert start == {"type": "tool_start", "tool": "research"}
    assert end == {"type": "tool_end", "tool": "research"}


async def leave(way: Way, llm: StewrdLLM, text: str, how: str) -> None:
    """Read the first chunk of a stream and go."""
    circle: list[Any] = []
    if way.name == "stream_chat":
        stream = llm.stream_chat([user(text)], **NAMED)
        assert next(stream).delta
        circle += [circle, stream]
        if how == "closed":
            stream.close()
    else:
        astream = await llm.astream_chat([user(text)], **NAMED)
        assert (await anext(astream)).delta
        circle += [circle, astream]
        if how == "closed":
            await astream.aclose()
    if how != "collected":
        circle.clear()


@STREAMS
@pytest.mark.parametrize("how", ["closed", "forgotten", "collected"])
async def test_a_stream_that_is_left_leaves_no_session_to_continue(
    emulator: Emulator, llm: StewrdLLM, way: Way, how: str
) -> None:
    await leave(way, llm, "My name is Bob.", how)
    gc.collect()
    await asyncio.sleep(0.05)
    talk = Talk(llm, way, **NAMED)
    await talk.say("My name is Ada.")
    assert (await talk.say("What is my name?")).message.content == "Your name is Ada."
    first, *later = [run.session_id for run in emulator.runs]
    assert first is not None
    assert first not in later
    assert not emulator.overlaps


async def test_a_cancelled_task_leaves_no_session_to_continue(make: Make) -> None:
    with serve(chunk_delay=0.05) as emulator:
        llm = make(api_key=emulator.api_key, base_url=emulator.url)
        way = Way("astream_chat")
        task = asyncio.create_task(way.ask(llm, [user("My name is Bob.")], **NAMED))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        response = await way.ask(llm, [user("My name is Ada.")], **NAMED)
        assert response.message.content == "Nice to meet you, Ada."
        assert len({run.session_id for run in emulator.runs}) == 2


@STREAMS
async def test_a_stream_that_breaks_off_is_told_and_replayed(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    talk = Talk(llm, way, **NAMED)
    await talk.say("My name is Ada.")
    emulator.fail_next("cut", on="send", chunks=2)
    with pytest.raises(InterruptedStreamError):
        await talk.say("My cat is Tom.")
    del talk.messages[-1]
    response = await talk.say("What is my name?")
    assert told(response)["turn"] == "replayed"
    assert response.message.content == "Your name is Ada."


@STREAMS
async def test_the_call_is_checked_before_the_stream_begins(llm: StewrdLLM, way: Way) -> None:
    with pytest.raises(ValueError, match="temperature"):
        if way.name == "stream_chat":
            llm.stream_chat([user("Hi")], temperature=1)
        else:
            await llm.astream_chat([user("Hi")], temperature=1)


def test_the_first_piece_comes_before_the_answer_is_complete() -> None:
    with (
        serve(chunk_delay=0.05) as emulator,
        StewrdLLM(api_key=emulator.api_key, base_url=emulator.url) as llm,
    ):
        began = time.monotonic()
        stream = llm.stream_chat([user("My name is Ada.")], sessions="never")
        next(stream)
        first = time.monotonic() - began
        list(stream)
        assert time.monotonic() - began > first + 0.1


# -- observers -------------------------------------------------------------------------


class Watcher(BaseEventHandler):
    seen: list[BaseEvent] = []  # noqa: RUF012  # a field, which pydantic copies

    @classmethod
    def class_name(cls) -> str:
        return "Watcher"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)

    def names(self) -> list[str]:
        return [event.class_name() for event in self.seen]


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher, root = Watcher(), get_dispatcher()
    root.add_event_handler(watcher)
    yield watcher
    root.event_handlers.remove(watcher)


class Handler(BaseCallbackHandler):
    """A callback handler that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.told: list[tuple[str, CBEventType, dict[Any, Any]]] = []

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        self.told.append(("start", event_type, payload or {}))
        return event_id

    def on_event_end(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        **kwargs: Any,
    ) -> None:
        self.told.append(("end", event_type, payload or {}))

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


async def test_observers_see_the_start_and_the_end(
    emulator: Emulator, make: Make, way: Way, watcher: Watcher
) -> None:
    handler = Handler()
    llm = make(callback_manager=CallbackManager([handler]))
    response = await way.ask(llm, [user("Hi")])
    names = watcher.names()
    assert (names[0], names[-1]) == ("LLMChatStartEvent", "LLMChatEndEvent")
    assert set(names[1:-1]) == ({"LLMChatInProgressEvent"} if way.streams else set())
    assert [(when, kind) for when, kind, _ in handler.told] == [
        ("start", CBEventType.LLM),
        ("end", CBEventType.LLM),
    ]
    end: Any = watcher.seen[-1]
    assert end.response.message.content == response.message.content
    assert emulator.api_key not in repr([event.model_dump() for event in watcher.seen])
    assert emulator.api_key not in repr(handler.told)


def test_completions_are_one_event_and_no_chat(llm: StewrdLLM, watcher: Watcher) -> None:
    llm.complete("Hi")
    list(llm.stream_complete("Hi"))
    names = [name for name in watcher.names() if "InProgress" not in name]
    assert names == ["LLMCompletionStartEvent", "LLMCompletionEndEvent"] * 2


async def test_a_failure_is_told_to_observers(
    emulator: Emulator, make: Make, way: Way, watcher: Watcher
) -> None:
    handler = Handler()
    llm = make(callback_manager=CallbackManager([handler]))
    emulator.fail_next("error", on="send", status=402)
    with pytest.raises(Exception, match="credits"):
        await way.ask(llm, [user("Hi")])
    assert [when for when, kind, _ in handler.told if kind == CBEventType.LLM] == ["start", "end"]
    assert "LLMChatEndEvent" not in watcher.names()


def test_token_counters_can_read_the_answers(make: Make) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    llm = make(callback_manager=CallbackManager([counter]))
    llm.chat([user("Hi")])
    list(llm.stream_chat([user("Hi")]))
    llm.complete("Hi")
    assert counter.total_llm_token_count > 0
    assert len(counter.llm_token_counts) == 3
