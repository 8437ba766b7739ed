"""What becomes of changed histories (R4), by what the server heard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stewrd_integrations.types import Message
from tests.talks import Talk, grown, heard
from tests.worlds import Stage


def test_an_edit_goes_to_a_new_session(stage: Stage) -> None:
    talk = grown(stage)
    first = talk.way()[1]
    talk.messages[0] = Message("user", "edited")
    talk.say("next")
    assert talk.way()[0] == "replayed"
    assert talk.way()[1] != first
    assert heard(stage) == [(m.role, m.text) for m in talk.messages[:-1]]


def test_a_regenerated_answer_and_both_branches_stay_right(stage: Stage) -> None:
    talk = grown(stage)
    branch = replace(talk, messages=talk.messages[:-2])
    branch.say("text 2")
    assert branch.way()[0] == "replayed"
    talk.say("main")
    assert (talk.way()[0], heard(stage)[-3:]) == (
        "continued",
        [("user", "text 2"), ("assistant", "answer 3"), ("user", "main")],
    )
    branch.say("branch")
    assert branch.way()[0] == "continued"
    assert ("assistant", "answer 3") not in heard(stage)


def test_a_trim_continues_and_the_session_keeps_what_was_trimmed(stage: Stage) -> None:
    talk = grown(stage, 4)
    talk.messages = talk.messages[4:]
    talk.say("next")
    assert talk.way()[0] == "continued"
    assert stage.sent()[-1] == "next"
    talk.say("and on")
    assert (talk.way()[0], stage.sent()[-1]) == ("continued", "and on")


def test_a_trim_to_one_exchange_is_replayed_under_a_name(stage: Stage) -> None:
    talk = grown(stage, 3)
    talk.messages = [replace(message, mark=None) for message in talk.messages[4:]]
    talk.say("next")
    assert talk.way()[0] == "replayed"


def test_trims_can_be_replayed(stage: Stage) -> None:
    talk = grown(stage, 4, on_trim="replay")
    talk.messages = talk.messages[4:]
    talk.say("next")
    assert talk.way()[0] == "replayed"
    assert heard(stage) == [(m.role, m.text) for m in talk.messages[:-1]]


def test_a_summary_is_said_as_one(stage: Stage) -> None:
    talk = grown(stage, 4)
    talk.messages = [Message("user", "they met"), *talk.messages[4:]]
    talk.say("next")
    told = stage.runs[-1].conversation.messages
    assert talk.way()[0] == "continued"
    assert [said.text for said in told if said.summary] == ["they met"]
    talk.say("and on")
    assert stage.sent()[-1] == "and on"


def test_foreign_messages_are_said_in_their_place(stage: Stage) -> None:
    talk = grown(stage)
    talk.messages[2:2] = [Message("assistant", "by the way")]
    talk.messages += [Message("user", "q"), Message("assistant", "from the application")]
    talk.say("next")
    assert talk.way()[0] == "continued"
    assert heard(stage) == [(m.role, m.text) for m in talk.messages[:-1]]
    talk.say("and on")
    assert stage.sent()[-1] == "and on"


def test_two_user_messages_in_a_row(stage: Stage) -> None:
    talk = grown(stage)
    talk.messages.append(Message("user", "dangling"))
    talk.say("next")
    assert talk.way()[0] == "continued"
    assert heard(stage)[-2:] == [("user", "dangling"), ("user", "next")]


def test_a_named_first_turn_again_gets_its_session_when_it_comes_back(stage: Stage) -> None:
    talk = grown(stage)
    again = Talk(talk.model, "ada")
    again.say("hello")
    assert again.way() == ("stateless", None)
    assert heard(stage) == [("user", "hello")]
    again.say("more")
    assert again.way()[0] == "replayed"
    talk.say("on")
    assert talk.way()[0] == "continued"


def test_instructions_alone_are_answered(stage: Stage) -> None:
    model = stage.model()
    model.answer(model.call([Message("system", "Translate: good morning")], {}))
    assert stage.sent() == ["Translate: good morning"]


@pytest.mark.parametrize("marks", [True, False])
def test_two_users_of_one_name_who_say_the_same(marks: bool) -> None:
    """Their instructions tell them apart, and their marks where frameworks keep them."""
    stage = Stage.make(lambda context: "Hello.")
    model = stage.model()
    alice = Talk(model, "1", system="User Alice, account 111", marks=marks)
    bob = Talk(model, "1", system="User Bob, account 222", marks=marks)
    for turn in range(3):
        for talk, other in ((alice, "222"), (bob, "111")):
            talk.say(f"text {turn}")
            run = stage.runs[-1]
            assert other not in run.conversation.instructions
            if run.session_id:
                log = stage.world.heard(run.session_id)
                assert not [said for said in log if other in said.text]


def test_a_mark_that_is_shown_under_a_name_counts(stage: Stage) -> None:
    stage = Stage.make(lambda context: "Yes.")
    model = stage.model()
    one, two = Talk(model, "ada"), Talk(model, "ada")
    sessions = []
    for talk in (one, two):
        talk.say("hello")
        talk.say("and")
        sessions.append(talk.way()[1])
    one.say("more")
    two.say("more")
    assert [one.way()[1], two.way()[1]] == sessions, "they have changed places"


def test_a_marked_trim_to_one_exchange_continues_under_a_name(stage: Stage) -> None:
    talk = grown(stage, 3)
    talk.messages = talk.messages[4:]
    talk.say("next")
    assert (talk.way()[0], stage.sent()[-1]) == ("continued", "next")
