"""Turns with tools (R11), by what the server heard: the good ways, and lists that change."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations import errors
from stewrd_integrations.types import Message, ToolCall
from tests.sessions.tooling import (
    TOOLS,
    Workshop,
    clean,
    opened,
    paths,
    scripted,
    words_heard,
    words_of,
    workshop,
)
from tests.worlds import Stage, stored_text

WHO: dict[str, dict[str, Any]] = {
    "named": {"name": "ada", "marks": False},
    "marked": {"name": None, "marks": True},
    "content": {"name": None, "marks": False},
}


@pytest.fixture(params=list(WHO))
def who(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Who is talking: each kind of key."""
    return WHO[request.param]


def a_day_at_work(work: Workshop) -> None:
    """Turns with tools and without, each checked by what the agent heard."""
    work.talk("hello")
    work.talk("do add, mul; sub; add")
    work.talk("thanks")
    work.tools = ()
    work.talk("without tools")
    work.tools = TOOLS
    work.talk("do mul")
    work.tools = ()
    work.talk("good bye")
    clean(work.stage)


# -- every behaviour of the server -----------------------------------------------------


@pytest.mark.parametrize("session_rounds", ["all", "answer", "message"])
@pytest.mark.parametrize("waiting_run", ["message", "calls", "nothing"])
@pytest.mark.parametrize("count_rounds", [True, False])
def test_one_session_hears_everything(
    who: dict[str, Any], session_rounds: str, waiting_run: str, count_rounds: bool
) -> None:
    stage = scripted(
        session_tools="accepted",
        session_rounds=session_rounds,
        waiting_run=waiting_run,
        count_rounds=count_rounds,
    )
    work = workshop(stage, **who)
    a_day_at_work(work)
    assert opened(stage) == 1
    assert paths(stage).count("agent") == 0
    assert stage.world.refused == []
    assert work.last is not None
    assert work.last.decision.messages_used >= stage.world.sessions["id-1"].messages


@pytest.mark.parametrize("compute_instance", ["fresh", "same", "none"])
@pytest.mark.parametrize("wrong_instance", ["context_expired", "accepted"])
@pytest.mark.parametrize("calls_message", ["absent", "null", "empty", "text"])
@pytest.mark.parametrize("session_tools", ["accepted", "refused"])
def test_whatever_the_answer_with_calls_looks_like(
    session_tools: str, calls_message: str, wrong_instance: str, compute_instance: str
) -> None:
    stage = scripted(
        session_tools=session_tools,
        calls_message=calls_message,
        wrong_instance=wrong_instance,
        compute_instance=compute_instance,
    )
    a_day_at_work(workshop(stage))
    assert opened(stage) == 1
    assert [one.status for one in stage.world.refused] == [400] * (session_tools == "refused")


@pytest.mark.parametrize("calls_message", ["absent", "text"])
async def test_all_four_ways_agree(calls_message: str) -> None:
    async def done(way: str) -> tuple[list[tuple[Any, ...]], list[Any]]:
        stage = scripted(session_tools="accepted", calls_message=calls_message)
        work = workshop(stage, way=way)
        if way.startswith("a"):
            await work.atalk("do add, mul; sub")
            await work.atalk("thanks")
        else:
            work.talk("do add, mul; sub")
            work.talk("thanks")
        kept = [(m.role, m.text, m.tool_calls) for m in work.messages]
        return kept, [(one.path, one.body) for one in stage.requests]

    plain = await done("plain")
    assert [await done(way) for way in ("stream", "aplain", "astream")] == [plain] * 3


def test_with_tools_a_stream_is_one_piece() -> None:
    stage = scripted(session_tools="accepted", calls_message="text")
    work = workshop(stage, way="stream")
    work.ask("do add")
    assert work.pieces == [work.messages[-1].text] != [""]
    work.finish()
    assert work.pieces == [work.messages[-1].text]
    assert not any(isinstance(one.body, dict) and "stream" in one.body for one in stage.requests)


def test_a_stream_of_calls_alone_has_no_piece() -> None:
    work = workshop(scripted(session_tools="accepted"), way="stream")
    work.ask("do add")
    assert work.pieces == []
    assert work.calls


@pytest.mark.parametrize("order", [reversed, lambda calls: sorted(calls, key=lambda c: c.name)])
def test_outputs_may_come_in_another_order(order: Any) -> None:
    stage = scripted(session_tools="accepted")
    work = workshop(stage, check=False)
    work.talk("do sub, add, mul")
    work.messages = work.messages[:2]
    work.name = "other"
    work.user("do sub, add, mul")
    work.step()
    work.finish(order)
    assert paths(stage)[-1] == "tool-outputs"
    given = {one["tool_call_id"]: one["output"] for one in stage.requests[-1].body["tool_outputs"]}
    assert given == {m.tool_call_id: m.text for m in work.messages if m.role == "tool"}
    work.talk("thanks")
    assert paths(stage)[-1] == "messages"


def test_outputs_are_free_and_a_turn_is_charged_once() -> None:
    for session_tools in ("accepted", "refused"):
        stage = scripted(session_tools=session_tools)
        work = workshop(stage)
        work.talk("hello")
        before = stage.world.credits
        credits = [work.ask("do add, mul; sub").reply.usage.credits]
        while work.calls:
            work.give()
            credits.append(work.step().reply.usage.credits)
        assert before - stage.world.credits == 1
        assert credits == [1, 0, 0]


def test_credits_of_outputs_that_the_api_does_not_tell_are_none() -> None:
    stage = scripted(session_tools="accepted", usage="none")
    work = workshop(stage)
    assert work.ask("do add").reply.usage.credits == 1
    assert work.finish().reply.usage.credits == 0


# -- where sessions take no tools ------------------------------------------------------


def test_a_refusal_costs_no_session_and_is_remembered(who: dict[str, Any]) -> None:
    stage = scripted(session_tools="refused")
    work = workshop(stage, **who)
    work.tools = ()
    work.talk("hello")
    work.tools = TOOLS
    work.talk("do add, mul; sub")
    assert paths(stage) == ["sessions", "messages", "messages", "agent", *["tool-outputs"] * 2]
    work.talk("do add")
    assert paths(stage)[-2:] == ["agent", "tool-outputs"]
    work.tools = ()
    work.talk("and now?")
    assert paths(stage)[-1] == "messages"
    assert opened(stage) == 1
    assert stage.runs[-1].road == "session"
    # What it has not heard is told in so many words, and the rest is not told again.
    assert "hello" not in stage.sent()[-1]
    assert stage.sent()[-1].count("do add") == 2
    work.talk("just this")
    assert stage.sent()[-1] == "just this"


def test_what_is_learnt_holds_for_the_whole_project() -> None:
    stage = scripted(session_tools="refused")
    workshop(stage).talk("do add")
    workshop(stage, name="bob", who={"tenant": "t"}).talk("do add")
    assert [one.status for one in stage.requests].count(400) == 1


def test_an_answer_without_anything_is_learnt_from(who: dict[str, Any]) -> None:
    stage = scripted(session_tools="empty")
    work = workshop(stage, **who)
    work.talk("hello")
    work.talk("do add, mul; sub")
    work.talk("do add")
    # One session is lost to find it out, and no more.
    assert paths(stage).count("messages") == 2
    work.tools = ()
    work.talk("and now?")
    work.talk("go on")
    assert stage.sent()[-1] == "go on"
    assert opened(stage) == 2


def test_a_first_turn_that_learns_keeps_its_new_session(who: dict[str, Any]) -> None:
    stage = scripted(session_tools="refused")
    work = workshop(stage, **who)
    work.talk("do add")
    work.tools = ()
    work.talk("and now?")
    assert opened(stage) == 1
    assert stage.runs[-1].session_id == "id-1"


def test_tools_that_are_wrong_everywhere_teach_nothing() -> None:
    stage = scripted(session_tools="accepted", max_tools=2)
    work = workshop(stage)
    for name in ("ada", "bob"):
        work.name = name
        with pytest.raises(errors.BadRequestError) as caught:
            work.ask("do add")
        assert caught.value.code == "invalid_tools"
        work.messages = []
    work.name, work.tools = "eve", TOOLS[:2]
    work.talk("do add")
    assert stage.runs[-1].road == "session"


def test_tools_that_are_wrong_leave_the_session_as_it_was(who: dict[str, Any]) -> None:
    stage = scripted(session_tools="accepted", max_tools=2)
    work = workshop(stage, **who)
    work.tools = TOOLS[:2]
    work.talk("hello")
    work.tools = TOOLS
    with pytest.raises(errors.BadRequestError):
        work.ask("do add")
    work.tools = TOOLS[:2]
    work.step()
    assert opened(stage) == 1
    assert stage.runs[-1].road == "session"


def test_a_first_turn_that_learns_holds_no_place_of_other_first_turns() -> None:
    stage = scripted(session_tools="refused")
    model = stage.model()
    work = workshop(stage, model=model, name=None)
    work.talk("hello")
    work.tools = ()
    work.talk("again")
    for _ in range(2):
        workshop(stage, model=model, name=None, tools=()).talk("hello")
    assert opened(stage) == 3


def test_a_first_turn_whose_tools_came_back_holds_no_place_of_others() -> None:
    stage = scripted(session_tools="accepted")
    model = stage.model()
    for _ in range(4):
        workshop(stage, model=model, name=None).talk("do add")
    assert opened(stage) == 4


def test_a_session_without_an_answer_is_known_to_be_dropped() -> None:
    stage = scripted(session_tools="empty")
    work = workshop(stage)
    work.talk("hello")
    stage.fail_next("error", on="agent", status=500)
    with pytest.raises(errors.ServerError):
        work.ask("do add")
    assert '"session": {}' in stored_text(stage.store)  # type: ignore[arg-type]  # in memory


# -- the list goes another way ---------------------------------------------------------


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


def in_the_midst(stage: Stage, script: str = "do add, mul", **details: Any) -> Workshop:
    """A conversation whose agent waits for outputs."""
    work = workshop(stage, **details)
    work.talk("hello")
    work.ask(script)
    assert work.calls
    return work


def test_calls_that_were_passed_over_drop_the_session(stage: Stage, who: dict[str, Any]) -> None:
    work = in_the_midst(stage, **who)
    work.talk("never mind")
    assert stage.runs[-1].session_id != "id-1"
    work.talk("go on")
    assert work.last is not None
    assert stage.sent()[-1] == "go on" or work.last.decision.road == "stateless"


def test_some_outputs_only_are_replayed(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.messages += work.outputs()[:1]
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert work.last is not None
    assert work.last.decision.turn == "replayed"


@pytest.mark.parametrize("ids", [["call_x", "call_y"], ["same", "same"]])
def test_outputs_of_unknown_calls_are_replayed(stage: Stage, ids: list[str]) -> None:
    work = in_the_midst(stage, check=False)
    work.messages += [Message("tool", "5", tool_call_id=one) for one in ids]
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_an_output_too_many_is_replayed(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.messages += [*work.outputs(), Message("tool", "5", tool_call_id="call_more")]
    work.step()
    assert "tool-outputs" not in paths(stage)


def test_a_demand_that_was_not_made_of_the_run_is_replayed(stage: Stage) -> None:
    work = in_the_midst(stage, check=False)
    work.give()
    outcome = work.step(demand="Answer in JSON.")
    assert "tool-outputs" not in paths(stage)
    assert outcome.decision.turn == "replayed"
    assert "Answer in JSON." in stage.sent()[-1]


def test_a_message_put_before_the_calls_is_replayed(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.messages.insert(1, Message("user", "something from before"))
    work.messages += work.outputs()
    work.step()
    assert "tool-outputs" not in paths(stage)


@pytest.mark.parametrize("way", ["plain", "stream"])
def test_a_user_who_speaks_before_the_answer(stage: Stage, way: str) -> None:
    """Two requests, and the answer between them is nobody's."""
    work = in_the_midst(stage, way=way, check=False)
    shown = work.messages
    work.give()
    work.user("and double it")
    outcome = work.step()
    assert paths(stage)[-2:] == ["tool-outputs", "messages"]
    hidden = stage.runs[-2].answer
    assert hidden not in work.pieces
    assert outcome.reply.message == stage.runs[-1].answer
    assert stage.sent()[-1] == "and double it"
    wanted = words_of(shown[:-1])
    wanted.insert(-1, ("assistant", hidden, (), None))
    assert words_heard(stage.runs[-1]) == wanted
    work.talk("go on")
    assert (stage.sent()[-1], opened(stage)) == ("go on", 1)


def test_a_user_who_speaks_before_a_run_without_a_session_has_ended() -> None:
    work = in_the_midst(scripted(session_tools="refused"))
    work.give()
    work.user("and double it")
    work.step()
    assert paths(work.stage)[-1] == "agent"
    work.talk("go on")


def test_a_hidden_answer_that_asks_for_more_is_replayed(stage: Stage) -> None:
    work = in_the_midst(stage, "do add; mul")
    work.give()
    work.user("stop that")
    outcome = work.step()
    assert paths(stage)[-3:] == ["tool-outputs", "sessions", "messages"]
    assert outcome.decision.turn == "replayed"
    work.talk("go on")
    assert stage.sent()[-1] == "go on"


def test_an_answer_that_the_application_wrote_is_told(stage: Stage) -> None:
    work = in_the_midst(stage, check=False)
    work.give()
    work.messages.append(Message("assistant", "Done, said the tool itself."))
    work.user("thanks")
    work.step()
    assert paths(stage)[-2:] == ["tool-outputs", "messages"]
    wanted = words_of(work.messages[:-1])
    wanted.insert(-2, ("assistant", stage.runs[-2].answer, (), None))
    assert words_heard(stage.runs[-1]) == wanted


def test_examples_of_tools_at_the_start(stage: Stage, who: dict[str, Any]) -> None:
    work = workshop(stage, **who)
    call = ToolCall("example", "add", {"n": 5})
    work.messages = [
        Message("user", "what is 5 + 5?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "10", tool_call_id="example"),
        Message("assistant", "It is 10."),
    ]
    work.talk("do add, mul")
    work.talk("thanks")
    assert paths(stage).count("tool-outputs") == 1


def test_two_branches_and_one_run(stage: Stage, who: dict[str, Any]) -> None:
    work = in_the_midst(stage, **who)
    work.give()
    branch = workshop(stage, model=work.model, **who)
    branch.messages = list(work.messages)
    work.step()
    branch.step()
    assert paths(stage).count("tool-outputs") == 1
    assert work.last is not None
    assert branch.last is not None
    assert work.last.session_id != branch.last.session_id
    work.talk("one")
    branch.talk("two")


def test_a_run_that_is_edited_under_is_not_given_anything(stage: Stage) -> None:
    for place in (0, 2, 3):
        work = in_the_midst(stage, name=f"place {place}", check=False)
        work.give()
        changed = work.messages[place]
        work.messages[place] = Message(
            changed.role, f"{changed.text} edited", tool_calls=changed.tool_calls
        )
        before = paths(stage).count("tool-outputs")
        work.step()
        assert paths(stage).count("tool-outputs") == before
        assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_a_rewind_out_of_a_run_leaves_it(stage: Stage, who: dict[str, Any]) -> None:
    work = in_the_midst(stage, **who)
    del work.messages[-2:]
    work.talk("do sub")
    work.talk("thanks")
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_a_round_that_is_done_again_has_no_run(stage: Stage, who: dict[str, Any]) -> None:
    work = in_the_midst(stage, **who)
    work.give()
    again = list(work.messages)
    work.step()
    work.messages = again
    work.step()
    assert paths(stage).count("tool-outputs") == 1
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_another_model_object_with_the_same_store_goes_on(stage: Stage) -> None:
    for name, marks in (("ada", False), (None, True)):
        work = in_the_midst(stage, name=name, marks=marks)
        work.model = stage.model()
        work.finish()
        assert paths(stage)[-1] == "tool-outputs"
        work.talk("thanks")
        assert stage.sent()[-1] == "thanks"


def test_another_store_replays(stage: Stage) -> None:
    work = in_the_midst(stage)
    work.model = stage.model(store=Stage.make().store)
    work.finish()
    assert "tool-outputs" not in paths(stage)
    assert work.last is not None
    assert work.last.decision.turn == "replayed"
