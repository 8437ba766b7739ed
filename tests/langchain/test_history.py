"""`StewrdChatMessageHistory`: the messages, the session, and how the model learns the name."""

from __future__ import annotations

import json
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_to_dict,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableFieldSpec, Runnable

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, InvalidInputError, StoreError
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory
from stewrd_integrations.langchain.stamps import without
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.testing.histories import HistorySuite, MakeHistory

from .conftest import heard
from .entrances import BATCHES, CHAINS, DIRECT, Say, ainvoke, astream, invoke, stream

Histories = Callable[..., StewrdChatMessageHistory]
Make = Callable[..., ChatStewrd]

KEY = "sk-stw_" + "s3cret" * 4
TEXTS = ["My name is Ada.", "Who am I?", "How many messages have I sent?"]
LAST = "You have sent me 3 messages, this one included."
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


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def model(make: Make, store: MemoryStore) -> ChatStewrd:
    return make(store=store)


@pytest.fixture
def history(stewrd: Emulator, store: MemoryStore) -> Histories:
    def make_history(name: Any = "c", **options: Any) -> StewrdChatMessageHistory:
        here = {"store": store, "api_key": stewrd.api_key, "base_url": stewrd.url}
        return StewrdChatMessageHistory(name, **{**here, **options})

    return make_history


def told(message: BaseMessage) -> dict[str, Any]:
    facts: dict[str, Any] = message.response_metadata["stewrd"]
    return facts


async def talk(
    model: ChatStewrd,
    history: StewrdChatMessageHistory,
    *texts: str,
    say: Say = invoke,
    **who: Any,
) -> list[BaseMessage]:
    """A conversation that is kept in the history; gives back its answers."""
    answers: list[BaseMessage] = []
    for text in texts:
        question = HumanMessage(text)
        answers.append(await say(model, [*history.messages, question], **who))
        history.add_messages([question, answers[-1]])
    return answers


# -- alone -----------------------------------------------------------------------------


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


# -- in RunnableWithMessageHistory -----------------------------------------------------


def with_history(model: Any, histories: Any, **options: Any) -> Runnable[Any, Any]:
    from langchain_core.runnables.history import RunnableWithMessageHistory

    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{question}")]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what most applications use
        return RunnableWithMessageHistory(
            prompt | model,
            histories,
            input_messages_key="question",
            history_messages_key="history",
            **options,
        )


async def by_invoke(chain: Any, text: str, config: Any) -> None:
    chain.invoke({"question": text}, config)


async def by_stream(chain: Any, text: str, config: Any) -> None:
    assert len(list(chain.stream({"question": text}, config))) > 1


async def by_ainvoke(chain: Any, text: str, config: Any) -> None:
    await chain.ainvoke({"question": text}, config)


async def by_astream(chain: Any, text: str, config: Any) -> None:
    assert len([chunk async for chunk in chain.astream({"question": text}, config)]) > 1


WAYS = [by_invoke, by_stream, by_ainvoke, by_astream]


@pytest.mark.parametrize("way", WAYS)
async def test_a_chain_with_it(
    stewrd: Emulator, model: ChatStewrd, history: Histories, way: Any
) -> None:
    chain = with_history(model, history)
    for text in TEXTS:
        await way(chain, text, {"configurable": {"session_id": "s"}})
    await way(chain, "Who am I?", {"configurable": {"session_id": "other"}})
    assert heard(stewrd) == [TEXTS, ["Who am I?"]]
    assert [run.road for run in stewrd.runs] == ["session"] * 4
    messages = history("s").messages
    assert [message.type for message in messages] == ["human", "ai"] * 3
    assert messages[-1].text == LAST and type(messages[-1]) is AIMessage
    session = history("s").session
    assert session and (session.messages_used, session.generation) == (6, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_chain_whose_histories_have_names_and_tenants_of_their_own(
    stewrd: Emulator, model: ChatStewrd, history: Histories, way: Any
) -> None:
    def of(user: str, chat: str) -> StewrdChatMessageHistory:
        return history(f"chat/{chat}", tenant=user)

    keys = [
        ConfigurableFieldSpec(id=name, annotation=str, default="", is_shared=True)
        for name in ("user", "chat")
    ]
    chain = with_history(model, of, history_factory_config=keys)
    for user, text in (("a", TEXTS[0]), ("b", TEXTS[1]), ("a", TEXTS[1]), ("b", "Thanks")):
        await way(chain, text, {"configurable": {"user": user, "chat": "1"}})
    # Also the first turns, which show no message of a history yet, had their names.
    assert heard(stewrd) == [TEXTS[:2], [TEXTS[1], "Thanks"]]
    assert [of("a", "1").messages[-1].text, of("b", "1").messages[1].text] == [
        "Your name is Ada.",
        "You have not told me your name.",
    ]
    assert of("a", "1").session and of("b", "1").session and history("chat/1").session is None


def test_the_history_counts_more_than_the_session_id_it_was_made_of(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    chain = with_history(model, lambda session_id: history(f"chat/{session_id}"))
    for text in TEXTS[:2]:
        chain.invoke({"question": text}, {"configurable": {"session_id": "s"}})
    assert heard(stewrd) == [TEXTS[:2]]
    assert history("s").session is None and history("chat/s").session is not None


def test_a_name_in_the_config_counts_more_than_the_history(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    chain = with_history(model, history)
    config: Any = {"configurable": {"session_id": "s", "conversation_id": "c"}}
    for text in TEXTS[:2]:
        chain.invoke({"question": text}, config)
    assert heard(stewrd) == [TEXTS[:2]]
    assert history("s").session is None and history("c").session is not None
    assert len(history("s").messages) == 4


def test_a_chain_for_another_tenant_is_told(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    chain = with_history(model, history)  # two tenants would share its histories
    config: Any = {"configurable": {"session_id": "s", "tenant": "t"}}
    chain.invoke({"question": "My name is Ada."}, config)
    with pytest.raises(InvalidInputError, match="another tenant"):
        chain.invoke({"question": "Who am I?"}, config)
    assert len(stewrd.runs) == 1


# -- which name counts -----------------------------------------------------------------


@pytest.mark.parametrize("say", [invoke, ainvoke, stream, astream])
async def test_precedence(
    stewrd: Emulator, make: Make, store: MemoryStore, history: Histories, say: Say
) -> None:
    model, kept = make(store=store, conversation_id="constructor"), history("stamp")
    kept.add_user_message("Hi")
    shown, at = kept.messages, {"configurable": {"conversation_id": "configurable"}}
    names = ("stamp", "configurable", "keyword", "constructor")

    def named() -> list[str]:
        return [name for name in names if history(name).session is not None]

    await say(model, shown)
    assert named() == ["stamp"]
    await say(model, shown, at)
    assert named() == ["stamp", "configurable"]
    await say(model, shown, at, conversation_id="keyword")
    assert named() == ["stamp", "configurable", "keyword"]
    await say(model, [HumanMessage("Hi")])
    assert named() == list(names)


async def test_a_list_of_two_conversations_is_neither(
    stewrd: Emulator, make: Make, store: MemoryStore, history: Histories
) -> None:
    model = make(store=store, conversation_id="constructor")
    ada, bo = history("ada"), history("bo")
    for kept, text in ((ada, "My name is Ada."), (bo, "My pet is Rex.")):
        kept.add_user_message(text)
        kept.add_message(model.invoke(kept.messages))
    both = [*ada.messages, *bo.messages, HumanMessage("What is my pet?")]
    answer = model.invoke(both)
    assert answer.text == "Your pet is Rex."
    assert told(answer)["road"] == "stateless" and "unnamed" in told(answer)["reason"]
    assert [text for _, text in both_texts(stewrd)] == [message.text for message in both]
    again = model.invoke([*both, answer, HumanMessage("Who am I?")])
    assert again.text == "Your name is Ada." and told(again)["session_id"] not in {
        kept.session.session_id for kept in (ada, bo) if kept.session
    }
    for kept in (ada, bo):
        kept.add_user_message("Hello")
        assert told(model.invoke(kept.messages))["turn"] == "continued"
    # A name that the call gives is the name all the same.
    model.invoke(both, conversation_id="both")
    assert history("both").session is not None and history("constructor").session is None


def both_texts(stewrd: Emulator) -> list[tuple[str, str]]:
    return [(said.role, said.text) for said in stewrd.runs[-1].conversation.messages]


@pytest.mark.parametrize(("of_history", "of_call"), [("a", "b"), (None, "b"), ("7", "8")])
@pytest.mark.parametrize("place", ["constructor", "configurable", "keyword"])
def test_another_tenant_is_refused(
    stewrd: Emulator, make: Make, history: Histories, of_history: Any, of_call: str, place: str
) -> None:
    kept = history(tenant=of_history)
    kept.add_user_message("Hi")
    options: Any = {"tenant": of_call}
    model = make(**options) if place == "constructor" else make()
    config: Any = {"configurable": options} if place == "configurable" else None
    with pytest.raises(InvalidInputError, match="tenant") as caught:
        model.invoke(kept.messages, config, **(options if place == "keyword" else {}))
    assert repr(of_history) in str(caught.value) and repr(of_call) in str(caught.value)
    assert stewrd.requests == []


def test_the_same_tenant_in_another_form_is_the_same(make: Make, history: Histories) -> None:
    kept = history(tenant=7)
    kept.add_user_message("Hi")
    make(tenant="7").invoke(kept.messages, tenant=7)


@pytest.mark.parametrize("other", ["b", None])
def test_messages_of_two_tenants_are_refused(
    stewrd: Emulator, model: ChatStewrd, history: Histories, other: str | None
) -> None:
    shown = []
    for tenant in ("a", other):
        kept = history(tenant=tenant)
        kept.add_user_message("Hi")
        shown += kept.messages
    calls: list[Any] = [{}, {"conversation_id": "x"}, {"tenant": "a"}]
    for who in calls:
        with pytest.raises(InvalidInputError, match="tenant"):
            model.invoke(shown, **who)
    assert stewrd.requests == []


# -- stamps that are not true ----------------------------------------------------------


def forged(history: StewrdChatMessageHistory, **changes: Any) -> list[BaseMessage]:
    history.add_user_message("Hi")
    (message,) = history.messages
    stamp = {**message.additional_kwargs["stewrd"]["conversation"], **changes}
    return [HumanMessage("Hi", additional_kwargs={"stewrd": {"conversation": stamp}})]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "victim"},
        {"tenant": "victim"},
        {"seal": "0" * 32},
        {"seal": ""},
        {"seal": "\ud800ü"},
        {"seal": None},
        {"name": 5},
        {"tenant": ["t"]},
    ],
    ids=str,
)
async def test_a_stamp_from_elsewhere_is_ignored(
    stewrd: Emulator, model: ChatStewrd, history: Histories, changes: Any
) -> None:
    kept = history(tenant="t")
    shown = forged(kept, **changes)
    for say in (invoke, ainvoke, stream, astream):
        await say(model, shown)
    model.invoke(shown, tenant="other")
    for name, tenant in (("c", "t"), ("victim", "t"), ("c", "victim"), ("c", None)):
        assert history(name, tenant=tenant).session is None


def test_a_stamp_of_another_project_is_ignored(
    stewrd: Emulator, model: ChatStewrd, history: Histories
) -> None:
    other = history(api_key="sk-stw_other")
    other.add_user_message("Hi")
    assert other.messages[0].additional_kwargs["stewrd"]["conversation"]["name"] == "c"
    model.invoke(other.messages)
    assert other.session is None and history().session is None


@pytest.mark.parametrize("ours", [None, "x", [], {"conversation": "c"}, {"conversation": {}}])
def test_what_only_looks_like_a_stamp(model: ChatStewrd, ours: Any) -> None:
    assert model.invoke([HumanMessage("Hi", additional_kwargs={"stewrd": ours})]).text


# -- where stamps do not go ------------------------------------------------------------


class Traces(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        shown = [messages_to_dict(some) for some in messages]
        self.seen.append(json.dumps([serialized, shown, kwargs], default=str))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.seen.append(response.model_dump_json())


@pytest.mark.parametrize("say", [*DIRECT, *BATCHES])
async def test_stamps_are_seen_by_nobody(
    stewrd: Emulator, model: ChatStewrd, history: Histories, store: MemoryStore, say: Say
) -> None:
    kept, traces = history("n4me", tenant="t3nant"), Traces()
    for text in TEXTS[:2]:
        kept.add_user_message(text)
        answer = await say(model, kept.messages, {"callbacks": [traces]})
        kept.add_message(answer)
    seal = kept.messages[0].additional_kwargs["stewrd"]["conversation"]["seal"]
    lines = [line for lines, _ in store._transcripts.values() for line in lines]
    assert len(lines) == 4 and len(traces.seen) >= 2
    bodies = [json.dumps(request.body) for request in stewrd.requests]
    for text in (*traces.seen, *lines, *bodies, answer.model_dump_json()):
        assert seal not in text and "n4me" not in text and "t3nant" not in text
    assert stewrd.runs[-1].message == TEXTS[1]


def test_stamps_are_not_stored(history: Histories, store: MemoryStore) -> None:
    kept, copied = history(), history("copied")
    kept.add_user_message("Hi")
    copied.add_messages(kept.messages)
    copied.messages = [*kept.messages, *copied.messages]
    lines = [line for lines, _ in store._transcripts.values() for line in lines]
    assert len(lines) == 3 and not [line for line in lines if "seal" in line]
    stamps = [m.additional_kwargs["stewrd"]["conversation"]["name"] for m in copied.messages]
    assert stamps == ["copied", "copied"]


def test_a_stamp_leaves_the_rest_alone(history: Histories) -> None:
    kept = history()
    extra = {"stewrd": {"mark": "0" * 32}, "theirs": 1}
    kept.add_messages([AIMessage("Hi", additional_kwargs=extra), HumanMessage("Hi")])
    read = kept.messages
    assert read[0].additional_kwargs["stewrd"]["mark"] == "0" * 32
    assert [without(message).additional_kwargs for message in read] == [extra, {}]
    assert without(read[0]) is not read[0] and without(HumanMessage("Hi")).additional_kwargs == {}


# -- the transcript --------------------------------------------------------------------


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


# -- clear -----------------------------------------------------------------------------


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
