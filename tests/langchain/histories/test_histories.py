"""`StewrdChatMessageHistory`: the messages, the session, and how both are forgotten."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, InvalidInputError, StoreError
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory
from stewrd_integrations.langchain.stamps import without
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.testing.histories import HistorySuite, MakeHistory

from ..conftest import heard
from ..entrances import BATCHES, CHAINS, DIRECT, Say
from .talking import LAST, TEXTS, Histories, talk, told

Make = Callable[..., ChatStewrd]
KEY = "sk-stw_" + "s3cret" * 4
BETA = "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"

pytestmark = [
    pytest.mark.filterwarnings(BETA),
    pytest.mark.filterwarnings("ignore:.*version='v1' is deprecated"),
]


class TestSuite(HistorySuite):
    @pytest.fixture
    def make(self) -> MakeHistory:
        store = MemoryStore()

        def make_history(name: str, tenant: str | None = None) -> StewrdChatMessageHistory:
            return StewrdChatMessageHistory(name, tenant=tenant, store=store, api_key=KEY)

        return make_history

    def as_added(self, message: BaseMessage) -> BaseMessage:
        return without(message)


class TestSuiteOnSQLite(TestSuite):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[MakeHistory]:
        store = SQLiteStore(tmp_path / "conversations.db", encryption_key=Fernet.generate_key())

        def make_history(name: str, tenant: str | None = None) -> StewrdChatMessageHistory:
            return StewrdChatMessageHistory(name, tenant=tenant, store=store, api_key=KEY)

        yield make_history
        store.close()


# -- alone ---------------------------------------------------------------------------


@pytest.mark.parametrize("say", [*DIRECT, *BATCHES, *CHAINS])
async def test_its_messages_name_the_conversation(
    stewrd: Emulator, model: ChatStewrd, history: Histories, say: Say
) -> None:
    kept = history(tenant="t")
    for text in TEXTS:
        kept.add_user_message(text)
        answer = await say(model, kept.messages)
        kept.add_message(answer)
        assert told(answer)["session_id"] is not None
    assert heard(stewrd) == [TEXTS] and kept.messages[-1].text == LAST
    session = kept.session
    assert session is not None and await kept.aget_session() == session
    assert [session.session_id] == list(stewrd.sessions)
    assert (session.messages_used, session.messages_left, session.generation) == (6, 44, 1)
    # Under its name and tenant, and under no other.
    for other in (history(), history(tenant="u"), history("d", tenant="t")):
        assert other.session is None and other.messages == []


async def test_the_new_message_need_not_be_in_it(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    answers = await talk(model, history(), *TEXTS)
    assert answers[-1].text == LAST
    # The first message came without a name, so the second turn begins anew under it.
    assert [told(answer)["turn"] for answer in answers] == ["opened", "replayed", "continued"]


def test_a_list_of_dicts_keeps_its_name(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    kept = history()
    kept.add_user_message("Hi")
    (message,) = kept.messages
    model.invoke([{"role": "user", "content": "Hi", **_extra(message)}])
    assert kept.session is not None


def _extra(message: BaseMessage) -> dict[str, Any]:
    return {"additional_kwargs": message.additional_kwargs}


def test_generate_reads_stamps_too(model: ChatStewrd, history: Histories) -> None:
    kept = history()
    kept.add_user_message("Hi")
    model.generate([kept.messages])
    assert kept.session is not None


def test_explain_reads_stamps_too(model: ChatStewrd, history: Histories) -> None:
    kept = history()
    for text in ("My name is Ada.", "Who am I?"):
        kept.add_user_message(text)
        plan = model.explain(kept.messages)
        kept.add_message(model.invoke(kept.messages))
    assert plan.turn == "continued" and plan.text == "Who am I?"


# -- the transcript ------------------------------------------------------------------


async def test_assigned_messages_replace_all(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    kept = history()
    await talk(model, kept, *TEXTS, conversation_id="c")
    kept.messages = [HumanMessage("My name is Bo."), *kept.messages[1:]]
    (answer,) = await talk(model, kept, "Who am I?")
    assert answer.text == "Your name is Bo." and told(answer)["turn"] == "replayed"
    kept.messages = kept.messages[-4:]
    assert kept.messages[0].text == TEXTS[2] and len(kept.messages) == 4
    (answer,) = await talk(model, kept, "What is my name?")
    assert answer.text == "Your name is Bo." and told(answer)["turn"] == "continued"


def test_what_can_not_be_kept_is_named_and_nothing_is(history: Histories) -> None:
    kept = history()
    kept.add_user_message("Hi")
    odd: list[BaseMessage] = [
        ToolMessage("x", tool_call_id="1", artifact=object()),
        HumanMessage("x", additional_kwargs={"raw": b"bytes"}),
    ]
    for message in odd:
        with pytest.raises(InvalidInputError, match=r"Message 2 .*no JSON"):
            kept.add_messages([HumanMessage("1"), message])
    assert [message.text for message in kept.messages] == ["Hi"]


async def test_lines_that_are_no_messages(store: MemoryStore, history: Histories) -> None:
    kept = history()
    kept.add_user_message("Hi")
    (name,) = store._transcripts
    for line in ("{secret", "null", "[]", '{"type": "secret", "data": {}}', '{"type": "ai"}'):
        store.append(name, [line], replace=True)
        with pytest.raises(StoreError, match="not a message") as caught:
            _ = kept.messages
        link: BaseException | None = caught.value
        while link is not None:
            assert "secret" not in str(link)
            link = link.__cause__ or link.__context__
        with pytest.raises(StoreError):
            await kept.aget_messages()
        await kept.aclear()
        assert kept.messages == []


def test_one_store_for_all_of_a_process(make: Make, stewrd: Emulator, request: Any) -> None:
    def kept() -> StewrdChatMessageHistory:
        key = {"api_key": stewrd.api_key, "base_url": stewrd.url}
        return StewrdChatMessageHistory(request.node.name, **key)

    kept().add_user_message("Hi")
    kept().add_message(make().invoke(kept().messages))
    assert len(kept().messages) == 2 and kept().session is not None
    kept().clear()
    assert kept().messages == []


def test_the_key_and_the_store_come_from_the_environment(
    stewrd: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", stewrd.api_key)
    monkeypatch.setenv("STEWRD_BASE_URL", stewrd.url)
    StewrdChatMessageHistory("env").add_user_message("Hi")
    other = StewrdChatMessageHistory("env", api_key=stewrd.api_key, base_url=stewrd.url)
    assert len(other.messages) == 1
    other.clear()
    monkeypatch.setenv("STEWRD_STORE", "carrier-pigeon://")
    with pytest.raises(ConfigurationError, match="store"):
        StewrdChatMessageHistory("env")


@pytest.mark.parametrize("name", [None, "", " ", True, ["c"]])
def test_a_history_needs_a_name(history: Histories, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="conversation_id"):
        history(name)


def test_the_key_does_not_show() -> None:
    kept = StewrdChatMessageHistory("c", tenant="t", api_key=KEY, store=MemoryStore())
    assert repr(kept) == "StewrdChatMessageHistory('c', tenant='t')"
    kept.add_messages([HumanMessage("Hi"), AIMessage("Hello")])
    assert str(kept) == "Human: Hi\nAI: Hello"
    assert (kept.conversation_id, kept.tenant) == ("c", "t")
    with pytest.raises(ConfigurationError) as caught:
        StewrdChatMessageHistory("c", api_key=KEY + "\n\0")
    for frame, _ in traceback.walk_tb(caught.tb):
        if "stewrd_integrations" in frame.f_code.co_filename:
            assert KEY not in repr(frame.f_locals)


# -- clear ---------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_clear_forgets_the_session_too(
    stewrd: Emulator, model: ChatStewrd, history: Histories, store: MemoryStore, colour: str
) -> None:
    kept = history(tenant="t")
    await talk(model, kept, "My name is Ada.", "My pet is Rex.")
    kept.add_messages([SystemMessage("Be kind."), HumanMessage([{"type": "image", "url": "x:y"}])])
    old = kept.messages[:4]
    await kept.aclear() if colour == "async" else kept.clear()
    assert kept.messages == [] and kept.session is None
    assert store.inventory().bindings == ()
    assert stewrd.active_sessions == 2  # nobody can delete one

    kept.add_user_message("Who am I?")
    answer = model.invoke(kept.messages)
    assert answer.text == "You have not told me your name."
    replayed = model.invoke([*old, HumanMessage("Who am I?")])
    assert replayed.text == "Your name is Ada." and told(replayed)["turn"] != "continued"


async def test_clear_spares_the_other_tenant(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    mine, theirs = history(tenant="a"), history(tenant="b")
    for kept in (mine, theirs):
        await talk(model, kept, "My name is Ada.", "Hello")
    mine.clear()
    (answer,) = await talk(model, theirs, "Who am I?")
    assert answer.text == "Your name is Ada." and told(answer)["turn"] == "continued"


def test_no_other_warning_than_that_of_the_wrapper() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StewrdChatMessageHistory("c", api_key=KEY, store=MemoryStore())
