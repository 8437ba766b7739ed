"""Servers that the emulator is not: others' rules, and such as answer nothing that makes sense."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import httpx
import pytest

from stewrd_integrations.emulator.wire import Delivery, Request, Response

from ..api.wire import CUT, HANG, RESET, RawServer, answer
from .asking import Handle, ask, values, whys
from .questions import Group
from .run import INTERRUPTED, Outcome, Wish, run
from .seen import Seen
from .studies import STUDIES
from .studies import plain as plain_studies
from .targets import Live

EVERYTHING: tuple[Group, ...] = ("wait", "slots", "cap", "rate", "length")
QUESTIONS = [question.name for study in STUDIES for question in study.questions]


# -- rules that the emulator does not have ---------------------------------------------


def idempotent(handle: Handle) -> Handle:
    """A server that answers a key once, and then the same again."""
    known: dict[str, Response] = {}

    def handled(request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        if key and key in known:
            return known[key]
        response = handle(request)
        if key:
            known[key] = response
        return response

    return handled


def refusing_keys(handle: Handle) -> Handle:
    """A server that refuses a key that it has seen."""
    known: set[str] = set()

    def handled(request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        if key in known:
            return refusal(409, "duplicate_request")
        known.add(key) if key else None
        return handle(request)

    return handled


def sessions_first(handle: Handle) -> Handle:
    """A server that looks at the session before the body."""

    def handled(request: Request) -> Response:
        good = json.dumps({"message": "Answer only with: OK"}).encode()
        if request.path.endswith("/messages") and not json.loads(request.body).get("message"):
            return handle(replace(request, body=good))
        return handle(request)

    return handled


def forgetful(handle: Handle) -> Handle:
    """A server whose agent knows nothing of what it was told."""

    def handled(request: Request) -> Response:
        response = handle(request)
        told = b"".join(response.chunks)
        if not request.path.endswith("/messages") or not told.startswith(b"{"):
            return response
        body = json.loads(told)
        return whole(200, {**body, "message": "NONE"})

    return handled


def refusal(status: int, code: str) -> Response:
    return whole(status, {"error": {"code": code, "message": "No."}})


def whole(status: int, value: Any) -> Response:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Response(status, headers, (body,), Delivery(), -1)


def test_a_server_that_honours_keys() -> None:
    found = values(ask("idempotency", between=idempotent), "idempotency")
    assert found == {
        "idempotency.answer": "one answer",
        "idempotency.charge": "once",
        "idempotency.history": "once",
    }


def test_a_server_that_refuses_a_key_twice() -> None:
    found = values(ask("idempotency", between=refusing_keys), "idempotency")
    assert found == {
        "idempotency.answer": "the second is refused: 409 duplicate_request",
        "idempotency.charge": "once",
        "idempotency.history": "once",
    }


def test_a_server_that_looks_at_the_session_first() -> None:
    outcome = ask("requests", "wait", groups=("wait",), between=sessions_first)
    assert values(outcome)["request.order"] == "the session first: 404"
    assert values(outcome)["wait.order"] == "the session first: 410"


def test_without_memory_nothing_is_concluded_from_it() -> None:
    outcome = ask(between=forgetful)
    found = values(outcome)
    assert found["memory.control"] == "no"
    asking = [study for study in STUDIES if study.needs_memory and not study.group]
    for study in asking:
        for question in study.questions:
            if question.name.startswith("tools.") and found[question.name] != "(inconclusive)":
                continue  # what the stateless road shows
            assert found[question.name] == "(inconclusive)"
            assert "the control failed" in whys(outcome)[question.name]
    assert found["langchain.conversation"] == "opened, continued, continued; not remembered"


def test_a_plan_without_sessions() -> None:
    outcome = ask(plan="free", capabilities=("chat", "data"))
    found = values(outcome)
    assert "no session could be opened: 403 plan_restricted" in whys(outcome)["create.status"]
    assert found["stream.tokens"] == "(inconclusive)"
    assert found["files.text"] == "read"
    assert found["tools.agent"] == "requires_tool_outputs"
    assert found["langchain.conversation"].startswith("stateless, stateless, stateless")
    assert outcome.stopped == ""


# -- no sense at all -------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    b"",
    b"<html>Bad gateway</html>",
    b"\xff\xfe",
    b"[" * 20_000,
    [],
    [{}],
    None,
    7,
    "text",
    {},
    {"id": 7, "message": 7, "usage": 7, "error": 7, "status": [], "tool_calls": 7},
    {"id": "x", "message": None, "usage": {"credits_remaining": "many"}, "error": {"code": 7}},
    {"id": "../x", "message": "OK", "usage": {"credits_this_request": -9}, "tool_calls": [7, {}]},
    {"id": "x", "message": {"a": 1}, "tool_calls": [{"id": None}], "_compute_instance": 7},
    {"id": "x", "message": "1", "usage": {"credits_remaining": True}, "capabilities_used": 7},
)
STATUSES = (200, 200, 200, 201, 204, 302, 400, 402, 403, 404, 410, 418, 429, 500, 502, 503)


def odd_stream(chance: random.Random) -> Response:
    told = [
        f"event: {name}\ndata: {data}\n\n"
        for name, data in (
            ("token", '{"text": 7}'),
            ("done", "7"),
            ("done", '{"response": 7}'),
            ("x", "{"),
            ("done", '{"message": "OK"}'),
            ("error", '{"code": "compute_error"}'),
        )
        if chance.random() < 0.5
    ]
    body = "".join(told).encode() or b":\n\n"
    return Response(200, (("content-type", "text/event-stream"),), (body,), Delivery(), -1)


def senseless(seed: int, often: float) -> Any:
    """A server that answers so often with something that makes no sense."""
    chance = random.Random(seed)  # noqa: S311 - it is to be the same each time

    def between(handle: Handle) -> Handle:
        def handled(request: Request) -> Response:
            if chance.random() > often:
                return handle(request)
            if chance.random() < 0.1:
                return Response(0, (), (), Delivery(answered=False), -1)
            if chance.random() < 0.2:
                return odd_stream(chance)
            response = whole(chance.choice(STATUSES), chance.choice(ODD))
            return response if response.status != 204 else replace(response, chunks=())

        return handled

    return between


@pytest.mark.parametrize("often", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_that_a_server_says_ends_a_run(seed: int, often: float) -> None:
    outcome = ask(groups=EVERYTHING, between=senseless(seed, often), patience=0.1)
    assert outcome.exit_code in (0, 1)
    whole_set(outcome)


def whole_set(outcome: Outcome) -> None:
    """Every question has a verdict, and none is without a value or a reason."""
    assert [finding.question.name for _, finding in outcome.findings] == QUESTIONS
    for _, finding in outcome.findings:
        assert bool(finding.value) != bool(finding.why)
        assert bool(finding.value) == (finding.verdict == "observed")


class Hurried(Live):
    """The live API's target, without the time that waiting takes."""

    patience = 0.2

    def wait(self, seconds: float) -> None:
        """At once."""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (answer(500, b"<html>Oh</html>", content_type="text/html"), "500 html"),
        (answer(503), "503 without a body"),
        ([CUT], "RemoteProtocolError"),
        ([RESET], ("ReadError", "WriteError", "RemoteProtocolError")),
        ([b"HTTP/1.1 201 Created\r\nContent-Length: 90\r\n\r\n{", CUT], "RemoteProtocolError"),
        ([b"no HTTP\r\n\r\n", CUT], "RemoteProtocolError"),
        (answer(201, {"id": "a b"}), "201"),
    ],
    ids=str,
)
def test_a_server_that_is_down(raw_server: RawServer, script: Any, said: Any) -> None:
    raw_server.script(script)
    outcome = run(Hurried("sk-stw_" + "x", raw_server.url), Wish(only=("basics", "refused")))
    whole_set(outcome)
    assert outcome.exit_code == 0
    assert values(outcome)["memory.control"] == "(inconclusive)"
    told = [seen for _, finding in outcome.findings for seen in finding.exchanges]
    assert any(seen.refusal.startswith(said) for seen in told)


def test_nobody_is_there() -> None:
    outcome = run(Hurried("sk-stw_" + "x", "http://127.0.0.1:9"), Wish(only=("basics",)))
    whole_set(outcome)
    assert "ConnectError" in whys(outcome)["create.status"]


@pytest.fixture
def raw_server() -> Any:
    server = RawServer()
    yield server
    server.close()


def test_an_answer_that_never_comes(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.live.line._READ", 0.1)
    raw_server.script([HANG])
    outcome = run(Hurried("sk-stw_" + "x", raw_server.url), Wish(only=("basics",)))
    assert "ReadTimeout" in whys(outcome)["create.status"]


def test_an_endless_answer_is_left(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.live.line.LARGEST", 1_000)
    raw_server.script(answer(201, b"x" * 5_000))
    outcome = run(Hurried("sk-stw_" + "x", raw_server.url), Wish(only=("basics",)))
    assert "more than 1000 bytes" in whys(outcome)["create.status"]


# -- how a run ends --------------------------------------------------------------------


def test_a_wrong_key_stops_at_once(raw_server: RawServer) -> None:
    raw_server.script(answer(401, {"error": {"code": "invalid_api_key", "message": "No."}}))
    outcome = run(Hurried("sk-stw_" + "wrong", raw_server.url), Wish())
    assert len(raw_server.requests) == 1
    assert outcome.exit_code == 2
    assert "Check STEWRD_API_KEY" in outcome.stopped
    assert {finding.verdict for _, finding in outcome.findings} == {"not tried"}


def test_a_balance_that_is_too_small_stops() -> None:
    outcome = ask(credits=20)
    assert (outcome.exit_code, outcome.credits) == (1, 3)
    assert "The balance of 17 credits is less than the 44" in outcome.stopped
    assert values(outcome)["memory.control"] == "yes"
    assert values(outcome)["stream.done"] == "(not tried)"


def test_fewer_credits_than_it_takes() -> None:
    outcome = ask(max_credits=7)
    assert (outcome.exit_code, outcome.credits) == (1, 7)
    assert "The limit of 7 credits is reached" in outcome.stopped


def test_what_it_says_it_takes_is_the_most() -> None:
    for tools in ("empty", "accepted"):
        outcome = ask(groups=EVERYTHING, session_tools=tools)
        assert outcome.stopped == ""
        for study in STUDIES:
            credits, requests = outcome.spent.get(study.name, (0, 0))
            assert credits <= study.credits, study.name
            assert requests <= study.requests, study.name


@pytest.mark.parametrize("only", [(), ("models",)], ids=["all", "models"])
def test_requests_are_counted(only: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wish, "requests", property(lambda wish: 8))
    outcome = ask(*only)
    assert "The limit of 8 requests is reached" in outcome.stopped
    assert outcome.requests == 8


def test_the_models_stay_within_the_credits() -> None:
    outcome = ask("models", max_credits=5)
    assert "The limit of 5 credits is reached" in outcome.stopped
    assert outcome.credits == 5


def test_an_interrupted_run_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seen: Seen) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(plain_studies, "_shape", interrupted)
    outcome = ask()
    assert (outcome.stopped, outcome.exit_code) == (INTERRUPTED, 130)
    found = values(outcome)
    assert found["request.empty"] == "400 missing_message"
    assert found["error.shape"] == "(not tried)"
    assert outcome.credits == 6
    whole_set(outcome)


def test_the_pace_stays_below_the_limit() -> None:
    """A server with a still lower limit refuses nothing but what the study of it is for."""
    outcome = ask(rate_limit=50, groups=("cap", "slots", "rate", "length"))
    assert values(outcome)["incidents.retry_after"] == "429 absent"
    assert values(outcome)["rate.limit"] == "429 rate_limited at request 51"
    assert httpx.codes.TOO_MANY_REQUESTS not in {
        seen.status
        for study, finding in outcome.findings
        if study.name not in ("rate", "slots", "figures")
        for seen in finding.exchanges
    }
