"""Tools or instructions that change while a run waits, as at a handoff (R10, R11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sessions.tooling import (
    TOOLS,
    Workshop,
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

BETWEEN = "an answer in between was heard by the session alone"
GO_ON = "There is no new message. Go on"
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("less", {"tools": TOOLS[:2]}),
    ("other words", {"tools": (tool("add", "Another function."), *TOOLS[1:])}),
    ("none", {"tools": ()}),
    ("instructions", {"system": "Be kind."}),
    ("handoff", {"tools": (tool("div"),), "system": "You are Sums."}),
]
each = pytest.mark.parametrize("change", [c for _, c in CHANGES], ids=[n for n, _ in CHANGES])


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


def changed(stage: Stage, change: dict[str, Any], **details: Any) -> Workshop:
    """A conversation whose outputs are there, and whose offer is another one by now."""
    work = in_the_midst(stage, **details)
    for name, value in change.items():
        setattr(work, name, value)
    return work


@each
@pytest.mark.parametrize("who", [{"marks": False}, {"name": None}], ids=["named", "marked"])
@pytest.mark.parametrize("way", ["plain", "stream"])
def test_the_session_goes_on(
    stage: Stage, change: dict[str, Any], way: str, who: dict[str, Any]
) -> None:
    work = changed(stage, change, way=way, **who)
    outcome = work.step()
    assert paths(stage)[-2:] == ["tool-outputs", "messages"]
    assert (opened(stage), last(work)) == (1, ("session", "continued"))
    assert outcome.decision.reason.endswith(BETWEEN)
    assert ("instructions changed" in outcome.decision.reason) == ("system" in change)
    assert GO_ON in stage.sent()[-1]
    assert ("Be kind." in stage.sent()[-1]) == (change.get("system") == "Be kind.")
    assert [one.name for one in stage.runs[-1].tools] == [one.name for one in work.tools]
    work.talk("thanks")
    assert (stage.sent()[-1], opened(stage)) == ("thanks", 1)
    clean(stage)


@pytest.mark.parametrize("way", ["plain", "stream"])
def test_the_answer_in_between_is_shown_to_nobody(stage: Stage, way: str) -> None:
    work = changed(stage, {"system": "Be kind."}, way=way, check=False)
    outcome = work.step()
    hidden, shown = stage.runs[-2].answer, stage.runs[-1].answer
    assert hidden != shown == outcome.reply.message
    assert work.pieces == ([shown] if way == "stream" else [])
    wanted = [*words_of(work.messages[:-1]), ("assistant", hidden, (), None)]
    assert words_heard(stage.runs[-1]) == wanted


def test_a_user_who_speaks_is_told_of_too(stage: Stage) -> None:
    work = in_the_midst(stage, check=False)
    work.user("and double it")
    assert work.step().decision.reason.endswith(BETWEEN)


def test_instructions_that_may_not_change_open_another_session(stage: Stage) -> None:
    work = changed(stage, {"system": "Be kind."}, on_instructions_change="replay")
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert (opened(stage), last(work)) == (2, ("session", "replayed"))
    # Other tools are no other instructions.
    work = changed(stage, {"tools": TOOLS[:2]}, name="bob", on_instructions_change="replay")
    work.step()
    assert paths(stage)[-2:] == ["tool-outputs", "messages"]


def test_instructions_that_have_piled_up_open_another_session(stage: Stage) -> None:
    work = changed(stage, {"system": "Be kind."}, system="x" * 2_000, replay_budget=2_500)
    work.step()
    assert paths(stage)[-2:] == ["tool-outputs", "messages"]
    work.user("do add")
    work.system = "y" * 2_000
    work.step()
    work.give()
    work.system = "z" * 2_000
    before = paths(stage).count("tool-outputs")
    work.check = False  # not all of it fits into a replay
    work.step()
    assert paths(stage).count("tool-outputs") == before


@each
def test_an_answer_in_between_that_asks_for_more_is_replayed(
    stage: Stage, change: dict[str, Any]
) -> None:
    work = changed(stage, change, script="do add; mul")
    work.step()
    assert paths(stage)[-3:] == ["tool-outputs", "sessions", "messages"]
    assert last(work) == ("session", "replayed")
    work.finish()
    work.talk("thanks")
    assert (opened(stage), stage.sent()[-1]) == (2, "thanks")


@pytest.mark.parametrize("limit", [8, 9, 10])
def test_a_session_without_room_for_both_is_not_given_either(limit: int) -> None:
    """Two messages of a turn, two of the calls, an output and an answer, and two for the rest."""
    stage = scripted(session_tools="accepted", history_limit=limit, over_limit="error")
    work = workshop(stage, session_message_limit=limit, tool_reserve=0)
    work.talk("hello")
    work.ask("do add, mul")
    work.give()
    work.system = "Be kind."
    work.step()
    fits = limit >= 9
    assert ("tool-outputs" in paths(stage)) == fits
    assert last(work) == ("session", "continued" if fits else "rolled_over")
    assert stage.world.refused == []
    clean(stage)


@each
def test_a_run_apart_is_replayed(change: dict[str, Any]) -> None:
    stage = scripted(session_tools="refused")
    work = changed(stage, change)
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert paths(stage)[-1] == ("agent" if work.tools else "messages")
    work.talk("thanks")
    assert opened(stage) == 1


def test_a_message_that_fails_after_the_outputs_can_be_said_again(stage: Stage) -> None:
    work = changed(stage, {"system": "Be kind."})
    stage.fail_next("error", on="message", status=401, code="invalid_api_key")
    with pytest.raises(Exception, match="invalid_api_key"):
        work.step()
    work.check = False
    work.step()
    assert paths(stage).count("tool-outputs") == 1
    assert stage.runs[-1].conversation.instructions == "Be kind."


def test_there_and_back_eight_times_is_one_session(stage: Stage) -> None:
    work = workshop(stage)
    for turn in range(8):
        work.ask("do add")
        work.give()
        front = turn % 2
        work.system = "You are Front." if front else "You are Sums."
        work.tools = TOOLS if front else TOOLS[:2]
        work.step()
    assert opened(stage) == 1
