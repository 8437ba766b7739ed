"""Agents over many turns: right answers, few sessions, and nothing that the server refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

from ..conftest import roads
from ..tooling import NOT_TAKING, TAKING, Make, charged, on, outputs, refused, said, ways
from .desk import ASYNC, MADE, QUIET, SYNC, Run, agent, ainvoke, answers, asking, at, called, invoke

pytestmark = QUIET

IGNORING = {"session_tools": "ignored"}
TALKS: list[Any] = [(invoke, {}), (ainvoke, {"conversation_id": "c"})]


def question(turn: int) -> tuple[str, str]:
    """What is asked in a turn, and what its answer must hold."""
    match turn % 4:
        case 0:
            return f"My name is Ada{turn}.", f"Ada{turn}"
        case 1:
            return f"add_numbers({turn}, 2)", str(turn + 2)
        case 2:
            return "get_weather in Oslo and add_numbers(1, 2)", "sunny in Oslo"
        case _:
            return "What is my name?", f"Ada{turn - 3}"


async def talk(runs: Any, turns: int, run: Run, config: Any) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    for turn in range(turns):
        text, expected = question(turn)
        messages = await run(runs, asking(text), config)
        assert expected in messages[-1].text, (turn, messages[-1].text)
    return messages


@pytest.mark.parametrize(("run", "who"), TALKS, ids=["unnamed", "named"])
@on(
    TAKING,
    {**TAKING, "session_rounds": "answer"},
    {**TAKING, "session_rounds": "message", "waiting_run": "nothing"},
    {**TAKING, "waiting_run": "calls", "over_limit": "error"},
)
async def test_thirty_turns_where_sessions_take_tools(
    stewrd: Emulator, model: ChatStewrd, run: Run, who: Any
) -> None:
    messages = await talk(agent(model, system_prompt="Be kind."), 30, run, at(**who))
    counted = Counter(ways(messages))
    assert counted["opened"] == 1 and set(counted) <= {"opened", "continued", "rolled_over"}
    assert len(stewrd.sessions) == 1 + counted["rolled_over"] <= 4
    assert set(roads(stewrd)) == {"session"}
    assert charged(stewrd) == 30, "one credit a turn: outputs are free"
    assert stewrd.refused == []


@pytest.mark.parametrize(("run", "who"), TALKS, ids=["unnamed", "named"])
@on(*NOT_TAKING)
async def test_thirty_turns_where_sessions_take_no_tools(
    stewrd: Emulator, model: ChatStewrd, run: Run, who: Any
) -> None:
    messages = await talk(agent(model, system_prompt="Be kind."), 30, run, at(**who))
    empty = stewrd.settings.session_tools == "empty"
    assert Counter(ways(messages)) == {"stateless": 45 - empty, **({"opened": 1} if empty else {})}
    assert len(stewrd.sessions) == 1, "one to try, and none that is lost after it"
    assert charged(stewrd) == 30 + empty, "an empty answer is charged, a refusal is not"
    assert refused(stewrd) == ([] if empty else ["invalid_tools"])
    assert len(outputs(stewrd)) == 15


@on(IGNORING)
async def test_where_sessions_ignore_tools_no_turn_is_lost(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    runs = agent(model)
    for turn in range(20):
        messages = runs.invoke(asking(question(turn)[0]), at(conversation_id="c"))["messages"]
        if turn % 4 in (0, 3):
            assert question(turn)[1] in messages[-1].text
    assert called(messages) == [], "nobody can tell it from an agent that calls none"
    assert len(stewrd.sessions) == 1 and stewrd.refused == [] and charged(stewrd) == 20


@on(IGNORING)
def test_where_sessions_ignore_tools_a_forced_call_is_told(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    from ..tooling import TOOLS

    answer = model.bind_tools(TOOLS, tool_choice="any").invoke("Hello")
    assert answer.response_metadata["tool_choice_honoured"] is False


@pytest.mark.parametrize("run", [*SYNC, *ASYNC])
@pytest.mark.parametrize("made", MADE)
@on(TAKING, {"session_tools": "empty"})
async def test_every_way_to_run_an_agent(
    stewrd: Emulator, model: ChatStewrd, made: str, run: Run
) -> None:
    runs = MADE[made](model)
    messages = await talk(runs, 4, run, at())
    assert called(messages) == ["add_numbers", "get_weather", "add_numbers"]
    assert [len(one) for one in outputs(stewrd)] == [1, 2], "parallel calls go back together"
    assert len(answers(messages)) == 4 and len(stewrd.sessions) == 1
    taking = stewrd.settings.session_tools == "accepted"
    assert roads(stewrd)[-1] == ("session" if taking else "stateless")
    roles = [role for role, _ in said(stewrd)]
    assert roles.count("tool") == 3 and roles.count("user") == 4, "nothing is told twice"


@pytest.mark.parametrize("made", MADE)
@on(TAKING, *NOT_TAKING)
async def test_a_checkpointer_on_disk(
    stewrd: Emulator, make: Make, made: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "memory.db")
    for turn in range(4):  # as if the process began anew, but for the store of bindings
        text, expected = question(turn)
        if turn % 2:
            async with AsyncSqliteSaver.from_conn_string(path) as saver:
                runs = MADE[made](make(), checkpointer=saver)
                messages = await ainvoke(runs, asking(text), at())
        else:
            with SqliteSaver.from_conn_string(path) as saver:
                runs = MADE[made](make(), checkpointer=saver)
                messages = runs.invoke(asking(text), at())["messages"]
        assert expected in messages[-1].text
    assert len(stewrd.sessions) == 1 and set(refused(stewrd)) <= {"invalid_tools"}


@on(TAKING)
async def test_two_threads_never_meet(stewrd: Emulator, model: ChatStewrd) -> None:
    runs = agent(model, checkpointer=InMemorySaver())
    for text in ("My name is Ada.", "add_numbers(1, 2)"):
        await runs.ainvoke(asking(text), at("a"))
    runs.invoke(asking("My name is Bo."), at("b"))
    for thread, name in (("a", "Ada"), ("b", "Bo")):
        messages = runs.invoke(asking("What is my name?"), at(thread))["messages"]
        assert messages[-1].text == f"Your name is {name}."
    assert len(stewrd.sessions) == 2 and set(roads(stewrd)) == {"session"}


@on({**TAKING, "history_limit": 50})
async def test_a_session_with_room_for_no_round_is_left_in_time(
    stewrd: Emulator, make: Make
) -> None:
    runs = agent(make(session_message_limit=10))
    messages = await talk(runs, 12, invoke, at(conversation_id="c"))
    counted = Counter(ways(messages))
    assert len(stewrd.sessions) == 1 + counted["rolled_over"] and counted["rolled_over"] >= 3
    assert max(record.messages for record in stewrd.sessions.values()) <= 10
