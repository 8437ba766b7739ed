"""Tools that remember."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from stewrd_integrations.conversations import Conversation
from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.errors import StoreError
from stewrd_integrations.llama_index import StewrdMemory
from stewrd_integrations.llama_index.tools import StewrdToolSpec
from stewrd_integrations.options import Options
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

from .asking import EXAMPLE, Ask, Make, aask, both, only


def kept(stewrd: Emulator, name: str, **options: Any) -> Conversation:
    return Conversation(
        Options(api_key=stewrd.api_key, base_url=stewrd.url, conversation_id=name, **options)
    )


@both
async def test_a_conversation_of_its_own(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    store = MemoryStore()
    texts = ("My name is Ada.", "Who am I?", "How many messages have I sent?")
    for text in texts:
        # A new object each time, as a service makes them.
        output = await ask(
            only(spec("chat", conversation_id="c", tenant="t", store=store)), message=text
        )
    assert output.content == "You have sent me 3 messages, this one included."
    assert output.raw_output["turn"] == "continued" and len(stewrd.sessions) == 1
    assert [run.message for run in stewrd.runs] == list(texts)  # nothing is sent twice
    transcript = kept(stewrd, "c", tenant="t", store=store)
    lines = [ChatMessage.model_validate_json(line) for line in transcript.load()]
    assert [line.content for line in lines[::2]] == list(texts)
    assert [line.role.value for line in lines] == ["user", "assistant"] * 3
    session = transcript.session()
    assert session and session.session_id == output.raw_output["session_id"]
    for other in ({"conversation_id": "d"}, {"conversation_id": "c"}):
        alien = await ask(only(spec("chat", store=store, **other)), message="Who am I?")
        assert alien.content == "You have not told me your name."


@both
async def test_a_memory_reads_the_tools_conversation_and_forgets_it(
    stewrd: Emulator, spec: Make, ask: Ask
) -> None:
    store = MemoryStore()
    chat = only(spec("chat", conversation_id="c", store=store))
    await ask(chat, **EXAMPLE)
    await ask(chat, message="My name is Ada.")
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": store}
    memory = StewrdMemory(conversation_id="c", **here)
    asked, _, *others = memory.get_all()
    assert asked.content == EXAMPLE["message"] and len(asked.blocks) == 2
    assert [one.content for one in others] == ["My name is Ada.", "Nice to meet you, Ada."]
    memory.reset()
    output = await ask(chat, message="Who am I?")
    assert output.content == "You have not told me your name."


@both
@pytest.mark.parametrize("how", ["advance", "expire"])
async def test_a_conversation_survives_its_session(
    stewrd: Emulator, spec: Make, ask: Ask, how: str
) -> None:
    chat = only(spec("chat", conversation_id="c", store=MemoryStore()))

    def end() -> None:
        stewrd.advance(1_900) if how == "advance" else stewrd.expire()

    await ask(chat, message="My name is Ada.")
    end()
    output = await ask(chat, message="Who am I?")
    assert output.content == "Your name is Ada." and output.raw_output["turn"] == "recreated"
    again = await ask(chat, **EXAMPLE)
    assert again.raw_output["turn"] == "continued" and stewrd.active_sessions == 1
    await ask(chat, message="Thanks.")
    assert len(stewrd.sessions) == 2  # the file that came back from the store aligned
    end()
    await ask(chat, message="What is my name?")
    assert stewrd.runs[-1].files == (File("a.csv", "x,y\n1,2\n"),)  # it is sent again


@both
async def test_the_tools_share_their_conversation(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    tools = spec("research", "documents", conversation_id="c", store=MemoryStore()).to_tool_list()
    await ask(tools[0], message="My name is Ada.")
    assert (await ask(tools[1], message="Who am I?")).content == "Your name is Ada."
    assert len(stewrd.sessions) == 1
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("documents",)]


@both
async def test_files_of_answers_are_kept(ask: Ask) -> None:
    def writes(context: Context) -> Answer:
        return Answer("Here.", files=(File("report.md", "# Lisbon"), File("empty.md", "")))

    with serve(agent=writes) as stewrd:
        here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": MemoryStore()}
        spec = StewrdToolSpec(["documents"], conversation_id="c", **here)
        await ask(only(spec), message="Write it.")
        assert (await ask(only(spec), message="More.")).raw_output["turn"] == "continued"
        stewrd.expire()
        await ask(only(spec), message="More.")
        assert File("report.md", "# Lisbon") in stewrd.runs[-1].files
        await spec.aclose()


ODD: list[Any] = [
    [{"name": "a.txt", "content": "YWJj"}],  # it could be base64
    [{"name": "a.txt", "content": "Grüße\r\n\x00"}, {"name": "a.txt", "content": "other"}],
    [{"name": " ", "content": "x"}],
]


@both
@pytest.mark.parametrize("files", ODD)
async def test_odd_files_are_recognised(stewrd: Emulator, spec: Make, ask: Ask, files: Any) -> None:
    chat = only(spec("chat", conversation_id="c", store=MemoryStore()))
    await ask(chat, message="Hello", files=files)
    assert [file.content for file in stewrd.runs[0].files] == [file["content"] for file in files]
    assert len({file.name for file in stewrd.runs[0].files}) == len(files)
    assert (await ask(chat, message="Go on.")).raw_output["turn"] == "continued"


@both
async def test_what_a_conversation_can_not_keep(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    chat = only(spec("chat", conversation_id="c", store=MemoryStore()))
    empty = [{"name": "a.txt", "content": ""}]
    output = await ask(chat, message="Hello", files=empty)
    assert output.is_error and "'a.txt' is empty" in output.content and stewrd.requests == []
    assert not (await ask(only(spec("chat")), message="Hello", files=empty)).is_error
    broken = [{"name": "a.txt", "content": "a\ud800"}]
    assert not (await ask(chat, message="Hello", files=broken)).is_error
    assert not (await ask(chat, message="Hello")).is_error  # at worst, it is replayed


@both
async def test_a_failed_call_is_not_kept(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    chat = only(spec("chat", conversation_id="c", store=MemoryStore()))
    await ask(chat, message="My name is Ada.")
    stewrd.fail_next("hang_up", after=True)
    assert (await ask(chat, message="My pet is Rex.")).is_error
    output = await ask(chat, message="What is my pet?")
    assert output.content == "You have not told me your pet."


async def test_calls_at_once_are_all_kept_and_never_mix(stewrd: Emulator, spec: Make) -> None:
    chat = only(spec("chat", conversation_id="c", store=MemoryStore()))
    await aask(chat, message="My name is Ada.")
    facts = ("My pet is Rex.", "My colour is green.", "My city is Rome.")
    await asyncio.gather(*(aask(chat, message=fact) for fact in facts))
    for question, known in (("What is my pet?", "Rex"), ("What is my city?", "Rome")):
        assert known in (await aask(chat, message=question)).content
    assert stewrd.overlaps == []


class Failing(MemoryStore):
    at = ""

    def load(self, conversation: str) -> list[str]:
        if self.at == "load":
            raise StoreError("The store is away.")
        return super().load(conversation)

    def append(self, conversation: str, lines: Any, replace: bool = False) -> None:
        if self.at == "append":
            raise StoreError("The store is away.")
        super().append(conversation, lines, replace)


@both
async def test_an_answer_that_can_not_be_kept_is_still_given(
    stewrd: Emulator, spec: Make, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    store = Failing()
    chat = only(spec("chat", conversation_id="c", store=store))
    store.at = "append"
    assert (await ask(chat, message="My name is Ada.")).content == "Nice to meet you, Ada."
    assert "not kept" in caplog.text
    store.at = ""
    output = await ask(chat, message="Who am I?")
    assert output.content == "You have not told me your name."  # it is not in the transcript


@both
async def test_a_conversation_that_can_not_be_read_is_not_guessed(
    stewrd: Emulator, spec: Make, ask: Ask
) -> None:
    store = Failing()
    chat = only(spec("chat", conversation_id="c", store=store))
    await ask(chat, message="My name is Ada.")
    store.at = "load"
    output = await ask(chat, message="Who am I?")
    assert output.is_error and "The store is away." in output.content
    assert "charged: no" in output.content and len(stewrd.runs) == 1


@both
async def test_a_transcript_of_another_kind_is_refused(
    stewrd: Emulator, spec: Make, ask: Ask
) -> None:
    store = MemoryStore()
    kept(stewrd, "c", store=store).append(['{"type": "human", "secret": 1, "role": "pope"}'])
    output = await ask(only(spec("chat", conversation_id="c", store=store)), message="Hello")
    assert output.is_error and "a name of its own" in output.content
    assert "pope" not in output.content and stewrd.requests == []
