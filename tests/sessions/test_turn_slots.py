"""When a session is opened, and when none is to be had (R5, R6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stewrd_integrations import errors
from stewrd_integrations.types import Message
from tests.talks import Talk, grown, heard
from tests.worlds import Stage


def test_one_shots_take_nothing(stage: Stage) -> None:
    model = stage.model()
    for number in range(20):
        Talk(model, call={"one_shot": True}).say(f"question {number}")
    assert len(stage.world.sessions) == 0
    assert repr(stage.store) == "MemoryStore(0 bindings)"


def test_unnamed_first_turns_hold_at_most_two_slots(stage: Stage) -> None:
    model = stage.model()
    talks = [Talk(model) for _ in range(6)]
    for number, talk in enumerate(talks):
        talk.say(f"hello {number}")
    assert [talk.way()[0] for talk in talks] == ["opened"] * 2 + ["stateless"] * 4
    for number, talk in enumerate(talks):
        talk.say(f"again {number}")
    assert [talk.way()[0] for talk in talks] == ["continued"] * 2 + ["replayed"] * 4


def test_unnamed_first_turns_leave_half_of_the_slots(stage: Stage) -> None:
    model = stage.model(max_active_sessions=4)
    for name in ("a", "b", "c"):
        Talk(model, name).say("hello")
    unnamed = Talk(model)
    unnamed.say("hi")
    assert unnamed.way()[0] == "stateless"


def test_only_the_first_conversation_of_a_thread_opens_at_once(stage: Stage) -> None:
    model = stage.model()
    first, second = Talk(model, call={"thread": "t"}), Talk(model, call={"thread": "t"})
    first.say("hello")
    second.say("summarise")
    assert (first.way()[0], second.way()[0]) == ("opened", "stateless")


def test_an_unnamed_history_waits_until_it_comes_back(stage: Stage) -> None:
    past = [Message("user", "hi"), Message("assistant", "hello")]
    talk = Talk(stage.model(), messages=past)
    ways = []
    for text in ("one", "two", "three"):
        talk.say(text)
        ways.append(talk.way()[0])
    assert ways == ["stateless", "replayed", "continued"]


def test_sessions_never_and_always(stage: Stage) -> None:
    never = Talk(stage.model(), "ada", who={"sessions": "never"})
    never.say("one")
    never.say("two")
    assert never.way()[0] == "stateless"
    assert heard(stage) == [(m.role, m.text) for m in never.messages[:-1]]
    past = [Message("user", "hi"), Message("assistant", "hello")]
    always = Talk(stage.model(), who={"sessions": "always"}, messages=past)
    always.say("one")
    assert always.way()[0] == "replayed"


def test_the_eleventh_conversation_runs_stateless_with_one_warning(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    model = stage.model()
    talks = [Talk(model, f"n{number}") for number in range(13)]
    for talk in talks:
        talk.say("hello")
    for talk in talks[10:]:
        talk.say("again")
        assert heard(stage) == [(m.role, m.text) for m in talk.messages[:-1]]
        assert talk.way()[0] == "stateless"
        assert "slots are in use" in (talk.last.decision.reason if talk.last else "")
    assert stage.world.refused == []
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [("slots are in use" in record.message) for record in warnings] == [True]


def test_a_session_limit_can_be_an_error(stage: Stage) -> None:
    model = stage.model(max_active_sessions=1, on_session_limit="error")
    Talk(model, "a").say("hello")
    with pytest.raises(errors.SessionLimitError):
        Talk(model, "b").say("hello")
    assert len(stage.runs) == 1


def test_the_servers_own_limit_is_believed_for_a_while(stage: Stage) -> None:
    stage.fail_next("error", on="create", status=429, code="rate_limited", times=2)
    talk = Talk(stage.model(), "ada")
    talk.say("one")
    assert talk.way()[0] == "stateless"
    creates = len(stage.requests)
    talk.say("two")
    assert len(stage.requests) == creates + 1, "no create within the time it is remembered"
    stage.clock.now += 31
    talk.say("three")
    assert talk.way()[0] == "replayed"


def test_one_refused_create_is_tried_once_more(stage: Stage) -> None:
    stage.fail_next("error", on="create", status=429, code=None)
    talk = Talk(stage.model(), "ada")
    talk.say("one")
    assert talk.way()[0] == "opened"


def test_a_plan_without_sessions_is_remembered_for_five_minutes(stage: Stage) -> None:
    stage.fail_next("error", on="create", status=403, code="plan_restricted")
    talk = Talk(stage.model(), "ada")
    talk.say("one")
    talk.say("two")
    assert (talk.way()[0], len(stage.requests)) == ("stateless", 3)
    stage.clock.now += 301
    talk.say("three")
    assert talk.way()[0] == "replayed"


def test_a_create_of_unknown_outcome_is_tried_once_and_leaves_a_ghost(stage: Stage) -> None:
    model = stage.model(max_active_sessions=2)
    stage.fail_next("hang_up", on="create", after=True)
    first, second = Talk(model, "a"), Talk(model, "b")
    first.say("one")
    second.say("one")
    assert (first.way()[0], second.way()[0]) == ("opened", "stateless")
    stage.clock.now += 31 * 60 + 1
    second.say("two")
    assert second.way()[0] == "replayed"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "invalid_api_key", errors.AuthenticationError),
        (429, "quota_exceeded", errors.QuotaExceededError),
        (402, "insufficient_credits", errors.InsufficientCreditsError),
    ],
)
def test_other_refusals_of_a_create_are_raised(
    stage: Stage, status: int, code: str, error: type[Exception]
) -> None:
    model = stage.model(max_active_sessions=1)
    stage.fail_next("error", on="create", status=status, code=code)
    with pytest.raises(error):
        Talk(model, "a").say("one")
    talk = Talk(model, "a")
    talk.say("one")
    assert talk.way()[0] == "opened", "the slot was given back"


def test_a_ghost_is_not_taken_for_the_next_slot_of_the_same_call(stage: Stage) -> None:
    model = stage.model()
    stage.fail_next("hang_up", on="create", after=True)
    stage.fail_next("error", status=503, code="service_unavailable", retry_after=0)
    talk = Talk(model, "ada")
    talk.say("one")
    assert talk.way()[0] == "opened"
    assert len(stage.world.sessions) == len(stage.store.slots(model.client.project)) == 3


def test_three_sessions_in_vain_are_enough(stage: Stage) -> None:
    talk = grown(stage)
    ways = []
    for number in range(5):
        talk.messages[0] = Message("user", f"edit {number}")
        talk.say("next")
        ways.append(talk.way()[0])
    assert ways == ["replayed"] * 3 + ["stateless"] * 2
    stage.clock.now += 1_801
    talk.say("later")
    assert talk.way()[0] in ("replayed", "recreated")


def side_by_side(stage: Stage, turns: int) -> tuple[Talk, list[str | None]]:
    """A chain that rephrases and one that answers, under one name."""
    model = stage.model()
    talk = Talk(model, "ada", system="Answer.")
    rephrasings: list[str | None] = []
    for turn in range(turns):
        aside = replace(talk, system="Rephrase.", messages=list(talk.messages))
        aside.say(f"text {turn}")
        rephrasings.append(aside.way()[1])
        talk.say(f"text {turn}")
    return talk, rephrasings


def test_side_calls_are_learnt_and_leave_the_session_alone(stage: Stage) -> None:
    talk, rephrasings = side_by_side(stage, 12)
    assert len(stage.world.sessions) <= 3
    assert rephrasings[3:] == [None] * 9
    assert talk.way()[0] == "continued"
    instructions = [run.conversation.instructions for run in stage.runs if run.session_id]
    assert instructions[6:] == ["Answer."] * len(instructions[6:])


def test_a_guard_that_asked_again_does_not_banish_the_main_instructions(stage: Stage) -> None:
    model = stage.model()
    talk = Talk(model, "ada", system="Answer.")
    replace(talk, messages=[]).say("one")
    strict = replace(talk, system="Answer strictly.")
    strict.say("one")
    talk.messages = list(strict.messages)
    talk.say("two")
    assert talk.way()[0] == "stateless", "taken for a side call once"
    talk.say("three")
    assert talk.way()[0] != "stateless", "its answer stood at its place"


def test_a_session_that_goes_on_keeps_its_slot(stage: Stage) -> None:
    """Else it lapses half an hour after the session was opened, while the server counts it."""
    talk = grown(stage, 1)
    for _ in range(3):
        stage.clock.now += 1_500
        talk.say("more")
        assert talk.way()[0] == "continued"
    pools = stage.store.inventory().pools  # type: ignore[attr-defined]  # the memory store's own
    assert any(talk.way()[1] in slots for slots in pools.values())
