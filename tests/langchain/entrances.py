"""Every way into a chat model, in one form: a coroutine that says messages and gets the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import reduce
from operator import add
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableConfig, RunnablePassthrough

Say: TypeAlias = Callable[..., Awaitable[BaseMessage]]


def merged(chunks: Iterable[Any]) -> AIMessageChunk:
    whole = reduce(add, chunks)
    assert isinstance(whole, AIMessageChunk)
    return whole


async def invoke(model: Any, messages: Any, config: Any = None, /, **who: Any) -> AIMessage:
    return model.invoke(messages, config, **who)  # type: ignore[no-any-return]


async def ainvoke(model: Any, messages: Any, config: Any = None, /, **who: Any) -> AIMessage:
    return await model.ainvoke(messages, config, **who)  # type: ignore[no-any-return]


async def stream(model: Any, messages: Any, config: Any = None, /, **who: Any) -> AIMessage:
    return merged(model.stream(messages, config, **who))


async def astream(model: Any, messages: Any, config: Any = None, /, **who: Any) -> AIMessage:
    return merged([chunk async for chunk in model.astream(messages, config, **who)])


async def batch(model: Any, messages: Any, config: Any = None, /, **who: Any) -> AIMessage:
    configs = None if config is None else [config]
    return model.batch([messages], configs, **who)[0]  # type: ignore[no-any-return]


async def abatch(model: Any, messages: Any, config: Any = None, /, **who: Any) -> AIMessage:
    return (await model.abatch([messages], config, **who))[0]  # type: ignore[no-any-return]


async def batch_as_completed(
    model: Any, messages: Any, config: Any = None, /, **who: Any
) -> AIMessage:
    return next(iter(model.batch_as_completed([messages], config, **who)))[1]  # type: ignore[no-any-return]


async def abatch_as_completed(
    model: Any, messages: Any, config: Any = None, /, **who: Any
) -> AIMessage:
    answers = [answer async for answer in model.abatch_as_completed([messages], config, **who)]
    return answers[0][1]  # type: ignore[no-any-return]


async def _events(version: str, model: Any, messages: Any, config: Any, who: Any) -> AIMessage:
    events = model.astream_events(messages, config, version=version, **who)
    outputs = [e["data"]["output"] async for e in events if e["event"] == "on_chat_model_end"]
    output = outputs[-1]
    if version == "v1" and not isinstance(output, AIMessage):
        output = output["generations"][0][0]["message"]
    assert isinstance(output, AIMessage)
    return output


async def astream_events_v1(
    model: Any, messages: Any, config: Any = None, /, **who: Any
) -> AIMessage:
    return await _events("v1", model, messages, config, who)


async def astream_events_v2(
    model: Any, messages: Any, config: Any = None, /, **who: Any
) -> AIMessage:
    return await _events("v2", model, messages, config, who)


async def stream_events_v3(
    model: Any, messages: Any, config: Any = None, /, **who: Any
) -> AIMessage:
    return model.stream_events(messages, config, version="v3", **who).output  # type: ignore[no-any-return]


async def astream_events_v3(
    model: Any, messages: Any, config: Any = None, /, **who: Any
) -> AIMessage:
    events = await model.astream_events(messages, config, version="v3", **who)
    return await events.output  # type: ignore[no-any-return]


def _chain(model: Any) -> Any:
    return RunnablePassthrough() | model


async def in_chain(model: Any, messages: Any, config: RunnableConfig | None = None) -> AIMessage:
    return await invoke(_chain(model), messages, config)


async def in_async_chain(model: Any, messages: Any, config: Any = None) -> AIMessage:
    return await ainvoke(_chain(model), messages, config)


async def in_streamed_chain(model: Any, messages: Any, config: Any = None) -> AIMessage:
    return await stream(_chain(model), messages, config)


async def in_async_streamed_chain(model: Any, messages: Any, config: Any = None) -> AIMessage:
    return await astream(_chain(model), messages, config)


async def in_batched_chain(model: Any, messages: Any, config: Any = None) -> AIMessage:
    return await batch(_chain(model), messages, config)


BATCHES: list[Say] = [batch, abatch, batch_as_completed, abatch_as_completed]
DIRECT: list[Say] = [
    invoke,
    ainvoke,
    stream,
    astream,
    astream_events_v1,
    astream_events_v2,
    stream_events_v3,
    astream_events_v3,
]
CHAINS: list[Say] = [in_chain, in_async_chain, in_streamed_chain, in_async_streamed_chain]
