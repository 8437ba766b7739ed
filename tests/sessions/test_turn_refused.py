"""First messages that are refused on a session just opened: it is not thrown away (R5)."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations import errors
from stewrd_integrations.sessions import opening
from tests.sessions.tooling import opened, scripted, workshop
from tests.worlds import Stage

REFUSALS = [(429, "rate_limited"), (400, "invalid_body"), (401, "invalid_api_key")]
WHO: list[dict[str, Any]] = [{}, {"name": None}, {"who": {"sessions": "always"}}]


def refused(stage: Stage, status: int, code: str, **details: Any) -> None:
    """A first message that is refused."""
    stage.fail_next("error", on="message", status=status, code=code)
    with pytest.raises(errors.APIStatusError):
        workshop(stage, tools=(), **details).ask("hello")


@pytest.mark.parametrize(("status", "code"), REFUSALS)
@pytest.mark.parametrize("who", WHO)
def test_the_next_attempt_has_the_same_session(status: int, code: str, who: dict[str, Any]) -> None:
    stage = scripted()
    model = stage.model()
    for _ in range(5):
        refused(stage, status, code, model=model, **who)
    work = workshop(stage, tools=(), model=model, **who)
    work.talk("hello")
    work.talk("thanks")
    assert (opened(stage), stage.sent()[-1]) == (1, "thanks")
    assert work.last and work.last.decision.road == "session"


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_no_stranger_gets_it(status: int, code: str) -> None:
    stage = scripted()
    refused(stage, status, code, who={"tenant": "a"})
    work = workshop(stage, tools=(), name="ada", who={"tenant": "b"})
    work.talk("hello")
    assert work.last and work.last.session_id == "id-2"
    work = workshop(stage, tools=(), name="bob", who={"tenant": "a"})
    work.talk("hello")
    # What came too fast was not read; what was refused otherwise might have been.
    assert work.last
    assert (work.last.session_id == "id-1") == (status == 429)


def test_bad_requests_in_a_loop_take_a_few_slots_only() -> None:
    stage = scripted()
    for turn in range(12):
        stage.fail_next("error", on="send", status=400, code="invalid_body")
        with pytest.raises(errors.BadRequestError):
            workshop(stage, tools=(), name=f"n{turn}").ask("hello")
    assert opened(stage) == opening.UNHEARD_LIMIT
    # Whoever is answered gets a session all the same, with the second turn.
    work = workshop(stage, tools=(), name="good")
    work.talk("hello")
    assert work.last and work.last.decision.road == "stateless"
    assert work.talk("again").decision.road == "session"
    stage.clock.now += 1_801
    other = workshop(stage, tools=(), name="later")
    other.talk("hello")
    assert other.last and other.last.decision.road == "session"


def test_a_session_that_got_its_message_counts_no_more() -> None:
    stage = scripted()
    for turn in range(6):
        refused(stage, 400, "invalid_body", name=f"n{turn}")
        workshop(stage, tools=(), name=f"n{turn}").talk("hello")
    assert opened(stage) == 6


@pytest.mark.parametrize("name", ["ada", None])
def test_tools_refused_while_the_agent_fails(name: str | None) -> None:
    stage = scripted(session_tools="refused")
    model = stage.model()
    for _ in range(5):
        stage.fail_next("error", on="agent", status=502, code="compute_error")
        with pytest.raises(errors.ComputeError):
            workshop(stage, model=model, name=name).ask("do add")
    workshop(stage, model=model, name=name).talk("do add")
    assert opened(stage) == 1
