"""Every row of the failure table, on a conversation, over a real socket.

For each: what is raised, what it says of credits, how often the server was asked, and whether
the session goes on with the next turn.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from stewrd_integrations import errors
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.sessions import opening
from stewrd_integrations.stores import MemoryStore
from tests.frameworks import MODES, Loop, Mode
from tests.servers import serve
from tests.talks import Talk

KEEP, DROP, GONE = "continued", "replayed", "recreated"


@dataclass(frozen=True)
class Row:
    """One failure of a session's message.

    ``raised`` is None where the failure is invisible; ``way`` is how the next turn travels, or
    this one if it is invisible; ``asked`` is how many messages the server was sent by the call.
    """

    name: str
    fault: dict[str, Any]
    raised: type[errors.StewrdError] | None
    charged: str = "no"
    way: str = DROP
    asked: int = 1
    streams: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)


def error(status: int, code: str | None, **more: Any) -> dict[str, Any]:
    return {"kind": "error", "status": status, "code": code, **more}


UNKNOWN, SERVER = errors.UnknownOutcomeError, errors.ServerError
SHORT = {"timeout": 0.4}
ROWS = [
    Row("400", error(400, "invalid_body"), errors.BadRequestError, way=KEEP),
    Row("401", error(401, "invalid_api_key"), errors.AuthenticationError, way=KEEP),
    Row("402", error(402, "insufficient_credits"), errors.InsufficientCreditsError),
    Row("403", error(403, "capability_not_enabled"), errors.PermissionDeniedError),
    Row("403 plan", error(403, "plan_restricted"), errors.PlanRestrictedError),
    Row("404", error(404, "not_found"), None, way=GONE, asked=2),
    Row("408", error(408, None), SERVER, "maybe"),
    Row("409", error(409, None), SERVER, "maybe"),
    Row("410", {"kind": "expire"}, None, way=GONE, asked=2),
    Row("429 once", error(429, "rate_limited"), None, way=KEEP, asked=2),
    Row("429", error(429, "rate_limited", times=3), errors.RateLimitError, way=KEEP, asked=3),
    Row("429 quota", error(429, "quota_exceeded"), errors.QuotaExceededError),
    Row("500", error(500, "internal_error"), SERVER, "maybe"),
    Row("500 after the work", error(500, "internal_error", after=True), SERVER, "maybe"),
    Row("502 compute", error(502, "compute_error"), errors.ComputeError),
    Row(
        "502 compute, allowed",
        error(502, "compute_error"),
        None,
        way=DROP,
        asked=2,
        options={"retry_on_compute_error": True},
    ),
    Row("502 of a proxy", {"kind": "html", "status": 502}, SERVER, "maybe"),
    Row("503", error(503, "service_unavailable"), SERVER, "maybe"),
    Row("503 to wait", error(503, "service_unavailable", retry_after=0), None, asked=2),
    Row("504", {"kind": "empty", "status": 504}, SERVER, "maybe"),
    Row("no answer", {"kind": "hang_up"}, UNKNOWN, "maybe"),
    Row("no answer after the work", {"kind": "hang_up", "after": True}, UNKNOWN, "maybe"),
    Row("silence", {"kind": "slow", "seconds": 5.0}, errors.TimedOutError, "maybe", options=SHORT),
    Row("no JSON", {"kind": "garbage"}, errors.MalformedResponseError, "likely"),
    Row("no object", {"kind": "wrong_shape"}, errors.MalformedResponseError, "likely"),
    Row("cut", {"kind": "cut"}, UNKNOWN, "likely"),
    Row("no done", {"kind": "no_done"}, errors.InterruptedStreamError, "likely", streams=True),
    Row("error event", {"kind": "stream_error"}, errors.FailedStreamError, "maybe", streams=True),
    Row("JSON for a stream", {"kind": "json_instead_of_stream"}, None, way=KEEP, streams=True),
]


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    numbers = iter(range(1, 1_000))
    with serve(agent=lambda context: f"answer number {next(numbers)}") as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SHORT_WAIT", 0.0)


def model_of(emulator: Emulator, loop: Loop, **more: Any) -> Runtime:
    address = {"api_key": emulator.api_key, "base_url": emulator.url}
    model = Runtime(Options(**{**address, "store": MemoryStore(), **more}))
    loop.models.append(model)  # type: ignore[arg-type]
    for client in (model.client, model.async_client):
        settings = client._settings
        settings.patience = dataclasses.replace(settings.patience, jitter=lambda: 0.0)
    return model


def say(talk: Talk, loop: Loop, text: str, mode: Mode) -> str:
    match mode:
        case "plain":
            return talk.say(text).decision.turn
        case "stream":
            return talk.stream(text).decision.turn
        case "async":
            return loop.run(talk.asay(text)).decision.turn
        case "async stream":
            return loop.run(talk.astream(text)).decision.turn


def messages(emulator: Emulator) -> int:
    return sum(one.path.endswith(("/messages", "/agent")) for one in emulator.requests)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_message(emulator: Emulator, loop: Loop, row: Row, mode: Mode) -> None:
    if row.streams and "stream" not in mode:
        mode = "stream"
    talk = Talk(model_of(emulator, loop, **row.options), "ada")
    say(talk, loop, "hello", mode)
    before = messages(emulator)
    emulator.fail_next(**{"on": "message", **row.fault})
    if row.raised is None:
        assert say(talk, loop, "next", mode) == row.way
    else:
        with pytest.raises(row.raised) as caught:
            say(talk, loop, "next", mode)
        failed = caught.value
        assert (failed.charged, failed.sent) == (row.charged, True)
        assert len(failed.advice) > 20
    assert messages(emulator) - before == row.asked
    way = say(talk, loop, "on", mode)
    assert way == (row.way if row.raised else "continued")
    told = emulator.runs[-1].conversation.messages
    assert [said.text for said in told] == [m.text for m in talk.messages[:-1]]


STATELESS = [row for row in ROWS if row.name not in ("404", "410", "502 compute, allowed")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", STATELESS, ids=lambda row: row.name)
def test_the_stateless_road(emulator: Emulator, loop: Loop, row: Row, mode: Mode) -> None:
    if row.streams and "stream" not in mode:
        mode = "stream"
    talk = Talk(model_of(emulator, loop, **row.options), who={"sessions": "never"})
    emulator.fail_next(**{"on": "agent", **row.fault})
    if row.raised is None:
        assert say(talk, loop, "next", mode) == "stateless"
    else:
        with pytest.raises(row.raised) as caught:
            say(talk, loop, "next", mode)
        assert caught.value.charged == row.charged
    assert messages(emulator) == row.asked
    assert say(talk, loop, "on", mode) == "stateless"


CREATES = [
    Row("401", error(401, "invalid_api_key"), errors.AuthenticationError),
    Row("402", error(402, "insufficient_credits"), errors.InsufficientCreditsError),
    Row("429 quota", error(429, "quota_exceeded"), errors.QuotaExceededError),
    Row("429 once", error(429, "rate_limited"), None, way="opened"),
    Row("429", error(429, "too_many", times=2), None, way="stateless"),
    Row("429 of a proxy", {"kind": "html", "status": 429, "times": 2}, None, way="stateless"),
    Row("403 plan", error(403, "plan_restricted"), None, way="stateless"),
    Row("500 once", error(500, "internal_error"), None, way="opened"),
    Row("no answer", {"kind": "hang_up", "after": True}, None, way="opened"),
    Row("no answer twice", {"kind": "hang_up", "times": 2}, None, way="stateless"),
    Row("no JSON", {"kind": "garbage"}, None, way="opened"),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", CREATES, ids=lambda row: row.name)
def test_a_create(emulator: Emulator, loop: Loop, row: Row, mode: Mode) -> None:
    talk = Talk(model_of(emulator, loop), "ada")
    emulator.fail_next(**{"on": "create", **row.fault})
    if row.raised is None:
        assert say(talk, loop, "hello", mode) == row.way
        assert messages(emulator) == 1
    else:
        with pytest.raises(row.raised) as caught:
            say(talk, loop, "hello", mode)
        assert caught.value.charged == "no"
        assert messages(emulator) == 0
        assert say(talk, loop, "hello", mode) == "opened"


@pytest.mark.parametrize("mode", MODES)
def test_nobody_is_reached(emulator: Emulator, loop: Loop, mode: Mode) -> None:
    """Nothing was sent for sure: tried again, then raised, and the session goes on."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        model = model_of(emulator, loop, base_url=address)
        with pytest.raises(errors.NeverSentError) as caught:
            say(Talk(model, "ada"), loop, "hello", mode)
    assert (caught.value.sent, caught.value.charged, caught.value.retryable) == (False, "no", True)


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_is_away_for_a_while(emulator: Emulator, loop: Loop, mode: Mode) -> None:
    """The binding is put back untouched, and continues when the server is back."""
    talk = Talk(model_of(emulator, loop), "ada")
    say(talk, loop, "hello", mode)
    loop.run(talk.model.aclose())
    emulator.stop()
    with pytest.raises(errors.NeverSentError):
        say(talk, loop, "next", mode)
    emulator.start()
    assert say(talk, loop, "next", mode) == KEEP


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", [None, "rate_limited", "quota", "html"])
def test_message_51_never_happens_whatever_a_410_looks_like(
    loop: Loop, code: str | None, mode: Mode
) -> None:
    with serve(expired_code=code, history_limit=4) as emulator:
        talk = Talk(model_of(emulator, loop, session_message_limit=4), "ada")
        ways = []
        for turn in range(6):
            if turn == 3:
                emulator.expire()
            ways.append(say(talk, loop, f"text {turn}", mode))
        assert ways == ["opened", KEEP, "rolled_over", GONE, KEEP, "rolled_over"]
        assert emulator.over_limit == 0
