from __future__ import annotations

import json
import threading
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from stewrd_integrations.emulator import Answer, Context, File
from stewrd_integrations.emulator.faults import Fault
from stewrd_integrations.emulator.wire import Request, encode

from .conftest import KEY, Lab, code, parsed


def headers(response: Any) -> dict[str, str]:
    return dict(response.headers)


# -- the shapes of answers -------------------------------------------------------


def test_an_agent_response() -> None:
    lab = Lab(extra_fields=False)
    assert parsed(lab.run("Thanks")) == {
        "id": "id-1",
        "object": "agent.response",
        "status": "completed",
        "message": "You are welcome.",
        "capabilities_used": ["chat"],
        "files": [],
        "usage": {
            "credits_this_request": 1,
            "credits_remaining": 999,
            "tokens_used": 6,
        },
        "meta": {"duration_ms": 0, "project_id": "emulator", "plan": "scale"},
    }


def test_a_session_and_its_messages() -> None:
    lab = Lab(extra_fields=False)
    assert parsed(lab.post("/v1/sessions")) == {
        "id": "id-1",
        "object": "session",
        "status": "active",
    }
    body = parsed(lab.say("id-1", "My name is Ada."))
    assert (body["object"], body["session_id"]) == ("session.message", "id-1")
    assert parsed(lab.say("id-1", "What is my name?"))["message"] == "Your name is Ada."
    assert lab.world.heard("id-1") == [
        ("user", "My name is Ada."),
        ("assistant", "Nice to meet you, Ada."),
        ("user", "What is my name?"),
        ("assistant", "Your name is Ada."),
    ]
    assert len(lab.world.context("id-1").messages) == 4


def test_sessions_and_the_stateless_road_know_nothing_of_each_other() -> None:
    lab = Lab()
    one, two = lab.create(), lab.create()
    lab.say(one, "My name is Ada.")
    for response in (lab.say(two, "Who am I?"), lab.run("Who am I?")):
        assert parsed(response)["message"] == "You have not told me your name."


def test_extra_fields() -> None:
    assert "region" in parsed(Lab().run("a"))
    assert "region" not in parsed(Lab(extra_fields=False).run("a"))


def test_usage_shapes() -> None:
    legacy = parsed(Lab(usage="legacy", credits=50).run("a"))["usage"]
    assert set(legacy) == {"requests_used", "requests_limit", "tokens_used"}
    assert (legacy["requests_used"], legacy["requests_limit"]) == (1, 50)
    assert "usage" not in parsed(Lab(usage="none").run("a"))


def test_omit_status_project_id_and_plan() -> None:
    body = parsed(Lab(omit_status=True, project_id="p1", plan="pro").run("a"))
    assert "status" not in body
    assert body["meta"] == {"duration_ms": 0, "project_id": "p1", "plan": "pro"}


def test_surrogates_survive() -> None:
    assert json.loads(encode({"a": "\ud800 ü"})) == {"a": "\ud800 ü"}
    assert "ü".encode() in encode("ü")


# -- refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "Bearer", f"Basic {KEY}", "Bearer sk-stw_other", KEY])
def test_the_key(value: str | None) -> None:
    lab = Lab()
    given = {} if value is None else {"authorization": value}
    assert code(lab.world.handle(Request("POST", "/v1/sessions", given))) == (
        401,
        "invalid_api_key",
    )


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/sessions/x", "/v2/agent", "/v1/agent/x"])
def test_unknown_paths(path: str) -> None:
    assert code(Lab().post(path)) == (404, "not_found")


def test_only_post() -> None:
    given = {"authorization": f"Bearer {KEY}"}
    assert Lab().world.handle(Request("GET", "/v1/sessions", given)).status == 405


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "invalid_body"),
        (b"{", "invalid_body"),
        (b"\xff", "invalid_body"),
        ([], "invalid_body"),
        ({}, "missing_message"),
        ({"message": None}, "missing_message"),
        ({"message": ""}, "missing_message"),
        ({"message": " \n"}, "missing_message"),
        ({"message": 1}, "invalid_body"),
        ({"message": "a", "stream": "yes"}, "invalid_body"),
        ({"message": "a", "capabilities": "chat"}, "invalid_capabilities"),
        ({"message": "a", "capabilities": ["fly"]}, "invalid_capabilities"),
        ({"message": "a", "capabilities": [["chat"]]}, "invalid_capabilities"),
        ({"message": "a", "files": {}}, "invalid_body"),
        ({"message": "a", "files": ["x"]}, "invalid_body"),
        ({"message": "a", "files": [{"name": "x"}]}, "invalid_body"),
        ({"message": "a", "files": [{"name": "", "content": "x"}]}, "invalid_body"),
        ({"message": "a", "files": [{"name": "x", "content": 1}]}, "invalid_body"),
        ({"message": "a", "tools": [{"name": "x"}]}, "invalid_tools"),
        ({"message": "a", "tools": "x"}, "invalid_tools"),
        ({"message": "a", "tools": [{"name": "x"}], "stream": True}, "invalid_tools"),
    ],
)
def test_bodies(body: Any, expected: str) -> None:
    lab = Lab()
    for path in ("/v1/agent", f"/v1/sessions/{lab.create()}/messages"):
        assert code(lab.post(path, body)) == (400, expected)
    assert lab.world.runs == []
    assert lab.world.credits == 1000


def test_empty_lists_are_none() -> None:
    assert Lab().run("a", tools=[], capabilities=[], files=[]).status == 200


def test_the_length_of_a_message() -> None:
    lab = Lab(max_message=3)
    assert lab.run("abc").status == 200
    assert code(lab.run("abcd")) == (400, "invalid_body")


def test_error_shapes() -> None:
    wrapped = parsed(Lab().run(""))["error"]
    assert set(wrapped) == {"code", "message", "docs"}
    assert parsed(Lab(error_shape="flat").run("")) == wrapped


def test_capabilities_of_the_project_and_the_plan() -> None:
    assert code(Lab(capabilities=("chat",)).run("a", capabilities=["code"])) == (
        403,
        "capability_not_enabled",
    )
    free = Lab(plan="free")
    assert code(free.run("a", capabilities=["code"])) == (403, "plan_restricted")
    assert free.run("a", capabilities=["chat", "data"]).status == 200
    refused = free.post("/v1/sessions")
    assert code(refused) == (403, "plan_restricted")
    assert (
        parsed(refused)["error"]["message"]
        == "Persistent sessions require the Scale plan or higher."
    )


def test_quota() -> None:
    lab = Lab(quota=1)
    assert lab.run("a").status == 200
    assert code(lab.run("a")) == (429, "quota_exceeded")


def test_rate_limit_slides() -> None:
    lab = Lab(rate_limit=2)
    lab.run("a")
    lab.now += 30
    lab.run("a")
    assert code(lab.run("a")) == (429, "rate_limited")
    assert "retry-after" not in headers(lab.run("a"))
    lab.now += 30
    assert lab.run("a").status == 200
    assert lab.run("a").status == 429


def test_retry_after() -> None:
    seconds, date = (Lab(rate_limit=1, retry_after=form) for form in ("seconds", "date"))
    for lab in (seconds, date):
        lab.run("a")
        lab.now += 20
    assert headers(seconds.run("a"))["retry-after"] == "40"
    when = parsedate_to_datetime(headers(date.run("a"))["retry-after"])
    assert when.timestamp() == date.now + 40


# -- credits -------------------------------------------------------------------------


def test_credits_are_charged_by_capability() -> None:
    lab = Lab(credits=10)
    body = parsed(lab.run("a", capabilities=["research", "documents"]))
    assert body["usage"]["credits_this_request"] == 8
    assert body["capabilities_used"] == ["research", "documents"]
    assert code(lab.run("a", capabilities=["research"])) == (
        402,
        "insufficient_credits",
    )
    lab.run("a")
    lab.run("a")
    assert code(lab.run("a")) == (402, "insufficient_credits")
    assert lab.world.credits == 0


def test_without_a_filter_what_was_used_is_charged() -> None:
    lab = Lab(credits=10)
    body = parsed(lab.run("Write a file called x.csv"))
    assert body["capabilities_used"] == ["files"]
    assert body["files"][0]["name"] == "x.csv"
    assert "url" not in body["files"][0]
    assert body["usage"]["credits_this_request"] == 2
    assert lab.world.credits == 8


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (Fault("error", on="agent", after=True), 10),
        (Fault("error", on="agent", after=True, code="compute_unavailable"), 10),
        (Fault("error", on="agent", after=True, status=500), 9),
        (Fault("error", on="agent"), 10),
        (Fault("hang_up", on="agent", after=True), 9),
        (Fault("html", on="agent", after=True), 9),
        (Fault("hang_up", on="agent"), 10),
    ],
)
def test_refunds(fault: Fault, left: int) -> None:
    lab = Lab(credits=10)
    lab.world.fail(fault)
    lab.run("a")
    assert lab.world.credits == left


def test_an_agent_that_fails_is_a_compute_error() -> None:
    def agent(context: Context) -> str:
        raise RuntimeError("no")

    lab = Lab(agent)
    session = lab.create()
    assert code(lab.say(session, "a")) == (502, "compute_error")
    assert lab.world.credits == 1000
    assert lab.world.heard(session) == [("user", "a")]
    assert Lab(agent, failed_appended=False).say(lab.create(), "a").status == 404
    clean = Lab(agent, failed_appended=False)
    session = clean.create()
    clean.say(session, "a")
    assert clean.world.heard(session) == []


# -- the record --------------------------------------------------------------------------


def test_runs_and_requests() -> None:
    lab = Lab()
    session = lab.create()
    file = {"name": "a.txt", "content": "x"}
    lab.say(session, "hi", capabilities=["chat"], files=[file], stream=True)
    lab.run("ho")
    lab.run("")
    one, two = lab.world.runs
    assert (one.road, one.session_id, one.message, one.stream) == (
        "session",
        session,
        "hi",
        True,
    )
    assert (one.files, one.capabilities, one.credits) == (
        (File("a.txt", "x"),),
        ("chat",),
        1,
    )
    assert one.conversation.messages[-1].text == "hi"
    assert (two.road, two.session_id, two.tools, two.number) == (
        "stateless",
        None,
        (),
        2,
    )
    assert [each.status for each in lab.world.requests] == [201, 200, 200, 400]
    assert [each.code for each in lab.world.refused] == ["missing_message"]
    assert lab.world.requests[1].body["message"] == "hi"
    assert lab.world.requests[1].note == "stream 2/50 messages 1 credit"


def test_ordered_failures_are_not_refusals() -> None:
    lab = Lab()
    lab.world.fail(Fault("error", on="agent"))
    lab.run("a")
    assert lab.world.refused == []
    assert (lab.world.requests[0].fault, lab.world.requests[0].code) == (
        "error",
        "compute_error",
    )


def test_a_hang_up_has_no_status() -> None:
    lab = Lab()
    lab.world.fail(Fault("hang_up", on="agent"))
    lab.run("a")
    assert (lab.world.requests[0].status, lab.world.requests[0].note) == (
        None,
        "hung up",
    )


def test_overlaps_are_noticed() -> None:
    lab = Lab()
    session = lab.create()
    path, body = f"/v1/sessions/{session}/messages", b'{"message": "a"}'
    request = Request("POST", path, {"authorization": f"Bearer {KEY}"}, body)
    first, second = lab.world.handle(request), lab.world.handle(request)
    lab.world.finished(first)
    lab.world.finished(second)
    lab.world.handle(request)
    assert lab.world.overlaps == [(session, first.number, second.number)]


def test_agents_at_work_do_not_hold_each_other_up() -> None:
    meet = threading.Barrier(2, timeout=5)

    def agent(context: Context) -> Answer:
        assert lab.world.active_sessions == 1
        meet.wait()
        return Answer("ok", (File("a.txt", url="https://x"),), ("code",))

    lab = Lab(agent)
    session = lab.create()
    threads = [threading.Thread(target=lab.say, args=(session, "a")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [role for role, _ in lab.world.heard(session)] == ["user"] * 2 + ["assistant"] * 2
    assert len(lab.world.overlaps) == 1


def test_an_agent_is_shown_the_whole_context() -> None:
    seen: list[Context] = []
    lab = Lab(lambda context: seen.append(context) or "ok")  # type: ignore[func-returns-value]
    session = lab.create()
    lab.say(session, "a", capabilities=["chat"])
    lab.run("b")
    one, two = seen
    assert (one.message, one.session_id, one.road, one.capabilities) == (
        "a",
        session,
        "session",
        ("chat",),
    )
    assert (two.message, two.session_id, two.road) == ("b", None, "stateless")
