"""From LangChain's messages to ours and back, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)

from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain.messages import from_langchain, to_chunk, to_message
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.sessions.effects import Decision
from stewrd_integrations.types import (
    Done,
    File,
    Message,
    Reply,
    Token,
    ToolCall,
    ToolEnd,
    ToolStart,
)

from .entrances import merged

MARK = "0123456789abcdef" * 2


def one(message: BaseMessage) -> Message:
    return from_langchain([message])[0]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (HumanMessage("Hi"), Message("user", "Hi")),
        (HumanMessage("Hi", name="Ada"), Message("user", "Hi", name="Ada")),
        (HumanMessage(["Hi", {"type": "text", "text": " you"}]), Message("user", "Hi you")),
        (HumanMessage([]), Message("user", "")),
        (SystemMessage("Be kind."), Message("system", "Be kind.")),
        (SystemMessage([{"type": "text", "text": "Be."}]), Message("system", "Be.")),
        (AIMessage("Hello"), Message("assistant", "Hello")),
        (AIMessage("Hello", name="agent"), Message("assistant", "Hello", name="agent")),
        (AIMessageChunk(content="Hello"), Message("assistant", "Hello")),
        (ChatMessage(content="Hi", role="user"), Message("user", "Hi")),
        (ChatMessage(content="Hi", role="Assistant"), Message("assistant", "Hi")),
        (ChatMessage(content="Hi", role="developer"), Message("system", "Hi")),
        (
            ToolMessage("4", tool_call_id="c", name="add"),
            Message("tool", "4", name="add", tool_call_id="c"),
        ),
        (
            ToolMessage([{"type": "text", "text": "no"}], tool_call_id="c", status="error"),
            Message("tool", "no", tool_call_id="c", error=True),
        ),
    ],
)
def test_roles(message: BaseMessage, expected: Message) -> None:
    assert one(message) == expected


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (ChatMessage(content="x", role="critic"), "Message 2 has the unknown role 'critic'"),
        (FunctionMessage(content="x", name="f"), "Message 2 is a FunctionMessage.*ToolMessage"),
        (RemoveMessage(id="1"), "Message 2 is a RemoveMessage.*reducer"),
        (BaseMessage("x", type="odd"), "Message 2 is a BaseMessage"),
    ],
)
def test_messages_that_cannot_be_sent(message: BaseMessage, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        from_langchain([HumanMessage("Hi"), message])


# -- blocks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
        {"type": "video", "url": "https://example.com/a.mp4"},
    ],
)
def test_media_are_refused(block: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="Block 2 of message 1 is of the type"):
        one(HumanMessage([{"type": "text", "text": "See"}, block]))


@pytest.mark.parametrize("make", [HumanMessage, SystemMessage, AIMessage])
def test_unknown_blocks_are_refused(make: Any) -> None:
    with pytest.raises(
        InvalidInputError, match="Block 1 of message 1 is of the unknown type 'odd'"
    ):
        one(make([{"type": "odd", "x": 1}]))


def test_instructions_hold_no_files() -> None:
    block = {"type": "text-plain", "text": "x", "mime_type": "text/plain"}
    with pytest.raises(InvalidInputError, match=r"file in the instructions.*human message"):
        one(SystemMessage([block]))


def test_what_a_model_did_inside_is_not_said_again() -> None:
    blocks: list[str | dict[Any, Any]] = [
        {"type": "reasoning", "reasoning": "Hm."},
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "tool_use", "id": "c", "name": "add", "input": {}},
        {"type": "server_tool_call", "id": "s", "name": "search", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "s", "status": "success"},
        {"type": "text", "text": "Four."},
    ]
    assert one(AIMessage(blocks)) == Message("assistant", "Four.")


def test_tool_calls() -> None:
    call = {"id": "c", "name": "add", "args": {"a": 1}, "type": "tool_call"}
    broken = {
        "id": None,
        "name": "add",
        "args": "{",
        "error": "no JSON",
        "type": "invalid_tool_call",
    }
    message = AIMessage("", tool_calls=[call], invalid_tool_calls=[broken])
    assert one(message).tool_calls == (
        ToolCall("c", "add", {"a": 1}),
        ToolCall("", "add", {"malformed": "{"}),
    )
    listed = AIMessage([{"type": "text", "text": ""}, call], tool_calls=[call])
    assert one(listed).tool_calls == (ToolCall("c", "add", {"a": 1}),)


# -- marks and files of answers --------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "metadata", "mark"),
    [
        ({"stewrd": {"mark": MARK}}, {}, MARK),
        ({}, {"stewrd": {"mark": MARK}}, MARK),
        ({"stewrd": {"mark": MARK}}, {"stewrd": {"mark": "f" * 32}}, MARK),
        ({"stewrd": {"mark": MARK + MARK}}, {"stewrd": {"mark": MARK}}, MARK),
        ({"stewrd": {"mark": 5}}, {}, None),
        ({"stewrd": "x"}, {"stewrd": {"mark": MARK.upper()}}, None),
        ({}, {}, None),
    ],
)
def test_marks(kwargs: dict[str, Any], metadata: dict[str, Any], mark: str | None) -> None:
    message = AIMessage("Hi", additional_kwargs=kwargs, response_metadata=metadata)
    assert one(message).mark == mark


def test_files_of_an_answer_go_along_in_a_replay() -> None:
    files: list[Any] = [
        {"name": "a.csv", "content": "1", "url": None},
        {"name": "b.pdf", "content": None, "url": "https://example.com"},
        {"name": 5, "content": "x"},
        "odd",
    ]
    message = AIMessage("Done", response_metadata={"stewrd": {"files": files}})
    assert one(message).files == (File("a.csv", "1"),)
    assert one(AIMessage("Done", response_metadata={"stewrd": {"files": 5}})).files == ()


def outcome(text: str = "Hello") -> Outcome:
    reply = Reply(id="r", message=text, files=(File("a.csv", "1"),), duration_ms=3)
    decision = Decision(
        road="session",
        turn="opened",
        reason="a new conversation",
        omitted=0,
        omitted_files=(),
        generation=1,
        messages_used=2,
    )
    return Outcome(reply, MARK, decision, "s")


def test_an_answer() -> None:
    message = to_message(outcome())
    metadata = message.response_metadata
    assert message.text == "Hello" and message.usage_metadata is None
    assert message.additional_kwargs == {"stewrd": {"mark": MARK}}
    assert metadata["stewrd"]["mark"] == MARK
    for place in (metadata, metadata["stewrd"]):
        assert place["session_id"] == "s" and place["turn"] == "opened"
        assert place["files"][0]["name"] == "a.csv"
    assert metadata["stewrd"]["files"] == [{"name": "a.csv", "content": "1", "url": None}]
    assert {name: metadata[name] for name in ("id", "model_name", "model_provider")} == {
        "id": "r",
        "model_name": "stewrd-agent",
        "model_provider": "stewrd",
    }
    (again,) = messages_from_dict(messages_to_dict([message]))
    assert one(again) == Message("assistant", "Hello", files=(File("a.csv", "1"),), mark=MARK)


def test_added_chunks_are_the_whole_answer() -> None:
    items: list[Any] = [
        ToolStart("search", "Looking"),
        Token("Hel"),
        ToolEnd("search"),
        Token("lo"),
        outcome(),
    ]
    chunk = merged(to_chunk(item) for item in items)
    whole = to_message(outcome())
    progress = chunk.response_metadata.pop("stewrd_progress")
    assert chunk.text == whole.text and chunk.chunk_position == "last"
    assert chunk.response_metadata == whole.response_metadata
    assert chunk.additional_kwargs == whole.additional_kwargs
    assert progress == [
        {"type": "tool_start", "tool": "search", "message": "Looking"},
        {"type": "tool_end", "tool": "search", "message": None},
    ]
    with pytest.raises(AssertionError):
        to_chunk(Done(Reply()))
