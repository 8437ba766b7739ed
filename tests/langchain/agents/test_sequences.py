"""Agents that work on one list one after the other: what the next is shown ends in an answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from stewrd_integrations.emulator import Context, Emulator
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.sessions.call import GO_ON, WHY_ALONE
from tests.servers import serve

from ..conftest import heard, roads
from ..tooling import TAKING, TOOLS, Make, add_numbers, on, said
from .desk import QUIET, asking, at

pytestmark = QUIET


def pair(model: ChatStewrd, **critics: Any) -> Any:
    """A poet and a critic, who sees what the poet wrote."""
    poet = create_agent(model, [], system_prompt="You are the poet.", name="poet")
    critic = create_agent(
        model, critics.get("tools", []), system_prompt="You are the critic.", name="critic"
    )
    built = StateGraph(MessagesState).add_node("poet", poet).add_node("critic", critic)
    built.add_edge(START, "poet").add_edge("poet", "critic")
    return built.compile(checkpointer=InMemorySaver())


def roles(stewrd: Emulator, run: int = -1) -> list[tuple[str, str]]:
    """Who said what, as the agent read it at one of its answers."""
    return [(one.role, one.text) for one in stewrd.runs[run].conversation.messages]


@pytest.mark.parametrize("named", [{"conversation_id": "c"}, {}], ids=["named", "unnamed"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_two_agents_on_one_list(
    stewrd: Emulator, model: ChatStewrd, named: Any, way: str
) -> None:
    both, config = pair(model), at("t", **named)

    async def turn(text: str) -> list[AIMessage]:
        if way == "invoke":
            found = both.invoke(asking(text), config)["messages"][-2:]
        else:
            found = (await both.ainvoke(asking(text), config))["messages"][-2:]
        assert all(isinstance(one, AIMessage) for one in found)
        return list(found)

    told: list[tuple[str, str]] = []
    for text in ("My name is Ada.", "I live in Oslo.", "What is my name?"):
        written, judged = await turn(text)
        told += [("user", text)]
        assert roles(stewrd, -2) == told, "the poet knows all that was said, in order"
        told += [("assistant", written.text)]
        assert roles(stewrd) == [*told, ("user", GO_ON)], "and so does the critic"
        told += [("assistant", judged.text)]
        assert judged.response_metadata["stewrd"]["reason"] == WHY_ALONE
        assert judged.response_metadata["stewrd"]["road"] == "stateless"
    assert written.text == "Your name is Ada."
    assert written.response_metadata["stewrd"]["turn"] == "continued"
    assert roads(stewrd) == ["session", "stateless"] * 3
    assert len(stewrd.sessions) == 1
    assert not any(GO_ON in text for text in heard(stewrd)[0]), "no session hears of it"


@on(TAKING)
async def test_the_second_agent_may_have_tools(stewrd: Emulator, model: ChatStewrd) -> None:
    both, config = pair(model, tools=TOOLS), at("t", conversation_id="c")
    for text in ("add_numbers(19, 23)", "add_numbers(1, 2)"):
        messages = both.invoke(asking(text), config)["messages"]
        assert said(stewrd)[-1][0] in ("user", "tool")
        assert isinstance(messages[-1], AIMessage) and messages[-1].text
    plain = model.invoke([*messages, HumanMessage("Thanks")], conversation_id="c")
    assert plain.text == "You are welcome."
    assert [one for one in roles(stewrd) if one[0] == "user"] == [
        ("user", "add_numbers(19, 23)"),
        ("user", "add_numbers(1, 2)"),
        ("user", "Thanks"),
    ]


async def test_instructions_after_the_answer_change_nothing(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    shown = [HumanMessage("My name is Ada."), AIMessage("Hi."), SystemMessage("Be brief.")]
    plan = model.explain(shown)
    assert (plan.road, plan.reason, plan.text.endswith(GO_ON)) == ("stateless", WHY_ALONE, True)
    for answer in (model.invoke(shown), await model.ainvoke(shown)):
        assert answer.response_metadata["stewrd"]["reason"] == WHY_ALONE
    assert roles(stewrd) == [("user", "My name is Ada."), ("assistant", "Hi."), ("user", GO_ON)]
    assert "Be brief." in stewrd.requests[-1].body["message"]
    assert [chunk.text for chunk in model.stream(shown) if chunk.text]


def test_an_answer_alone_is_gone_on_from(stewrd: Emulator, model: ChatStewrd) -> None:
    model.invoke([AIMessage("Once upon a time")], conversation_id="c")
    assert roles(stewrd) == [("assistant", "Once upon a time"), ("user", GO_ON)]
    assert roads(stewrd) == ["stateless"]


async def test_a_choice_of_tools_is_asked_for_too(make: Make) -> None:
    def agent(context: Context) -> str:
        return context.message

    with serve(agent=agent) as stewrd:
        model = ChatStewrd(api_key=stewrd.api_key, base_url=stewrd.url)
        bound = model.bind_tools([add_numbers], tool_choice="any")
        bound.invoke([HumanMessage("Hi"), AIMessage("Hello")])
        message = stewrd.requests[-1].body["message"]
        assert GO_ON in message and 'You must call the tool "add_numbers".' in message
        await model.aclose()
