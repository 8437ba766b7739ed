from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator import Answer, Call, Context
from stewrd_integrations.emulator.faults import Fault
from stewrd_integrations.emulator.wire import Request

from .conftest import ADD, KEY, Lab, code, parsed


def told(lab: Lab, session: str) -> list[str]:
    """What a session's log holds, a word for a message."""
    return [
        "calls" if heard.tool_calls else heard.text if heard.role == "user" else heard.role
        for heard in lab.world.heard(session)
    ]


def accepting(**changes: Any) -> Lab:
    return Lab(**{"session_tools": "accepted", **changes})


def ask(lab: Lab, session: str, text: str = "add(1, 2)") -> Any:
    return parsed(lab.say(session, text, tools=ADD))


# -- whether a session takes tools --------------------


def test_empty_is_the_answer_of_a_documented_shape_without_what_it_has_no_place_for() -> None:
    lab = Lab(extra_fields=False)
    session = lab.create()
    response = lab.say(session, "add(1, 2)", tools=ADD)
    body = parsed(response)
    assert response.status == 200
    assert set(body) == {
        "id",
        "object",
        "session_id",
        "capabilities_used",
        "files",
        "usage",
        "meta",
    }
    assert (body["object"], body["usage"]["credits_this_request"]) == ("session.message", 1)
    assert told(lab, session) == ["add(1, 2)"]
    assert lab.world.waiting_runs == []
    assert code(lab.post(f"/v1/agent/{body['id']}/tool-outputs", {})) == (404, "context_expired")


def test_empty_is_only_the_answer_that_would_call() -> None:
    lab = Lab()
    session = lab.create()
    assert parsed(lab.say(session, "Thanks", tools=ADD))["message"] == "You are welcome."
    assert lab.world.runs[0].tools[0].name == "add"
    assert parsed(lab.run("add(1, 2)", tools=ADD))["tool_calls"]


def test_refused() -> None:
    lab = Lab(session_tools="refused")
    session = lab.create()
    assert code(lab.say(session, "Thanks", tools=ADD)) == (400, "invalid_tools")
    assert (told(lab, session), lab.world.credits, lab.world.runs) == ([], 1000, [])
    assert lab.say(session, "Thanks", tools=[]).status == 200
    assert lab.run("add(1, 2)", tools=ADD).status == 200


def test_ignored() -> None:
    lab = Lab(session_tools="ignored")
    session = lab.create()
    body = parsed(lab.say(session, "add(1, 2)", tools=ADD, capabilities=["research"]))
    assert body["status"] == "completed" and body["message"]
    assert body["usage"]["credits_this_request"] == 3
    assert lab.world.runs[0].tools == ()
    assert parsed(lab.run("add(1, 2)", tools=ADD))["tool_calls"]


def test_accepted() -> None:
    lab = accepting()
    session = lab.create()
    asked = ask(lab, session)
    assert (asked["object"], asked["session_id"]) == ("session.message", session)
    assert (asked["status"], len(asked["tool_calls"])) == ("requires_tool_outputs", 1)
    answer = parsed(lab.submit(asked))
    assert (answer["object"], answer["session_id"]) == ("session.message", session)
    assert answer["message"] == "The tool add answered: 3"
    assert [run.session_id for run in lab.world.runs] == [session] * 2
    assert [run.road for run in lab.world.runs] == ["session"] * 2
    assert lab.world.requests[-1].session_id == session
    assert lab.world.requests[-1].note == "round 1/10 4/50 messages"


def test_what_the_session_said_before_is_known_to_its_runs() -> None:
    lab = accepting()
    session = lab.create()
    lab.say(session, "My name is Ada.")
    lab.submit(ask(lab, session))
    said = lab.world.runs[-1].conversation.messages
    assert [one.role for one in said] == ["user", "assistant"] * 2 + ["tool"]
    assert said[0].text == "My name is Ada."


# -- what its log keeps of a run --------------------


@pytest.mark.parametrize(
    ("setting", "waiting", "first", "second", "last"),
    [
        ("all", "message", ["u"], ["u"], ["u", "calls", "tool", "calls", "tool", "assistant"]),
        (
            *("all", "calls", ["u", "calls"], ["u", "calls", "tool", "calls"]),
            ["u", "calls", "tool", "calls", "tool", "assistant"],
        ),
        ("all", "nothing", [], [], ["u", "calls", "tool", "calls", "tool", "assistant"]),
        ("answer", "message", ["u"], ["u"], ["u", "assistant"]),
        ("answer", "calls", ["u"], ["u"], ["u", "assistant"]),
        ("answer", "nothing", [], [], ["u", "assistant"]),
        ("message", "message", ["u"], ["u"], ["u"]),
        ("message", "calls", ["u"], ["u"], ["u"]),
        ("message", "nothing", [], [], ["u"]),
    ],
)
def test_what_enters_the_history_and_when(
    setting: str, waiting: str, first: list[str], second: list[str], last: list[str]
) -> None:
    def agent(context: Context) -> Answer:
        return Answer(calls=[Call("add")]) if context.round < 2 else Answer("done")

    lab = accepting(agent=agent, session_rounds=setting, waiting_run=waiting)
    session = lab.create()
    asked = ask(lab, session, "u")
    assert told(lab, session) == first
    asked = parsed(lab.submit(asked))
    assert told(lab, session) == second
    assert parsed(lab.submit(asked))["message"] == "done"
    assert told(lab, session) == last


def test_a_turn_without_calls_is_kept_whole_in_any_case() -> None:
    lab = accepting(session_rounds="message", waiting_run="nothing")
    session = lab.create()
    lab.say(session, "Thanks", tools=ADD)
    assert told(lab, session) == ["Thanks", "assistant"]


def test_the_log_tells_calls_and_outputs_whole() -> None:
    lab = accepting()
    session = lab.create()
    asked = ask(lab, session)
    lab.submit(asked, "seven")
    [call] = asked["tool_calls"]
    user, calls, output, answer = lab.world.heard(session)
    assert user == ("user", "add(1, 2)")
    assert answer == ("assistant", "The tool add answered: seven")
    assert (calls.role, calls.text, calls.tool_calls[0].id) == ("assistant", "", call["id"])
    assert calls.tool_calls[0].arguments == {"a": 1, "b": 2}
    assert (output.role, output.text) == ("tool", "seven")
    assert (output.tool_call_id, output.name) == (call["id"], "add")
    assert [said.role for said in lab.world.context(session).messages] == [
        *["user", "assistant", "tool", "assistant"]
    ]
    assert lab.world.context(session).messages[1].tool_calls == calls.tool_calls


@pytest.mark.parametrize(
    ("waiting", "left"),
    [("message", ["a", "b", "assistant"]), ("nothing", ["b", "assistant"])],
)
def test_a_run_that_is_never_answered(waiting: str, left: list[str]) -> None:
    lab = accepting(agent=_first, waiting_run=waiting)
    session = lab.create()
    ask(lab, session, "a")
    lab.now += 301
    lab.say(session, "b")
    assert told(lab, session) == left


def _first(context: Context) -> str | Answer:
    return Answer(calls=[Call("add")]) if context.tools and not context.round else "ok"


def test_a_message_in_between_leaves_the_run_waiting() -> None:
    lab = accepting()
    session = lab.create()
    asked = ask(lab, session)
    lab.say(session, "Thanks")
    assert told(lab, session) == ["add(1, 2)", "Thanks", "assistant"]
    assert lab.submit(asked).status == 200
    assert told(lab, session)[3:] == ["calls", "tool", "assistant"]


def test_two_requests_at_once_on_one_session_are_noticed() -> None:
    lab = accepting()
    session = lab.create()
    asked = ask(lab, session)
    given = {"authorization": f"Bearer {KEY}"}
    path = f"/v1/sessions/{session}/messages"
    open_one = lab.world.handle(Request("POST", path, given, b'{"message": "hi"}'))
    response = lab.submit(asked)
    assert lab.world.overlaps == [(session, open_one.number, response.number)]


# -- the cap --------------------


@pytest.mark.parametrize(("count", "held", "pushed_out"), [(True, 4, 2), (False, 4, 0)])
def test_whether_rounds_count_towards_the_cap(count: bool, held: int, pushed_out: int) -> None:
    lab = accepting(count_rounds=count, history_limit=4)
    session = lab.create()
    lab.say(session, "Thanks")
    lab.submit(ask(lab, session))
    assert lab.world.over_limit == pushed_out
    assert lab.world.sessions[session].messages == held
    assert len(lab.world.heard(session)) == 6 - pushed_out


@pytest.mark.parametrize(
    ("changes", "limit", "expected"),
    [
        ({}, 4, 200),
        ({}, 3, 400),
        ({"waiting_run": "calls"}, 4, 200),
        ({"waiting_run": "calls"}, 3, 400),
        ({"waiting_run": "nothing"}, 4, 200),
        ({"waiting_run": "nothing"}, 3, 400),
        ({"count_rounds": False}, 2, 200),
        ({"session_rounds": "answer"}, 2, 200),
    ],
)
def test_a_strict_cap_refuses_outputs_too(
    changes: dict[str, Any], limit: int, expected: int
) -> None:
    lab = accepting(history_limit=limit, over_limit="error", **changes)
    session = lab.create()
    asked = ask(lab, session)
    before = told(lab, session)
    response = lab.submit(asked)
    assert response.status == expected
    if expected == 400:
        assert code(response) == (400, "invalid_body")
        assert told(lab, session) == before
        assert lab.world.waiting_runs == [asked["id"]]
    assert lab.world.over_limit == 0


# -- time --------------------


@pytest.mark.parametrize(("setting", "expected"), [(False, 410), (True, 200)])
def test_whether_outputs_reset_the_idle_timer(setting: bool, expected: int) -> None:
    for reset in ("arrival", "answer"):
        lab = accepting(outputs_reset_idle=setting, idle_timeout=300, idle_reset=reset)
        session = lab.create()
        asked = ask(lab, session)
        lab.now += 200
        lab.submit(asked)
        lab.now += 200
        assert lab.say(session, "Thanks").status == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (410, "not_found")),
        ({"expired_code": None}, (410, None)),
        ({"expired_session_run": "context_expired"}, (404, "context_expired")),
    ],
)
def test_a_run_whose_session_has_expired(
    changes: dict[str, Any], expected: tuple[int, str | None]
) -> None:
    lab = accepting(**changes)
    session = lab.create()
    asked = ask(lab, session)
    lab.world.expire(session)
    assert code(lab.submit(asked)) == expected


def test_or_it_is_answered_all_the_same() -> None:
    lab = accepting(expired_session_run="answered")
    session = lab.create()
    asked = ask(lab, session)
    lab.world.expire(session)
    assert parsed(lab.submit(asked))["message"] == "The tool add answered: 3"


# -- failures --------------------


@pytest.mark.parametrize("waiting", ["message", "calls", "nothing"])
@pytest.mark.parametrize("appended", [True, False])
def test_what_a_lost_answer_to_outputs_leaves(waiting: str, appended: bool) -> None:
    lab = accepting(waiting_run=waiting, failed_appended=appended)
    session = lab.create()
    asked = ask(lab, session)
    before = told(lab, session)
    lab.world.fail(Fault("hang_up", on="tool_outputs", after=True))
    lab.submit(asked)
    whole = ["add(1, 2)", "calls", "tool", "assistant"]
    assert told(lab, session) == (whole if appended else before)


@pytest.mark.parametrize("appended", [True, False])
def test_what_a_lost_answer_with_calls_leaves(appended: bool) -> None:
    lab = accepting(failed_appended=appended)
    session = lab.create()
    lab.world.fail(Fault("cut", on="message"))
    lab.say(session, "add(1, 2)", tools=ADD)
    assert told(lab, session) == (["add(1, 2)"] if appended else [])


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, ["u"]),
        ({"waiting_run": "calls"}, ["u", "calls", "tool"]),
        ({"waiting_run": "calls", "failed_appended": False}, ["u", "calls"]),
        ({"waiting_run": "nothing"}, []),
    ],
)
def test_what_an_agent_leaves_that_fails_on_the_outputs(
    changes: dict[str, Any], left: list[str]
) -> None:
    def agent(context: Context) -> Answer:
        if context.round:
            raise RuntimeError("no")
        return Answer(calls=[Call("add")])

    lab = accepting(agent=agent, **changes)
    session = lab.create()
    asked = ask(lab, session, "u")
    assert lab.submit(asked).status == 502
    assert told(lab, session) == left


def test_wrong_outputs_leave_the_log_as_it_was() -> None:
    lab = accepting(waiting_run="calls", refused_appended=True)
    session = lab.create()
    asked = ask(lab, session)
    assert lab.submit(asked, tool_outputs=[]).status == 400
    lab.world.fail(Fault("error", on="tool_outputs", status=402))
    assert lab.submit(asked).status == 402
    assert told(lab, session) == ["add(1, 2)", "calls"]
    lab.submit(asked)
    assert told(lab, session) == ["add(1, 2)", "calls", "tool", "assistant"]


def test_the_session_dies_with_a_fault_and_its_run_with_it() -> None:
    lab = accepting()
    session = lab.create()
    asked = ask(lab, session)
    lab.world.fail(Fault("expire", on="any"))
    assert lab.submit(asked).status == 404
    assert lab.say(session, "hi").status == 200


def test_files_of_the_message_are_known_to_the_rounds() -> None:
    seen: list[Context] = []

    def agent(context: Context) -> str | Answer:
        seen.append(context)
        return _first(context)

    lab = accepting(agent=agent)
    session = lab.create()
    lab.say(session, "x", files=[{"name": "a.txt", "content": "x"}])
    asked = parsed(lab.say(session, "y", tools=ADD, files=[{"name": "b.txt", "content": "y"}]))
    lab.submit(asked)
    assert [[file.name for file in each.earlier_files] for each in seen] == [
        *[[], ["a.txt"], ["a.txt", "b.txt"]]
    ]
