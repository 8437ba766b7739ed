"""Failures are shown to the agent, once, and told from answers."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.tools import ToolOutput
from llama_index.core.tools.calling import acall_tool, call_tool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError, StewrdError
from stewrd_integrations.llama_index.tools import StewrdToolSpec

from .asking import NOWHERE, Ask, Make, ask, both, only

FAILURES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "no credits": (
        {"kind": "error", "status": 402, "code": "insufficient_credits"},
        ("insufficient_credits", "no", "no"),
    ),
    "not enabled": (
        {"kind": "error", "status": 403, "code": "capability_not_enabled"},
        ("capability_not_enabled", "no", "no"),
    ),
    "too fast": (
        {"kind": "error", "status": 429, "code": "rate_limited"},
        ("rate_limited", "no", "yes"),
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
    "no answer": ({"kind": "hang_up", "after": True}, ("", "maybe", "no")),
    "silence": ({"kind": "slow"}, ("", "maybe", "no")),
    "garbage": ({"kind": "garbage"}, ("", "likely", "no")),
}


@both
@pytest.mark.parametrize("kind", FAILURES)
async def test_failures_are_outputs(stewrd: Emulator, spec: Make, ask: Ask, kind: str) -> None:
    fault, (code, charged, again) = FAILURES[kind]
    stewrd.fail_next(**{"on": "agent", **fault})
    output: ToolOutput = await ask(only(spec(timeout=1 if kind == "silence" else 60)), "Hello")
    assert output.is_error and output.raw_output == output.content
    assert (output.tool_name, output.raw_input) == (
        "stewrd_research",
        {"args": ("Hello",), "kwargs": {}},
    )
    assert isinstance(output.exception, StewrdError) and output.exception.charged == charged
    text = output.content
    assert text.startswith("stewrd_research failed: ")
    coded = f"(code: {code}; " if code else "("
    assert f"{coded}charged: {charged}; retryable: {again})" in text
    assert ("You may call it once more." in text) == (again == "yes")
    assert ("Don't repeat the call" in text) == (again == "no")
    assert ("may have been done" in text) == (charged != "no")
    assert len(stewrd.requests) == 1


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_failures_as_agents_call(stewrd: Emulator, spec: Make, colour: str) -> None:
    """LlamaIndex's own callers of tools add nothing and repeat nothing."""
    stewrd.fail_next("hang_up", on="agent", after=True)
    tool, arguments = only(spec()), {"message": "Hello"}
    if colour == "sync":
        output = call_tool(tool, arguments)
    else:
        output = await acall_tool(tool, arguments)
    assert output.is_error and output.content.startswith("stewrd_research failed: ")
    assert len(stewrd.requests) == 1 and len(stewrd.runs) == 1


class Thrice:
    """A policy of somebody's: whatever raises is done three times."""

    def next(
        self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None
    ) -> float | None:
        return 0.0 if attempts < 3 else None


async def test_steps_that_are_repeated_do_not_repeat_a_failed_call(
    stewrd: Emulator, spec: Make
) -> None:
    stewrd.fail_next("hang_up", on="agent", after=True, times=3)
    tool = only(spec())

    class Flow(Workflow):
        @step(retry_policy=Thrice())
        async def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await tool.acall(message="Hello"))

    output: Any = await Flow().run()
    assert output.is_error and len(stewrd.requests) == 1


@both
async def test_a_server_that_is_not_there(ask: Ask) -> None:
    spec = StewrdToolSpec(["research"], max_retries=0, **NOWHERE)
    output = await ask(only(spec), message="Hello")
    assert output.is_error and "charged: no; retryable: yes" in output.content
    await spec.aclose()


@both
async def test_a_limit_on_credits_is_one_for_all_tools(
    stewrd: Emulator, spec: Make, ask: Ask
) -> None:
    tools = spec("research", "documents", "chat", max_credits=8).to_tool_list()
    outputs = [await ask(tool, message="Hello") for tool in tools]
    assert [output.is_error for output in outputs] == [False, False, True]
    assert "max_credits=8" in outputs[-1].content and "charged: no" in outputs[-1].content
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("documents",)]
    assert len(stewrd.requests) == 2


WRONG: list[Any] = [
    ((), {}, "message: Field required."),
    ((), {"message": ""}, "message: String should have at least 1 character."),
    ((), {"message": 5}, "message: Input should be a valid string."),
    ((), {"message": "Hi", "capabilities": ["code"]}, "capabilities: Extra inputs"),
    ((), {"message": "Hi", "files": [{"name": "a"}]}, "files.0.content: Field required."),
    ((), {"message": "Hi", "files": [{"name": "", "content": ""}]}, "files.0.name: "),
    ((), {"message": "Hi", "files": "a.csv"}, "files: Input should be a valid list."),
    (("Hi",), {"message": "Hi"}, "Pass a message, and files if need be."),
    (("Hi", [], ["code"]), {}, "Pass a message, and files if need be."),
]


@both
@pytest.mark.parametrize(("args", "arguments", "told"), WRONG)
async def test_wrong_arguments_are_told(
    stewrd: Emulator, spec: Make, ask: Ask, args: Any, arguments: Any, told: str
) -> None:
    output = await ask(only(spec()), *args, **arguments)
    assert output.is_error and isinstance(output.exception, InvalidInputError)
    assert output.content.startswith("The arguments are wrong, and nothing was sent. ")
    assert told in output.content and "Don't repeat" not in output.content
    assert output.raw_input == {"args": args, "kwargs": arguments}
    assert stewrd.requests == []


@both
async def test_a_message_without_words(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    output = await ask(only(spec()), message=" \n")
    assert output.is_error and "has no text" in output.content and stewrd.requests == []


async def test_arguments_of_the_wrong_number_for_callers_that_unpack(
    stewrd: Emulator, spec: Make
) -> None:
    for output in (call_tool(only(spec()), {"x": 1}), await acall_tool(only(spec()), {"x": 1})):
        assert output.is_error and "x: Extra inputs" in output.content
    assert (await ask(only(spec()), "Hello")).is_error is False and len(stewrd.requests) == 1
