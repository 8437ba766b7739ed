"""What a run costs, and how long its texts are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, ToolException

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, CreditLimitError
from stewrd_integrations.langchain import ChatStewrd, StewrdTool, StewrdToolkit
from stewrd_integrations.langchain.credits import get_credits_callback
from tests.servers import serve

from .talks import until
from .tooling import add_numbers


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve() as running:
        yield running


@pytest.fixture
async def model(emulator: Emulator) -> AsyncIterator[ChatStewrd]:
    model = ChatStewrd(
        api_key=emulator.api_key, base_url=emulator.url, capabilities=["chat", "data"]
    )
    yield model
    await model.aclose()


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


def test_what_was_spent_stays_spent_when_an_option_is_changed(emulator: Emulator) -> None:
    model = ChatStewrd(
        api_key=emulator.api_key, base_url=emulator.url, capabilities=["chat"], max_credits=1
    )
    model.invoke("one")
    model.timeout = 30
    model.idle_timeout = 60
    with pytest.raises(CreditLimitError, match="1 of max_credits=1"):
        model.invoke("two")
    model.max_credits = 2
    model.invoke("two")
    with pytest.raises(CreditLimitError, match="2 of max_credits=2"):
        model.invoke("three")
    assert len(emulator.runs) == 2


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


# -- tools, streams that are left, and caches ------------------------------------------


def calls_of(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "args": {"message": "What is SQLite?"}, "id": "1", "type": "tool_call"}]


class Caller(GenericFakeChatModel):
    """Another provider's model, which calls the tool and is content."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def other_agent(tools: Sequence[BaseTool]) -> Any:
    answers = [AIMessage("", tool_calls=calls_of(tools[0].name)), AIMessage("Fine.")]
    return create_agent(Caller(messages=iter(answers)), tools)


async def test_tools_of_another_models_agent_count(emulator: Emulator) -> None:
    toolkit = StewrdToolkit(["research"], api_key=emulator.api_key, base_url=emulator.url)
    shown = {"messages": [("user", "Ask.")]}
    with get_credits_callback() as spent:
        other_agent(toolkit.get_tools()).invoke(shown)
        await other_agent(toolkit.get_tools()).ainvoke(shown)
        (tool,) = toolkit.get_tools()
        tool.invoke({"message": "What is SQLite?"})  # by hand: nobody gets the artifact
    assert (spent.answers, spent.credits) == (3, 9) == (3, 1000 - emulator.credits)
    await toolkit.aclose()


@pytest.mark.parametrize("handled", [True, False])
async def test_tools_whose_charge_is_unknown_count_as_failures(
    emulator: Emulator, handled: bool
) -> None:
    tool = StewrdTool(
        ["chat"],
        api_key=emulator.api_key,
        base_url=emulator.url,
        max_retries=0,
        handle_tool_error=handled,
    )
    with get_credits_callback() as spent, suppress(ToolException):
        for told in (1, 2):
            emulator.fail_next("hang_up", on="agent")
            with suppress(ToolException):
                tool.invoke({"message": "Hi"}) if told == 1 else await tool.ainvoke(
                    {"message": "Hi"}
                )
            assert spent.failures == told
        emulator.fail_next("error", status=401, code="invalid_api_key", on="agent")
        tool.invoke({"message": "Hi"})
    assert (spent.answers, spent.failures) == (0, 2)
    await tool.aclose()


async def test_a_stream_that_is_left_may_have_been_charged(model: ChatStewrd) -> None:
    with get_credits_callback() as spent:
        chunks = model.stream("one")
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]  # core's annotation is an iterator
        assert spent.failures == 1
        async with aclosing(model.astream("two")) as achunks:  # type: ignore[type-var]  # as above
            await anext(achunks)
        assert spent.failures == 2
        unread = model.stream("three")
        unread.close()  # type: ignore[attr-defined]  # as above
    assert (spent.answers, spent.failures) == (0, 2)
    assert "2 failures that may have been charged" in repr(spent)


async def test_a_call_that_is_cancelled_may_have_been_charged(
    emulator: Emulator, model: ChatStewrd
) -> None:
    emulator.fail_next("slow", on="agent", seconds=30)
    with get_credits_callback() as spent:
        asked = asyncio.create_task(model.ainvoke("one", sessions="never"))
        await until(lambda: emulator.requests)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert spent.failures == 1


def test_what_other_models_leave_is_not_counted() -> None:
    other = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))
    with get_credits_callback() as spent:
        chunks = other.stream("Hi")
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]  # as above
    assert spent.failures == 0


async def test_answers_of_a_cache_cost_nothing(emulator: Emulator) -> None:
    cached = ChatStewrd(
        api_key=emulator.api_key,
        base_url=emulator.url,
        capabilities=["chat"],
        cache=InMemoryCache(),
    )
    with get_credits_callback() as spent:
        cached.invoke("Hi")
        cached.invoke("Hi")
        await cached.ainvoke("Hi")
    assert (spent.answers, spent.credits) == (1, 1) == (1, 1000 - emulator.credits)
    with get_credits_callback() as later:
        cached.invoke("Hi")
    assert (later.answers, later.credits) == (0, 0)
    await cached.aclose()


# -- attempts of a turn that were charged ----------------------------------------------


@pytest.mark.parametrize("session_tools", ["empty", "refused", "accepted"])
async def test_an_attempt_that_a_session_left_unanswered_counts(session_tools: Any) -> None:
    with serve(session_tools=session_tools) as emulator:
        model = ChatStewrd(api_key=emulator.api_key, base_url=emulator.url)
        with get_credits_callback() as spent:
            bound = model.bind_tools([add_numbers])
            answer = bound.invoke("add_numbers(1, 2)", conversation_id="one")
            await bound.ainvoke("add_numbers(1, 2)", conversation_id="two")
            list(bound.stream("add_numbers(1, 2)", conversation_id="three"))
        really = 1000 - emulator.credits
        usage = answer.response_metadata["stewrd"]["usage"]
        assert usage["credits"] == (2 if session_tools == "empty" else 1)
        assert usage["estimated"] is (session_tools == "empty")
        assert answer.response_metadata["usage"] == usage
        assert spent.credits == really
        await model.aclose()


def test_a_failure_after_a_charged_attempt_says_so() -> None:
    with serve(session_tools="empty") as emulator:
        model = ChatStewrd(api_key=emulator.api_key, base_url=emulator.url)
        emulator.fail_next("error", status=402, code="insufficient_credits", on="agent")
        with get_credits_callback() as spent, pytest.raises(StewrdError) as caught:
            model.bind_tools([add_numbers]).invoke("add_numbers(1, 2)", conversation_id="one")
        assert caught.value.status == 402 and 1000 - emulator.credits == 1
        assert caught.value.charged == "likely" and spent.failures == 1
        model.close()
