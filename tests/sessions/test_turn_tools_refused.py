"""Turns with tools, and outputs, that the API refuses without saying why (R11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stewrd_integrations import errors
from stewrd_integrations.emulator.wire import Request, Response
from stewrd_integrations.sessions import notes
from stewrd_integrations.types import Message, ToolCall
from tests.sessions.tooling import (
    Workshop,
    clean,
    in_the_midst,
    last,
    opened,
    paths,
    scripted,
    words_heard,
    words_of,
    workshop,
)
from tests.worlds import Stage


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


def on_session(path: str) -> bool:
    return "/sessions/" in path and path.endswith("/messages")


def outputs(path: str) -> bool:
    return path.endswith("/tool-outputs")


def refusing(
    stage: Stage, where: Callable[[str], bool], status: int, code: str = "invalid_body"
) -> None:
    """From now on such requests are refused, if they are of tools."""
    usual = stage.world.handle

    def handle(request: Request) -> Response:
        if where(request.path) and (outputs(request.path) or b'"tools"' in request.body):
            stage.fail_next("error", on="any", status=status, code=code)
        return usual(request)

    stage.world.handle = handle  # type: ignore[method-assign]  # a server of another kind


REFUSALS = [(400, "invalid_body"), (400, "missing_message"), (422, "unprocessable")]


# -- a session refuses the turn --------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), REFUSALS)
@pytest.mark.parametrize("name", ["ada", None])
def test_tools_go_beside_a_session_that_refuses_them(
    stage: Stage, status: int, code: str, name: str | None
) -> None:
    refusing(stage, on_session, status, code)
    work = workshop(stage, name=name)
    work.talk("do add, mul")
    assert paths(stage) == ["sessions", "messages", "agent", "tool-outputs"]
    # A doubt of minutes, and then one of a day.
    work.talk("do add")
    assert paths(stage).count("messages") == 1
    stage.clock.now += notes.DOUBTED + 1
    work.talk("do add")
    assert paths(stage).count("messages") == 2
    stage.clock.now += notes.DOUBTED + 1
    work.talk("do add")
    assert paths(stage).count("messages") == 2
    work.tools = ()
    work.talk("thanks")
    assert opened(stage) == (1 if status == 400 else 3)
    clean(stage)


def test_what_is_wrong_everywhere_teaches_nothing(stage: Stage) -> None:
    refusing(stage, lambda path: on_session(path) or path.endswith("/agent"), 400)
    work = workshop(stage)
    for _ in range(3):
        with pytest.raises(errors.BadRequestError):
            work.ask("do add")
        work.messages = []
        assert paths(stage)[-2:] == ["messages", "agent"]
    assert opened(stage) == 1
    assert stage.world.settings.credits == stage.world.credits


def test_a_session_that_was_seen_to_take_them_is_believed(stage: Stage) -> None:
    work = workshop(stage)
    work.talk("do add")
    refusing(stage, on_session, 400)
    with pytest.raises(errors.BadRequestError):
        work.ask("do mul")
    assert "agent" not in paths(stage)


# -- the run refuses its outputs -------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 410])
@pytest.mark.parametrize("name", ["ada", None])
def test_first_outputs_that_nobody_takes_are_replayed_at_once(
    stage: Stage, status: int, name: str | None
) -> None:
    refusing(stage, lambda path: outputs(path) and stage.runs[-1].road == "session", status)
    work = workshop(stage, name=name)
    work.talk("do add, mul; sub")
    assert paths(stage) == ["sessions", "messages", "tool-outputs", "agent", "tool-outputs"]
    for _ in range(3):
        work.talk("do add")
    assert opened(stage) == 1
    assert paths(stage)[-2:] == ["agent", "tool-outputs"]
    work.tools = ()
    work.talk("thanks")
    assert last(work)[0] == "session"


def test_a_waiting_run_shows_nothing(stage: Stage) -> None:
    """That a session asks for outputs does not say that it takes them."""
    in_the_midst(stage)
    other = workshop(stage, name="bob")
    stage.world.settings = replace(stage.world.settings, session_tools="empty")
    other.talk("do add")
    assert last(other)[0] == "stateless"


def known(stage: Stage) -> Workshop:
    """A conversation with outputs for a run, where a session has taken some before."""
    work = workshop(stage)
    work.talk("do add")
    work.ask("do add, mul")
    work.give()
    return work


@pytest.mark.parametrize("session_tools", ["accepted", "refused"])
def test_outputs_that_were_refused_are_not_given_again(session_tools: str) -> None:
    stage = scripted(session_tools=session_tools)
    work = known(stage)
    stage.fail_next("error", on="tool_outputs", status=400, code="invalid_tool_outputs")
    before = paths(stage).count("tool-outputs")
    with pytest.raises(errors.BadRequestError):
        work.step()
    work.step()
    assert paths(stage).count("tool-outputs") == before + 1
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])
    work.finish()
    work.talk("thanks")


@pytest.mark.parametrize("session_tools", ["accepted", "refused"])
def test_other_outputs_are_given(session_tools: str) -> None:
    stage = scripted(session_tools=session_tools)
    work = known(stage)
    stage.fail_next("error", on="tool_outputs", status=400, code="tool_output_too_large")
    with pytest.raises(errors.BadRequestError):
        work.step()
    work.messages[-1] = replace(work.messages[-1], text="shorter")
    work.step()
    assert paths(stage)[-1] == "tool-outputs"


# -- what a run needs ------------------------------------------------------------------


def changing(stage: Stage, change: Callable[[dict[str, Any]], None]) -> None:
    """Every answer of an agent is changed on its way."""
    usual = stage.world.handle

    def handle(request: Request) -> Response:
        response = usual(request)
        if response.status != 200:
            return response
        body = json.loads(b"".join(response.chunks))
        change(body)
        return replace(response, chunks=(json.dumps(body).encode(),))

    stage.world.handle = handle  # type: ignore[method-assign]  # a server of another kind


def test_a_run_whose_id_no_path_can_carry_is_replayed(stage: Stage) -> None:
    changing(stage, lambda body: body.update(id="req:" + body["id"]))
    work = workshop(stage)
    work.talk("do add, mul")
    assert "tool-outputs" not in paths(stage)
    work.talk("thanks")


def test_a_later_round_that_does_not_name_the_instance_keeps_it() -> None:
    stage = scripted(session_tools="accepted", compute_instance="same")
    told: list[str] = []

    def change(body: dict[str, Any]) -> None:
        instance = body.pop("_compute_instance", None)
        if instance and not told:
            told.append(instance)
            body["_compute_instance"] = instance

    changing(stage, change)
    workshop(stage).talk("do add; mul; sub")
    given = [one.body["_compute_instance"] for one in stage.requests if outputs(one.path)]
    assert given == [told[0]] * 3


@pytest.mark.parametrize("ids", ["", "same"])
@pytest.mark.parametrize("session_tools", ["accepted", "refused"])
def test_calls_that_can_not_be_told_apart_get_ids_of_ours(session_tools: str, ids: str) -> None:
    def change(body: dict[str, Any]) -> None:
        for call in body.get("tool_calls") or ():
            call["id"] = ids

    stage = scripted(session_tools=session_tools)
    changing(stage, change)
    work = workshop(stage, check=False)
    work.ask("do add, mul")
    assert len({call.id for call in work.calls}) == 2
    assert all(call.id for call in work.calls)
    work.finish()
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])
    assert "tool-outputs" not in paths(stage)
    work.talk("thanks")


def test_tool_outputs_that_no_run_waits_for_have_no_limit_of_the_api(stage: Stage) -> None:
    work = workshop(stage, replay_budget=1_000_000, check=False)
    calls = (ToolCall("", "add", {}),)
    work.messages = [Message("user", "go"), Message("assistant", "", tool_calls=calls)]
    work.messages.append(Message("tool", "x" * 103_000, tool_call_id=""))
    work.ask("and?")
    assert "x" * 103_000 in stage.sent()[-1]
