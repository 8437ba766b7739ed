"""Turns with tools where something fails or runs out (R8, R9, R11), by what the server heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stewrd_integrations import errors
from stewrd_integrations.sessions.tools import legal_name
from tests.sessions.tooling import (
    Workshop,
    by_our_clock,
    clean,
    in_the_midst,
    last,
    opened,
    paths,
    scripted,
    tool,
    without_a_word,
    workshop,
)
from tests.worlds import Stage

MODES = ["accepted", "refused"]


@pytest.fixture(params=MODES)
def anywhere(request: pytest.FixtureRequest) -> Stage:
    """Runs on a session, and runs beside it."""
    return scripted(session_tools=request.param)


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


# -- runs that are gone ----------------------------------------------------------------


def knowing(stage: Stage, **details: Any) -> Workshop:
    """`in_the_midst`, where a session was seen to take the outputs of tools."""
    work = workshop(stage, **details)
    work.talk("do sub")
    work.ask("do add, mul")
    work.give()
    return work


def session_gone(stage: Stage) -> None:
    stage.world.expire()


GONE: list[Callable[[Stage], None]] = [by_our_clock, without_a_word, session_gone]


@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize("behaviour", ["expired", "context_expired", "answered"])
@pytest.mark.parametrize("session_tools", MODES)
def test_a_run_that_is_gone_is_invisible(
    gone: Callable[[Stage], None], behaviour: str, session_tools: str
) -> None:
    stage = scripted(session_tools=session_tools, expired_session_run=behaviour)
    work = in_the_midst(stage)
    gone(stage)
    work.finish()
    work.step() if work.calls else work.talk("thanks")
    work.talk("go on")
    assert stage.sent()[-1] == "go on" or last(work)[0] == "stateless"
    clean(stage)


def test_time_that_has_passed_costs_no_round_trip(anywhere: Stage) -> None:
    work = in_the_midst(anywhere)
    by_our_clock(anywhere)
    work.finish()
    assert "tool-outputs" not in paths(anywhere)


def test_a_session_that_died_in_a_run_gives_its_slot_back(stage: Stage) -> None:
    model = stage.model(max_active_sessions=1)
    work = knowing(stage, model=model)
    session_gone(stage)
    work.finish()
    assert last(work) == ("session", "recreated")


def test_a_long_run_may_outlive_its_session_and_nothing_is_lost(stage: Stage) -> None:
    work = workshop(stage)
    work.ask("do add; sub; add; sub; add; sub; add; sub")
    while work.calls:
        stage.clock.now += 290
        work.give()
        work.step()
    work.talk("thanks")
    assert len([m for m in work.messages if m.role == "tool"]) == 8


@pytest.mark.parametrize("outputs_reset_idle", [True, False])
def test_outputs_are_not_taken_for_messages_that_keep_a_session(outputs_reset_idle: bool) -> None:
    stage = scripted(session_tools="accepted", outputs_reset_idle=outputs_reset_idle)
    work = workshop(stage)
    work.talk("hello")
    stage.clock.now += 200
    work.ask("do add")
    stage.clock.now += 250
    work.finish()
    stage.clock.now += 1_600
    work.talk("thanks")
    assert all(request.status != 410 for request in stage.requests)


# -- what the failure table says -------------------------------------------------------

UNKNOWN: list[tuple[str, dict[str, Any]]] = [
    ("hang_up", {}),
    ("hang_up", {"after": True}),
    ("slow", {}),
    ("cut", {}),
    ("garbage", {}),
    ("wrong_shape", {}),
    ("error", {"status": 500}),
    ("error", {"status": 500, "after": True}),
    ("error", {"status": 502, "code": "compute_error"}),
    ("error", {"status": 402, "code": "insufficient_credits"}),
    ("error", {"status": 429, "code": "quota_exceeded"}),
    ("html", {"status": 504}),
]


@pytest.mark.parametrize(("kind", "details"), UNKNOWN)
@pytest.mark.parametrize("way", ["plain", "stream"])
def test_outputs_of_unknown_outcome_are_not_repeated(
    anywhere: Stage, kind: str, details: dict[str, Any], way: str
) -> None:
    work = in_the_midst(anywhere, way=way)
    anywhere.fail_next(kind, on="tool_outputs", **details)
    before = len(anywhere.requests)
    with pytest.raises(errors.StewrdError) as caught:
        work.step()
    assert len(anywhere.requests) == before + 1
    assert caught.value.sent
    assert caught.value.charged in {"yes", "no"}
    old = anywhere.requests[-1].session_id
    work.finish()
    assert paths(anywhere).count("tool-outputs") == 1
    assert old is None or anywhere.runs[-1].session_id != old
    work.talk("go on")
    assert old is None or anywhere.runs[-1].session_id != old
    if old is None:
        assert opened(anywhere) == 1


def test_an_unknown_outcome_is_charged(anywhere: Stage) -> None:
    work = in_the_midst(anywhere)
    anywhere.fail_next("hang_up", on="tool_outputs", after=True)
    with pytest.raises(errors.UnknownOutcomeError) as caught:
        work.step()
    assert caught.value.charged == "yes"


REFUSED: list[tuple[int, str]] = [
    (401, "invalid_api_key"),
    (429, "rate_limited"),
]


@pytest.mark.parametrize(("status", "code"), REFUSED)
@pytest.mark.parametrize("name", ["ada", None])
def test_outputs_that_were_refused_may_be_given_again(
    anywhere: Stage, status: int, code: str, name: str | None
) -> None:
    work = in_the_midst(anywhere, name=name)
    anywhere.fail_next("error", on="tool_outputs", status=status, code=code)
    with pytest.raises(errors.APIStatusError):
        work.step()
    work.finish()
    assert paths(anywhere)[-2:] == ["tool-outputs", "tool-outputs"]
    work.talk("go on")
    assert opened(anywhere) == 1


def test_outputs_that_reached_nobody_may_be_given_again(anywhere: Stage) -> None:
    work = in_the_midst(anywhere)
    anywhere.away = 1
    with pytest.raises(errors.NeverSentError):
        work.step()
    work.finish()
    assert paths(anywhere)[-1] == "tool-outputs"


def test_outputs_that_came_too_fast_are_given_again_by_themselves(anywhere: Stage) -> None:
    model = anywhere.model(max_retries=1)
    work = in_the_midst(anywhere, model=model)
    anywhere.fail_next(
        "error", on="tool_outputs", status=429, code="rate_limited", retry_after="0.01"
    )
    work.finish()
    assert paths(anywhere)[-2:] == ["tool-outputs", "tool-outputs"]


async def test_outputs_whose_call_was_cancelled(
    anywhere: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = in_the_midst(anywhere)
    real, done = work.model.async_client.submit_tool_outputs, asyncio.Event()

    async def slow(*given: Any, **named: Any) -> Any:
        await real(*given, **named)
        done.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(work.model.async_client, "submit_tool_outputs", slow)
    task = asyncio.create_task(work.astep())
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    old = anywhere.requests[-1].session_id
    work.finish()
    assert paths(anywhere).count("tool-outputs") == 1
    assert old is None or anywhere.runs[-1].session_id != old


def test_a_stream_whose_reader_left_at_the_only_piece(anywhere: Stage) -> None:
    work = in_the_midst(anywhere, way="stream")
    items = work.model.stream(work.made())
    next(items)
    items.close()
    old = anywhere.requests[-1].session_id
    work.finish()
    assert paths(anywhere).count("tool-outputs") == 1
    assert old is None or anywhere.runs[-1].session_id != old


@pytest.mark.parametrize("fault", ["create", "message"])
def test_a_run_that_was_given_up_never_comes_back(stage: Stage, fault: Any) -> None:
    """Its session is dropped for good, also where the new one can't be opened."""
    work = in_the_midst(stage)
    del work.messages[-2:]
    work.user("never mind")
    stage.fail_next("error", on=fault, status=401, code="invalid_api_key")
    with pytest.raises(errors.AuthenticationError):
        work.step()
    del work.messages[-1]
    work.give()
    work.user("and double it")
    work.step()
    assert "tool-outputs" not in paths(stage)


def test_a_run_that_was_gone_never_comes_back(stage: Stage) -> None:
    work = knowing(stage)
    without_a_word(stage)
    stage.fail_next("error", on="create", status=401, code="invalid_api_key")
    with pytest.raises(errors.AuthenticationError):
        work.step()
    work.step()
    assert paths(stage).count("tool-outputs") == 2


def test_the_users_message_fails_after_the_outputs(stage: Stage) -> None:
    for details in ({"status": 400}, {"status": 500}, {"status": 401, "code": "invalid_api_key"}):
        work = in_the_midst(stage, name=str(details), check=False)
        work.user("and double it")
        stage.fail_next("error", on="message", **details)
        with pytest.raises(errors.StewrdError):
            work.step()
        before = len(stage.requests)
        work.check = True
        work.step()
        assert "tool-outputs" not in paths(stage)[before:]
        work.talk("go on")


@pytest.mark.parametrize("details", [{}, {"retry_after": 0}])
def test_a_server_that_is_down(stage: Stage, details: dict[str, Any]) -> None:
    work = in_the_midst(stage)
    stage.fail_next("error", on="tool_outputs", status=503, code="service_unavailable", **details)
    if not details:
        with pytest.raises(errors.ServerError):
            work.step()
    work.step()
    assert stage.runs[-1].session_id != "id-1"


@pytest.mark.parametrize("way", ["plain", "stream"])
def test_an_error_of_the_api_names_a_tool_as_its_user_does(stage: Stage, way: str) -> None:
    work = workshop(stage, tools=(tool("get-weather"),), way=way)
    message = f"The tool '{legal_name('get-weather')}' is wrong."
    for _ in ("on the session", "and beside it"):
        stage.fail_next("error", on="send", status=400, code="invalid_body", message=message)
    with pytest.raises(errors.BadRequestError, match="tool 'get-weather' is") as caught:
        work.ask("hello")
    assert legal_name("get-weather") not in f"{caught.value!r} {caught.value}"


# -- the store fails -------------------------------------------------------------------


@pytest.mark.parametrize("method", ["take", "put", "note", "occupy", "vacate"])
@pytest.mark.parametrize("at", ["calls", "outputs", "next"])
def test_a_store_that_fails_in_the_midst(
    anywhere: Stage, monkeypatch: pytest.MonkeyPatch, method: str, at: str
) -> None:
    work = workshop(anywhere)
    work.talk("hello")

    def failing(*_given: Any, **_named: Any) -> Any:
        raise OSError("away for a moment")

    for moment in ("calls", "outputs", "next"):
        if moment == "outputs":
            work.give()
        else:
            work.user("do add" if moment == "calls" else "thanks")
        with monkeypatch.context() as patch:
            if moment == at:
                patch.setattr(anywhere.store, method, failing)
            work.step()
    work.talk("go on")
    clean(anywhere)
