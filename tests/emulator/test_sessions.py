from __future__ import annotations

import json
from typing import Any

import pytest

from stewrd_integrations.emulator import Context
from stewrd_integrations.emulator.faults import Fault

from .conftest import Lab, code, parsed, sse


def headers(response: Any) -> dict[str, str]:
    return dict(response.headers)


# -- sessions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({}, "not_found"),
        ({"expired_code": "gone"}, "gone"),
        ({"expired_code": None}, None),
    ],
)
def test_idle_expiry(setting: dict[str, Any], expected: str | None) -> None:
    lab = Lab(idle_timeout=100, **setting)
    session = lab.create()
    for _ in range(2):
        lab.now += 99
        assert lab.say(session, "a").status == 200
    lab.now += 100
    assert code(lab.say(session, "a")) == (410, expected)
    assert lab.world.active_sessions == 0
    assert lab.world.sessions[session].expired


def test_html_codes() -> None:
    lab = Lab(expired_code="html", limit_code="html", max_sessions=1)
    session = lab.create()
    limit = lab.post("/v1/sessions")
    lab.world.expire(session)
    for response, status in ((limit, 429), (lab.say(session, "a"), 410)):
        assert response.status == status
        assert headers(response)["content-type"] == "text/html"
        assert response.chunks[0].startswith(b"<html>")


def test_idle_reset_at_the_answer() -> None:
    def agent(context: Context) -> str:
        lab.now += 50
        return "ok"

    for reset, expected in (("arrival", 0), ("answer", 50)):
        lab = Lab(agent, idle_reset=reset)
        session = lab.create()
        start = lab.now
        lab.say(session, "a")
        assert lab.world.sessions[session].last_used - start == expected


def test_unknown_sessions() -> None:
    lab = Lab()
    assert code(lab.say("nobody", "a")) == (404, "not_found")
    with pytest.raises(KeyError):
        lab.world.expire("nobody")


@pytest.mark.parametrize("limit", ["rate_limited", "session_limit_reached", None])
def test_the_session_limit(limit: str | None) -> None:
    lab = Lab(max_sessions=2, limit_code=limit)
    first = lab.create()
    lab.create()
    assert code(lab.post("/v1/sessions")) == (429, limit)
    lab.world.expire(first)
    lab.create()
    lab.world.expire()
    assert lab.world.active_sessions == 0


def test_a_full_session_drops_the_oldest() -> None:
    lab = Lab(history_limit=4)
    session = lab.create()
    for text in "ab":
        lab.say(session, text)
    assert lab.world.over_limit == 0
    lab.say(session, "c")
    assert lab.world.over_limit == 2
    assert [text for role, text in lab.world.heard(session) if role == "user"] == [
        "b",
        "c",
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (400, "invalid_body")),
        ({"over_limit_status": 409, "over_limit_code": None}, (409, None)),
    ],
)
def test_a_full_session_refuses(more: dict[str, Any], expected: tuple[int, str | None]) -> None:
    lab = Lab(history_limit=3, over_limit="error", **more)
    session = lab.create()
    lab.say(session, "a")
    assert code(lab.say(session, "b")) == expected
    assert len(lab.world.heard(session)) == 2
    assert lab.world.over_limit == 0


def test_what_a_refused_message_leaves() -> None:
    for appended, held in ((True, ["a", "b", "c"]), (False, [])):
        lab = Lab(refused_appended=appended, credits=0, capabilities=("chat",))
        session = lab.create()
        assert lab.say(session, "a").status == 402
        assert lab.say(session, "b", capabilities=["code"]).status == 403
        lab.world.fail(Fault("error", code="quota_exceeded"))
        assert lab.say(session, "c").status == 429
        lab.world.fail(Fault("error", status=429))
        assert lab.say(session, "d").status == 429
        assert [text for _, text in lab.world.heard(session)] == held


def test_a_refused_message_does_not_pass_a_strict_cap() -> None:
    lab = Lab(history_limit=2, over_limit="error")
    session = lab.create()
    lab.say(session, "a")
    lab.world.fail(Fault("error", status=402))
    lab.say(session, "b")
    assert len(lab.world.heard(session)) == 2


@pytest.mark.parametrize("kind", ["error", "html", "empty", "hang_up", "cut"])
def test_what_a_failed_message_leaves(kind: Any) -> None:
    for appended, held in ((True, ["user", "assistant"]), (False, [])):
        lab = Lab(failed_appended=appended)
        session = lab.create()
        lab.world.fail(Fault(kind, after=True, status=500))
        lab.say(session, "a")
        assert [role for role, _ in lab.world.heard(session)] == held
        assert len(lab.world.runs) == 1


@pytest.mark.parametrize(("kind", "held"), [("error", ["a"]), ("html", ["a"]), ("hang_up", [])])
def test_what_a_failure_before_the_work_leaves(kind: Any, held: list[str]) -> None:
    lab = Lab()
    session = lab.create()
    lab.world.fail(Fault(kind))
    lab.say(session, "a")
    assert [text for _, text in lab.world.heard(session)] == held
    assert lab.world.runs == []


def test_earlier_files_are_known_in_a_session() -> None:
    lab = Lab()
    session = lab.create()
    lab.say(session, "Look", files=[{"name": "a.txt", "content": "one\ntwo"}])
    answer = parsed(lab.say(session, "What was in the file?"))["message"]
    assert answer == "a.txt has 2 lines; the first one is “one”."


# -- faults ----------------------------------------------------------------------------


def test_expire_right_before() -> None:
    lab = Lab()
    session = lab.create()
    lab.world.fail(Fault("expire"))
    assert lab.say(session, "a").status == 410
    assert lab.world.refused == []
    assert lab.world.requests[-1].fault == "expire"


def test_garbage_and_wrong_shapes() -> None:
    lab = Lab()
    for kind, shape in (
        ("garbage", "object"),
        ("wrong_shape", "object"),
        ("wrong_shape", "list"),
    ):
        lab.world.fail(Fault(kind, on="any", shape=shape))  # type: ignore[arg-type]
    garbage = lab.run("a", stream=True)
    assert garbage.status == 200
    with pytest.raises(ValueError, match="decode"):
        json.loads(garbage.chunks[0])
    assert set(parsed(lab.run("a"))) == {"object", "status"}
    assert isinstance(parsed(lab.run("a")), list)


def test_delays_are_orders_for_the_transport() -> None:
    lab = Lab(latency=1.5, chunk_delay=0.25)
    delivery = lab.run("a", stream=True).delivery
    assert (delivery.latency, delivery.chunk_delay) == (1.5, 0.25)
    assert lab.run("").delivery.latency == 1.5
    lab.world.fail(Fault("slow", on="agent", seconds=10))
    lab.world.fail(Fault("slow", on="agent", seconds=10, chunks=2))
    assert lab.run("a").delivery.latency == 11.5
    stalled = lab.run("a").delivery
    assert (stalled.latency, stalled.stall_at, stalled.stall) == (1.5, 2, 10)


def test_streams_that_break() -> None:
    lab = Lab(extra_fields=False)
    for fault in (
        Fault("stream_error", on="agent", chunks=1, code="compute_unavailable"),
        Fault("no_done", on="agent"),
        Fault("cut", on="agent", chunks=3),
        Fault("json_instead_of_stream", on="agent"),
    ):
        lab.world.fail(fault)
    error = sse(b"".join(lab.run("a", stream=True).chunks))
    assert [name for name, _ in error] == ["token", "error"]
    assert error[-1][1]["code"] == "compute_unavailable"
    assert {name for name, _ in sse(b"".join(lab.run("a", stream=True).chunks))} == {"token"}
    cut = lab.run("a", stream=True)
    assert (len(cut.chunks), cut.delivery.complete) == (3, False)
    assert headers(lab.run("a", stream=True))["content-type"] == "application/json"
    assert lab.world.pending_faults == 0


def test_faults_with_headers_and_bodies() -> None:
    lab = Lab()
    lab.world.fail(Fault("empty", on="agent", status=503, retry_after=7))
    response = lab.run("a")
    assert (response.status, response.chunks, headers(response)["retry-after"]) == (
        503,
        (),
        "7",
    )


def test_a_create_that_is_lost_takes_a_slot() -> None:
    lab = Lab()
    lab.world.fail(Fault("hang_up", on="create", after=True))
    assert not lab.post("/v1/sessions").delivery.answered
    lab.world.fail(Fault("hang_up", on="create"))
    lab.post("/v1/sessions")
    assert lab.world.active_sessions == 1
