"""The failure table, row by row, over a real socket: the error, and how often it was sent."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from stewrd_integrations.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ComputeError,
    FailedStreamError,
    InsufficientCreditsError,
    InterruptedStreamError,
    MalformedResponseError,
    NeverSentError,
    NotFoundError,
    PermissionDeniedError,
    PlanRestrictedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    SessionExpiredError,
    SessionLimitError,
    StewrdError,
    TimedOutError,
    UnknownOutcomeError,
)
from stewrd_integrations.types import Token, ToolOutput

from .conftest import Way
from .wire import CUT, DONE, HANG, REPLY, RESET, STREAM, Action, RawServer, answer, event, sse

PINGS: list[Action] = [0.05, b": ping\n\n"] * 40
HTML = b"<html>Bad gateway</html>"


def wrapped(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"It is {code}"}, "request_id": "req-9"}


def flat(code: str) -> dict[str, Any]:
    return {"code": code, "message": f"It is {code}"}


def good(way: Way) -> list[Any]:
    return sse(*STREAM) if way.streamed else answer(200, REPLY)


@pytest.mark.parametrize(
    ("status", "body", "error", "charged"),
    [
        (400, wrapped("missing_message"), BadRequestError, "no"),
        (401, wrapped("invalid_api_key"), AuthenticationError, "no"),
        (401, b"", AuthenticationError, "no"),
        (402, flat("insufficient_credits"), InsufficientCreditsError, "no"),
        (403, wrapped("capability_not_enabled"), PermissionDeniedError, "no"),
        (403, flat("plan_restricted"), PlanRestrictedError, "no"),
        (403, HTML, PermissionDeniedError, "no"),
        (429, wrapped("quota_exceeded"), QuotaExceededError, "no"),
        (429, wrapped("too_many_agents"), RateLimitError, "no"),
        (408, b"", ServerError, "maybe"),
        (409, wrapped("conflict"), ServerError, "maybe"),
        (500, HTML, ServerError, "maybe"),
        (502, HTML, ServerError, "maybe"),
        (502, wrapped("compute_error"), ComputeError, "no"),
        (502, flat("compute_unavailable"), ComputeError, "no"),
        (503, wrapped("service_unavailable"), ServerError, "maybe"),
        (504, b"", ServerError, "maybe"),
        (529, {"error": "overloaded"}, ServerError, "maybe"),
        (413, HTML, APIStatusError, "no"),
        (418, [1], APIStatusError, "no"),
        (302, b"", APIStatusError, "no"),
    ],
)
def test_a_refusal_is_never_repeated(
    raw_server: RawServer, way: Way, status: int, body: Any, error: type[StewrdError], charged: str
) -> None:
    raw_server.script(answer(status, body, location=f"{raw_server.url}/elsewhere"))
    with pytest.raises(error) as caught:
        way.go(raw_server.url)
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.charged) == (status, charged)
    assert caught.value.sent
    assert len(raw_server.requests) == 1
    if isinstance(body, dict) and body.get("request_id"):
        assert caught.value.request_id == "req-9"
        assert caught.value.code == body["error"]["code"]
        assert f"It is {caught.value.code}" in str(caught.value)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", [b"", HTML, wrapped("whatever"), wrapped("not_found")])
def test_404_and_410_mean_expiry_in_a_session_only(
    raw_server: RawServer, way: Way, status: int, body: Any
) -> None:
    raw_server.script(answer(status, body))
    with pytest.raises(APIStatusError) as caught:
        way.go(raw_server.url)
    other = NotFoundError if status == 404 else APIStatusError
    assert type(caught.value) is (SessionExpiredError if way.in_session else other)
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize(
    "refusal", [answer(429, wrapped("rate_limited"), retry_after="0"), answer(429, HTML)]
)
def test_rate_limited_is_repeated_twice(raw_server: RawServer, way: Way, refusal: Any) -> None:
    raw_server.script(refusal, refusal, good(way))
    assert way.go(raw_server.url).message == "Hello."
    assert len(raw_server.requests) == 3
    assert len({(r.path, r.body) for r in raw_server.requests}) == 1


def test_a_retry_waits_as_long_as_the_server_asks(raw_server: RawServer, way: Way) -> None:
    raw_server.script(answer(429, HTML, retry_after="0.25"), good(way))
    began = time.monotonic()
    assert way.go(raw_server.url).message == "Hello."
    assert time.monotonic() - began >= 0.25
    assert len(raw_server.requests) == 2


def test_rate_limited_is_raised_in_the_end(raw_server: RawServer, way: Way) -> None:
    raw_server.script(answer(429, wrapped("rate_limited")))
    with pytest.raises(RateLimitError) as caught:
        way.go(raw_server.url)
    assert caught.value.retryable
    assert len(raw_server.requests) == 3


def test_no_retries_if_the_user_wants_none(raw_server: RawServer, way: Way) -> None:
    raw_server.script(answer(429, wrapped("rate_limited")))
    with pytest.raises(RateLimitError):
        way.go(raw_server.url, max_retries=0)
    assert len(raw_server.requests) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(raw_server: RawServer, way: Way) -> None:
    raw_server.script(answer(429, wrapped("rate_limited"), retry_after="3600"))
    with pytest.raises(RateLimitError) as caught:
        way.go(raw_server.url, timeout=5)
    assert caught.value.retry_after == 60
    assert len(raw_server.requests) == 1


def test_503_with_retry_after_is_repeated_for_the_agent_only(
    raw_server: RawServer, way: Way
) -> None:
    refusal = answer(503, wrapped("service_unavailable"), retry_after="0")
    raw_server.script(refusal, good(way))
    if way.in_session:
        with pytest.raises(ServerError) as caught:
            way.go(raw_server.url)
        assert (caught.value.retry_after, caught.value.retryable) == (0, True)
        assert len(raw_server.requests) == 1
    else:
        assert way.go(raw_server.url).message == "Hello."
        assert len(raw_server.requests) == 2


@pytest.mark.parametrize(
    "refusal", [answer(503, HTML, retry_after="0"), answer(503, wrapped("service_unavailable"))]
)
def test_any_other_503_is_not(raw_server: RawServer, way: Way, refusal: Any) -> None:
    raw_server.script(refusal)
    with pytest.raises(ServerError):
        way.go(raw_server.url)
    assert len(raw_server.requests) == 1


def test_nothing_listens(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NeverSentError, match="ConnectError") as caught:
        way.go(f"http://127.0.0.1:{port}")
    assert (caught.value.sent, caught.value.charged) == (False, "no")


@pytest.mark.parametrize(
    "script",
    [[RESET], [CUT], [b"HTTP/1.1 200", CUT], [b"nonsense\r\n\r\n", CUT]],
    ids=["reset", "closed", "half a head", "no HTTP"],
)
def test_sent_and_no_answer(raw_server: RawServer, way: Way, script: Any) -> None:
    raw_server.script(script)
    with pytest.raises(UnknownOutcomeError) as caught:
        way.go(raw_server.url)
    assert type(caught.value) is UnknownOutcomeError
    assert (caught.value.sent, caught.value.charged) == (True, "maybe")
    assert len(raw_server.requests) == 1


def test_silence_times_out(raw_server: RawServer, way: Way) -> None:
    raw_server.script([HANG])
    with pytest.raises(TimedOutError, match="ReadTimeout"):
        way.go(raw_server.url, timeout=1.0)
    assert len(raw_server.requests) == 1


def test_a_body_that_falls_silent(raw_server: RawServer, way: Way) -> None:
    begun = sse(b": ping\n\n")[:-1] if way.streamed else [answer(200, REPLY)[0][:-5]]
    raw_server.script([*begun, HANG])
    with pytest.raises(TimedOutError) as caught:
        way.go(raw_server.url, timeout=1.0)
    assert caught.value.charged == "likely"
    assert len(raw_server.requests) == 1


def test_pings_do_not_keep_a_call_alive(raw_server: RawServer, way: Way) -> None:
    if way.streamed:
        raw_server.script(sse(*PINGS))
    else:
        raw_server.script([b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *PINGS])
    with pytest.raises(TimedOutError, match=r"within 1 seconds"):
        way.go(raw_server.url, timeout=1.0)
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize(
    "script",
    [
        [answer(200, REPLY)[0][:-5], CUT],
        [answer(200, REPLY)[0][:-5], 0.02, RESET],
        answer(200, HTML, content_type="text/html"),
        answer(200),
        answer(200, [REPLY]),
        answer(200, {**REPLY, "message": None, "files": []}),
        answer(200, {"id": "req-1", "status": "completed"}),
        answer(200, {"id": "req-1", "status": "requires_tool_outputs", "message": "x"}),
        answer(200, b"\xff\xfe{}", content_type="application/json"),
        answer(200, b"[" * 100_000, content_type="application/json"),
        answer(200, b"no gzip", content_type="application/json", content_encoding="gzip"),
    ],
)
def test_an_answer_of_the_wrong_shape(raw_server: RawServer, way: Way, script: Any) -> None:
    raw_server.script(script)
    with pytest.raises(MalformedResponseError) as caught:
        way.go(raw_server.url)
    assert (caught.value.charged, caught.value.status) == ("likely", 200)
    assert len(raw_server.requests) == 1


def test_a_refusal_whose_body_is_cut_is_still_that_refusal(raw_server: RawServer, way: Way) -> None:
    raw_server.script([answer(402, wrapped("insufficient_credits"))[0][:-5], CUT])
    with pytest.raises(InsufficientCreditsError):
        way.go(raw_server.url)


# Streams


def test_a_cut_stream_is_raised_after_its_partial_output(
    raw_server: RawServer, stream: Way
) -> None:
    raw_server.script(sse(STREAM[0], b"event: to"))
    events: list[Any] = []
    with pytest.raises(InterruptedStreamError, match="without its done") as caught:
        stream.go(raw_server.url, into=events)
    assert events == [Token("Hel")]
    assert caught.value.charged == "likely"
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("rest", [b'data: {"message": "He', b"", b"data: \xe4\xb8"])
def test_a_done_that_is_cut_is_no_end(raw_server: RawServer, stream: Way, rest: bytes) -> None:
    raw_server.script(sse(STREAM[0], b"event: done\n" + rest))
    with pytest.raises(InterruptedStreamError):
        stream.go(raw_server.url)


@pytest.mark.parametrize("end", [CUT, RESET])
def test_a_stream_that_breaks_off_in_mid_chunk(
    raw_server: RawServer, stream: Way, end: Any
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    raw_server.script([head, b"%x\r\n%b\r\n" % (len(STREAM[0]), STREAM[0]), 0.05, end])
    events: list[Any] = []
    with pytest.raises(InterruptedStreamError, match=r"RemoteProtocolError|ReadError"):
        stream.go(raw_server.url, into=events)
    assert events == [Token("Hel")]
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("data", [flat("compute_error"), wrapped("compute_error")])
def test_an_error_event(raw_server: RawServer, stream: Way, data: Any) -> None:
    raw_server.script(sse(STREAM[0] + event("error", data)))
    events: list[Any] = []
    with pytest.raises(FailedStreamError, match="It is compute_error") as caught:
        stream.go(raw_server.url, into=events)
    assert events == [Token("Hel")]
    assert caught.value.code == "compute_error"
    assert len(raw_server.requests) == 1


def test_a_complete_done_without_its_blank_line_is_an_end(
    raw_server: RawServer, stream: Way
) -> None:
    raw_server.script(sse(STREAM[0], event("done", DONE).rstrip()))
    assert stream.go(raw_server.url).message == "Hello."


def test_a_stream_whose_server_does_not_hang_up(raw_server: RawServer, stream: Way) -> None:
    raw_server.script([*sse(*STREAM)[:-1], HANG])
    assert stream.go(raw_server.url).message == "Hello."
    assert raw_server.left.wait(2)


@pytest.mark.parametrize(
    "bad",
    [
        b"event: token\ndata: {\xff}\n\n",
        b"event: token\ndata: nonsense\n\n",
        b"event: done\ndata: [1]\n\n",
        event("done", {}).replace(b"{}", b'{"message": 3}'),
        b"data: " + b"x" * 1_100_000,
    ],
)
def test_a_stream_of_the_wrong_shape(raw_server: RawServer, stream: Way, bad: bytes) -> None:
    raw_server.script(sse(bad))
    with pytest.raises(MalformedResponseError):
        stream.go(raw_server.url)
    assert len(raw_server.requests) == 1


def test_a_stream_that_cannot_be_decompressed(raw_server: RawServer, stream: Way) -> None:
    head = sse(content_type="text/event-stream\r\nContent-Encoding: gzip")[0]
    raw_server.script([head, b"no gzip", CUT])
    with pytest.raises(MalformedResponseError, match="DecodingError"):
        stream.go(raw_server.url)


# Creating a session


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, wrapped("quota_exceeded"), QuotaExceededError),
        (429, wrapped("rate_limited"), SessionLimitError),
        (429, wrapped("session_limit"), SessionLimitError),
        (429, HTML, SessionLimitError),
        (429, b"", SessionLimitError),
        (403, wrapped("plan_restricted"), PlanRestrictedError),
        (404, b"", NotFoundError),
        (410, b"", APIStatusError),
        (500, b"", ServerError),
        (503, wrapped("service_unavailable"), ServerError),
        (200, b"", MalformedResponseError),
        (201, {"object": "session"}, MalformedResponseError),
        (201, {"id": "../x"}, MalformedResponseError),
        (201, {"id": 7}, MalformedResponseError),
    ],
)
def test_creating_is_never_repeated(
    raw_server: RawServer, colour: Any, status: int, body: Any, error: type[StewrdError]
) -> None:
    raw_server.script(answer(status, body, retry_after="0"))
    with pytest.raises(error) as caught:
        colour.call(raw_server.url, "create_session")
    assert type(caught.value) is error
    assert caught.value.charged == "no"
    assert len(raw_server.requests) == 1


def test_creating_with_an_unknown_outcome_is_left_to_the_caller(
    raw_server: RawServer, colour: Any
) -> None:
    raw_server.script([RESET])
    with pytest.raises(UnknownOutcomeError) as caught:
        colour.call(raw_server.url, "create_session")
    assert caught.value.charged == "no"
    assert len(raw_server.requests) == 1


# Tool outputs


@pytest.mark.parametrize(
    ("script", "error", "charged"),
    [
        (answer(404, wrapped("context_expired")), NotFoundError, "yes"),
        (answer(404, HTML), NotFoundError, "yes"),
        (answer(400, wrapped("tool_output_too_large")), BadRequestError, "no"),
        (answer(500), ServerError, "yes"),
        (answer(200, {}), MalformedResponseError, "yes"),
        ([RESET], UnknownOutcomeError, "yes"),
    ],
)
def test_tool_outputs_are_never_repeated_blindly(
    raw_server: RawServer, colour: Any, script: Any, error: type[StewrdError], charged: str
) -> None:
    raw_server.script(script)
    outputs = [ToolOutput("call-1", "4")]
    with pytest.raises(error) as caught:
        colour.call(raw_server.url, "submit_tool_outputs", "req-1", outputs)
    assert caught.value.charged == charged
    if error is NotFoundError:
        assert caught.value.code == "context_expired"
    assert len(raw_server.requests) == 1
