"""The turn, rule by rule, by what the server heard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stewrd_integrations import StewrdClient, drivers, errors
from stewrd_integrations.emulator.agent import Answer, Context
from stewrd_integrations.sessions import opening
from stewrd_integrations.types import CREDITS, File, Message, Reply
from tests.talks import Talk
from tests.worlds import Stage


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SHORT_WAIT", 0.0)
    monkeypatch.setattr(drivers, "_warned", {})


@pytest.fixture
def stage() -> Stage:
    numbers = iter(range(1, 10_000))
    return Stage.make(lambda context: f"answer {next(numbers)}")


def heard(stage: Stage) -> list[tuple[str, str]]:
    """The conversation as the agent read it at its last answer."""
    return [(said.role, said.text) for said in stage.runs[-1].conversation.messages]


# -- R2, R3: who is talking --------------------------------------------------------------


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


# -- R4: align ---------------------------------------------------------------------------


def grown(stage: Stage, turns: int = 3, **options: Any) -> Talk:
    talk = Talk(stage.model(**options), "ada")
    for turn in range(turns):
        talk.say(f"text {turn}")
    return talk


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


# -- R5, R6: slots -----------------------------------------------------------------------


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


# -- R7, R8 ------------------------------------------------------------------------------


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


def test_a_message_put_in_before_what_was_left_out_is_said_in_front(stage: Stage) -> None:
    talk = Talk(stage.model(session_message_limit=6, replay_budget=300), "ada")
    while talk.last is None or not talk.last.decision.omitted:
        talk.say(f"text {len(talk.messages)}")
    omitted = talk.last.decision.omitted
    talk.messages.insert(1, Message("assistant", "by the way"))
    talk.say("next")
    assert talk.way()[0] == "continued"
    assert heard(stage) == [
        ("assistant", "by the way"),
        *((m.role, m.text) for m in talk.messages[omitted + 1 : -1]),
    ]


def test_a_recap_summarises_what_is_left_out(stage: Stage) -> None:
    seen: list[int] = []

    def recap(messages: Any) -> str:
        seen.append(len(messages))
        return "they counted"

    talk = Talk(stage.model(session_message_limit=6, replay_budget=300, recap=recap), "ada")
    for turn in range(7):
        talk.say(f"text {turn}")
    assert stage.runs[-1].conversation.summary == "they counted"
    assert seen


def test_what_is_never_cut_is_refused_before_anything_is_sent(stage: Stage) -> None:
    talk = Talk(stage.model(replay_budget=100), "ada", system="x" * 60)
    talk.say("short")
    with pytest.raises(errors.InvalidInputError, match="replay_budget"):
        talk.say("y" * 41)
    assert len(stage.requests) == 2
    talk.say("short")
    assert talk.way()[0] == "continued"


# -- R10: instructions -------------------------------------------------------------------


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


# -- stop, credits, budget ---------------------------------------------------------------


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


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message("system", " ")],
        [Message("user", "hi"), Message("assistant", "hello")],
        [Message("user", "  \n")],
        [Message("user", "", files=(File("a.txt", "x"),))],
    ],
    ids=["empty", "empty instructions", "assistant last", "blank", "file without text"],
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


# -- explain -----------------------------------------------------------------------------


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
