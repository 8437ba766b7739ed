"""Turns with tools at their limits, and who may take part in them (R5, R8, R11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stewrd_integrations import StewrdClient, errors
from stewrd_integrations.emulator.agent import Answer, Call, Context
from stewrd_integrations.types import Message, Reply, ToolCall
from tests.sessions.tooling import (
    SCHEMA,
    TOOLS,
    by_our_clock,
    clean,
    in_the_midst,
    last,
    opened,
    paths,
    scripted,
    tool,
    words_heard,
    words_of,
    workshop,
)
from tests.worlds import Stage

MODES = ["accepted", "refused"]


@pytest.fixture(params=MODES)
def anywhere(request: pytest.FixtureRequest) -> Stage:
    """Runs on a session, and runs beside it."""
    return scripted(session_tools=request.param)


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


# -- how much ------------------------------------------------------------------------


@pytest.mark.parametrize("count_rounds", [True, False])
@pytest.mark.parametrize("waiting_run", ["message", "calls", "nothing"])
@pytest.mark.parametrize("limit", [2, 3, 5, 8, 50])
def test_never_one_message_too_many(limit: int, waiting_run: str, count_rounds: bool) -> None:
    stage = scripted(
        session_tools="accepted",
        history_limit=limit,
        count_rounds=count_rounds,
        waiting_run=waiting_run,
        over_limit="error",
        rate_limit=None,
    )
    work = workshop(stage, session_message_limit=limit)
    for turn in range(7):
        work.talk("do add, mul; sub" if turn % 3 else "hello")
    clean(stage)
    assert [one for one in stage.world.refused if one.status != 429] == []
    assert all(one.messages <= limit for one in stage.world.sessions.values())


def test_the_users_message_after_outputs_needs_room_too() -> None:
    stage = scripted(session_tools="accepted", history_limit=9, over_limit="error")
    work = workshop(stage, session_message_limit=9, tool_reserve=0)
    for turn in range(2):
        work.talk(f"text {turn}")
    work.ask("do add")
    work.give()
    work.user("and double it")
    work.step()
    assert last(work) == ("session", "rolled_over")
    assert "tool-outputs" not in paths(stage)
    assert stage.world.refused == []


def test_room_is_kept_for_rounds(stage: Stage) -> None:
    work = workshop(stage)
    work.tools = ()
    for turn in range(22):
        work.talk(f"text {turn}")
    assert last(work) == ("session", "continued")
    work.tools = TOOLS
    work.talk("do add; sub")
    assert opened(stage) == 2
    assert paths(stage)[-4:] == ["sessions", "messages", "tool-outputs", "tool-outputs"]


def test_without_tools_no_room_is_kept(stage: Stage) -> None:
    work = workshop(stage, tools=())
    for turn in range(25):
        work.talk(f"text {turn}")
    assert opened(stage) == 1


def test_the_room_that_is_kept_can_be_set(stage: Stage) -> None:
    work = workshop(stage, tool_reserve=0)
    for turn in range(25):
        work.talk(f"text {turn}")
    assert opened(stage) == 1


def test_a_run_that_meets_the_cap_is_replayed_elsewhere() -> None:
    stage = scripted(session_tools="accepted", history_limit=10, rate_limit=None)
    work = workshop(stage, session_message_limit=10, tool_reserve=0)
    for turn in range(4):
        work.talk(f"text {turn}")
    work.ask("do add, mul, sub")
    work.finish()
    assert last(work) == ("session", "rolled_over")
    assert paths(stage)[-2:] == ["sessions", "messages"]
    clean(stage)


# -- limits, before anything is sent ---------------------------------------------------


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([tool(f"t{n}") for n in range(21)], "20 tools"),
        ([tool("add"), tool("add")], "same name"),
        ([tool("add", "x" * 1_025)], "add.*1024"),
    ],
)
def test_tools_that_the_api_would_refuse(stage: Stage, tools: Any, words: str) -> None:
    work = workshop(stage, tools=tuple(tools))
    with pytest.raises(errors.InvalidInputError, match=words) as caught:
        work.ask("hello")
    assert not caught.value.sent
    assert stage.requests == []


@pytest.mark.parametrize("text", ["x" * 100_001, "é" * 50_001])
def test_an_output_that_is_too_long(stage: Stage, text: str) -> None:
    work = in_the_midst(stage, replay_budget=1_000_000)
    before = stage.requests
    call_id = work.messages[-1].tool_call_id
    work.messages[-1] = Message("tool", text, tool_call_id=call_id)
    with pytest.raises(errors.InvalidInputError, match=str(call_id)):
        work.step()
    assert stage.requests == before
    work.messages[-1] = Message("tool", "shorter", tool_call_id=call_id)
    work.step()
    assert paths(stage)[-1] == "tool-outputs"


def large(work: Any, size: int = 60_000) -> None:
    """Every output that the list ends in, made large."""
    for place, message in enumerate(work.messages):
        if message.role == "tool" and len(message.text) < size:
            work.messages[place] = replace(message, text=f"{place}" + "x" * size)


@pytest.mark.parametrize("session_tools", [*MODES, "empty"])
@pytest.mark.parametrize("way", ["plain", "stream"])
def test_outputs_for_a_run_that_waits_need_no_room_in_a_replay(
    session_tools: str, way: str
) -> None:
    stage = scripted(session_tools=session_tools)
    work = workshop(stage, way=way)
    work.talk("hello")
    work.ask("do add, mul; sub, add")
    work.give()
    large(work)
    work.step()
    assert paths(stage)[-1] == "tool-outputs"
    work.give()
    large(work)
    assert "x" * 60_000 in work.explain().text
    work.step()
    assert paths(stage)[-1] == "tool-outputs"
    assert stage.world.settings.credits - stage.world.credits == 2 + (session_tools == "empty")


@pytest.mark.parametrize("gone", [by_our_clock, lambda stage: stage.world.expire_run()])
@pytest.mark.parametrize("session_tools", MODES)
def test_outputs_that_must_be_replayed_must_fit(gone: Any, session_tools: str) -> None:
    stage = scripted(session_tools=session_tools)
    work = workshop(stage)
    work.talk("hello")
    work.ask("do add, mul")
    work.give()
    large(work)
    gone(stage)
    for _ in range(2):
        before = stage.world.credits
        with pytest.raises(errors.InvalidInputError, match="replay_budget=100,000") as caught:
            work.step()
        assert (stage.world.credits, caught.value.charged) == (before, "no")
    work.model = stage.model(replay_budget=200_000)
    work.step()
    assert paths(stage)[-1] in ("messages", "agent")
    assert stage.sent()[-1].count("x" * 60_000) == 2


def test_outputs_that_nothing_waits_for_must_fit(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.model = stage.model(store=Stage.make().store)
    large(work)
    before = len(stage.requests)
    with pytest.raises(errors.InvalidInputError, match="replay_budget"):
        work.step()
    assert len(stage.requests) == before


def test_an_output_without_an_id(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.messages[-1] = Message("tool", "5")
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert last(work) == ("session", "replayed")


def test_capabilities_that_tools_exclude(stage: Stage) -> None:
    work = workshop(stage, who={"capabilities": ["research"]})
    with pytest.raises(errors.InvalidInputError, match="research"):
        work.ask("hello")
    assert stage.requests == []


def test_names_that_the_api_would_refuse_are_mapped_and_mapped_back() -> None:
    odd = "get-wetter für\nmorgen" + "!" * 60

    def agent(context: Context) -> Answer | str:
        offered = [one.name for one in context.tools]
        return "done" if context.results else Answer(calls=[Call(offered[0])])

    stage = Stage.make(agent, session_tools="accepted")
    work = workshop(stage, tools=(tool(odd),))
    work.ask("hello")
    assert [call.name for call in work.calls] == [odd]
    work.finish()
    assert paths(stage)[-1] == "tool-outputs"
    work.talk("thanks")
    assert opened(stage) == 1


# -- who may take part -----------------------------------------------------------------


def test_one_shots_with_tools_leave_nothing(anywhere: Stage) -> None:
    work = workshop(anywhere, call={"one_shot": True})
    work.talk("do add, mul; sub")
    assert set(paths(anywhere)) == {"agent"}
    assert anywhere.store.inventory().bindings == ()  # type: ignore[attr-defined]  # in memory


@pytest.mark.parametrize("sessions", ["never", "always"])
def test_sessions_never_and_always(anywhere: Stage, sessions: str) -> None:
    work = workshop(anywhere, sessions=sessions)
    work.talk("hello")
    work.talk("do add, mul; sub")
    work.talk("thanks")
    if sessions == "never":
        assert opened(anywhere) == 0
        assert paths(anywhere).count("agent") == 3
        assert paths(anywhere).count("tool-outputs") == 2


def test_never_in_the_midst_leaves_the_session_where_it_is(stage: Stage) -> None:
    work = workshop(stage)
    work.talk("hello")
    work.who = {"sessions": "never"}
    work.talk("do add")
    work.messages = work.messages[:2]
    work.who = {}
    work.talk("again")
    assert (opened(stage), stage.sent()[-1]) == (1, "again")


def test_a_call_in_flight_does_not_share_the_session() -> None:
    stage = scripted(session_tools="accepted")
    work = workshop(stage, name="ada", way="stream")
    work.talk("hello")
    work.call = {"tools": ()}
    items = work.model.stream(
        work.model.call(
            [*work.messages, Message("user", "one")], {"conversation_id": "ada"}, stream=True
        )
    )
    next(items)
    other = workshop(stage, model=work.model, name="ada")
    other.messages = list(work.messages)
    other.talk("do add")
    assert stage.runs[-1].road == "stateless"
    items.close()
    clean(stage)


def test_a_side_call_with_tools_does_not_take_the_session(stage: Stage) -> None:
    work = workshop(stage, system="main")
    side = workshop(stage, model=work.model, system="side", marks=False)
    for turn in range(4):
        work.talk(f"text {turn}")
        side.messages = [Message("user", f"rephrase {turn}")]
        side.step()
        work.talk("do add")
    assert work.last is not None
    assert work.last.session_id == "id-1"
    assert opened(stage) == 1


# -- what the API might leave out ------------------------------------------------------


def test_calls_without_a_request_id_can_not_be_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = workshop(stage)
    work.talk("hello")
    call = ToolCall("c", "add", {"n": 0})
    reply = Reply(status="requires_tool_outputs", tool_calls=(call,))
    with monkeypatch.context() as patch:
        patch.setattr(StewrdClient, "perform", lambda *_given, **_named: reply)
        work.check = False
        work.ask("do add")
    work.give()
    work.check = True
    work.step()
    assert last(work) == ("session", "replayed")


def test_calls_of_tools_that_were_not_offered(stage: Stage, monkeypatch: Any) -> None:
    work = workshop(stage, tools=())
    work.talk("hello")
    reply = Reply("r", "requires_tool_outputs", tool_calls=(ToolCall("c", "add", {}),))
    with monkeypatch.context() as patch:
        patch.setattr(StewrdClient, "perform", lambda *_given, **_named: reply)
        with pytest.raises(errors.MalformedResponseError):
            work.ask("hello")
    work.step()
    assert stage.runs[-1].session_id != "id-1"


@pytest.mark.parametrize("rounds", ["all", "answer", "message"])
def test_what_is_put_in_before_a_run_finds_its_place(rounds: str) -> None:
    """Nobody knows what a session keeps of a run, so nothing is counted across it."""
    stage = scripted(session_tools="accepted", session_rounds=rounds)
    work = workshop(stage)
    work.talk("hello")
    work.talk("do add, mul; sub")
    work.messages.insert(2, Message("user", "something from before"))
    work.talk("thanks")
    work.talk("go on")
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


# -- explain ---------------------------------------------------------------------------


def test_explain_says_what_would_be_done_and_does_nothing(anywhere: Stage) -> None:
    session = anywhere.world.settings.session_tools == "accepted"
    work = workshop(anywhere)
    work.talk("hello")
    work.user("do add, mul; sub")
    while True:
        before, kept = len(anywhere.requests), repr(anywhere.store.inventory())  # type: ignore[attr-defined]  # in memory
        explained = [work.explain() for _ in range(2)]
        assert explained[0].turn == explained[1].turn
        assert len(anywhere.requests) == before
        assert repr(anywhere.store.inventory()) == kept  # type: ignore[attr-defined]  # in memory
        outcome = work.step()
        decision = outcome.decision
        assert (explained[0].road, explained[0].turn, explained[0].reason) == (
            decision.road,
            decision.turn,
            decision.reason,
        )
        assert explained[0].messages_used == decision.messages_used
        assert explained[0].credits == outcome.reply.usage.credits
        if not work.calls:
            break
        work.give()
    assert decision.road == ("session" if session else "stateless")


@pytest.mark.parametrize(
    ("change", "turn"),
    [
        ("late", "replayed"),
        ("orphan", "replayed"),
        ("tools", "continued"),
        ("user", "continued"),
        ("partial", "replayed"),
    ],
)
def test_explain_of_a_run_that_can_not_go_on(stage: Stage, change: str, turn: str) -> None:
    work = in_the_midst(stage, check=False)
    if change == "late":
        by_our_clock(stage)
    elif change == "orphan":
        work.messages[-2:] = [Message("user", "never mind")]
    elif change == "tools":
        work.tools = (tool("add", "Else."),)
    elif change == "user":
        work.user("and double it")
    else:
        del work.messages[-1]
    explained = work.explain()
    assert explained.turn == turn
    assert explained.credits == (0 if turn == "continued" else 1)
    before = len(stage.requests)
    assert work.step().decision.turn == turn
    assert len(stage.requests) > before


def test_the_schema_of_a_tool_travels_as_it_is(stage: Stage) -> None:
    work = workshop(stage)
    work.talk("hello")
    assert [one["parameters"] for one in stage.requests[-1].body["tools"]] == [SCHEMA] * 3


# -- demands that change in the midst --------------------------------------------------


@pytest.mark.parametrize("later", ["", "You must call at least one of the tools."])
def test_a_demand_that_was_met_or_stays_does_not_end_the_run(stage: Stage, later: str) -> None:
    """Forced to call a tool first, then free: as agents commonly do."""
    work = workshop(stage, check=False)
    work.ask("do add", demand="You must call at least one of the tools.")
    work.give()
    work.step(demand=later)
    assert paths(stage)[-1] == "tool-outputs"


def test_a_demand_that_the_outputs_tell_of_does_not_end_the_run(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.messages[-1] = replace(work.messages[-1], text="3\n\nAnswer in JSON.", remembered="3")
    work.check = False
    work.step(demand="Answer in JSON.")
    assert paths(stage)[-1] == "tool-outputs"
