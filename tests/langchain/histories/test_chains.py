"""Histories in `RunnableWithMessageHistory`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableFieldSpec, Runnable

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory

from ..conftest import heard
from .talking import LAST, TEXTS, Histories

Make = Callable[..., ChatStewrd]
KEY = "sk-stw_" + "s3cret" * 4
BETA = "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"

pytestmark = [
    pytest.mark.filterwarnings(BETA),
    pytest.mark.filterwarnings("ignore:.*version='v1' is deprecated"),
]


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
