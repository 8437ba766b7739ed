"""Expiry, the cap, instructions and the rest of a turn (R7 to R10), by what the server heard."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations import StewrdClient, errors
from stewrd_integrations.emulator.agent import Answer, Context
from stewrd_integrations.types import CREDITS, File, Message, Reply, ToolCall
from tests.talks import Talk, grown, heard
from tests.worlds import Stage


@pytest.mark.parametrize("kind", ["expire", "error"])
def test_a_410_or_404_is_invisible(stage: Stage, kind: str) -> None:
    talk = grown(stage)
    stage.fail_next(kind, **({"status": 404, "code": None} if kind == "error" else {}))
    talk.say("next")
    assert talk.way()[0] == "recreated"
    assert heard(stage) == [(m.role, m.text) for m in talk.messages[:-1]]
    talk.say("on")
    assert (talk.way()[0], stage.sent()[-1]) == ("continued", "on")


def test_an_expired_session_gives_its_slot_back(stage: Stage) -> None:
    talk = Talk(stage.model(max_active_sessions=1), "ada")
    for turn in range(12):
        stage.world.expire()
        talk.say(f"text {turn}")
    assert talk.way()[0] == "recreated"


def test_two_410s_in_a_row_end_on_the_stateless_road(stage: Stage) -> None:
    talk = grown(stage)
    stage.fail_next("expire", times=2)
    talk.say("next")
    assert talk.way()[0] == "stateless"
    assert heard(stage) == [(m.role, m.text) for m in talk.messages[:-1]]


def test_an_answer_of_another_session_is_not_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = grown(stage)
    reply = Reply(id="r", message="hello", session_id="somebody-elses")
    monkeypatch.setattr(StewrdClient, "perform", lambda *_args, **_named: reply)
    with pytest.raises(errors.MalformedResponseError):
        talk.say("next")
    monkeypatch.undo()
    talk.say("next")
    assert talk.way()[0] == "replayed"


def test_idle_time_that_passed_costs_no_round_trip(stage: Stage) -> None:
    talk = grown(stage)
    stage.clock.now += 1_795
    talk.say("next")
    assert talk.way()[0] == "recreated"
    assert all(request.status != 410 for request in stage.requests)


def test_never_message_51(stage: Stage) -> None:
    talk = Talk(stage.model(), "ada")
    ways = []
    for turn in range(60):
        talk.say(f"text {turn}")
        ways.append(talk.way()[0])
    assert [place for place, way in enumerate(ways) if way == "rolled_over"] == [25, 50]
    assert ways.count("continued") == 57
    assert stage.world.over_limit == 0
    assert {record.messages for record in stage.world.sessions.values()} == {50, 20}


def test_what_a_window_leaves_out_is_covered(stage: Stage) -> None:
    talk = Talk(stage.model(session_message_limit=6, replay_budget=300), "ada")
    for turn in range(8):
        talk.say(f"text {turn}")
        if talk.way()[0] == "rolled_over":
            assert stage.runs[-1].conversation.omitted == talk.last.decision.omitted  # type: ignore[union-attr]
    assert talk.last is not None
    assert talk.way()[0] == "continued"
    assert stage.runs[-1].conversation.omitted > 0


def test_a_recap_summarises_what_is_left_out(stage: Stage) -> None:
    seen: list[list[str]] = []

    def recap(messages: Any) -> str:
        seen.append([message.text for message in messages])
        return "they counted"

    talk = Talk(stage.model(session_message_limit=6, replay_budget=300, recap=recap), "ada")
    for turn in range(7):
        talk.say(f"text {turn}")
    assert stage.runs[-1].conversation.summary == "they counted"
    said = [message.text for message in talk.messages]
    assert all(one == said[: len(one)] for one in seen)
    assert len(seen[-1]) == stage.runs[-1].conversation.omitted


def test_what_is_never_cut_is_refused_before_anything_is_sent(stage: Stage) -> None:
    talk = Talk(stage.model(replay_budget=100), "ada", system="x" * 60)
    talk.say("short")
    with pytest.raises(errors.InvalidInputError, match="replay_budget"):
        talk.say("y" * 41)
    assert len(stage.requests) == 2
    talk.say("short")
    assert talk.way()[0] == "continued"


def test_instructions_are_said_once_and_when_they_change(stage: Stage) -> None:
    talk = Talk(stage.model(), "ada", system="Be brief.")
    talk.say("one")
    talk.say("two")
    assert stage.sent()[-1] == "two"
    talk.system = "Be kind."
    talk.say("three")
    assert (talk.way()[0], stage.runs[-1].conversation.instructions) == ("continued", "Be kind.")
    talk.say("four")
    assert stage.sent()[-1] == "four"
    talk.system = ""
    talk.say("five")
    assert stage.runs[-1].conversation.instructions == ""


def test_changed_instructions_can_be_replayed(stage: Stage) -> None:
    talk = Talk(stage.model(on_instructions_change="replay"), "ada", system="Be brief.")
    talk.say("one")
    talk.system = "Be kind."
    talk.say("two")
    assert talk.way()[0] == "replayed"


def test_superseded_instructions_that_pass_the_budget_are_left_behind(stage: Stage) -> None:
    talk = Talk(stage.model(replay_budget=400), "ada", system="a" * 150)
    ways = []
    for letter in "bcdef":
        talk.say("go")
        ways.append(talk.way()[0])
        talk.system = letter * 150
    assert ways == ["opened", "continued", "continued", "replayed", "continued"]


def test_a_stopped_answer_gives_its_session_up() -> None:
    stage = Stage.make(lambda context: "one STOP two")
    talk = Talk(stage.model(), "ada")
    talk.say("hello", stop=["STOP"])
    assert talk.messages[-1].text == "one "
    talk.say("next")
    assert talk.way()[0] == "replayed"
    assert ("assistant", "one ") in heard(stage)


def test_a_stopped_stream_remembers_what_was_shown() -> None:
    stage = Stage.make(lambda context: "one two STOP three")
    talk = Talk(stage.model(), "ada", call={"stop": ["STOP"]})
    talk.stream("hello")
    assert talk.messages[-1].text == "one two "
    talk.stream("next")
    assert talk.way()[0] == "replayed"
    assert heard(stage) == [("user", "hello"), ("assistant", "one two "), ("user", "next")]


def test_credits_that_the_api_does_not_tell_are_estimated() -> None:
    stage = Stage.make(lambda context: "ok", usage="none")
    talk = Talk(stage.model(), "ada", who={"capabilities": ["research", "documents"]})
    outcome = talk.say("hello")
    assert outcome.reply.usage.credits == CREDITS["research"] + CREDITS["documents"]
    assert outcome.reply.usage.estimated


def test_files_of_a_replay_travel_again() -> None:
    def agent(context: Context) -> Answer:
        return Answer("made", files=(), capabilities_used=("chat",))

    stage = Stage.make(agent)
    talk = Talk(stage.model(), "ada")
    talk.say("read", [File("a.txt", "content")])
    stage.world.expire()
    talk.say("again")
    assert [(file.name, file.content) for file in stage.runs[-1].files] == [("a.txt", "content")]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message("system", " ")],
        [Message("user", "hi"), Message("assistant", "", tool_calls=(ToolCall("c", "add", {}),))],
        [Message("user", "  \n")],
        [Message("user", "", files=(File("a.txt", "x"),))],
    ],
    ids=["empty", "empty instructions", "calls last", "blank", "file without text"],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_sent(
    stage: Stage, messages: list[Message]
) -> None:
    model = stage.model()
    with pytest.raises(errors.InvalidInputError) as caught:
        model.answer(model.call(messages, {"conversation_id": "ada"}))
    assert caught.value.advice
    assert not caught.value.sent
    assert stage.requests == []


def test_explain_says_what_would_happen_and_changes_nothing(stage: Stage) -> None:
    talk = Talk(stage.model(), "ada", system="Be brief.")
    before = talk.explain("one", capabilities=["research"])
    assert (before.turn, before.session_id, before.credits) == ("opened", None, 3)
    assert stage.requests == []
    talk.say("one")
    assert stage.sent()[-1].split("\n")[-1] == before.text.split("\n")[-1]
    for _ in range(3):
        explained = talk.explain("two")
        assert (explained.turn, explained.text) == ("continued", "two")
        assert explained.session_id == talk.way()[1]
    talk.say("two")
    assert talk.way()[0] == "continued"
    talk.messages[0] = Message("user", "edited")
    assert talk.explain("three").turn == "replayed"
    assert "edited" in talk.explain("three").text
