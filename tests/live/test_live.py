"""The suite on the emulator: it must find out what was set, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator

from .agent import agent
from .asking import ask, values, whys
from .lab import Limits
from .questions import Group
from .run import Wish, run
from .studies import STUDIES
from .targets import Emulated

DEFAULTS: dict[str, dict[str, str]] = {
    "basics": {
        "create.status": "201",
        "create.fields": "id, object, region, status",
        "answer.fields": "capabilities_used, files, id, message, meta, object, region, "
        "session_id, status, usage",
        "answer.status": "completed",
        "answer.usage": "credits_remaining, credits_this_request, tokens_used",
        "answer.credits": "1",
        "memory.control": "yes",
    },
    "streams": {
        "stream.tokens": "text",
        "stream.done": "flat",
        "stream.events": "done, token, trace",
        "stream.wire": "LF, no comments, last blank line",
        "stream.same": "yes",
    },
    "requests": {
        "request.unknown_field": "accepted",
        "request.field_case": "400 missing_message",
        "request.empty": "400 missing_message",
        "request.blank": "400 missing_message",
        "request.unknown_session": "404 not_found",
        "request.order": "the body first: 400",
        "request.unknown_path": "404 not_found",
        "request.unknown_run": "404 context_expired",
        "error.shape": "wrapped: code, docs, message",
    },
    "files": {"files.text": "read", "files.nul": "accepted", "files.base64": "accepted"},
    "refused": {
        "refused.400": "not left in the session",
        "refused.charge": "nothing",
        "refused.403": "left in the session",
    },
    "failed": {
        "failed.timeout": "left in the session",
        "failed.timeout.charge": "1",
        "failed.abandoned": "left in the session",
        "failed.502": "left in the session",
        "failed.502.charge": "nothing",
    },
    "idempotency": {
        "idempotency.answer": "two answers",
        "idempotency.charge": "twice",
        "idempotency.history": "twice",
    },
    "tools": {
        "tools.agent": "requires_tool_outputs",
        "tools.message": "absent",
        "tools.instance": "a new one in each answer",
        "tools.wrong_instance": "404 context_expired",
        "tools.stream": "400 invalid_tools",
        "tools.capabilities": "2 charged",
        "tools.session": "neither message nor calls",
        "tools.session_fields": "capabilities_used, files, id, meta, object, region, "
        "session_id, usage",
        "tools.session_outputs": "(not tried)",
        "tools.history": "(not tried)",
        "tools.waiting": "(not tried)",
    },
    "models": {
        "langchain.conversation": "opened, continued, continued; remembered",
        "llama_index.conversation": "opened, continued, continued; remembered",
    },
    "length": {"length.message": "no limit up to 6000 characters"},
    "cap": {"cap.message_51": "the oldest are dropped", "cap.rounds": "(not tried)"},
    "rate": {
        "rate.limit": "none of 70 refused requests is too many",
        "rate.retry_after": "(not tried)",
    },
    "wait": {
        "wait.expired": "410 not_found",
        "wait.order": "the body first: 400",
        "wait.outputs": "404 context_expired",
    },
    "slots": {"slots.limit": "429 rate_limited", "slots.retry_after": "absent"},
}
"""What the emulator does unless it is set to something else."""
OPEN = "(inconclusive)"
TAKING = {"session_tools": "accepted"}
TAKEN = {
    "tools.session": "asks for outputs",
    "tools.session_fields": "_compute_instance, capabilities_used, files, id, meta, object, "
    "region, session_id, status, tool_calls, usage",
    "tools.session_outputs": "completed",
    "tools.history": "the outputs and the answer",
    "tools.waiting": "left in the session",
}
"""What is found on sessions that take tools."""


def groups_of(studies: tuple[str, ...]) -> tuple[Group, ...]:
    return tuple(study.group for study in STUDIES if study.group and study.name in studies)


def expect(studies: tuple[str, ...], changes: dict[str, str], settings: dict[str, Any]) -> None:
    """Exactly these changes from the defaults are found, in all that these studies ask."""
    outcome = ask(*studies, groups=groups_of(studies), **settings)
    assert outcome.stopped == ""
    shown = studies if "basics" in studies else ("basics", *studies)
    usual = {name: value for study in shown for name, value in DEFAULTS[study].items()}
    assert values(outcome, *shown) == {**usual, **changes}


def test_all_that_is_asked_of_the_emulator_as_it_is() -> None:
    outcome = ask(groups=("wait", "slots", "cap", "rate", "length"))
    assert (outcome.stopped, outcome.exit_code) == ("", 0)
    assert values(outcome, *DEFAULTS) == {
        name: value for found in DEFAULTS.values() for name, value in found.items()
    }
    left = values(outcome, "figures", "low-balance")
    assert left.pop("incidents.failures") == "502 compute_error, ReadTimeout"
    assert left.pop("incidents.retry_after") == "429 absent"
    assert left.pop("refused.402") == "(not tried)"
    assert {*left} == {f"latency.{kind}" for kind in ("create", "message", "agent", "stream")}
    for value in left.values():
        assert re.match(r"median \d+\.\d{3} s, ", value)


def test_fifty_messages_and_ten_sessions() -> None:
    """The documented limits, which other tests make smaller."""
    wish = Wish(frozenset({"cap", "slots"}), ("tools", "cap", "slots"), Limits())
    with Emulator(agent=agent, session_tools="accepted") as emulator:
        found = values(run(Emulated(emulator), wish), "cap", "slots")
        assert max(record.messages for record in emulator.sessions.values()) == 50
        assert emulator.active_sessions == 10
    assert found == {
        **DEFAULTS["slots"],
        "cap.message_51": "the oldest are dropped",
        "cap.rounds": "count",
    }


FORMS: list[tuple[dict[str, Any], tuple[str, ...], dict[str, str]]] = [
    (
        {"omit_status": True},
        ("basics",),
        {
            "answer.status": "absent",
            "answer.fields": DEFAULTS["basics"]["answer.fields"].replace("status, ", ""),
        },
    ),
    (
        {"extra_fields": False},
        ("basics", "streams"),
        {
            "create.fields": "id, object, status",
            "answer.fields": DEFAULTS["basics"]["answer.fields"].replace("region, ", ""),
            "stream.events": "done, token",
        },
    ),
    (
        {"usage": "legacy"},
        ("refused", "idempotency"),
        {
            "answer.usage": "requests_limit, requests_used, tokens_used",
            "answer.credits": "not told",
            "refused.charge": OPEN,
            "idempotency.charge": OPEN,
        },
    ),
    (
        {"usage": "none"},
        ("refused",),
        {
            "answer.fields": DEFAULTS["basics"]["answer.fields"].replace(", usage", ""),
            "answer.usage": "none",
            "answer.credits": "not told",
            "refused.charge": OPEN,
        },
    ),
    ({"token_key": "content"}, ("streams",), {"stream.tokens": "content"}),
    ({"done": "documented"}, ("streams",), {"stream.done": "flat with usage"}),
    ({"done": "nested"}, ("streams",), {"stream.done": "nested"}),
    ({"newline": "\r\n"}, ("streams",), {"stream.wire": "CRLF, no comments, last blank line"}),
    ({"newline": "\r"}, ("streams",), {"stream.wire": "CR, no comments, last blank line"}),
    ({"keep_alive": True}, ("streams",), {"stream.wire": "LF, comments, last blank line"}),
    (
        {"final_blank_line": False},
        ("streams",),
        {
            "stream.wire": "LF, no comments, no last blank line",
        },
    ),
    ({"error_shape": "flat"}, ("requests",), {"error.shape": "flat: code, docs, message"}),
]
LOGS: list[tuple[dict[str, Any], tuple[str, ...], dict[str, str]]] = [
    ({"refused_appended": False}, ("refused",), {"refused.403": "not left in the session"}),
    ({"failed_appended": False}, ("failed",), {"failed.502": "not left in the session"}),
    ({"over_limit": "error"}, ("cap",), {"cap.message_51": "refused: 400 invalid_body"}),
    (
        {"over_limit": "error", "over_limit_status": 409, "over_limit_code": None},
        ("cap",),
        {
            "cap.message_51": "refused: 409 without a code",
        },
    ),
    ({"history_limit": 500}, ("cap",), {"cap.message_51": "nothing is dropped"}),
]
TOOLS: list[tuple[dict[str, Any], tuple[str, ...], dict[str, str]]] = [
    (TAKING, ("tools", "cap"), {**TAKEN, "cap.rounds": "count"}),
    ({**TAKING, "count_rounds": False}, ("tools", "cap"), {**TAKEN, "cap.rounds": "do not count"}),
    (
        {**TAKING, "over_limit": "error"},
        ("tools", "cap"),
        {
            **TAKEN,
            "cap.message_51": "refused: 400 invalid_body",
            "cap.rounds": "count",
        },
    ),
    (
        {**TAKING, "session_rounds": "answer"},
        ("tools",),
        {
            **TAKEN,
            "tools.history": "the answer alone",
        },
    ),
    ({**TAKING, "session_rounds": "message"}, ("tools",), {**TAKEN, "tools.history": "neither"}),
    (
        {**TAKING, "waiting_run": "nothing"},
        ("tools",),
        {
            **TAKEN,
            "tools.waiting": "not left in the session",
        },
    ),
    (
        {**TAKING, "calls_message": "text"},
        ("tools",),
        {
            **TAKEN,
            "tools.message": "text",
            "tools.session_fields": TAKEN["tools.session_fields"].replace(
                "id, ", "id, message, ", 1
            ),
        },
    ),
    (
        {"session_tools": "refused"},
        ("tools",),
        {
            "tools.session": "400 invalid_tools",
            "tools.session_fields": "400 invalid_tools",
        },
    ),
    (
        {"session_tools": "ignored"},
        ("tools",),
        {
            "tools.session": "answers without calls",
            "tools.session_fields": DEFAULTS["basics"]["answer.fields"],
        },
    ),
    ({"calls_message": "null"}, ("tools",), {"tools.message": "null"}),
    ({"calls_message": "empty"}, ("tools",), {"tools.message": "empty"}),
    ({"compute_instance": "same"}, ("tools",), {"tools.instance": "the same"}),
    (
        {"compute_instance": "none"},
        ("tools",),
        {
            "tools.instance": "none",
            "tools.wrong_instance": "(not tried)",
        },
    ),
    ({"wrong_instance": "accepted"}, ("tools",), {"tools.wrong_instance": "accepted"}),
    ({"tools_stream": "whole"}, ("tools",), {"tools.stream": "answered whole"}),
    ({"tools_capabilities": "ignored"}, ("tools",), {"tools.capabilities": "1 charged"}),
    (
        {"tools_capabilities": "refused"},
        ("tools",),
        {
            "tools.capabilities": "400 invalid_capabilities",
        },
    ),
]
LIMITS: list[tuple[dict[str, Any], tuple[str, ...], dict[str, str]]] = [
    ({"expired_code": None}, ("wait",), {"wait.expired": "410 without a code"}),
    ({"expired_code": "html"}, ("wait",), {"wait.expired": "410 html"}),
    ({"expired_code": "session_expired"}, ("wait",), {"wait.expired": "410 session_expired"}),
    ({"idle_timeout": 7200.0}, ("wait",), {"wait.expired": "still alive", "wait.order": OPEN}),
    ({"tool_timeout": 900.0}, ("wait",), {"wait.outputs": "accepted"}),
    ({"limit_code": None}, ("slots",), {"slots.limit": "429 without a code"}),
    ({"limit_code": "html"}, ("slots",), {"slots.limit": "429 html"}),
    ({"limit_code": "session_limit"}, ("slots",), {"slots.limit": "429 session_limit"}),
    (
        {"max_sessions": 50},
        ("slots",),
        {
            "slots.limit": "none in 11 creates",
            "slots.retry_after": "(not tried)",
        },
    ),
    (
        {"rate_limit": 60},
        ("rate",),
        {
            "rate.limit": "429 rate_limited at request 61",
            "rate.retry_after": "absent",
        },
    ),
    (
        {"rate_limit": 60, "retry_after": "seconds"},
        ("rate",),
        {
            "rate.limit": "429 rate_limited at request 61",
            "rate.retry_after": "in seconds",
        },
    ),
    (
        {"rate_limit": 60, "retry_after": "date"},
        ("rate",),
        {
            "rate.limit": "429 rate_limited at request 61",
            "rate.retry_after": "as a date",
        },
    ),
]


def shown(value: Any) -> str:
    """What is set, as the name of a test."""
    told = value.items() if isinstance(value, dict) else ()
    named = " ".join(f"{name}={each!r}" for name, each in told if "." not in name)
    return named or " ".join(value if isinstance(value, tuple) else [])


@pytest.mark.parametrize(("settings", "studies", "changes"), FORMS, ids=shown)
def test_forms(settings: Any, studies: Any, changes: Any) -> None:
    expect(studies, changes, settings)


@pytest.mark.parametrize(("settings", "studies", "changes"), LOGS, ids=shown)
def test_logs(settings: Any, studies: Any, changes: Any) -> None:
    expect(studies, changes, settings)


@pytest.mark.parametrize(("settings", "studies", "changes"), TOOLS, ids=shown)
def test_tools(settings: Any, studies: Any, changes: Any) -> None:
    expect(studies, changes, settings)


@pytest.mark.parametrize(("settings", "studies", "changes"), LIMITS, ids=shown)
def test_limits(settings: Any, studies: Any, changes: Any) -> None:
    expect(studies, changes, settings)


@pytest.mark.parametrize("longest", [1_000, 3_500, 5_999])
def test_the_length_of_a_message(longest: int) -> None:
    found = values(ask("length", groups=("length",), max_message=longest))["length.message"]
    match = re.fullmatch(r"between (\d+) and (\d+) characters: 400 invalid_body", found)
    assert match is not None
    assert int(match[1]) <= longest < int(match[2])
    assert int(match[2]) - int(match[1]) <= 100


@pytest.mark.parametrize("left", [True, False])
def test_what_402_leaves(left: bool) -> None:
    """The balance is 13 when the study begins, and everything costs 15."""
    outcome = ask(groups=("low-balance",), credits=16, refused_appended=left, capabilities=CAPABLE)
    assert values(outcome)["refused.402"] == f"{'' if left else 'not '}left in the session"
    assert {study.name for study, finding in outcome.findings if finding.verdict == "observed"} == {
        "basics",
        "low-balance",
        "figures",
    }


CAPABLE = ("chat", "research", "documents", "code", "data", "files")


def test_402_is_not_looked_for_with_a_high_balance() -> None:
    outcome = ask(groups=("low-balance",), credits=500)
    assert "the balance is 497" in whys(outcome)["refused.402"]
    assert outcome.credits == 3
