"""`max_credits`: a model stops before the request that could pass what it may spend."""

from __future__ import annotations

import pytest

from stewrd_integrations import errors
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.types import Message, Tool
from tests.talks import Talk
from tests.worlds import KEY, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage.make(lambda context: "ok")


def spender(stage: Stage, limit: float, *capabilities: str) -> Talk:
    model = stage.model(max_credits=limit, capabilities=capabilities or None)
    return Talk(model, "ada")


def test_it_stops_before_the_request_that_could_pass_it(stage: Stage) -> None:
    talk = spender(stage, 5, "chat", "data")
    talk.say("one")
    talk.say("two")
    requests = len(stage.requests)
    with pytest.raises(errors.CreditLimitError, match="2 credits, and 4 of max_credits=5") as told:
        talk.say("three")
    assert (told.value.sent, told.value.charged) == (False, "no")
    assert len(stage.requests) == requests
    richer = Talk(stage.model(), "ada", messages=talk.messages)
    assert richer.say("three").decision.turn == "continued", "its session was kept"


def test_a_request_without_capabilities_may_cost_the_dearest(stage: Stage) -> None:
    with pytest.raises(errors.CreditLimitError, match="may cost 15"):
        spender(stage, 14).say("hello")
    assert [r for r in stage.requests if "messages" in r.path] == []


def test_a_session_opened_in_vain_is_used_by_the_next(stage: Stage) -> None:
    with pytest.raises(errors.CreditLimitError):
        spender(stage, 0, "chat").say("hello")
    Talk(stage.model(), "ada").say("hello")
    assert len(stage.world.sessions) == 1


def test_what_the_answer_says_counts_more_than_the_reckoning() -> None:
    stage = Stage.make(lambda context: "ok")
    talk = spender(stage, 16)
    spent = talk.say("one").reply.usage.credits
    assert spent is not None
    assert talk.model.budget.spent == spent < 15


def test_with_tools_only_chat_is_paid(stage: Stage) -> None:
    model = stage.model(max_credits=1)
    tools = [Tool("add", "adds", {"type": "object", "properties": {}})]
    model.answer(model.call([Message("user", "hi")], {"sessions": "never"}, tools=tools))
    assert model.budget.spent == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "details", "counted"),
    [
        ("error", {"status": 400, "code": "invalid_body"}, 0),
        ("error", {"status": 502, "code": "compute_error"}, 0),
        ("error", {"status": 500}, 1),
        ("hang_up", {"after": True}, 1),
    ],
)
async def test_what_was_not_charged_is_not_counted(
    stage: Stage, kind: str, details: dict[str, object], counted: int, stream: bool
) -> None:
    talk = spender(stage, 10, "chat")
    talk.say("hello")
    for say in (talk.asay, talk.astream) if stream else (talk.asay,):
        before = talk.model.budget.spent
        stage.fail_next(kind, on="message", **details)
        with pytest.raises(errors.StewrdError):
            await say("more")
        assert talk.model.budget.spent - before == counted
        await talk.asay("again")


@pytest.mark.parametrize("limit", [-1, "5", True, float("nan")])
def test_a_limit_that_is_none(limit: object) -> None:
    with pytest.raises(errors.ConfigurationError, match="max_credits"):
        Runtime(Options(api_key=KEY, max_credits=limit))  # type: ignore[arg-type]  # on purpose
