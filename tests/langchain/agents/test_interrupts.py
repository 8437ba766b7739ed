"""Agents that stop and go on: for a human, for a restart, or back at an earlier point."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.types import Command, interrupt

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

from ..tooling import NOT_TAKING, TAKING, TOOLS, on, outputs, refused, said
from .desk import MADE, QUIET, agent, asking, at, graph

pytestmark = QUIET
GONE = {"invalid_tools", "context_expired"}


@tool
def send_mail(to: str) -> str:
    """Send a mail to somebody, if a human lets it."""
    return f"{to}: {interrupt('Shall it be sent?')}"


async def go(runs: Any, given: Any, config: Any, *, sync: bool) -> Any:
    return runs.invoke(given, config) if sync else await runs.ainvoke(given, config)


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("minutes", [1, 6])
@on(TAKING, *NOT_TAKING)
async def test_a_tool_that_waits_for_a_human(
    stewrd: Emulator, model: ChatStewrd, made: str, minutes: int, sync: bool
) -> None:
    runs = MADE[made](model, tools=[send_mail, *TOOLS])
    config = at(conversation_id="c")
    await go(runs, asking("My name is Ada."), config, sync=sync)
    state = await go(runs, asking('send_mail to "Bo" and add_numbers(1, 2)'), config, sync=sync)
    assert state["__interrupt__"][0].value == "Shall it be sent?"
    stewrd.advance(60 * minutes)
    state = await go(runs, Command(resume="sent"), config, sync=sync)
    assert "Bo: sent" in state["messages"][-1].text and "3" in state["messages"][-1].text
    late = minutes > 5
    assert refused(stewrd).count("context_expired") == late
    assert [text for role, text in said(stewrd) if role == "tool"] == ["Bo: sent", "3"]
    state = await go(runs, asking("What is my name?"), config, sync=sync)
    assert state["messages"][-1].text == "Your name is Ada."
    assert len(stewrd.sessions) == 1
    assert len(outputs(stewrd)) == 1 and set(refused(stewrd)) <= GONE


APPROVE: dict[str, Any] = {"type": "approve"}
EDIT: dict[str, Any] = {
    "type": "edit",
    "edited_action": {"name": "add_numbers", "args": {"a": 20, "b": 2}},
}
REJECT: dict[str, Any] = {"type": "reject", "message": "Not today."}


@pytest.mark.parametrize(
    ("decision", "output"), [(APPROVE, "3"), (EDIT, "22"), (REJECT, "Not today.")]
)
@pytest.mark.parametrize("seconds", [1, 400])
@on(TAKING, {"session_tools": "empty"})
async def test_a_human_in_the_loop(
    stewrd: Emulator, model: ChatStewrd, decision: Any, output: str, seconds: int
) -> None:
    asking_first = HumanInTheLoopMiddleware(interrupt_on={"add_numbers": True})
    runs = agent(model, middleware=[asking_first])
    config = at(conversation_id="c")
    state = await runs.ainvoke(asking("add_numbers(1, 2)"), config)
    assert state["__interrupt__"]
    stewrd.advance(seconds)
    state = await runs.ainvoke(Command(resume={"decisions": [decision]}), config)
    assert output in state["messages"][-1].text
    state = await runs.ainvoke(asking("My name is Ada."), config)
    state = await runs.ainvoke(asking("What is my name?"), config)
    assert state["messages"][-1].text == "Your name is Ada."
    roles = [role for role, _ in said(stewrd)]
    assert roles.count("tool") == 1 and roles.count("user") == 3, "nothing is told twice"
    assert set(refused(stewrd)) <= GONE


@on(TAKING, *NOT_TAKING)
def test_somebody_speaks_instead_of_answering(stewrd: Emulator, model: ChatStewrd) -> None:
    runs = graph(model, tools=[send_mail, *TOOLS])
    runs.invoke(asking("My name is Ada."), at())
    runs.invoke(asking('send_mail to "Bo"'), at())
    state = runs.invoke(asking("No, wait. What is my name?"), at())
    assert state["messages"][-1].text == "Your name is Ada."
    assert outputs(stewrd) == [] and ("user", 'send_mail to "Bo"') in said(stewrd)
    state = runs.invoke(asking("Who am I?"), at())
    assert state["messages"][-1].text == "Your name is Ada."


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])
@on(TAKING, *NOT_TAKING)
async def test_a_fork_never_sees_its_sibling(
    stewrd: Emulator, model: ChatStewrd, who: Any, sync: bool
) -> None:
    runs = agent(model)
    for text in ("My name is Ada.", "add_numbers(1, 2)", "My pet is Rex."):
        await go(runs, asking(text), at(**who), sync=sync)
    early = next(
        state
        for state in runs.get_state_history(at())
        if len(state.values.get("messages", ())) == 2 and not state.next
    )
    fork = {"configurable": {**early.config["configurable"], **who}}
    state = await go(runs, asking("What is my pet? add_numbers(5, 6)"), fork, sync=sync)
    assert "11" in state["messages"][-1].text
    texts = [text for _, text in said(stewrd)]
    assert not any("Rex" in text or "(1, 2)" in text for text in texts)
    fork = {"configurable": {**state_config(runs), **who}}
    state = await go(runs, asking("What is my pet?"), fork, sync=sync)
    assert state["messages"][-1].text == "You have not told me your pet."


def state_config(runs: Any) -> dict[str, Any]:
    """Where the newest checkpoint is."""
    found: dict[str, Any] = runs.get_state(at()).config["configurable"]
    return found


@on(TAKING, *NOT_TAKING)
def test_both_branches_of_a_fork_in_the_midst_of_a_run(stewrd: Emulator, model: ChatStewrd) -> None:
    runs = agent(model)
    runs.invoke(asking("My name is Ada."), at())
    runs.invoke(asking("add_numbers(1, 2)"), at())
    waiting = next(state for state in runs.get_state_history(at()) if state.next == ("tools",))
    for _ in range(2):  # the tools run again, and their outputs go to a run that had them
        state = runs.invoke(None, waiting.config)
        assert state["messages"][-1].text.endswith("3")
    state = runs.invoke(asking("What is my name?"), at())
    assert state["messages"][-1].text == "Your name is Ada."
    roles = [role for role, _ in said(stewrd)]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "assistant", "user"]
    assert set(refused(stewrd)) <= GONE


@on(TAKING, *NOT_TAKING)
def test_a_message_that_is_edited(stewrd: Emulator, model: ChatStewrd) -> None:
    runs = agent(model)
    state = runs.invoke({"messages": [HumanMessage("My name is Ada.", id="1")]}, at())
    runs.invoke(asking("add_numbers(1, 2)"), at())
    runs.update_state(at(), {"messages": [HumanMessage("My name is Bo.", id="1")]})
    state = runs.invoke(asking("What is my name?"), at())
    assert state["messages"][-1].text == "Your name is Bo."
    assert ("tool", "3") in said(stewrd)
