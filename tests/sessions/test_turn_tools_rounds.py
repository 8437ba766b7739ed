"""A run is given outputs ten times, and no server is asked for an eleventh (R11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stewrd_integrations import errors
from tests.sessions.tooling import in_the_midst, paths, scripted, without_a_word, workshop
from tests.worlds import Stage

MODES = ["accepted", "refused"]


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


def rounds(number: int) -> str:
    return "do " + "; ".join(["add"] * number)


def given(stage: Stage) -> int:
    """How often outputs were given to a run."""
    return paths(stage).count("tool-outputs")


@pytest.mark.parametrize("rule", ["invalid_tool_outputs", "context_expired"])
@pytest.mark.parametrize("session_tools", MODES)
def test_more_rounds_than_a_run_has(rule: str, session_tools: str) -> None:
    stage = scripted(session_tools=session_tools, over_rounds=rule, rate_limit=None)
    work = workshop(stage)
    work.talk(rounds(23))
    assert [one.code for one in stage.world.refused] == ["invalid_tools"] * (
        session_tools == "refused"
    )
    assert max(run.round for run in stage.runs) == stage.world.settings.max_rounds == 10
    assert given(stage) == 21
    assert stage.world.settings.credits - stage.world.credits == 3


@pytest.mark.parametrize("session_tools", MODES)
def test_ten_rounds_are_one_run(session_tools: str) -> None:
    stage = scripted(session_tools=session_tools, over_rounds="compute_error", rate_limit=None)
    workshop(stage).talk(rounds(10))
    assert given(stage) == 10
    assert stage.world.settings.credits - stage.world.credits == 1


@pytest.mark.parametrize("rule", ["invalid_tool_outputs", "context_expired"])
@pytest.mark.parametrize("session_tools", MODES)
def test_a_server_that_counts_another_round(rule: str, session_tools: str) -> None:
    """What it refuses as one round too many is told anew, and the user sees nothing of it."""
    stage = scripted(session_tools=session_tools, over_rounds=rule, max_rounds=9, rate_limit=None)
    work = workshop(stage)
    work.talk(rounds(12))
    assert given(stage) == 12
    assert stage.world.settings.credits - stage.world.credits == 2
    work.talk("thanks")


@pytest.mark.parametrize("session_tools", MODES)
def test_a_server_that_fails_at_a_round_too_many(session_tools: str) -> None:
    stage = scripted(session_tools=session_tools, over_rounds="compute_error", rate_limit=None)
    work = workshop(stage)
    with pytest.raises(errors.ComputeError) as caught:
        work.talk(rounds(12))
    assert caught.value.charged == "no"
    assert given(stage) == 10
    work.finish()
    assert given(stage) == 12


def test_an_output_too_large_is_no_round_too_many(stage: Stage) -> None:
    work = workshop(stage)
    work.ask(rounds(10))
    for _ in range(9):
        work.give()
        work.step()
    work.give()
    stage.fail_next("error", on="tool_outputs", status=400, code="tool_output_too_large")
    with pytest.raises(errors.BadRequestError):
        work.step()
    work.messages[-1] = replace(work.messages[-1], text="shorter")
    work.finish()
    assert stage.world.settings.credits - stage.world.credits == 1


def test_rounds_are_counted_anew_for_a_new_run(stage: Stage) -> None:
    work = workshop(stage)
    work.ask("do " + "; ".join(["add"] * 11))
    for _ in range(5):
        work.give()
        work.step()
    without_a_word(stage)
    work.finish()
    # The run that was gone had five rounds; the one in its place does all the others.
    assert stage.world.settings.credits - stage.world.credits == 2


def test_the_rounds_of_a_hidden_answer_are_not_those_of_the_next_run(stage: Stage) -> None:
    work = in_the_midst(stage, "do " + "; ".join(["add"] * 5), check=False)
    while len([m for m in work.messages if m.role == "tool"]) < 5:
        work.step()
        work.give()
    work.user("do " + "; ".join(["sub"] * 9))
    work.step()
    before = stage.world.credits
    work.finish()
    assert stage.world.credits == before
