"""The ways into a chat model, and who is talking when one is taken.

LangChain does not show a model its config: called directly, or in batches, or in async graphs
on Python 3.10, a model can't look up ``configurable``. So every public way in lifts what it
says about the conversation into keyword arguments, which do arrive.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast, overload

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig, ensure_config
from pydantic import ConfigDict
from typing_extensions import override

from ..stamps import Stamp
from ..values import dataclass
from .stamps import taken_off

if TYPE_CHECKING:
    from langchain_core.language_models.chat_model_stream import (
        AsyncChatModelStream,
        ChatModelStream,
    )
    from langchain_core.runnables.schema import StreamEvent

    from .history import StewrdChatMessageHistory

ENTRANCE: Final = "stewrd_entrance"
"""The keyword argument under which an `Entrance` travels through core."""

# `RunnableWithMessageHistory` says `session_id`; `conversation_id` is ours, and wins.
_LIFTED: Final = (
    ("session_id", "conversation_id"),
    ("conversation_id", "conversation_id"),
    ("tenant", "tenant"),
    ("capabilities", "capabilities"),
    ("sessions", "sessions"),
)


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the way in knows of a call.

    Attributes:
        thread: LangGraph's thread, which is no key.
        one_shot: One of many inputs of a batch, which stand alone unless they have a name.
        stamps: Those that were on the messages, true or not.
        history: The stamp of the history at work, which may have no message yet.
        opened: Streams that were opened on the way, to be closed on the way out.
    """

    # Only what changes an answer is shown: core makes keys of its cache from this.
    thread: str | None = field(default=None, repr=False)
    one_shot: bool = False
    stamps: frozenset[Stamp] = frozenset()
    history: Stamp | None = None
    opened: list[Any] = field(default_factory=list, repr=False, compare=False)

    def close(self) -> None:
        """End the streams that the caller left."""
        for chunks in cast("list[Generator[Any, None, None]]", self.opened):
            chunks.close()

    async def aclose(self) -> None:
        """End the streams that the caller left, on the event loop."""
        for chunks in cast("list[AsyncGenerator[Any, None]]", self.opened):
            await chunks.aclose()


def lifted(config: RunnableConfig | None, given: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call, and what its config adds to them.

    A keyword counts more than ``configurable``, where None is as good as nothing. A history of
    ours that `RunnableWithMessageHistory` works with is what was made of its ``session_id``.
    """
    configurable = ensure_config(config).get("configurable") or {}
    found = {
        option: configurable[key] for key, option in _LIFTED if configurable.get(key) is not None
    }
    thread, history = configurable.get("thread_id"), configurable.get("message_history")
    known = given.get(ENTRANCE)
    entrance = replace(known, opened=[]) if known else Entrance()
    if history is not None and isinstance(history, _our_history()):
        entrance = replace(entrance, history=Stamp(history.conversation_id, history.tenant, ""))
        if configurable.get("conversation_id") is None:
            found["conversation_id"] = history.conversation_id
    if thread is not None:
        entrance = replace(entrance, thread=str(thread))
    said = {name: value for name, value in given.items() if value is not None or name not in found}
    return {**found, **said, ENTRANCE: entrance}


def _our_history() -> type[StewrdChatMessageHistory]:
    from .history import (  # noqa: PLC0415 - few programs have histories of ours
        StewrdChatMessageHistory,
    )

    return StewrdChatMessageHistory


def _let_in(
    shown: LanguageModelInput, config: RunnableConfig | None, given: dict[str, Any]
) -> tuple[LanguageModelInput, dict[str, Any]]:
    """The input without stamps, which are nothing for traces, and what the call was given."""
    given = lifted(config, given)
    shown, stamps = taken_off(shown)
    if stamps:
        entrance = given[ENTRANCE]
        given[ENTRANCE] = replace(entrance, stamps=entrance.stamps | stamps)
    return shown, given


def _alone(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, ENTRANCE: Entrance(one_shot=True)}


class AddressedChatModel(BaseChatModel):
    """A chat model that learns at every entrance who is talking."""

    # pydantic takes long to make a validator of so many fields: for the first object, not for
    # the import of each class.
    model_config = ConfigDict(defer_build=True)

    @override
    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        shown, given = _let_in(input, config, kwargs)
        return super().invoke(shown, config, stop=stop, **given)

    @override
    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        shown, given = _let_in(input, config, kwargs)
        return await super().ainvoke(shown, config, stop=stop, **given)

    @override
    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        shown, given = _let_in(input, config, kwargs)
        try:
            yield from super().stream(shown, config, stop=stop, **given)
        finally:
            given[ENTRANCE].close()

    @override
    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        shown, given = _let_in(input, config, kwargs)
        chunks = super().astream(shown, config, stop=stop, **given)
        try:
            async with aclosing(cast("AsyncGenerator[AIMessageChunk, None]", chunks)) as open_:
                async for chunk in open_:
                    yield chunk
        finally:
            await given[ENTRANCE].aclose()

    # -- events ------------------------------------------------------------------------

    @overload  # type: ignore[override]  # as core does
    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2"] = "v2",
        **kwargs: Any,
    ) -> Iterator[StreamEvent]: ...

    @overload
    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v3"],
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> ChatModelStream: ...

    @override
    def stream_events(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """See `BaseChatModel.stream_events`."""
        shown, given = _let_in(input, config, kwargs)
        return super().stream_events(shown, config, **given)

    @overload
    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2"] = "v2",
        **kwargs: Any,
    ) -> AsyncIterator[StreamEvent]: ...

    @overload
    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v3"],
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Awaitable[AsyncChatModelStream]: ...

    @override
    def astream_events(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """See `BaseChatModel.astream_events`."""
        shown, given = _let_in(input, config, kwargs)
        return super().astream_events(shown, config, **given)

    # -- batches -----------------------------------------------------------------------

    @override
    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several inputs at once; those without a name stand alone, without a session."""
        return super().batch(inputs, config, return_exceptions=return_exceptions, **_alone(kwargs))

    @override
    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`batch` on the event loop."""
        return await super().abatch(
            inputs, config, return_exceptions=return_exceptions, **_alone(kwargs)
        )

    @overload
    def batch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, AIMessage]]: ...

    @overload
    def batch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[True],
        **kwargs: Any,
    ) -> Iterator[tuple[int, AIMessage | Exception]]: ...

    @override
    def batch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> Any:
        """`batch`, with each answer as it comes."""
        return super().batch_as_completed(inputs, config, **_alone(kwargs))

    @overload
    def abatch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[False] = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, AIMessage]]: ...

    @overload
    def abatch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: Literal[True],
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, AIMessage | Exception]]: ...

    @override
    def abatch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> Any:
        """`batch` on the event loop, with each answer as it comes."""
        return super().abatch_as_completed(inputs, config, **_alone(kwargs))
