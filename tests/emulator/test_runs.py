from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator import Answer, Call, Context, ToolOutput
from stewrd_integrations.emulator.faults import Fault

from .conftest import ADD, Lab, code, parsed, tool

UNKNOWN = (404, "context_expired")


def tireless(context: Context) -> str | Answer:
    """An agent that calls for ever, as long as it may."""
    if not context.tools:
        return "I give up."
    return Answer(calls=[Call("add", {"a": context.round, "b": 1})])


def rounds(lab: Lab, number: int) -> Any:
    """The answer after a number of rounds."""
    answer = parsed(lab.run("hi", tools=ADD))
    for _ in range(number):
        answer = parsed(lab.submit(answer))
    return answer


# -- the way of a run --------------------


def test_an_answer_that_asks_for_outputs() -> None:
    lab = Lab(extra_fields=False)
    assert parsed(lab.run("add(1, 2)", tools=ADD)) == {
        "id": "id-1",
        "object": "agent.response",
        "status": "requires_tool_outputs",
        "tool_calls": [{"id": "call_id-2", "name": "add", "arguments": {"a": 1, "b": 2}}],
        "capabilities_used": ["chat"],
        "files": [],
        "usage": {"credits_this_request": 1, "credits_remaining": 999, "tokens_used": 3},
        "meta": {"duration_ms": 0, "project_id": "emulator", "plan": "scale"},
        "_compute_instance": "instance_id-3",
    }


def test_and_the_answer_after_it() -> None:
    lab = Lab(extra_fields=False)
    answer = parsed(lab.submit(lab.run("add(1, 2)", tools=ADD)))
    assert answer == {
        "id": "id-1",
        "object": "agent.response",
        "status": "completed",
        "message": "The tool add answered: 3",
        "capabilities_used": ["chat"],
        "files": [],
        "usage": {"credits_this_request": 0, "credits_remaining": 999, "tokens_used": 9},
        "meta": {"duration_ms": 0, "project_id": "emulator", "plan": "scale"},
    }


def test_unknown_fields_stand_in_the_calls_too() -> None:
    assert parsed(Lab().run("add(1, 2)", tools=ADD))["tool_calls"][0]["type"] == "function"


def test_a_status_is_never_omitted_where_it_says_something() -> None:
    lab = Lab(omit_status=True)
    asked = parsed(lab.run("add(1, 2)", tools=ADD))
    assert asked["status"] == "requires_tool_outputs"
    assert "status" not in parsed(lab.submit(asked))


def test_several_rounds_and_only_the_first_is_charged() -> None:
    lab = Lab(quota=1)
    text = "Add 1 and 2, then multiply the result by 4"
    first = parsed(lab.run(text, tools=[tool("add"), tool("multiply")]))
    second = parsed(lab.submit(first))
    third = parsed(lab.submit(second, "12"))
    assert [call["name"] for each in (first, second) for call in each["tool_calls"]] == [
        *["add", "multiply"]
    ]
    assert third["message"] == "The tool add answered: 3\nThe tool multiply answered: 12"
    assert lab.world.credits == 999
    assert [run.credits for run in lab.world.runs] == [1, 0, 0]


def test_a_replayed_transcript_with_results_is_gone_on_from() -> None:
    lines = (
        '{"role": "user", "text": "add(1, 2), add(3, 4)"}\n'
        '{"role": "assistant", "text": "", "tool_calls": [{"id": "c1", "name": "add", '
        '"arguments": {}}]}\n'
        '{"role": "tool", "text": "3", "tool_call_id": "c1"}'
    )
    nonce = "0123456789abcdef" * 2
    heads = [f"[[stewrd:{nonce} {part}]]" for part in ("parts {}", 'transcript {"kind": "replay"}')]
    text = "\n".join([*heads, lines, f"[[stewrd:{nonce} continue {{}}]]"])
    lab = Lab()
    asked = parsed(lab.run(text, tools=ADD))
    assert [call["arguments"] for call in asked["tool_calls"]] == [{"a": 3, "b": 4}]
    answer = parsed(lab.submit(asked, "7"))["message"]
    assert answer == "The tool add answered: 3\nThe tool add answered: 7"


# -- its end --------------------


def test_a_run_that_was_answered_is_unknown() -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    lab.submit(asked)
    assert code(lab.submit(asked)) == UNKNOWN
    assert code(lab.post("/v1/agent/nobody/tool-outputs", {})) == UNKNOWN
    assert lab.world.waiting_runs == []


def test_outputs_of_a_former_round_are_for_no_call() -> None:
    lab = Lab(tireless, wrong_instance="accepted")
    asked = parsed(lab.run("hi", tools=ADD))
    lab.submit(asked)
    assert code(lab.submit(asked)) == (400, "invalid_tool_outputs")


def test_five_minutes_for_each_round() -> None:
    lab = Lab(tireless)
    asked = lab.run("hi", tools=ADD)
    lab.now += 299
    again = lab.submit(asked)
    lab.now += 299
    last = lab.submit(again)
    lab.now += 300
    assert lab.world.waiting_runs == []
    assert code(lab.submit(last)) == UNKNOWN


def test_the_minutes_begin_when_the_answer_is_made() -> None:
    def slow(context: Context) -> Answer:
        lab.now += 200
        return Answer(calls=[Call("add")])

    lab = Lab(slow)
    asked = lab.run("hi", tools=ADD)
    lab.now += 299
    assert lab.submit(asked).status == 200


def test_the_minutes_are_a_setting() -> None:
    lab = Lab(tool_timeout=10)
    asked = lab.run("add(1, 2)", tools=ADD)
    lab.now += 10
    assert code(lab.submit(asked)) == UNKNOWN


def test_runs_are_expired_by_hand() -> None:
    lab = Lab()
    asked = [lab.run("add(1, 2)", tools=ADD) for _ in range(3)]
    ids = [parsed(each)["id"] for each in asked]
    assert lab.world.waiting_runs == ids
    lab.world.expire_run(ids[0])
    assert code(lab.submit(asked[0])) == UNKNOWN
    assert lab.submit(asked[1]).status == 200
    for gone in (ids[0], ids[1], "nobody"):
        with pytest.raises(KeyError):
            lab.world.expire_run(gone)
    lab.world.expire_run()
    assert code(lab.submit(asked[2])) == UNKNOWN


def test_a_run_waits_whatever_comes_in_between() -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    lab.run("add(3, 4)", tools=ADD)
    lab.run("Thanks")
    assert lab.submit(asked).status == 200


# -- ten rounds --------------------


def test_ten_rounds_and_then_the_run_is_over() -> None:
    lab = Lab(tireless)
    answer = rounds(lab, 10)
    assert answer["status"] == "requires_tool_outputs"
    assert code(lab.submit(answer)) == (400, "invalid_tool_outputs")
    assert code(lab.submit(answer)) == UNKNOWN
    assert lab.world.runs[-1].round == 10


def test_or_the_outputs_of_one_more_are_of_an_unknown_run() -> None:
    lab = Lab(tireless, over_rounds="context_expired")
    answer = rounds(lab, 10)
    assert code(lab.submit(answer)) == UNKNOWN
    assert lab.world.waiting_runs == []


def test_or_the_compute_service_fails() -> None:
    lab = Lab(tireless, over_rounds="compute_error", max_rounds=2)
    answer = rounds(lab, 1)
    assert code(lab.submit(answer)) == (502, "compute_error")
    assert code(lab.submit(answer)) == UNKNOWN
    # [assumed] what was charged two requests ago is not given back
    assert lab.world.credits == 999


def test_or_the_agent_must_do_without() -> None:
    lab = Lab(tireless, over_rounds="completed", max_rounds=2)
    answer = rounds(lab, 2)
    assert (answer["status"], answer["message"]) == ("completed", "I give up.")


def test_an_agent_that_cannot_do_without_fails() -> None:
    stubborn = Lab(lambda _: Answer(calls=[Call("add")]), over_rounds="completed", max_rounds=1)
    assert code(stubborn.submit(stubborn.run("hi", tools=ADD))) == (502, "compute_error")


# -- the compute instance --------------------


@pytest.mark.parametrize("wrong", [None, "another"])
def test_the_compute_instance_must_be_the_same(wrong: str | None) -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    assert code(lab.submit(asked, _compute_instance=wrong)) == UNKNOWN
    assert lab.submit(asked).status == 200
    lenient = Lab(wrong_instance="accepted")
    asked = lenient.run("add(1, 2)", tools=ADD)
    assert lenient.submit(asked, _compute_instance=wrong).status == 200


def test_each_answer_has_an_instance_of_its_own() -> None:
    lab = Lab(tireless)
    first = parsed(lab.run("hi", tools=ADD))
    second = parsed(lab.submit(first))
    assert first["_compute_instance"] != second["_compute_instance"]
    assert code(lab.submit({**second, "_compute_instance": first["_compute_instance"]})) == UNKNOWN


def test_or_the_run_has_one() -> None:
    lab = Lab(tireless, compute_instance="same")
    one, two = (parsed(lab.run("hi", tools=ADD)) for _ in range(2))
    assert parsed(lab.submit(one))["_compute_instance"] == one["_compute_instance"]
    assert one["_compute_instance"] != two["_compute_instance"]


def test_or_none() -> None:
    lab = Lab(compute_instance="none")
    asked = parsed(lab.run("add(1, 2)", tools=ADD))
    assert "_compute_instance" not in asked
    assert lab.submit(asked).status == 200


# -- the message beside the calls --------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("absent", "absent"), ("null", None), ("empty", ""), ("text", "Let me see.")],
)
def test_the_message_of_an_answer_with_calls(setting: str, expected: str | None) -> None:
    lab = Lab(lambda _: Answer("Let me see.", calls=[Call("add")]), calls_message=setting)
    assert parsed(lab.run("hi", tools=ADD)).get("message", "absent") == expected


# -- faults --------------------


def fail(lab: Lab, kind: Any, **more: Any) -> None:
    lab.world.fail(Fault(kind, on="tool_outputs", **more))


@pytest.mark.parametrize("kind", ["error", "html", "empty", "hang_up"])
def test_a_failure_before_the_work_leaves_the_run_as_it_was(kind: Any) -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    fail(lab, kind, status=None if kind == "hang_up" else 503)
    assert lab.submit(asked).status in (0, 503)
    assert len(lab.world.runs) == 1
    assert lab.submit(asked).status == 200


@pytest.mark.parametrize("kind", ["error", "html", "empty", "hang_up", "cut", "garbage"])
def test_after_a_failure_after_the_work_the_run_is_gone(kind: Any) -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    fail(lab, kind, after=True)
    response = lab.submit(asked)
    assert response.delivery.complete == (kind != "cut")
    assert len(lab.world.runs) == 2
    assert code(lab.submit(asked)) == UNKNOWN
    # [assumed] not even what fails with a refund gives back what the first request has paid
    assert lab.world.credits == 999


@pytest.mark.parametrize("shape", ["object", "list"])
def test_wrong_shapes(shape: Any) -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    fail(lab, "wrong_shape", shape=shape)
    answer = parsed(lab.submit(asked))
    assert isinstance(answer, list) == (shape == "list")
    assert "message" not in answer and "tool_calls" not in answer


def test_a_slow_answer() -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    fail(lab, "slow", seconds=7)
    assert lab.submit(asked).delivery.latency == 7


def test_a_run_that_expires_right_before() -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    fail(lab, "expire")
    assert code(lab.submit(asked)) == UNKNOWN
    assert lab.world.requests[-1].fault == "expire"
    assert lab.world.refused == []
    assert code(lab.submit(asked)) == UNKNOWN


def test_faults_of_other_requests_wait() -> None:
    lab = Lab()
    asked = lab.run("add(1, 2)", tools=ADD)
    lab.world.fail(Fault("error", on="send"))
    assert lab.submit(asked).status == 200
    assert lab.world.pending_faults == 1


def test_an_answer_with_calls_that_is_lost_waits_all_the_same() -> None:
    lab = Lab()
    lab.world.fail(Fault("hang_up", on="agent", after=True))
    lab.run("add(1, 2)", tools=ADD)
    assert len(lab.world.waiting_runs) == 1
    assert lab.world.credits == 999


def test_an_agent_that_fails_on_the_outputs() -> None:
    def agent(context: Context) -> Answer:
        if context.round:
            raise RuntimeError("no")
        return Answer(calls=[Call("add")])

    lab = Lab(agent)
    asked = lab.run("hi", tools=ADD)
    assert code(lab.submit(asked)) == (502, "compute_error")
    assert code(lab.submit(asked)) == UNKNOWN


# -- the record --------------------


def test_what_the_runs_tell() -> None:
    lab = Lab()
    asked = parsed(lab.run("add(1, 2), add(3, 4)", tools=ADD, capabilities=["chat"]))
    lab.submit(asked, "7")
    first, second = lab.world.runs
    ids = [call["id"] for call in asked["tool_calls"]]
    assert (first.id, second.id) == (asked["id"], asked["id"])
    assert (first.number, second.number) == (0, 1)
    assert (first.round, second.round) == (0, 1)
    assert (first.message, second.message) == ("add(1, 2), add(3, 4)", "")
    assert [call.id for call in first.calls] == ids
    assert (first.outputs, second.outputs) == (
        (),
        (ToolOutput(ids[0], "7"), ToolOutput(ids[1], "7")),
    )
    assert (first.answer, second.calls) == ("", ())
    assert [tool.name for tool in second.tools] == ["add"]
    assert [said.text for said in second.conversation.messages] == [
        "add(1, 2), add(3, 4)",
        "",
        "7",
        "7",
    ]
    assert second.conversation.messages[1].tool_calls == first.calls


def test_what_the_requests_tell() -> None:
    lab = Lab()
    asked = lab.run("add(1, 2), add(3, 4)", tools=ADD)
    lab.submit(asked)
    lab.submit(asked)
    first, second, third = lab.world.requests
    assert (first.note, first.run_id) == ("calls add, add 1 credit", "id-1")
    assert (second.note, second.run_id, second.session_id) == ("round 1/10", "id-1", None)
    assert (third.status, third.code, third.run_id) == (404, "context_expired", "id-1")
    assert second.body["tool_outputs"][0]["output"] == "3"


def test_submitting_counts_as_a_request() -> None:
    lab = Lab(rate_limit=1)
    asked = lab.run("add(1, 2)", tools=ADD)
    assert code(lab.submit(asked)) == (429, "rate_limited")
    lab.now += 60
    assert lab.submit(asked).status == 200
