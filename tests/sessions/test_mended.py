"""What was broken once: every hole that somebody found in the heart, and that was mended."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from stewrd_integrations import StewrdClient, errors
from stewrd_integrations.emulator.agent import Answer
from stewrd_integrations.emulator.agent import File as AgentFile
from stewrd_integrations.types import Done, Event, Message, Reply, Token, ToolCall
from tests.talks import Talk, grown
from tests.worlds import Stage, Unreachable


def unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next message does not reach the server."""

    def perform(*_args: Any, **_named: Any) -> None:
        monkeypatch.undo()
        raise errors.NeverSentError("Nobody is there.")

    monkeypatch.setattr(StewrdClient, "perform", perform)


def test_a_session_that_heard_nothing_is_used_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stage.model()
    unreached(monkeypatch)
    with pytest.raises(errors.NeverSentError):
        Talk(model, "a").say("one")
    other = Talk(model, "b", who={"tenant": "t"})
    other.say("hello")
    assert other.way()[0] == "opened"
    assert len(stage.world.sessions) == 1


def test_a_spare_session_that_expired_is_not_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stage.model(max_active_sessions=1)
    unreached(monkeypatch)
    with pytest.raises(errors.NeverSentError):
        Talk(model, "a").say("one")
    stage.clock.now += 1_795
    Talk(model, "a").say("one")
    assert all(request.status != 410 for request in stage.requests)


@pytest.mark.parametrize(("status", "code"), [(400, "odd"), (401, "odd"), (429, "rate_limited")])
def test_a_session_that_was_sent_something_is_nobody_elses(
    stage: Stage, status: int, code: str
) -> None:
    """It may hold the words of whoever sent them, whatever the refusal says."""
    model = stage.model()
    stage.fail_next("error", status=status, code=code)
    with pytest.raises(errors.StewrdError):
        Talk(model, "a", who={"tenant": "a"}).say("my card is 4242")
    Talk(model, "b", who={"tenant": "b"}).say("hello")
    assert len(stage.world.sessions) == 2


@pytest.mark.parametrize("then", ["create", "message"])
def test_a_session_that_failed_never_comes_back(stage: Stage, then: Any) -> None:
    """A 503 that asks to wait gives the session up, also if the next one fails too."""
    talk = grown(stage)
    first = talk.way()[1]
    stage.fail_next("error", status=503, code="service_unavailable", retry_after=0)
    code = {"create": "invalid_api_key", "message": "rate_limited"}[then]
    stage.fail_next("error", on=then, status=401 if then == "create" else 429, code=code)
    with pytest.raises(errors.StewrdError):
        talk.say("pay")
    talk.say("pay")
    assert talk.way()[1] != first
    told = stage.runs[-1].conversation.messages
    assert [said.text for said in told].count("pay") == 1


def streams(monkeypatch: pytest.MonkeyPatch, *events: Event) -> None:
    """The server's next streams."""

    def stream(*_args: Any, **_named: Any) -> Generator[Event, None, None]:
        yield from events

    monkeypatch.setattr(StewrdClient, "stream", stream)


def test_what_a_stream_left_out_is_shown_at_its_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk(stage.model(), "ada")
    streams(monkeypatch, Token("5 mg."), Done(Reply(message="5 mg. Never more than 10 mg.")))
    talk.stream("what dose?")
    assert talk.messages[-1].text == "5 mg. Never more than 10 mg."


def test_a_stream_that_showed_something_else_gives_its_session_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk(stage.model(), "ada")
    streams(monkeypatch, Token("Let me see. "), Done(Reply(message="It is 5 mg.")))
    talk.stream("what dose?")
    assert talk.last is not None and talk.last.cut
    monkeypatch.undo()
    talk.say("thanks")
    assert talk.way()[0] == "replayed"


def test_a_stream_that_showed_more_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(stage.model(), "ada")
    done = Done(Reply(message=" It is 5 mg.\n"))
    streams(monkeypatch, Token("Let me see. "), Token("It is 5 mg."), done)
    talk.stream("what dose?")
    assert talk.last is not None and not talk.last.cut


def test_the_first_and_the_last_of_a_history_are_no_summary(stage: Stage) -> None:
    talk = grown(stage, 40)
    talk.messages = talk.messages[:4] + talk.messages[-20:]
    talk.say("next")
    assert talk.way()[0] == "replayed"


def test_an_edit_of_all_that_is_left_is_no_summary(stage: Stage) -> None:
    talk = Talk(stage.model())
    for turn in range(3):
        talk.say(f"secret {turn}")
    talk.messages = [Message("user", "redacted"), talk.messages[-1]]
    talk.say("next")
    assert talk.way()[0] != "continued"


def test_content_does_not_lead_to_anothers_file() -> None:
    stage = Stage.make(lambda context: Answer("Here it is.", files=(AgentFile("a.txt", "x"),)))
    model = stage.model()
    one = Talk(model, marks=False)
    one.say("make my code")
    other = Talk(model, marks=False, messages=list(one.messages))
    other.say("what does it say?")
    assert other.way() == ("stateless", None)


def test_a_long_failed_answer_holds_its_slot_as_long_as_the_server(stage: Stage) -> None:
    model = stage.model(max_active_sessions=1)
    talk = Talk(model, "ada")
    talk.say("hello")
    stage.fail_next("slow", seconds=3_600.0)
    with pytest.raises(errors.TimedOutError):
        talk.say("work")
    held = stage.store.slots(model.client.project)[str(talk.way()[1])]
    assert held >= 1_800 + 600


def test_a_recap_that_fails_costs_nothing(stage: Stage) -> None:
    def recap(_messages: Any) -> str:
        raise RuntimeError("no recap")

    talk = Talk(stage.model(replay_budget=300, session_message_limit=6, recap=recap), "ada")
    with pytest.raises(RuntimeError):
        for turn in range(10):
            talk.say(f"text {turn}")
    sessions = len(stage.world.sessions)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            talk.say("again")
    assert len(stage.world.sessions) == sessions


def test_a_recap_is_asked_once_for_a_turn(stage: Stage) -> None:
    asked: list[int] = []

    def recap(messages: Any) -> str:
        asked.append(len(messages))
        return "they talked"

    options: dict[str, Any] = {"replay_budget": 300, "max_active_sessions": 1, "recap": recap}
    Talk(stage.model(**options), "other").say("hello")
    talk = Talk(stage.model(**options), "ada")
    turns = 0
    while not asked:
        turns += 1
        talk.say(f"text {turns}")
    assert (talk.way()[0], len(asked)) == ("stateless", 1)


def test_always_opens_at_once_also_under_a_name_in_use(stage: Stage) -> None:
    grown(stage)
    again = Talk(stage.model(sessions="always"), "ada")
    again.say("hello")
    assert again.way()[0] == "opened"


def test_sessions_that_are_gone_at_once_are_not_opened_again_and_again(stage: Stage) -> None:
    talk = Talk(stage.model(), "ada")
    stage.fail_next("expire", times=100)
    for turn in range(6):
        talk.say(f"text {turn}")
        assert talk.way()[0] == "stateless"
    assert len(stage.world.sessions) == 1


@pytest.mark.parametrize("how", ["stop", "instructions"])
def test_unnamed_conversations_do_not_churn_either(how: str) -> None:
    stage = Stage.make(lambda context: "thought END more")
    model = stage.model(on_instructions_change="replay")
    talk = Talk(model, call={"stop": ["END"]} if how == "stop" else {})
    for turn in range(12):
        if how == "instructions":
            talk.system = f"It is {turn} o'clock."
        talk.say(f"text {turn}")
    assert len(stage.world.sessions) <= 5
    assert talk.way()[0] == "stateless"


def test_a_short_outage_of_creates_burns_no_slots(stage: Stage) -> None:
    model = stage.model()
    stage.fail_next("error", on="create", status=503, code="service_unavailable", times=5)
    for name in "abcde":
        Talk(model, name).say("hello")
        stage.clock.now += 31
    assert stage.store.slots(model.client.project) == {}
    talk = Talk(model, "f")
    talk.say("hello")
    assert talk.way()[0] == "opened"


def test_content_matches_again_after_a_refusal_that_kept_the_session(stage: Stage) -> None:
    talk = Talk(stage.model(), marks=False)
    talk.say("one")
    stage.fail_next("error", status=429, code="rate_limited")
    with pytest.raises(errors.RateLimitError):
        talk.say("two")
    talk.say("two")
    assert talk.way()[0] == "continued"


def unmarked(talk: Talk) -> Talk:
    """The same words without marks, as somebody else may show them."""
    messages = [replace(message, mark=None) for message in talk.messages]
    return Talk(talk.model, marks=False, system=talk.system, messages=messages)


@pytest.mark.parametrize("way", ["file", "instructions", "summary"])
def test_content_never_leads_to_a_session_that_knows_more(way: str) -> None:
    made = Answer("Here.", files=(AgentFile("a.txt", "x"),))
    stage = Stage.make(lambda context: made if context.message == "make" else "ok")
    talk = Talk(stage.model(), system="Ada's card is 4242." if way == "instructions" else "")
    talk.say("make" if way == "file" else "my pin is 1234")
    talk.say("b")
    talk.say("c")
    if way == "summary":
        talk.messages = [Message("user", "small talk"), *talk.messages[2:]]
    talk.system = ""
    talk.say("d")
    other = unmarked(talk)
    other.say("what do you know?")
    assert other.way() == ("stateless", None)


@pytest.mark.parametrize("method", ["put", "occupy", "vacate"])
def test_an_answer_that_was_paid_for_is_not_lost_with_the_store(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    talk = grown(stage, on_store_error="error")

    def fails(*_args: Any, **_named: Any) -> None:
        raise OSError("the disk is full")

    real = StewrdClient.perform

    def perform(self: StewrdClient, *args: Any, **named: Any) -> Reply:
        monkeypatch.setattr(stage.store, method, fails)
        return real(self, *args, **named)

    monkeypatch.setattr(StewrdClient, "perform", perform)
    assert talk.say("pay").reply.message == "answer 4"


def test_tool_outputs_are_never_cut(stage: Stage) -> None:
    model = stage.model(replay_budget=500)
    call = ToolCall("c1", "weather", {"q": "x"})
    messages = [
        Message("user", "weather?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "R" * 600, tool_call_id="c1"),
    ]
    with pytest.raises(errors.InvalidInputError, match="tool outputs"):
        model.answer(model.call(messages, {"conversation_id": "n"}))
    assert stage.requests == []


def test_what_is_added_to_what_was_left_out_is_replayed(stage: Stage) -> None:
    past = [Message("user" if i % 2 == 0 else "assistant", f"m{i} ".ljust(20)) for i in range(8)]
    talk = Talk(stage.model(replay_budget=260), "n", messages=past)
    talk.say("q1")
    assert talk.last is not None and talk.last.decision.omitted > 2
    for place, text in ((2, "X1"), (4, "X2")):
        talk.messages.insert(place, Message("user", text))
        talk.say("next")
        read = [said.text.strip() for said in stage.runs[-1].conversation.messages]
        shown = [message.text.strip() for message in talk.messages[:-1]]
        assert read == shown[len(shown) - len(read) :]


def test_a_session_that_an_earlier_attempt_reached_is_nobody_elses(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stage.model(max_retries=1)
    patience = replace(model.client._settings.patience, jitter=lambda: 0.0)
    model.client._settings.patience = patience
    stage.fail_next("error", status=429, code="rate_limited")
    transport: Any = model.client._own._http._transport  # type: ignore[union-attr]
    real = transport.handle_request

    def once_then_nobody(request: Any) -> Any:
        answer = real(request)
        if answer.status_code == 429:
            monkeypatch.setattr(transport, "handle_request", Unreachable().handle_request)
        return answer

    monkeypatch.setattr(transport, "handle_request", once_then_nobody)
    with pytest.raises(errors.NeverSentError) as caught:
        Talk(model, "a", who={"tenant": "a"}).say("secret")
    assert caught.value.sent
    monkeypatch.undo()
    Talk(model, "b", who={"tenant": "b"}).say("hi")
    assert len(stage.world.sessions) == 2


@pytest.mark.parametrize("turns", [0, 2])
def test_a_refunded_run_is_repeated_once_only(stage: Stage, turns: int) -> None:
    talk = grown(stage, turns, retry_on_compute_error=True)
    before = len(stage.sent())
    stage.fail_next("error", on="send", status=502, code="compute_error", times=9)
    with pytest.raises(errors.ComputeError):
        talk.say("pay")
    assert len(stage.sent()) - before == 2


def test_a_session_whose_slot_could_not_be_swapped_in_is_still_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stage.model()
    real = stage.store.occupy

    def occupy(pool: str, slot: str, limit: int, ttl: float) -> bool:
        if slot.startswith("id-"):
            raise OSError("away for a moment")
        return real(pool, slot, limit, ttl)

    monkeypatch.setattr(stage.store, "occupy", occupy)
    Talk(model, "a").say("hello")
    assert len(stage.world.sessions) == len(stage.store.slots(model.client.project)) == 1
