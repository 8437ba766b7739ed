"""What a run costs, and how long its texts are."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.runnables import RunnableLambda

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, CreditLimitError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.langchain.credits import get_credits_callback


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def model(emulator: Emulator) -> ChatStewrd:
    return ChatStewrd(
        api_key=emulator.api_key, base_url=emulator.url, capabilities=["chat", "data"]
    )


async def test_credits_are_summed_over_a_run(emulator: Emulator, model: ChatStewrd) -> None:
    before = emulator.credits

    def ask(text: str) -> list[tuple[str, str]]:
        return [("user", text)]

    chain = RunnableLambda(ask) | model
    with get_credits_callback() as spent:
        chain.invoke("one")
        await chain.ainvoke("two")
        list(chain.stream("three"))
        _ = [chunk async for chunk in chain.astream("four")]
        chain.batch(["five", "six"])
    chain.invoke("seven")
    assert spent.answers == 6
    assert spent.credits == 12 == before - emulator.credits - 2
    assert spent.estimated == 4, "streams of the live shape do not tell"
    assert spent.tokens > 0
    assert repr(spent).startswith(
        "CreditsCallbackHandler(6 answers, 12 credits, 4 of them estimated, "
    )


def test_unknown_costs_and_failures_are_told_apart(emulator: Emulator, model: ChatStewrd) -> None:
    plain = ChatStewrd(api_key=emulator.api_key, base_url=emulator.url, max_retries=0)
    with get_credits_callback() as spent:
        list(plain.stream("one"))
        emulator.fail_next("hang_up", on="agent")
        with pytest.raises(StewrdError):
            plain.invoke("two", sessions="never")
        with pytest.raises(StewrdError):
            model.invoke("three", temperature=1)
    assert (spent.unknown, spent.failures) == (1, 1)
    assert "1 of unknown cost" in repr(spent)


def test_an_inner_run_counts_for_itself(model: ChatStewrd) -> None:
    with get_credits_callback() as outer:
        model.invoke("one")
        with get_credits_callback() as inner:
            model.invoke("two")
    assert (outer.answers, inner.answers) == (1, 1)


def test_max_credits_is_an_error_of_both_families(emulator: Emulator) -> None:
    model = ChatStewrd(
        api_key=emulator.api_key, base_url=emulator.url, capabilities=["chat"], max_credits=1
    )
    model.invoke("one")
    with pytest.raises(CreditLimitError, match="max_credits=1"):
        model.invoke("two")


def test_tokens_are_counted_without_transformers(
    model: ChatStewrd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert model.get_num_tokens("a" * 40) == 11  # with what a role takes
    messages = [SystemMessage("s" * 40), HumanMessage("h" * 400), AIMessage("a" * 40)]
    assert 120 < model.get_num_tokens_from_messages(messages) < 150
    left = trim_messages(
        [*messages, HumanMessage("last")], max_tokens=60, token_counter=model, include_system=True
    )
    assert [message.type for message in left] == ["system", "ai", "human"]
    with pytest.raises(ConfigurationError, match="get_num_tokens"):
        model.get_token_ids("text")


def test_a_tokenizer_of_ones_own_is_used(model: ChatStewrd) -> None:
    counted = model.model_copy(update={"custom_get_token_ids": lambda text: [1] * len(text)})
    assert counted.get_num_tokens("abc") == 3
    assert counted.get_token_ids("abc") == [1, 1, 1]
    assert counted.get_num_tokens_from_messages([HumanMessage("abc")]) >= 3
