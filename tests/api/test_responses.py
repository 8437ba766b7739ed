from __future__ import annotations

import json
from typing import Any

import pytest

from stewrd_integrations.api.requests import Kind
from stewrd_integrations.api.responses import (
    Answer,
    error_for,
    read_reply,
    read_session,
    retry_after,
)
from stewrd_integrations.errors import EmptyAnswerError, MalformedResponseError
from stewrd_integrations.types import File, Reply, Session, ToolCall, Usage

from .wire import REPLY


def reply_of(data: Any) -> Reply:
    return read_reply(Answer[None](Kind.RUN, 200, {}, json.dumps(data).encode()))


def test_a_whole_reply() -> None:
    data = {**REPLY, "session_id": "s1", "_compute_instance": "i=1", "new": {"field": 1}}
    reply = reply_of(data)
    assert reply == Reply(
        id="req-1",
        message="Hello.",
        capabilities_used=("chat",),
        files=(File("a.csv", url="https://files.example/a.csv"),),
        usage=Usage(credits=1, credits_remaining=99, tokens=12),
        duration_ms=7,
        session_id="s1",
        project_id="p",
        plan="pack",
        compute_instance="i=1",
    )
    assert "i=1" not in repr(reply)


def test_tool_calls() -> None:
    calls: list[dict[str, Any]] = [
        {"id": "c1", "name": "add", "arguments": {"a": 1}},
        {"id": "c2", "name": "now"},
    ]
    reply = reply_of({"id": "r", "status": "requires_tool_outputs", "tool_calls": calls})
    assert reply.status == "requires_tool_outputs"
    assert reply.tool_calls == (ToolCall("c1", "add", {"a": 1}), ToolCall("c2", "now", {}))
    assert reply_of({"tool_calls": calls}).status == "requires_tool_outputs"
    calls[0]["arguments"] = '{"a": 1}'
    assert reply_of({"tool_calls": calls}).tool_calls[0].arguments == {"a": 1}


@pytest.mark.parametrize(
    "data",
    [
        {"message": "x"},
        {"message": "x", "status": None, "tool_calls": None, "files": None, "usage": None},
        {"message": "x", "status": "new", "tool_calls": 1, "files": 1, "usage": 1, "meta": 1},
        {"message": "x", "id": 1, "capabilities_used": [1], "usage": {"tokens_used": "1"}},
        {"message": "x", "tool_calls": [], "session_id": 1, "usage": {"tokens_used": True}},
        {"message": "x", "files": [1, None], "usage": {"credits_this_request": 0.5}},
    ],
)
def test_what_is_missing_or_of_a_wrong_type(data: Any) -> None:
    assert reply_of(data) == Reply(message="x")


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({"usage": {"requests_used": 5, "requests_limit": 9, "tokens_used": 3}}, Usage(tokens=3)),
        ({"tokens_used": 3}, Usage(tokens=3)),
        ({"usage": {"credits_this_request": 0, "tokens_used": 3.0}}, Usage(0, None, 3)),
    ],
)
def test_older_usage(data: Any, usage: Usage) -> None:
    assert reply_of({"message": "x", **data}).usage == usage


CALLS = [{"id": "c", "name": "add", "arguments": {}}]


@pytest.mark.parametrize("message", ["", " \n\t", None, 7])
@pytest.mark.parametrize("status", [{}, {"status": "completed"}, {"status": "new"}])
def test_an_answer_of_nothing_is_none(message: Any, status: dict[str, Any]) -> None:
    empty: list[dict[str, Any]] = [{}, {"tool_calls": []}, {"files": []}]
    for more in empty:
        with pytest.raises(EmptyAnswerError) as caught:
            reply_of({"request_id": "r-7", "message": message, **status, **more})
        assert (caught.value.request_id, caught.value.charged) == ("r-7", "likely")


def test_a_file_or_a_call_is_an_answer_without_a_word() -> None:
    for message in ("", None):
        reply = reply_of({"message": message, "files": [{"name": "a.csv", "content": "1"}]})
        assert (reply.message, reply.files) == ("", (File("a.csv", "1"),))
    for told in ({}, {"message": ""}, {"message": " "}, {"message": None}):
        for status in ({}, {"status": None}, {"status": "completed"}):
            reply = reply_of({"tool_calls": CALLS, **told, **status})
            assert (reply.status, len(reply.tool_calls)) == ("requires_tool_outputs", 1)


def test_calls_beside_words() -> None:
    thinking = {"tool_calls": CALLS, "message": "Let me see."}
    assert reply_of(thinking).status == "requires_tool_outputs"
    assert reply_of({**thinking, "status": "completed"}).tool_calls == ()


@pytest.mark.parametrize("arguments", ["", " ", None])
def test_no_arguments(arguments: Any) -> None:
    calls = [{"id": "c", "name": "now", "arguments": arguments}]
    assert reply_of({"tool_calls": calls}).tool_calls[0].arguments == {}


@pytest.mark.parametrize("request_id", ["req:1", "a/b", "", "x" * 129, "../v1", "é"])
def test_outputs_can_not_be_given_to_a_run_whose_id_no_path_carries(request_id: str) -> None:
    assert reply_of({"id": request_id, "tool_calls": CALLS}).id is None
    assert reply_of({"id": request_id, "message": "x"}).id in (request_id, None)


@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "-1", "-0.5", "NaN", "Infinity", "-Infinity", "0.5", '"3"', "1e308"]
)
def test_numbers_that_count_nothing_are_not_told(number: str) -> None:
    body = (
        '{"message": "x", "tokens_used": %s, "meta": {"duration_ms": %s}, "usage": '
        '{"credits_this_request": %s, "credits_remaining": %s}}'
    ) % ((number,) * 4)
    reply = read_reply(Answer[None](Kind.RUN, 200, {}, body.encode()))
    assert (reply.usage, reply.duration_ms) == (Usage(), None)


@pytest.mark.parametrize(
    "data",
    [
        {"status": "completed", "message": 7},
        {"tool_calls": [{"id": "c"}]},
        {"message": "x", "tool_calls": [1]},
        {"tool_calls": [{"id": "c", "name": "n", "arguments": [1]}]},
        {"tool_calls": [{"id": "c", "name": "n", "arguments": "{"}]},
    ],
)
def test_replies_that_cannot_be_used(data: Any) -> None:
    with pytest.raises(MalformedResponseError) as caught:
        reply_of({"request_id": "r-7", **data})
    assert caught.value.request_id == "r-7"


def test_a_session() -> None:
    made = read_session(Answer[None](Kind.CREATE, 201, {}, b'{"id": "s-1", "object": "session"}'))
    assert made == Session("s-1", "active")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        (" 1.5 ", 1.5),
        ("3600", 60),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", None),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 60),
        ("Thu, 99 Jan 2099 00:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 1000.0) == seconds


@pytest.mark.parametrize(
    ("body", "code", "request_id", "words"),
    [
        ({"error": {"code": "c", "message": "m"}, "id": "r"}, "c", "r", "HTTP 400 (c): m."),
        ({"code": "c", "message": "m!", "request_id": "r"}, "c", "r", "(c): m!"),
        ({"error": {"code": 7, "message": None, "request_id": "r"}}, None, "r", "HTTP 400."),
        ({"error": "broken"}, None, "h", "HTTP 400: broken."),
        ("text", None, "h", "HTTP 400."),
        ({"message": "a\nb\x00"}, None, "h", "HTTP 400: a b\ufffd."),
    ],
)
def test_what_an_error_says(body: Any, code: Any, request_id: str, words: str) -> None:
    raw = json.dumps(body).encode()
    error = error_for(Kind.RUN, 400, {"x-request-id": "h"}, raw)
    assert (error.code, error.request_id) == (code, request_id)
    assert words in error.message


def test_an_echoed_key_and_a_long_text() -> None:
    key = "sk-stw_abcDEF123"
    body = {"error": {"code": key, "message": f"bad {key} " + "x" * 900}, "id": key}
    error = error_for(Kind.RUN, 401, {"x-request-id": key}, json.dumps(body).encode())
    assert key not in repr(vars(error)) + str(error)
    assert "bad [key] xxx" in error.message
    assert len(error.message) < 620


def test_a_redirect_says_that_it_is_not_followed() -> None:
    error = error_for(Kind.RUN, 308, {"location": "https://elsewhere"}, b"")
    assert "never followed" in str(error)
