"""Messages in a transcript: nothing is lost, and what is no message is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.schema import ImageDocument

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import StewrdError, StoreError
from stewrd_integrations.langchain import StewrdChatMessageHistory
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.llama_index.lines import lines_of, messages_of
from stewrd_integrations.stores import MemoryStore

from ..conftest import told, user
from .talking import Calls, Memories, all_said, answer, bare, texts

PNG = b"\x89PNG\r\n\x1a\n\xff\xfe"

# -- what is kept ----------------------------------------------------------------------

any_text = st.text(st.characters(codec=None, categories=None), max_size=12)
plain_text = st.text(max_size=12)
data = st.binary(max_size=24)
scalars = st.none() | st.booleans() | st.integers() | any_text
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=8,
)
extras = st.dictionaries(
    plain_text.filter(lambda name: name not in ("images", "stewrd")), values, max_size=3
)
maybe = st.none() | any_text
urls = st.sampled_from(["https://example.org/a.png", "data:image/png;base64,iVBORw0KGgo="])
text_blocks = st.builds(TextBlock, text=any_text)
images = st.one_of(
    st.builds(ImageBlock, image=data, detail=maybe),
    st.builds(ImageBlock, url=urls, image_mimetype=maybe),
    st.builds(ImageBlock, path=st.just(Path(__file__))),
)
documents = st.one_of(
    st.builds(DocumentBlock, data=data, title=maybe),
    st.builds(DocumentBlock, path=any_text.filter(lambda path: "\0" not in path), title=maybe),
    st.builds(DocumentBlock, url=maybe, document_mimetype=maybe),
)
blocks: st.SearchStrategy[ContentBlock] = st.one_of(
    text_blocks,
    images,
    documents,
    st.builds(AudioBlock, audio=data, format=maybe),
    st.builds(VideoBlock, video=data, fps=st.none() | st.integers()),
    st.builds(CachePoint, cache_control=st.builds(CacheControl, type=any_text, ttl=any_text)),
    st.builds(
        CitableBlock,
        title=any_text,
        source=any_text,
        content=st.lists(text_blocks | images | documents, max_size=2),
    ),
    st.builds(
        CitationBlock,
        cited_content=text_blocks | images,
        source=any_text,
        title=any_text,
        additional_location_info=st.dictionaries(plain_text, st.integers(), max_size=2),
    ),
    st.builds(
        ThinkingBlock,
        content=maybe,
        num_tokens=st.none() | st.integers(),
        additional_information=extras,
    ),
    st.builds(ToolCallBlock, tool_call_id=maybe, tool_name=any_text, tool_kwargs=extras | any_text),
)
messages = st.builds(
    ChatMessage,
    role=st.sampled_from(MessageRole),
    blocks=st.lists(blocks, max_size=4),
    additional_kwargs=extras,
)


@given(st.lists(messages, max_size=3))
def test_nothing_is_lost(said: list[ChatMessage]) -> None:
    before = [message.model_dump() for message in said]
    lines = lines_of(said)
    assert messages_of(lines) == said
    assert lines_of(messages_of(lines)) == lines
    assert [message.model_dump() for message in said] == before, "the caller's own was changed"


@given(st.lists(messages, max_size=3), st.booleans())
def test_nothing_is_lost_on_the_way_through_a_memory(
    said: list[ChatMessage], at_once: bool
) -> None:
    memory = StewrdMemory(api_key="sk-stw_x", store=MemoryStore())
    if at_once:
        memory.put_messages(said)
    else:
        memory.set(said)
    assert bare(memory.get()) == bare(said)
    copied = StewrdMemory(api_key="sk-stw_x", store=MemoryStore())
    copied.set(memory.get())
    assert bare(copied.get_all()) == bare(said)


async def test_every_kind_of_block(any_store: Any, memories: Memories, colour: str) -> None:
    said = ChatMessage(
        role="assistant",
        additional_kwargs={
            "tool_call_id": "c",
            "deep": [{"er": "\ud800"}],
            "stewrd": {"mark": "0"},
        },
        blocks=[
            TextBlock(text="\ud800 \0 \u2028 ü"),
            ThinkingBlock(content="hm", num_tokens=3, additional_information={"s": "x"}),
            ToolCallBlock(tool_call_id="c", tool_name="add", tool_kwargs={"a": [1, {"b": None}]}),
            ToolCallBlock(tool_name="add", tool_kwargs='{"a": 1}'),
            DocumentBlock(data=b"abcd", title="list.csv"),
            ImageBlock(image=PNG),
            CitableBlock(title="t", source="s", content=[DocumentBlock(data=b"x")]),
        ],
    )
    calls = Calls(memories(store=any_store), colour)
    await calls.put(said)
    (read,) = await calls.get()
    assert bare([read]) == bare([said])
    assert [type(block) for block in read.blocks] == [type(block) for block in said.blocks]


@pytest.mark.parametrize("content", [b"abcd", b"hello, world", b"", PNG], ids=repr)
def test_what_a_stream_holds_is_kept(memory: StewrdMemory, content: bytes) -> None:
    memory.put(
        ChatMessage(
            blocks=[
                DocumentBlock(data=io.BytesIO(content)),
                ImageBlock(image=io.BytesIO(content)),
                CitableBlock(
                    title="t", source="s", content=[DocumentBlock(data=io.BytesIO(content))]
                ),
            ]
        )
    )
    document, image, citable = memory.get()[0].blocks
    assert isinstance(document, DocumentBlock) and isinstance(image, ImageBlock)
    assert isinstance(citable, CitableBlock) and isinstance(citable.content[0], DocumentBlock)
    if content:  # LlamaIndex resolves nothing that is empty
        assert document.resolve_document().read() == content
        assert image.resolve_image().read() == content
        assert citable.content[0].resolve_document().read() == content


def test_the_agent_reads_a_stream_as_it_was(
    emulator: Emulator, llm: StewrdLLM, memory: StewrdMemory
) -> None:
    shown = ChatMessage(
        blocks=[TextBlock(text="Hello"), DocumentBlock(data=io.BytesIO(b"abcd"), title="a.txt")]
    )
    memory.put(shown)
    memory.put(llm.chat([shown], conversation_id="c").message)
    assert emulator.runs[-1].files[0].content == "abcd"
    memory.put(user("And?"))
    assert told(llm.chat(memory.get()))["turn"] == "continued"


@pytest.mark.parametrize("block_of", [ImageBlock, DocumentBlock, AudioBlock, VideoBlock])
def test_a_file_that_is_there_no_more_spoils_nothing(
    memory: StewrdMemory, tmp_path: Path, block_of: Callable[..., Any]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    memory.put_messages([ChatMessage(blocks=[block_of(path=path)]), answer("Nice.")])
    before = memory.get()
    path.unlink()
    read = memory.get()
    assert str(read[0].blocks[0].path) == str(path)  # type: ignore[union-attr]  # all four have it
    assert texts(read) == texts(before) == [None, "Nice."]
    memory.set([*read, user("More")])
    assert len(memory.get()) == 3


def test_images_in_their_old_place_are_kept_once(memory: StewrdMemory) -> None:
    old = [ImageDocument(image=PNG)]
    said = ChatMessage("See", additional_kwargs={"images": old, "x": 1})
    memory.put(said)
    (read,) = memory.get()
    assert read.blocks == said.blocks and len(read.blocks) == 2
    assert bare([read])[0]["additional_kwargs"] == {"x": 1}
    assert said.additional_kwargs["images"] == old
    memory.set(memory.get())
    assert len(memory.get()[0].blocks) == 2


def test_bytes_among_the_extras_are_kept_as_llama_index_has_them(memory: StewrdMemory) -> None:
    memory.put(answer("x", additional_kwargs={"signature": b"\xff"}))
    assert memory.get()[0].additional_kwargs["signature"] == "/w=="


# -- lines that are no messages --------------------------------------------------------

HOSTILE = [
    "{secret",
    "",
    "null",
    "[]",
    '"secret"',
    "[" * 100_000,
    '{"blocks": "secret"}',
    '{"blocks": 5}',
    '{"blocks": [5]}',
    '{"blocks": [{"block_type": "secret"}]}',
    '{"blocks": [{"block_type": "text"}]}',
    '{"blocks": [{"block_type": "image", "path": 5}]}',
    '{"blocks": [], "role": "secret"}',
    '{"blocks": [], "additional_kwargs": {"images": ["secret"]}}',
    '{"blocks": [], "additional_kwargs": "secret"}',
    '{"role": "user", "content": "secret"}',
    '{"type": "human", "data": {"content": "secret"}}',
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line[:60])
async def test_lines_that_are_no_messages(
    emulator: Emulator, llm: StewrdLLM, store: MemoryStore, calls: Calls, line: str
) -> None:
    await calls.say(llm, "My name is Ada.", "Hello")
    (name,) = store._transcripts
    store.append(name, [line])
    for read in (calls.get, calls.get_all):
        with pytest.raises(StoreError, match="not a message") as caught:
            await read()
        assert "reset()" in str(caught.value) and "secret" not in all_said(caught.value)
    await calls.put(user("1"))  # to add something needs no reading
    await calls.reset()
    assert await calls.get() == [] and store.inventory().bindings == ()
    await calls.put(user("Who am I?"))
    store.append(name, [line])
    await calls.set([user("Who am I?")])
    response = await calls.say(llm, "Who am I?")
    assert response.message.content == "You have not told me your name."


async def test_a_history_of_langchain_under_the_same_name(
    emulator: Emulator, memories: Memories, store: MemoryStore, colour: str
) -> None:
    address = {"api_key": emulator.api_key, "base_url": emulator.url}
    theirs = StewrdChatMessageHistory("c", store=store, **address)
    theirs.add_messages([HumanMessage("Hi"), AIMessage("Hello")])
    calls = Calls(memories(), colour)
    with pytest.raises(StoreError, match="reset"):
        await calls.get()
    assert len(theirs.messages) == 2
    await calls.reset()
    assert theirs.messages == [] and await calls.get() == []
    # And the other way round.
    await calls.put(user("1"))
    with pytest.raises(StewrdError):
        _ = theirs.messages


def test_lines_are_plain_json(memory: StewrdMemory, store: MemoryStore) -> None:
    memory.put(user("ü\ud800"))
    ((lines, _),) = store._transcripts.values()
    assert lines[0].isascii() and json.loads(lines[0])["role"] == "user"
