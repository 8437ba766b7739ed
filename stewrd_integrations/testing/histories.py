"""The suite for message histories of LangChain: what a conversation may rely on."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import Runnable, RunnableGenerator

T = TypeVar("T")

COLOURS = ("sync", "async")

MESSAGES: dict[str, BaseMessage] = {
    "human": HumanMessage("Hello", id="h-1", name="ada"),
    "human without an id": HumanMessage("Hello"),
    "empty": HumanMessage(""),
    "whitespace": HumanMessage(" \t two\r\nlines \n"),
    "unicode": HumanMessage("ünïcödé 漢字 🦜 \u2028\u2029\x85\0"),
    "a lone surrogate": HumanMessage("half a parrot: \ud83e"),
    "blocks": HumanMessage(
        [
            {"type": "text", "text": "Look at this"},
            {"type": "text-plain", "mime_type": "text/csv", "title": "t.csv", "text": "a,b\n"},
            {"type": "image", "url": "https://example.com/parrot.png"},
        ]
    ),
    "texts and blocks": HumanMessage(["Look", {"type": "text", "text": " at this"}]),
    "ai": AIMessage(
        "Hi",
        id="run-1",
        name="agent",
        additional_kwargs={"stewrd": {"mark": "0" * 32}, "theirs": {"deep": [1, None, 2.5]}},
        response_metadata={"model_name": "stewrd-agent", "stewrd": {"road": "session"}},
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    ),
    "tool calls": AIMessage(
        "",
        tool_calls=[
            {"name": "add", "args": {"a": 1, "b": {"c": [True]}}, "id": "c-1", "type": "tool_call"}
        ],
        invalid_tool_calls=[
            {
                "name": "add",
                "args": "{oh",
                "id": "c-2",
                "error": "no JSON",
                "type": "invalid_tool_call",
            }
        ],
    ),
    "tool": ToolMessage(
        "3",
        tool_call_id="c-1",
        name="add",
        status="error",
        artifact={"sum": 3, "of": [1, 2]},
    ),
    "system": SystemMessage("Be kind.", additional_kwargs={"source": "app"}),
    "chat": ChatMessage(content="Hello", role="developer"),
    "function": FunctionMessage(content="3", name="add"),
}
"""One of every kind, with something in every field that has broken a history."""

NAMES = ("c", "C", "c ", "c:d", "c/d", "c\0", "../c", "%63", "*", "caf\u00e9", "cafe\u0301", "漢")
"""Names of conversations; all of them differ."""


class MakeHistory(Protocol):
    """Makes a history: of one name and tenant always the same conversation."""

    def __call__(self, name: str, tenant: str | None = None) -> BaseChatMessageHistory:
        """A new object."""


@dataclass(frozen=True)
class Calls:
    """A history by its methods of one colour, each async one in a loop of its own."""

    history: BaseChatMessageHistory
    colour: str

    def messages(self) -> list[BaseMessage]:
        """What the history holds."""
        if self.colour == "sync":
            return self.history.messages
        return asyncio.run(_begun(self.history.aget_messages()))

    def add(self, *messages: BaseMessage) -> None:
        """Add messages."""
        if self.colour == "sync":
            self.history.add_messages(messages)
        else:
            asyncio.run(_begun(self.history.aadd_messages(messages)))

    def clear(self) -> None:
        """Forget everything."""
        if self.colour == "sync":
            self.history.clear()
        else:
            asyncio.run(_begun(self.history.aclear()))


async def _begun(work: Coroutine[Any, Any, T]) -> T:
    return await work


class HistorySuite:
    """Rules for a `BaseChatMessageHistory`. Override `make`, and `as_added` if need be."""

    @pytest.fixture
    def make(self) -> MakeHistory:
        """Makes histories whose conversations are empty at the beginning of each test."""
        pytest.fail('The suite needs a fixture "make" that makes histories.')

    def as_added(self, message: BaseMessage) -> BaseMessage:
        """A message that was read, without what the history itself puts on it."""
        return message

    @pytest.fixture(params=COLOURS)
    def colour(self, request: pytest.FixtureRequest) -> str:
        """Which methods a test calls."""
        return str(request.param)

    @pytest.fixture
    def open_(self, make: MakeHistory, colour: str) -> Callable[..., Calls]:
        """Opens a conversation, to be used by the methods of one colour."""
        return lambda name="c", tenant=None: Calls(make(name, tenant), colour)

    def read(self, calls: Calls) -> list[BaseMessage]:
        """What a history holds, as it was added."""
        return [self.as_added(message) for message in calls.messages()]

    def texts(self, calls: Calls) -> list[str]:
        """The texts that a history holds."""
        return [message.text for message in calls.messages()]

    # -- order and wholeness -----------------------------------------------------------

    def test_a_new_history_is_empty(self, open_: Callable[..., Calls]) -> None:
        """A conversation that has not begun is no error."""
        assert open_().messages() == []

    def test_messages_come_back_in_their_order(self, open_: Callable[..., Calls]) -> None:
        """A conversation in another order is another conversation."""
        calls = open_()
        calls.add(HumanMessage("1"), AIMessage("2"))
        calls.add(HumanMessage("3"))
        calls.add()
        calls.add(AIMessage("2"), HumanMessage("1"))
        assert self.texts(calls) == ["1", "2", "3", "2", "1"]

    def test_messages_can_be_added_one_by_one(self, make: MakeHistory) -> None:
        """The convenient methods that applications use."""
        history = make("c")
        history.add_user_message("1")
        history.add_user_message(HumanMessage("2"))
        history.add_ai_message("3")
        history.add_ai_message(AIMessage("4"))
        history.add_message(SystemMessage("5"))
        kinds = [(message.type, message.text) for message in history.messages]
        assert kinds == [("human", "1"), ("human", "2"), ("ai", "3"), ("ai", "4"), ("system", "5")]

    @pytest.mark.parametrize("kind", MESSAGES)
    def test_a_message_comes_back_as_it_was(self, open_: Callable[..., Calls], kind: str) -> None:
        """Of the same class, with every field: nothing is lost, and nothing is added."""
        calls = open_()
        message = MESSAGES[kind].model_copy(deep=True)
        calls.add(HumanMessage("before"), message, HumanMessage("after"))
        before, read, after = self.read(calls)
        assert (before.text, after.text) == ("before", "after")
        assert type(read) is type(message)
        assert read.model_dump() == message.model_dump()
        assert message.model_dump() == MESSAGES[kind].model_dump(), "the caller's own was changed"

    def test_a_message_that_is_added_once_more_is_the_same(
        self, open_: Callable[..., Calls]
    ) -> None:
        """Applications copy messages from one history to another."""
        calls, other = open_("c"), open_("d")
        calls.add(MESSAGES["ai"], MESSAGES["tool"])
        other.add(*calls.messages())
        assert self.read(other) == self.read(calls) == [MESSAGES["ai"], MESSAGES["tool"]]

    def test_a_streamed_message_is_kept_whole(self, open_: Callable[..., Calls]) -> None:
        """The sum of a stream's chunks is a message like others once it is kept."""
        calls = open_()
        streamed = AIMessageChunk(content="Hel", id="run-1") + AIMessageChunk(
            content="lo", response_metadata={"model_name": "m"}, chunk_position="last"
        )
        called = AIMessageChunk(
            content="",
            tool_call_chunks=[{"name": "add", "args": '{"a": 1}', "id": "c-1", "index": 0}],
        )
        calls.add(HumanMessageChunk(content="Hi"), streamed, called)
        human, ai, calling = self.read(calls)
        assert human == HumanMessage("Hi")
        assert ai == AIMessage("Hello", id="run-1", response_metadata={"model_name": "m"})
        assert calling == AIMessage(
            "", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c-1", "type": "tool_call"}]
        )

    def test_a_long_conversation(self, open_: Callable[..., Calls]) -> None:
        """Nothing is lost of a conversation that goes on for years, or of a long message."""
        calls = open_()
        long = "0123456789" * 20_000
        calls.add(*(HumanMessage(str(number)) for number in range(500)), AIMessage(long))
        assert self.texts(calls) == [*map(str, range(500)), long]

    # -- whose is what -----------------------------------------------------------------

    def test_what_was_read_is_the_readers_own(self, open_: Callable[..., Calls]) -> None:
        """To change the list, or a message on it, changes nothing that is kept."""
        calls = open_()
        calls.add(AIMessage("1", additional_kwargs={"deep": {"er": 1}}))
        read = calls.messages()
        read[0].content = "changed"
        read[0].additional_kwargs["deep"]["er"] = 2
        read.append(HumanMessage("2"))
        assert self.read(calls) == [AIMessage("1", additional_kwargs={"deep": {"er": 1}})]

    def test_what_was_added_stays_the_callers_own(self, open_: Callable[..., Calls]) -> None:
        """Frameworks go on using the objects that they passed."""
        calls, message = open_(), HumanMessage("1")
        calls.add(message)
        message.content = "changed"
        assert self.texts(calls) == ["1"]

    def test_two_objects_of_one_name_are_one(self, open_: Callable[..., Calls]) -> None:
        """An application makes a new object for each request."""
        open_().add(HumanMessage("1"))
        first, second = open_(), open_()
        second.add(AIMessage("2"))
        assert self.texts(first) == self.texts(second) == ["1", "2"]
        first.clear()
        assert second.messages() == []

    def test_the_colours_are_one(self, make: MakeHistory) -> None:
        """An application may write by one colour and read by the other."""
        sync, asynchronous = (Calls(make("c"), colour) for colour in COLOURS)
        sync.add(HumanMessage("1"))
        asynchronous.add(AIMessage("2"))
        assert self.texts(sync) == self.texts(asynchronous) == ["1", "2"]

    def test_names_do_not_meet(self, open_: Callable[..., Calls]) -> None:
        """One's words are never another's, however alike their names are."""
        for name in NAMES:
            open_(name).add(HumanMessage(f"of {name}"))
        open_("C").clear()
        read = {name: self.texts(open_(name)) for name in NAMES}
        assert read == {name: [] if name == "C" else [f"of {name}"] for name in NAMES}

    def test_tenants_do_not_meet(self, open_: Callable[..., Calls]) -> None:
        """Two users may give their conversations the same name."""
        whose = (("c", None), ("c", "a"), ("c", "b"), ("a", "c"), ("a:c", None), ("tenant", "a"))
        for name, tenant in whose:
            open_(name, tenant).add(HumanMessage(f"of {name} of {tenant}"))
        open_("c", "b").clear()
        for name, tenant in whose:
            wanted = [] if (name, tenant) == ("c", "b") else [f"of {name} of {tenant}"]
            assert self.texts(open_(name, tenant)) == wanted

    # -- an end ------------------------------------------------------------------------

    def test_clear_forgets(self, open_: Callable[..., Calls]) -> None:
        """What somebody asked to be forgotten is gone, and the name begins anew."""
        calls = open_()
        calls.add(HumanMessage("1"), AIMessage("2"))
        calls.clear()
        assert calls.messages() == []
        calls.add(HumanMessage("3"))
        assert self.texts(calls) == ["3"]

    def test_to_clear_what_is_empty_is_no_error(self, open_: Callable[..., Calls]) -> None:
        """Somebody else may have cleared it."""
        calls = open_()
        calls.clear()
        calls.clear()
        assert calls.messages() == []

    def test_every_kind_can_be_cleared(self, open_: Callable[..., Calls]) -> None:
        """No message is a reason to keep the others."""
        calls = open_()
        calls.add(*MESSAGES.values())
        calls.clear()
        assert calls.messages() == []

    # -- many at once ------------------------------------------------------------------

    def test_threads_lose_nothing(self, make: MakeHistory) -> None:
        """Exchanges that end at once are all kept, and none is torn apart."""

        def add(number: int) -> None:
            make("c").add_messages([HumanMessage(f"{number}?"), AIMessage(f"{number}!")])

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(add, range(40)))
        self._none_is_torn(make("c").messages)

    async def test_tasks_lose_nothing(self, make: MakeHistory) -> None:
        """The same on one event loop."""
        await asyncio.gather(
            *(
                make("c").aadd_messages([HumanMessage(f"{number}?"), AIMessage(f"{number}!")])
                for number in range(40)
            )
        )
        self._none_is_torn(await make("c").aget_messages())

    def _none_is_torn(self, messages: list[BaseMessage]) -> None:
        texts = [message.text for message in messages]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        assert all(asked[:-1] == answered[:-1] for asked, answered in pairs)
        assert sorted(int(asked[:-1]) for asked, _ in pairs) == list(range(40))

    # -- in a chain --------------------------------------------------------------------

    def test_a_chain_with_a_history(self, make: MakeHistory) -> None:
        """`RunnableWithMessageHistory` hands the whole list over, and keeps both messages."""
        chain = _with_history(make)
        assert chain.invoke([HumanMessage("1")], _in("c")).text == "heard 1"
        assert [chunk.text for chunk in chain.stream([HumanMessage("2")], _in("c"))][-1] == " 3"
        assert chain.invoke([HumanMessage("3")], _in("d")).text == "heard 1"
        self._is_kept(make("c").messages)

    async def test_an_async_chain_with_a_history(self, make: MakeHistory) -> None:
        """The same on the event loop."""
        chain = _with_history(make)
        assert (await chain.ainvoke([HumanMessage("1")], _in("c"))).text == "heard 1"
        chunks = [chunk.text async for chunk in chain.astream([HumanMessage("2")], _in("c"))]
        assert chunks[-1] == " 3"
        assert (await chain.ainvoke([HumanMessage("3")], _in("d"))).text == "heard 1"
        self._is_kept(await make("c").aget_messages())

    def _is_kept(self, messages: list[BaseMessage]) -> None:
        assert [self.as_added(message).text for message in messages] == [
            "1",
            "heard 1",
            "2",
            "heard 3",
        ]


def _in(name: str) -> Any:
    return {"configurable": {"session_id": name}}


def _with_history(make: MakeHistory) -> Runnable[Any, Any]:
    """A chain that answers how many messages it was shown, in two chunks."""
    from langchain_core.runnables.history import (  # noqa: PLC0415 - it warns when it is used
        RunnableWithMessageHistory,
    )

    def answer(inputs: Iterator[list[BaseMessage]]) -> Iterator[AIMessageChunk]:
        for shown in inputs:
            yield AIMessageChunk(content="heard")
            yield AIMessageChunk(content=f" {len(shown)}", chunk_position="last")

    async def aanswer(inputs: AsyncIterator[list[BaseMessage]]) -> AsyncIterator[AIMessageChunk]:
        async for shown in inputs:
            for chunk in answer(iter([shown])):
                yield chunk

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what most applications use
        return RunnableWithMessageHistory(RunnableGenerator(answer, aanswer), make)
