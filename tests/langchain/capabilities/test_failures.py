"""Failures are shown to the agent, once, and told from answers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import ToolException

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import StewrdTool, StewrdToolkit

from .asking import NOWHERE, Ask, Events, Make, aask, both

FAILURES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "no credits": (
        {"kind": "error", "status": 402, "code": "insufficient_credits"},
        ("insufficient_credits", "no", "no"),
    ),
    "not enabled": (
        {"kind": "error", "status": 403, "code": "capability_not_enabled"},
        ("capability_not_enabled", "no", "no"),
    ),
    "the plan": (
        {"kind": "error", "status": 403, "code": "plan_restricted"},
        ("plan_restricted", "no", "no"),
    ),
    "too fast": (
        {"kind": "error", "status": 429, "code": "rate_limited"},
        ("rate_limited", "no", "yes"),
    ),
    "the quota": (
        {"kind": "error", "status": 429, "code": "quota_exceeded"},
        ("quota_exceeded", "no", "no"),
    ),
    "the key": (
        {"kind": "error", "status": 401, "code": "invalid_api_key"},
        ("invalid_api_key", "no", "no"),
    ),
    "a failed run": (
        {"kind": "error", "status": 502, "code": "compute_error"},
        ("compute_error", "no", "yes"),
    ),
    "a proxy": ({"kind": "html", "status": 502}, ("", "maybe", "no")),
    "away": (
        {"kind": "error", "status": 503, "code": "service_unavailable", "retry_after": 1},
        ("service_unavailable", "maybe", "no"),
    ),
    "no answer": ({"kind": "hang_up", "after": True}, ("", "maybe", "no")),
    "silence": ({"kind": "slow"}, ("", "maybe", "no")),
    "garbage": ({"kind": "garbage"}, ("", "likely", "no")),
}


@both
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("listened", [False, True])
async def test_failures_are_shown_to_the_agent(
    stewrd: Emulator, tool: Make, ask: Ask, kind: str, listened: bool
) -> None:
    fault, (code, charged, again) = FAILURES[kind]
    stewrd.fail_next(**{"on": "agent", **fault})
    config = {"callbacks": [Events()]} if listened else None
    answer = await ask(tool(timeout=1 if kind == "silence" else 60), "Hello", config)
    text = str(answer.content)
    assert answer.status == "error" and answer.artifact is None
    assert text.startswith("stewrd_research failed: ")
    coded = f"(code: {code}; " if code else "("
    assert f"{coded}charged: {charged}; retryable: {again})" in text
    assert ("You may call it once more." in text) == (again == "yes")
    assert ("Don't repeat the call" in text) == (again == "no")
    assert ("may have been done" in text) == (charged != "no")
    assert "send the turn again" not in text or charged == "no"
    assert len(stewrd.requests) == 1


@both
async def test_a_server_that_is_not_there(ask: Ask) -> None:
    tool = StewrdTool(["research"], max_retries=0, **NOWHERE)
    answer = await ask(tool, "Hello")
    assert answer.status == "error" and "charged: no; retryable: yes" in str(answer.content)
    await tool.aclose()


async def test_a_stream_that_breaks_off(stewrd: Emulator, tool: Make) -> None:
    stewrd.fail_next("cut", on="agent", chunks=2)
    answer = await aask(tool(), "Hello", {"callbacks": [Events()]})
    assert answer.status == "error" and "charged: likely; retryable: no" in str(answer.content)


@both
async def test_a_limit_on_credits(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    research = tool("research", "documents", max_credits=20)
    answers = [await ask(research, "Hello") for _ in range(3)]
    assert [answer.status for answer in answers] == ["success", "success", "error"]
    assert "max_credits=20" in str(answers[-1].content) and len(stewrd.requests) == 2


@both
async def test_the_tools_of_a_kit_share_their_limit(stewrd: Emulator, ask: Ask) -> None:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "max_credits": 8}
    toolkit = StewrdToolkit(["research", "documents", "chat"], **here)
    answers = [await ask(tool, "Hello") for tool in toolkit.get_tools()]
    assert [answer.status for answer in answers] == ["success", "success", "error"]
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("documents",)]
    await toolkit.aclose()


@both
async def test_failures_can_be_raised(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    stewrd.fail_next("error", on="agent", status=402)
    with pytest.raises(ToolException, match="stewrd_research failed") as caught:
        await ask(tool(handle_tool_error=False), "Hello")
    error: Any = caught.value
    assert (error.error.status, error.error.charged) == (402, "no")
    assert error.__cause__ is error.error


@both
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"message": ""}, "message: String should have at least 1 character."),
        ({"message": 5}, "message: Input should be a valid string."),
        ({"message": "Hi", "capabilities": ["code"]}, "capabilities: Extra inputs"),
        ({"message": "Hi", "files": [{"name": "a"}]}, "files.0.content: Field required."),
        ({"message": "Hi", "files": [{"name": "", "content": ""}]}, "files.0.name: "),
        ({"message": "Hi", "files": "a.csv"}, "files: Input should be a valid list."),
        ({"message": " \n"}, "has no text"),
    ],
)
async def test_wrong_arguments_are_told(
    stewrd: Emulator, tool: Make, ask: Ask, arguments: Any, told: str
) -> None:
    answer = await ask(tool(), **arguments)
    assert answer.status == "error" and told in str(answer.content)
    assert stewrd.requests == []
