from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    CitableBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage, MessageRole

from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.llama_index.messages import Writing, chat_response, read_messages
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.sessions.effects import Decision
from stewrd_integrations.types import Done, File, Message, Reply, Token, ToolCall, ToolEnd

MARK = "0123456789abcdef" * 2


def read(**message: Any) -> Message:
    return read_messages([ChatMessage(**message)])[0]


def refusal(role: str, *blocks: ContentBlock) -> str:
    message = ChatMessage(role=role, blocks=[TextBlock(text="hi"), *blocks])
    with pytest.raises(InvalidInputError) as caught:
        read_messages([ChatMessage(content="first"), message])
    return str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_roles(theirs: str, ours: str) -> None:
    assert read(role=theirs, content="hi").role == ours


def test_every_role_of_llama_index_is_known() -> None:
    assert all(read(role=role, content="hi").text == "hi" for role in MessageRole)


def test_text_blocks_are_joined_as_llama_index_joins_them() -> None:
    message = ChatMessage(blocks=[TextBlock(text="one"), TextBlock(text="two")])
    assert read_messages([message]) == [Message("user", "one\ntwo")]
    assert message.content == "one\ntwo"


def test_a_message_without_text_is_empty() -> None:
    assert read(role="assistant").text == ""


@pytest.mark.parametrize(("name", "read_as"), [("ada", "ada"), (7, None), (None, None)])
def test_a_name_counts_if_it_is_text(name: object, read_as: str | None) -> None:
    assert read(content="hi", additional_kwargs={"name": name}).name == read_as


def test_tool_messages_keep_the_id_of_their_call() -> None:
    kwargs = {"tool_call_id": "call-1", "name": "add"}
    assert read(role="tool", content="3", additional_kwargs=kwargs) == Message(
        "tool", "3", name="add", tool_call_id="call-1"
    )
    assert read(content="3", additional_kwargs=kwargs).tool_call_id is None


def test_marks_are_read_from_answers() -> None:
    kwargs = {"stewrd": {"mark": MARK}}
    assert read(role="assistant", content="a", additional_kwargs=kwargs).mark == MARK
    assert read(role="user", content="a", additional_kwargs=kwargs).mark is None


@pytest.mark.parametrize(
    "stewrd",
    [None, "x", {}, {"mark": None}, {"mark": 5}, {"mark": "short"}, {"mark": MARK.upper()}],
)
def test_what_is_no_mark_is_none(stewrd: object) -> None:
    kwargs = {"stewrd": stewrd}
    assert read(role="assistant", content="a", additional_kwargs=kwargs).mark is None


def test_tool_calls_of_the_assistant() -> None:
    message = ChatMessage(
        role="assistant",
        blocks=[
            ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1}),
            ToolCallBlock(tool_call_id="2", tool_name="add", tool_kwargs='{"a": 2}'),
            ToolCallBlock(tool_name="now", tool_kwargs=""),
        ],
    )
    assert read_messages([message])[0].tool_calls == (
        ToolCall("1", "add", {"a": 1}),
        ToolCall("2", "add", {"a": 2}),
        ToolCall("", "now", {}),
    )


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "3"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    text = refusal("assistant", ToolCallBlock(tool_name="add", tool_kwargs=arguments))
    assert text.startswith("Message 2 (from the assistant), block 2: ")
    assert "'add'" in text


def test_hints_and_thoughts_are_no_part_of_what_was_said() -> None:
    blocks = [
        ThinkingBlock(content="hm"),
        TextBlock(text="yes"),
        CachePoint(cache_control=CacheControl(type="ephemeral")),
    ]
    assert read(role="assistant", blocks=blocks) == Message("assistant", "yes")
    assert "'thinking'" in refusal("user", ThinkingBlock(content="hm"))


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (ImageBlock(url="https://example.org/a.png"), "image"),
        (AudioBlock(url="https://example.org/a.mp3"), "audio"),
        (VideoBlock(url="https://example.org/a.mp4"), "video"),
        (CitableBlock(title="t", source="s", content=[TextBlock(text="c")]), "citable"),
        (ToolCallBlock(tool_name="add"), "tool_call"),
    ],
)
def test_blocks_without_a_place_are_refused(block: ContentBlock, kind: str) -> None:
    text = refusal("user", block)
    assert text.startswith("Message 2 (from the user), block 2: ")
    assert repr(kind) in text
    assert "DocumentBlock" in text


# -- documents -------------------------------------------------------------------------


def document(**given: Any) -> tuple[File, ...]:
    return read(role="user", blocks=[TextBlock(text="see"), DocumentBlock(**given)]).files


def test_documents_are_files() -> None:
    assert document(data=b"a,b\n1,2\n", title="t.csv") == (File("t.csv", "a,b\n1,2\n"),)
    encoded = base64.b64encode("grüße".encode())
    assert document(data=encoded, title="g.txt") == (File("g.txt", "grüße"),)


def test_documents_are_read_from_paths(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("a note", encoding="utf-8")
    assert document(path=path) == (File("notes.txt", "a note"),)
    assert document(path=str(path), title="other.txt") == (File("other.txt", "a note"),)


def test_documents_are_read_from_streams_more_than_once() -> None:
    message = ChatMessage(blocks=[DocumentBlock(data=io.BytesIO(b"a note"), title="n.txt")])
    assert read_messages([message]) == read_messages([message])
    assert read_messages([message])[0].files == (File("n.txt", "a note"),)


def test_streams_of_text_are_text() -> None:
    # LlamaIndex guesses the type of streams, and can do so with bytes only, unless told.
    block = DocumentBlock(data=io.StringIO("a note"), document_mimetype="text/plain")
    assert read(blocks=[block]).files == (File("input_document", "a note"),)


@pytest.mark.parametrize(
    ("given", "trouble"),
    [
        ({"url": "https://example.org/a.txt"}, "a URL is not followed"),
        ({"url": "data:text/plain,hello"}, "a URL is not followed"),
        ({}, "neither data nor a path"),
        ({"data": b"\xff\xfe\x00"}, "not text in UTF-8"),
        ({"data": b""}, "can't be read or is empty"),
        ({"path": "no/such/file.txt"}, "can't be read or is empty (FileNotFoundError)"),
    ],
)
def test_documents_without_text_are_refused(given: dict[str, Any], trouble: str) -> None:
    text = refusal("user", DocumentBlock(**given))
    assert text.startswith("Message 2 (from the user), block 2: the document ")
    assert trouble in text


def test_instructions_hold_no_documents() -> None:
    assert "'document'" in refusal("system", DocumentBlock(data=b"a note!", title="n.txt"))


# -- ours as theirs --------------------------------------------------------------------


def outcome(text: str, *files: File) -> Outcome:
    decision = Decision("session", "opened", "a new conversation", messages_used=2)
    return Outcome(Reply(id="r-1", message=text, files=files), MARK, decision, "s-1")


def test_an_answer_carries_its_mark_and_the_response_tells_the_rest() -> None:
    response = chat_response(outcome("Hello"))
    assert response.message.blocks == [TextBlock(text="Hello")]
    assert response.message.additional_kwargs == {"stewrd": {"mark": MARK}}
    for place in (response.raw, response.additional_kwargs):
        assert isinstance(place, dict)
        assert place["turn"] == place["stewrd"]["turn"] == "opened"
        assert place["session_id"] == "s-1"
        assert place["stewrd"]["mark"] == MARK


@pytest.mark.parametrize("content", ["abcd", "grüße\n", "dGVzdA=="])
def test_generated_files_come_back_as_they_were(content: str) -> None:
    files = (File("a.txt", content), File("empty.txt", ""), File("b.pdf", url="https://x.test"))
    response = chat_response(outcome("Done.", *files))
    assert response.additional_kwargs["files"][2]["url"] == "https://x.test"
    assert read_messages([response.message])[0] == Message(
        "assistant", "Done.", files=files[:1], mark=MARK
    )


def test_what_is_never_handed_out_is_no_chunk() -> None:
    writing = Writing()
    assert writing.chunk(Token("a")).message.content == "a"
    assert writing.chunk(ToolEnd("data")).raw == {"type": "tool_end", "tool": "data"}
    with pytest.raises(AssertionError):
        writing.chunk(Done(Reply()))
