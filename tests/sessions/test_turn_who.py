"""Who is talking: names, marks, content and tenants (R2, R3), by what the server heard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stewrd_integrations.errors import UnknownOutcomeError
from stewrd_integrations.types import File, Message
from tests.talks import Talk, heard
from tests.worlds import Stage


@pytest.mark.parametrize("name", ["ada", None])
@pytest.mark.parametrize("marks", [True, False])
def test_a_conversation_stays_on_one_session(stage: Stage, name: str | None, marks: bool) -> None:
    talk = Talk(stage.model(), name, marks=marks)
    for text in ("one", "two", "three"):
        talk.say(text)
    assert [run.message for run in stage.runs] == ["one", "two", "three"]
    assert len(stage.world.sessions) == 1


def test_a_name_never_falls_through_to_a_mark(stage: Stage) -> None:
    model = stage.model()
    unnamed = Talk(model)
    unnamed.say("one")
    named = Talk(model, "ada", messages=list(unnamed.messages))
    named.say("two")
    assert named.way()[0] == "replayed"
    assert named.way()[1] != unnamed.way()[1]


def test_a_thread_copied_under_another_name_gets_its_own_session(stage: Stage) -> None:
    model = stage.model()
    ada = Talk(model, "ada")
    ada.say("one")
    copy = Talk(model, "bob", messages=list(ada.messages))
    copy.say("two")
    ada.say("three")
    assert ada.way() == ("continued", ada.way()[1])
    assert copy.way()[1] != ada.way()[1]
    assert heard(stage)[-1] == ("user", "three")
    assert len(heard(stage)) == 3


def test_a_mark_never_falls_through_to_content(stage: Stage) -> None:
    model = stage.model()
    talk = Talk(model, marks=False)
    talk.say("one")
    strange = [replace(talk.messages[1], mark="f" * 32)]
    marked = Talk(model, messages=[talk.messages[0], *strange])
    marked.say("two")
    assert marked.way() == ("stateless", None)


@pytest.mark.parametrize("name", ["ada", None])
def test_tenants_never_meet(stage: Stage, name: str | None) -> None:
    model = stage.model()
    one = Talk(model, name, who={"tenant": "one"})
    one.say("hello")
    two = Talk(model, name, who={"tenant": "two"}, messages=list(one.messages))
    two.say("and now")
    nobody = Talk(model, name, messages=list(one.messages))
    nobody.say("and now")
    sessions = {one.way()[1], two.way()[1], nobody.way()[1]}
    assert len(sessions - {None}) == (3 if name else 1)


def test_no_tenant_is_not_an_empty_key(stage: Stage) -> None:
    model = stage.model()
    one = Talk(model, "tenant")
    one.say("hello")
    two = Talk(model, "x", who={"tenant": "name"}, messages=list(one.messages))
    two.say("more")
    assert one.way()[1] != two.way()[1]


def test_content_matches_within_one_model_object_only(stage: Stage) -> None:
    talk = Talk(stage.model(), marks=False)
    talk.say("one")
    other = Talk(stage.model(), marks=False, messages=list(talk.messages))
    other.say("two")
    assert other.way() == ("stateless", None)


def test_content_needs_the_very_same_instructions(stage: Stage) -> None:
    model = stage.model()
    talk = Talk(model, system="be brief", marks=False)
    talk.say("one")
    other = Talk(model, system="be kind", marks=False, messages=list(talk.messages))
    other.say("two")
    assert other.way() == ("stateless", None)


def test_content_can_be_turned_off(stage: Stage) -> None:
    talk = Talk(stage.model(match_by_content=False), marks=False)
    talk.say("one")
    talk.say("two")
    assert talk.way() == ("stateless", None)


def test_two_conversations_of_the_same_words_are_told_apart() -> None:
    stage = Stage.make(lambda context: "Yes.")
    model = stage.model()
    one, two = Talk(model, marks=False), Talk(model, marks=False)
    one.say("hello")
    two.say("hello")
    one.say("I am Ada")
    two.say("I am Bob")
    assert (one.way(), two.way()) == (("stateless", None), ("stateless", None))
    for turn in range(3):
        one.say(f"ada {turn}")
        two.say(f"bob {turn}")
    assert one.way()[1] != two.way()[1]
    assert heard(stage) == [(m.role, m.text) for m in two.messages[:-1]]


def test_a_rewind_by_content_does_not_lead_into_anothers_session() -> None:
    stage = Stage.make(lambda context: "Yes.")
    model = stage.model()
    one, two = Talk(model, marks=False), Talk(model, marks=False)
    one.say("hello")
    one.say("I am Ada")
    two.say("hello")
    one.messages = one.messages[:2]
    one.say("I am Eve")
    assert one.way() == ("stateless", None)


def test_the_same_words_about_another_file(stage: Stage) -> None:
    model = stage.model()
    one = Talk(model, marks=False)
    one.say("read", [File("a.txt", "one")])
    other = Talk(model, marks=False)
    other.messages = [replace(one.messages[0], files=(File("a.txt", "two"),)), one.messages[1]]
    other.say("and")
    assert other.way() == ("stateless", None)


def test_a_guessed_name_with_a_guessed_answer(stage: Stage) -> None:
    stage = Stage.make(lambda context: "Yes.")
    model = stage.model()
    ada = Talk(model, "ada")
    for text in ("my secret is 42", "keep it"):
        ada.say(text)
    for guess in ([], [Message("user", "hello")]):
        thief = Talk(model, "ada", messages=[*guess, Message("assistant", "Yes.")])
        thief.say("what is it?")
        assert thief.way()[1] != ada.way()[1]
        assert ("user", "my secret is 42") not in heard(stage)
    ada.say("go on")
    assert ada.way()[0] == "continued"


def test_a_name_without_its_list_is_warned_of(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    model = stage.model()
    Talk(model, "ada").say("My name is Ada.")
    assert not caplog.records or "name of a conversation" not in caplog.text
    other = Talk(model, "ada")
    other.say("What is my name?")
    assert other.way()[0] == "stateless"
    assert heard(stage) == [("user", "What is my name?")]
    assert "under the name of a conversation that has some" in caplog.text
    caplog.clear()
    Talk(model, "ada").say("And now?")
    assert "under the name" not in caplog.text, "it is said once"
    Talk(model, "bob").say("I am Bob.")
    assert "under the name" not in caplog.text


def test_a_call_beside_the_conversation_is_not_warned_of(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    model = stage.model()
    Talk(model, "ada").say("My name is Ada.")
    Talk(model, "ada", system="Write a title.").say("My name is Ada.")
    assert "under the name" not in caplog.text
    Talk(model, "ada").say("What is my name?")
    assert "under the name" in caplog.text


def test_a_first_turn_that_failed_is_told_of_when_it_is_asked_again(stage: Stage) -> None:
    talk = Talk(stage.model(), "ada")
    stage.fail_next("hang_up", on="message", after=True)
    with pytest.raises(UnknownOutcomeError):
        talk.say("one")
    assert talk.say("one").decision.reason.startswith("the last call of this name did not end well")
    assert talk.say("two").decision.turn == "replayed"
    talk.say("three")
    assert talk.way()[0] == "continued"
