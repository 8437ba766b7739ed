from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.langchain.messages import from_langchain
from stewrd_integrations.types import File


def coded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def block(content: str | bytes = "a,b", mime: str | None = "text/csv", **more: Any) -> Any:
    return {"type": "file", "base64": coded(content), "mime_type": mime, **more}


def files(*blocks: Any) -> tuple[File, ...]:
    content: Any = [{"type": "text", "text": "See"}, *blocks]
    return from_langchain([HumanMessage(content)])[0].files


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (block(), File("file-1.csv", "a,b")),
        (block("{}", "application/json"), File("file-1.json", "{}")),
        (block("x", "application/vnd.api+json"), File("file-1.txt", "x")),
        (block("x", "Text/Plain; charset=utf-8"), File("file-1.txt", "x")),
        (block("# ä", "text/markdown", filename="n.md"), File("n.md", "# ä")),
        (block(extras={"filename": "e.csv"}), File("e.csv", "a,b")),
        (block(extras={"name": "e.csv"}), File("e.csv", "a,b")),
        (block(name="n.csv"), File("n.csv", "a,b")),
        (block(metadata={"filename": "m.csv"}), File("m.csv", "a,b")),
        (block(filename=" ", name="n.csv"), File("n.csv", "a,b")),
        (block("x = 1", None, filename="a.py"), File("a.py", "x = 1")),
        (
            {"type": "text-plain", "text": "Hi", "title": "Note", "mime_type": "text/plain"},
            File("Note", "Hi"),
        ),
        ({"type": "text-plain", "text": "Hi", "mime_type": "text/plain"}, File("file-1.txt", "Hi")),
        (
            {"type": "text-plain", "base64": coded("Hi"), "mime_type": "text/plain"},
            File("file-1.txt", "Hi"),
        ),
        # the forms of older cores and of OpenAI
        (
            {
                "type": "file",
                "source_type": "base64",
                "data": coded("a,b"),
                "mime_type": "text/csv",
                "metadata": {"filename": "old.csv"},
            },
            File("old.csv", "a,b"),
        ),
        (
            {
                "type": "file",
                "file": {
                    "filename": "open.txt",
                    "file_data": f"data:text/plain;base64,{coded('Hi')}",
                },
            },
            File("open.txt", "Hi"),
        ),
    ],
)
def test_text_files(given: Any, expected: File) -> None:
    assert files(given) == (expected,)


def test_names_do_not_collide() -> None:
    named = block(filename="a.csv")
    hidden = block("x", "text/plain", filename=".env")
    assert [file.name for file in files(named, named, named, block(), hidden, hidden)] == [
        "a.csv",
        "a-2.csv",
        "a-3.csv",
        "file-4.csv",
        ".env",
        ".env-2",
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (block(b"\x89PNG", "image/png"), "a file of the type image/png.*extract the text"),
        (block(b"%PDF-1.4", "application/pdf"), "a file of the type application/pdf"),
        (block("x", None), "a file of the type unknown.*mime_type"),
        (block(b"\xff\xfe", "text/plain"), "not UTF-8 text"),
        (block(b"%PDF-\xff", "application/pdf", filename="a.txt"), "not UTF-8 text"),
        ({"type": "file", "base64": "?", "mime_type": "text/plain"}, "not valid base64"),
        ({"type": "file", "url": "https://example.com/a.txt"}, "a URL or a file id"),
        ({"type": "file", "file": {"file_id": "f"}}, "a URL or a file id"),
        ({"type": "text-plain", "file_id": "f", "mime_type": "text/plain"}, "no content"),
    ],
)
def test_files_that_cannot_be_sent(given: Any, told: str) -> None:
    with pytest.raises(InvalidInputError, match=f"Block 2 of message 1 .*{told}") as caught:
        files(given)
    assert caught.value.__context__ is None


def test_files_in_other_messages() -> None:
    call = {"id": "c", "name": "read", "args": {}, "type": "tool_call"}
    shown = from_langchain(
        [
            AIMessage([block()], tool_calls=[call]),
            ToolMessage([block(filename="t.csv")], tool_call_id="c"),
        ]
    )
    assert [message.files for message in shown] == [
        (File("file-1.csv", "a,b"),),
        (File("t.csv", "a,b"),),
    ]


# -- over the wire ---------------------------------------------------------------------


async def test_a_file_goes_in(stewrd: Emulator, model: ChatStewrd) -> None:
    content: Any = [{"type": "text", "text": "What is this?"}, block("a,b\n1,2", filename="a.csv")]
    question = HumanMessage(content)
    answer = await model.ainvoke([question])
    assert answer.text == "a.csv has 2 lines; the first one is “a,b”."
    more = model.invoke([question, answer, HumanMessage("Which file did I send?")])
    assert more.text == answer.text
    assert [(run.message, len(run.files)) for run in stewrd.runs] == [
        ("What is this?", 1),
        ("Which file did I send?", 0),
    ]


def test_a_file_comes_out_and_goes_along_in_a_replay(stewrd: Emulator, model: ChatStewrd) -> None:
    question = HumanMessage("Write notes.txt about it.")
    answer = model.invoke([question])
    (file,) = answer.response_metadata["stewrd"]["files"]
    assert answer.response_metadata["files"] == [{"name": "notes.txt", "url": None}]
    stewrd.expire()
    model.invoke([question, answer, HumanMessage("Which file have you written?")])
    assert [(sent.name, sent.content) for sent in stewrd.runs[-1].files] == [
        ("notes.txt", file["content"])
    ]
