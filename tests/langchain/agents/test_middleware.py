"""Agents with company: summarisers, retries, sub-agents, forms, and limits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain.agents.middleware import (
    ModelCallLimitMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import ToolException, tool
from langgraph.errors import GraphRecursionError
from pydantic import BaseModel

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Answer, Call, Context, Emulator, default_agent
from stewrd_integrations.langchain import ChatStewrd

from ..conftest import heard, roads
from ..tooling import NOT_TAKING, TAKING, TOOLS, Make, charged, on, outputs, refused, said
from .desk import QUIET, agent, ainvoke, answers, asking, at, called, invoke

pytestmark = QUIET
EMPTY = {"session_tools": "empty"}
WAYS = [invoke, ainvoke]


# -- structured answers ----------------------------------------------------------------


class Weather(BaseModel):
    """The weather of a city, as it is shown to the user."""

    city: str
    degrees: int


@pytest.mark.parametrize("run", WAYS)
@pytest.mark.parametrize("form", [Weather, ToolStrategy(Weather)], ids=["schema", "strategy"])
@on(TAKING, *NOT_TAKING)
async def test_a_form_of_the_answer_beside_tools(
    stewrd: Emulator, model: ChatStewrd, run: Any, form: Any
) -> None:
    runs = agent(model, response_format=form, checkpointer=None)
    messages: list[BaseMessage] = []
    for city, degrees in (("Oslo", 20), ("Rome", 30)):
        messages.append(HumanMessage(f'get_weather of "{city}", degrees: {degrees}'))
        given = {"messages": messages}
        state = runs.invoke(given) if run is invoke else await runs.ainvoke(given)
        messages = state["messages"]
        assert state["structured_response"] == Weather(city=city, degrees=degrees)
    assert called(messages) == ["get_weather", "Weather"] * 2
    assert len(stewrd.sessions) == 1 and set(refused(stewrd)) <= {"invalid_tools"}
    if stewrd.settings.session_tools == "accepted":
        assert set(roads(stewrd)) == {"session"} and charged(stewrd) == 2
        told = [run.message for run in stewrd.runs if run.message]
        assert "Oslo" not in told[1], "the second turn says what is new and no more"


@on(
    {
        **TAKING,
        "script": (
            [Call("Weather", {"city": "Oslo", "degrees": "warm"})],
            [Call("Weather", {"city": "Oslo", "degrees": 20})],
        ),
    }
)
def test_a_wrong_form_is_told_to_the_agent(stewrd: Emulator, model: ChatStewrd) -> None:
    runs = agent(model, tools=[], response_format=ToolStrategy(Weather), checkpointer=None)
    state = runs.invoke(asking("How is it in Oslo?"))
    assert state["structured_response"].degrees == 20
    ((output,),) = outputs(stewrd)
    assert "degrees" in output["output"] and "Weather" in output["output"]
    assert len(stewrd.sessions) == 1 and charged(stewrd) == 1


# -- ends ------------------------------------------------------------------------------


@tool(return_direct=True)
def look_up(word: str) -> str:
    """Look up a word; the user is shown what was found."""
    return f"{word}: found"


@pytest.mark.parametrize("run", WAYS)
@on(TAKING, *NOT_TAKING)
async def test_a_tool_that_answers_itself(stewrd: Emulator, model: ChatStewrd, run: Any) -> None:
    runs = agent(model, tools=[look_up])
    await run(runs, asking("My name is Ada."), at())
    messages = await run(runs, asking('look_up "Oslo"'), at())
    assert messages[-1].text == "Oslo: found" and outputs(stewrd) == []
    messages = await run(runs, asking("What is my name?"), at())
    assert messages[-1].text == "Your name is Ada."
    told = said(stewrd)
    assert told.count(("tool", "Oslo: found")) == 1
    assert [text for role, text in told if role == "user"] == [
        "My name is Ada.",
        'look_up "Oslo"',
        "What is my name?",
    ]
    if stewrd.settings.session_tools == "accepted":
        assert len(outputs(stewrd)) == 1 and len(stewrd.sessions) == 1


def endless(context: Context) -> Answer:
    return Answer(calls=[Call("add_numbers", {"a": context.round, "b": 1})])


@on({**TAKING, "agent": endless}, {**TAKING, "agent": endless, "over_rounds": "compute_error"})
def test_an_agent_that_never_ends(stewrd: Emulator, model: ChatStewrd) -> None:
    runs = agent(model)
    with pytest.raises(GraphRecursionError):
        runs.invoke(asking("Go on."), {**at(conversation_id="c"), "recursion_limit": 9})
    assert len(stewrd.sessions) == 1 and charged(stewrd) == 1


@on({**TAKING, "agent": endless}, {**EMPTY, "agent": endless})
def test_a_limit_on_model_calls(stewrd: Emulator, model: ChatStewrd) -> None:
    limit = ModelCallLimitMiddleware(run_limit=3, exit_behavior="end")
    messages = agent(model, middleware=[limit]).invoke(asking("Go on."), at())["messages"]
    assert "limit" in messages[-1].text.lower()
    assert len(outputs(stewrd)) == 2 and stewrd.refused == []


@on({**TAKING, "agent": endless}, {**EMPTY, "agent": endless})
def test_more_than_ten_rounds(stewrd: Emulator, model: ChatStewrd) -> None:
    limit = ToolCallLimitMiddleware(run_limit=13, exit_behavior="end")
    messages = agent(model, middleware=[limit]).invoke(asking("Go on."), at())["messages"]
    assert len(called(messages)) >= 13
    assert stewrd.refused == [], "round eleven is told anew, and never asked for"
    assert max(run.round for run in stewrd.runs) <= 10 < len(outputs(stewrd)) + 2


# -- retries ---------------------------------------------------------------------------


@pytest.mark.parametrize("run", WAYS)
@on(TAKING, EMPTY)
async def test_retries_never_charge_twice(stewrd: Emulator, make: Make, run: Any) -> None:
    again = ModelRetryMiddleware(max_retries=3, initial_delay=0.0, on_failure="error")
    runs = agent(make(max_retries=0), middleware=[again])
    await run(runs, asking("My name is Ada."), at(conversation_id="c"))
    before = charged(stewrd)
    stewrd.fail_next("hang_up", on="send", after=True)
    with pytest.raises(StewrdError) as raised:
        await run(runs, asking("add_numbers(1, 2)"), at(conversation_id="c"))
    assert raised.value.charged == "maybe"
    assert charged(stewrd) == before + 1, "an unknown outcome is not tried again"
    messages = await run(runs, asking("What is my name?"), at(conversation_id="c"))
    assert messages[-1].text == "Your name is Ada."


@pytest.mark.parametrize("run", WAYS)
@on(TAKING)
async def test_retries_of_what_was_not_done(stewrd: Emulator, make: Make, run: Any) -> None:
    again = ModelRetryMiddleware(max_retries=3, initial_delay=0.0, on_failure="error")
    runs = agent(make(max_retries=0), middleware=[again])
    stewrd.fail_next("error", on="send", times=2, status=429, code="rate_limited")
    messages = await run(runs, asking("My name is Ada."), at(conversation_id="c"))
    assert messages[-1].text == "Nice to meet you, Ada." and charged(stewrd) == 1


@pytest.mark.parametrize("run", WAYS)
@on(TAKING, EMPTY)
async def test_outputs_of_unknown_fate_are_not_sent_twice(
    stewrd: Emulator, make: Make, run: Any
) -> None:
    again = ModelRetryMiddleware(max_retries=3, initial_delay=0.0, on_failure="error")
    runs = agent(make(max_retries=0), middleware=[again])
    config = at(conversation_id="c")
    stewrd.fail_next("hang_up", on="tool_outputs", after=True)
    with pytest.raises(StewrdError):
        await run(runs, asking("add_numbers(1, 2)"), config)
    assert len(outputs(stewrd)) == 1
    # The graph goes on where it stopped: the calls and results are told as messages.
    state = runs.invoke(None, config) if run is invoke else await runs.ainvoke(None, config)
    assert state["messages"][-1].text.endswith("3") and len(outputs(stewrd)) == 1
    assert [role for role, _ in said(stewrd)] == ["user", "assistant", "tool"]


class Flaky:
    """A tool that fails at first."""

    def __init__(self, failures: int) -> None:
        self.left = failures

        @tool
        def fetch(page: str) -> str:
            """Fetch a page."""
            self.left -= 1
            if self.left >= 0:
                raise ToolException("the page is not there")
            return f"{page} was fetched"

        self.tool = fetch


@pytest.mark.parametrize(("failures", "told"), [(1, "was fetched"), (9, "fetch")])
@on(TAKING, *NOT_TAKING)
def test_tools_that_are_tried_again(
    stewrd: Emulator, model: ChatStewrd, failures: int, told: str
) -> None:
    again = ToolRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    runs = agent(model, tools=[Flaky(failures).tool], middleware=[again])
    messages = runs.invoke(asking('fetch "a"'), at())["messages"]
    assert told in messages[-1].text
    assert len(outputs(stewrd)) == 1, "the server hears of the end only"
    ((output,),) = outputs(stewrd)
    assert ("was fetched" in output["output"]) is (failures <= 2)


# -- calls beside the conversation -----------------------------------------------------


def summing(context: Context) -> Answer | str:
    """The emulator's agent, which also knows how to summarise."""
    if "Messages to summarize" not in context.message:
        return default_agent(context)
    pets = re.findall(r"\bpet (?:is )?(\w+)", context.message)
    # Two summaries of one text would be one message that came back: no model writes them.
    return f"The user had the pet {pets[-1]}, after {len(context.message)} characters."


@pytest.mark.parametrize("run", WAYS)
@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])
@on({**TAKING, "agent": summing}, {**EMPTY, "agent": summing})
async def test_a_summary_by_the_same_model(
    stewrd: Emulator, model: ChatStewrd, run: Any, who: Any
) -> None:
    shorten = SummarizationMiddleware(model, trigger=("messages", 8), keep=("messages", 4))
    runs = agent(model, middleware=[shorten])
    for n in range(12):
        text = f"add_numbers({n}, 1)" if n % 3 == 1 else f"My pet is Rex{n}."
        messages = await run(runs, asking(text), at(**who))
        expected = str(n + 1) if n % 3 == 1 else f"Rex{n}"
        assert expected in messages[-1].text
    assert len(messages) < 12, "it was summarised"
    messages = await run(runs, asking("What is my pet?"), at(**who))
    assert messages[-1].text == "Your pet is Rex11."
    # One that is made while a tool runs is told after it.
    assert len(stewrd.sessions) == 1 and stewrd.refused == []
    summaries = [run.road for run in stewrd.runs if "Messages to summarize" in run.message]
    assert summaries and set(summaries) == {"stateless"}, "a summariser takes no slot"


@pytest.mark.parametrize("run", WAYS)
@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])
@on(TAKING, *NOT_TAKING)
async def test_a_tool_that_calls_the_same_model_on_the_same_thread(
    stewrd: Emulator, model: ChatStewrd, run: Any, who: Any
) -> None:
    @tool
    def ask_expert(question: str) -> str:
        """Ask an expert, who is the same model."""
        return model.invoke(question).text

    runs = agent(model, tools=[ask_expert, *TOOLS])
    await run(runs, asking("My name is Ada."), at(**who))
    for _ in range(3):
        messages = await run(runs, asking('ask_expert "What is my name?"'), at(**who))
        assert "You have not told me your name." in messages[-1].text, "the expert knows nothing"
    messages = await run(runs, asking("What is my name?"), at(**who))
    assert messages[-1].text == "Your name is Ada."
    assert len(stewrd.sessions) == 1 and set(refused(stewrd)) <= {"invalid_tools"}
    if stewrd.settings.session_tools == "accepted":
        assert [len(one) for one in heard(stewrd)] == [5]


@pytest.mark.parametrize("run", WAYS)
@on(TAKING, EMPTY)
async def test_a_sub_agent_on_the_same_thread(
    stewrd: Emulator, model: ChatStewrd, run: Any
) -> None:
    inner = agent(model, checkpointer=None)

    @tool
    def delegate(task: str) -> str:
        """Leave a task to another agent."""
        return str(inner.invoke(asking(task))["messages"][-1].text)

    runs = agent(model, tools=[delegate])
    await run(runs, asking("My name is Ada."), at())
    for n in range(3):
        messages = await run(runs, asking(f'delegate "add_numbers({n}, 2)"'), at())
        assert f"answered: {n + 2}" in messages[-1].text
    messages = await run(runs, asking("What is my name?"), at())
    assert answers(messages)[-1] == "Your name is Ada."
    assert len(stewrd.sessions) == 1 and stewrd.refused == []
    assert not any(isinstance(one, AIMessage) and one.invalid_tool_calls for one in messages)
