"""Tools that remember."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator, File
from stewrd_integrations.errors import StoreError
from stewrd_integrations.langchain import StewrdChatMessageHistory, StewrdToolkit
from stewrd_integrations.stores import MemoryStore

from ..conftest import heard
from .asking import EXAMPLE, Ask, Make, aask, both


@both
async def test_a_conversation_of_its_own(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    store = MemoryStore()
    for text in ("My name is Ada.", "Who am I?", "How many messages have I sent?"):
        # A new object each time, as a service makes them.
        answer = await ask(tool("chat", conversation_id="c", tenant="t", store=store), text)
    assert answer.content == "You have sent me 3 messages, this one included."
    assert answer.artifact["turn"] == "continued" and len(stewrd.sessions) == 1
    kept = history(stewrd, "c", tenant="t", store=store)
    assert [message.text for message in kept.messages[::2]] == heard(stewrd)[0]
    assert kept.session and kept.session.session_id == answer.artifact["session_id"]
    for other in ({"conversation_id": "d"}, {"conversation_id": "c"}):
        alien = await ask(tool("chat", store=store, **other), "Who am I?")
        assert alien.content == "You have not told me your name."


def history(stewrd: Emulator, name: str, **options: Any) -> StewrdChatMessageHistory:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, **options}
    return StewrdChatMessageHistory(name, **here)


@both
@pytest.mark.parametrize("how", ["advance", "expire"])
async def test_a_conversation_survives_its_session(
    stewrd: Emulator, tool: Make, ask: Ask, how: str
) -> None:
    chat = tool("chat", conversation_id="c", store=MemoryStore())

    def end() -> None:
        stewrd.advance(1_900) if how == "advance" else stewrd.expire()

    await ask(chat, "My name is Ada.")
    end()
    answer = await ask(chat, "Who am I?")
    assert answer.content == "Your name is Ada." and answer.artifact["turn"] == "recreated"
    again = await ask(chat, **EXAMPLE)
    assert again.artifact["turn"] == "continued" and stewrd.active_sessions == 1
    end()
    await ask(chat, "What is my name?")
    assert stewrd.runs[-1].files == (File("a.csv", "x,y\n1,2\n"),)  # it is sent again


@both
async def test_the_tools_of_a_kit_share_their_conversation(stewrd: Emulator, ask: Ask) -> None:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": MemoryStore()}
    toolkit = StewrdToolkit(["research", "documents"], conversation_id="c", **here)
    research, documents = toolkit.get_tools()
    await ask(research, "My name is Ada.")
    assert (await ask(documents, "Who am I?")).content == "Your name is Ada."
    assert len(stewrd.sessions) == 1
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("documents",)]
    await toolkit.aclose()


@both
async def test_a_failed_call_is_not_kept(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    chat = tool("chat", conversation_id="c", store=MemoryStore())
    await ask(chat, "My name is Ada.")
    stewrd.fail_next("hang_up", after=True)
    assert (await ask(chat, "My pet is Rex.")).status == "error"
    answer = await ask(chat, "What is my pet?")
    assert answer.content == "You have not told me your pet."
    assert [text for _, text in stewrd.heard(answer.artifact["session_id"])][-1] == answer.content


async def test_calls_at_once_are_all_kept_and_never_mix(stewrd: Emulator, tool: Make) -> None:
    chat = tool("chat", conversation_id="c", store=MemoryStore())
    await aask(chat, "My name is Ada.")
    facts = ("My pet is Rex.", "My colour is green.", "My city is Rome.")
    await asyncio.gather(*(aask(chat, fact) for fact in facts))
    for question, known in (("What is my pet?", "Rex"), ("What is my city?", "Rome")):
        assert known in str((await aask(chat, question)).content)
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
    stewrd: Emulator, tool: Make, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    store = Failing()
    chat = tool("chat", conversation_id="c", store=store)
    store.at = "append"
    assert (await ask(chat, "My name is Ada.")).content == "Nice to meet you, Ada."
    assert "not kept" in caplog.text
    store.at = ""
    answer = await ask(chat, "Who am I?")
    assert answer.content == "You have not told me your name."  # it is not in the transcript


@both
async def test_a_conversation_that_can_not_be_read_is_not_guessed(
    stewrd: Emulator, tool: Make, ask: Ask
) -> None:
    store = Failing()
    chat = tool("chat", conversation_id="c", store=store)
    await ask(chat, "My name is Ada.")
    store.at = "load"
    answer = await ask(chat, "Who am I?")
    assert answer.status == "error" and "The store is away." in str(answer.content)
    assert "charged: no" in str(answer.content) and len(stewrd.runs) == 1
