"""What the API says to the key, and what it costs to ask."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from stewrd_integrations.doctor import service
from stewrd_integrations.emulator import Emulator
from tests.api.wire import HANG, REPLY, RawServer, answer

from .conftest import KEY, Run

REFUSED = answer(400, {"error": {"code": "missing_message", "message": "m"}})


def asked(stewrd: Emulator) -> list[tuple[Any, ...]]:
    return [(one.path, one.status, one.body and one.body["message"]) for one in stewrd.requests]


def test_all_is_well_and_costs_one_credit(stewrd: Emulator, run: Run) -> None:
    report = run(key=stewrd.api_key, url=stewrd.url)
    assert (report.code, report.told["credits_spent"]) == (0, 1)
    assert stewrd.credits == stewrd.settings.credits - 1
    assert report.grade("API") == report.grade("run") == report.grade("plan") == "ok"
    assert "scale; 999 credits left" in report["plan"]
    assert len(stewrd.runs) == 1
    assert stewrd.runs[0].capabilities == ("chat",)
    assert stewrd.sessions == {}


def test_asking_only_what_is_free(stewrd: Emulator, run: Run) -> None:
    report = run("--no-credit", key=stewrd.api_key, url=stewrd.url)
    assert (report.code, report.told["credits_spent"]) == (0, 0)
    assert stewrd.credits == stewrd.settings.credits
    assert {(status, message) for _, status, message in asked(stewrd)} == {(400, "")}
    assert report.grade("API") == "ok" and report.grade("plan") == "note"


def test_a_session_only_if_it_is_asked_for(stewrd: Emulator, run: Run) -> None:
    report = run("--session", "--no-credit", key=stewrd.api_key, url=stewrd.url)
    assert report.grade("session") == "ok" and "30 minutes" in report["session"]
    assert len(stewrd.sessions) == 1


def test_no_slot_is_free(run: Run) -> None:
    with Emulator(max_sessions=0) as stewrd:
        report = run("--session", key=stewrd.api_key, url=stewrd.url)
        assert report.code == 0 and "no slot is free (HTTP 429" in report["session"]


def test_a_key_that_nobody_knows(stewrd: Emulator, run: Run) -> None:
    report = run(key="sk-stw_of_another_project", url=stewrd.url)
    assert report.problems == ["API"]
    assert "does not know the key (HTTP 401 invalid_api_key) -> Copy it again" in report["API"]
    assert len(stewrd.requests) == 1, "nothing more is asked with a wrong key"
    assert report.told["credits_spent"] == 0


def test_the_free_plan(run: Run) -> None:
    with Emulator(plan="free", credits=200) as stewrd:
        report = run("--session", key=stewrd.api_key, url=stewrd.url)
    assert report.code == 0
    assert "free; 199 credits left" in report["plan"] and "no sessions" in report["plan"]
    assert "HTTP 403 plan_restricted" in report["session"]


@pytest.mark.parametrize(
    ("settings", "told", "advice"),
    [
        ({"credits": 0}, "HTTP 402 insufficient_credits", "Buy"),
        ({"capabilities": ("data",)}, "HTTP 403 capability_not_enabled", "Enable chat"),
        ({"quota": 0}, "HTTP 429 quota_exceeded", "Wait"),
    ],
)
def test_a_run_that_is_refused(run: Run, settings: Any, told: str, advice: str) -> None:
    with Emulator(**settings) as stewrd:
        report = run(key=stewrd.api_key, url=stewrd.url)
    assert report.problems == ["run"]
    assert told in report["run"] and advice in report["run"]
    assert report.told["credits_spent"] == 0


def test_too_much_was_asked(run: Run) -> None:
    with Emulator(rate_limit=0) as stewrd:
        report = run(key=stewrd.api_key, url=stewrd.url)
    assert report.problems == ["API"] and "HTTP 429 rate_limited" in report["API"]


def test_a_run_without_an_answer(
    stewrd: Emulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.5)
    stewrd.fail_next("slow", on="agent", seconds=30)
    report = run("--timeout", "2", key=stewrd.api_key, url=stewrd.url)
    assert report.problems == ["run"] and "may have cost a credit" in report["run"]
    assert report.told["credits_spent"] is None
    stewrd.fail_next("hang_up", on="agent")
    assert "got no answer (RemoteProtocolError)" in run(key=stewrd.api_key, url=stewrd.url)["run"]


def test_capabilities_that_the_api_refuses_before_the_message(server: RawServer, run: Run) -> None:
    off = answer(403, {"error": {"code": "capability_not_enabled", "message": "m"}})
    server.script(REFUSED, answer(200, REPLY), REFUSED, off, REFUSED, off, REFUSED)
    report = run(url=server.url)
    named = [one.json["capabilities"][0] for one in server.requests[2:]]
    assert set(named) == {"data", "files", "research", "code", "documents"}
    told = ", ".join(f"{name} (capability_not_enabled)" for name in (named[1], named[3]))
    assert f"not to be had: {told} ->" in report["capabilities"]
    assert report.code == 0


def test_what_can_t_be_known_is_said(stewrd: Emulator, run: Run) -> None:
    report = run("--no-credit", key=stewrd.api_key, url=stewrd.url)
    assert report.grade("capabilities") == "note"
    assert "only when a run that names them is paid for" in report["capabilities"]
    assert "documents 5" in report["capabilities"]


def test_an_api_that_takes_an_empty_message_is_asked_no_more(server: RawServer, run: Run) -> None:
    server.script(answer(200, REPLY))
    report = run(url=server.url)
    assert len(server.requests) == 1
    assert report.told["credits_spent"] == 1
    assert report.code == 0 and "should refuse" in report["API"]
    assert "pack; 99 credits left" in report["plan"]


def test_an_answer_without_usage(server: RawServer, run: Run) -> None:
    server.script(REFUSED, answer(200, {"message": "OK"}), REFUSED)
    report = run(url=server.url)
    assert report.told["credits_spent"] is None
    assert "names none; credits left are not told" in report["plan"]


@pytest.mark.parametrize(
    ("said", "grade", "told"),
    [
        (answer(503, {"error": {"code": "service_unavailable"}}), "problem", "none was opened: "),
        (["reset"], "problem", "none was opened (ReadError)"),
    ],
)
def test_a_session_that_is_not_opened(
    server: RawServer, run: Run, said: Any, grade: str, told: str
) -> None:
    server.script(*[REFUSED] * 6, said)
    report = run("--session", "--no-credit", url=server.url)
    assert (report.grade("session"), told in report["session"]) == (grade, True)


@pytest.mark.parametrize("said", [["reset"], answer(200, REPLY)])
def test_capabilities_are_asked_for_no_more_once_something_is_odd(
    server: RawServer, run: Run, said: Any
) -> None:
    server.script(REFUSED, said)
    report = run("--no-credit", url=server.url)
    assert len(server.requests) == 2
    assert report.told["credits_spent"] == (0 if said == ["reset"] else 1)
    assert ("an empty message was taken for a run of data" in report.text) == (said != ["reset"])


def test_what_is_not_told_of_one_run_is_not_known_of_both(server: RawServer, run: Run) -> None:
    server.script(REFUSED, answer(200, {"message": "OK"}), answer(200, REPLY))
    assert run(url=server.url).told["credits_spent"] is None


@pytest.mark.parametrize(
    ("said", "spent", "told"),
    [
        (answer(500, {"error": {"code": "oops"}}), None, "a chat was refused (HTTP 500 oops)"),
        (answer(502, {"error": {"code": "compute_error"}}), 0, "The credit is refunded."),
        (answer(502, b"<html>", content_type="text/html"), None, "an HTML page answers (HTTP 502)"),
        (answer(409, {"error": {"code": "oops"}}), None, "(HTTP 409 oops)"),
        (answer(200, b""), None, "something that is not the API's JSON answers (HTTP 200)"),
        (answer(403, {"error": {"code": "oops"}}), 0, "Enable chat"),
    ],
)
def test_what_a_run_without_an_answer_may_have_cost(
    server: RawServer, run: Run, said: Any, spent: int | None, told: str
) -> None:
    server.script(REFUSED, said, REFUSED)
    report = run(url=server.url)
    assert report.problems == ["run"] and told in report["run"]
    assert report.told["credits_spent"] == spent


def test_the_last_credit(run: Run) -> None:
    with Emulator(credits=1) as stewrd:
        report = run(key=stewrd.api_key, url=stewrd.url)
    assert report.problems == ["plan"] and "0 credits left -> Buy" in report["plan"]


# -- what is not the API ---------------------------------------------------------------

PAGE = b"<html><body>Please log in, " + KEY.encode() + b"</body></html>"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (answer(200, PAGE, content_type="text/html"), "an HTML page answers (HTTP 200)"),
        (answer(403, PAGE, content_type="text/html; x"), "It may be it that refuses, not the API"),
        (answer(502, PAGE, content_type="text/html"), "an HTML page answers (HTTP 502)"),
        (answer(200, b""), "something that is not the API's JSON answers (HTTP 200)"),
        (answer(200, b"{" * 2**21), "something that is not the API's JSON answers (HTTP 200)"),
        (answer(200, b"\xff{"), "something that is not the API's JSON answers (HTTP 200)"),
        (answer(302, b"", location="https://login.example/"), "it sends elsewhere (HTTP 302)"),
        (answer(407, b""), "the proxy asks for a name and a password"),
        (answer(404, {"error": {"code": "not_found"}}), "there is no agent at this address"),
        (answer(500, {"error": {"code": "oops"}}), "the service fails (HTTP 500 oops)"),
        (answer(503, {"code": "service_unavailable"}), "(HTTP 503 service_unavailable)"),
        (answer(402, {"error": {"code": "insufficient_credits"}}), "no credits are left"),
        (answer(403, {"error": {"code": KEY}}), "the project may not chat (HTTP 403)"),
    ],
)
def test_what_else_may_answer(server: RawServer, run: Run, said: Any, told: str) -> None:
    server.script(said)
    report = run(url=server.url)
    assert report.problems == ["API"]
    assert told in report["API"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("script", [("reset",), (b"SSH-2.0-OpenSSH\r\n", "cut")])
def test_no_answer_at_all(server: RawServer, run: Run, script: Any) -> None:
    server.script(script)
    report = run(url=server.url)
    assert report.problems == ["API"] and "no answer (" in report["API"]


def test_a_server_that_is_too_slow(server: RawServer, run: Run) -> None:
    server.script([HANG])
    report = run("--timeout", "0.3", url=server.url)
    assert report.problems == ["API"] and "no answer in time (ReadTimeout)" in report["API"]


def test_a_server_that_is_slow(server: RawServer, run: Run, monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "SLOW", 0.1)
    server.script([0.2, *REFUSED])
    report = run("--no-credit", url=server.url)
    assert report.code == 0 and ", after 0." in report["API"]


# -- the clock -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("apart", "grade", "told"),
    [
        (0, "ok", "within "),
        (-100, "note", " seconds ahead of the server's"),
        (100, "note", " seconds behind the server's"),
        (4_000, "problem", "Set the clock"),
    ],
)
def test_the_clock(server: RawServer, run: Run, apart: int, grade: str, told: str) -> None:
    error = {"error": {"code": "missing_message"}}
    server.script(answer(400, error, date=formatdate(time.time() + apart, usegmt=True)))
    report = run("--no-credit", url=server.url)
    assert (report.grade("clock"), told in report["clock"]) == (grade, True)


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Foo 2026 10:00:00 GMT", ""])
def test_a_server_that_does_not_tell_the_time(server: RawServer, run: Run, date: str) -> None:
    server.script(answer(400, {"error": {"code": "missing_message"}}, date=date))
    assert run("--no-credit", url=server.url).grade("clock") == "note"
