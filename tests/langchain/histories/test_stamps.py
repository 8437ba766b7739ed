"""How the model learns from messages which conversation they are of, and whom it believes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    messages_to_dict,
)

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory
from stewrd_integrations.langchain.stamps import without
from stewrd_integrations.stores import MemoryStore

from ..entrances import BATCHES, DIRECT, Say, ainvoke, astream, invoke, stream
from .talking import TEXTS, Histories, told

Make = Callable[..., ChatStewrd]
KEY = "sk-stw_" + "s3cret" * 4
BETA = "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"

pytestmark = [
    pytest.mark.filterwarnings(BETA),
    pytest.mark.filterwarnings("ignore:.*version='v1' is deprecated"),
]


# -- which name counts ---------------------------------------------------------------


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


# -- stamps that are not true --------------------------------------------------------


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


# -- where stamps do not go ----------------------------------------------------------


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
