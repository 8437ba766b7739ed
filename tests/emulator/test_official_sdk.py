"""The vendor's own client, which knows nothing of this emulator, must work with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stewrd
from stewrd.types import ErrorEvent, InputFile, TokenEvent, ToolDefinition, ToolOutput

from stewrd_integrations.emulator import Emulator


def official(emulator: Emulator) -> stewrd.Stewrd:
    return stewrd.Stewrd(emulator.api_key, base_url=emulator.url)


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[stewrd.Stewrd]:
    with official(emulator) as client:
        yield client


def test_run(sdk: stewrd.Stewrd, emulator: Emulator) -> None:
    got = sdk.agent.run("Write a file called x.csv", capabilities=["data"])
    assert (got.status, got.message) == ("completed", "I have created x.csv.")
    assert got.files[0].name == "x.csv"
    assert got.files[0].content == emulator.runs[0].conversation.messages[0].text.join(
        ['number,role,text\n1,user,"', '"\n']
    )
    assert (got.usage.credits_this_request, got.usage.credits_remaining) == (1, 999)
    assert got.meta.project_id == "emulator"


def test_files(sdk: stewrd.Stewrd) -> None:
    got = sdk.agent.run("Look", files=[InputFile("a.txt", "one")])
    assert got.message == "a.txt has 1 line; the first one is “one”."


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"token_key": "content", "done": "documented"},
        {"done": "nested", "keep_alive": True},
        {"final_blank_line": False},
        {"token_split": "characters", "chunk_bytes": 5},
        {"omit_status": True, "extra_fields": False, "done": "nested"},
        {"usage": "legacy"},
        {"usage": "none", "done": "documented"},
    ],
    ids=str,
)
def test_streams(settings: dict[str, Any]) -> None:
    with (
        Emulator(**settings) as emulator,
        stewrd.Stewrd(emulator.api_key, base_url=emulator.url) as sdk,
    ):
        events = list(sdk.agent.stream("Thanks", capabilities=["research"]))
        types = [event.type for event in events]
        assert (types[0], types[-2:]) == ("tool_start", ["tool_end", "done"])
        assert (
            "".join(event.content for event in events if isinstance(event, TokenEvent))
            == "You are welcome."
        )
        final = sdk.agent.stream("Thanks").final_response()
        assert (final.message, final.status) == ("You are welcome.", "completed")
        assert final.id == emulator.runs[-1].id
        assert sdk.agent.run("Thanks").message == "You are welcome."


def test_usage_of_a_documented_stream() -> None:
    with Emulator(done="documented") as emulator, official(emulator) as sdk:
        assert sdk.agent.stream("a").final_response().usage.credits_remaining == 999


def test_an_error_in_a_stream(sdk: stewrd.Stewrd, emulator: Emulator) -> None:
    emulator.fail_next("stream_error", on="agent", code="compute_error")
    last = list(sdk.agent.stream("a"))[-1]
    assert isinstance(last, ErrorEvent)
    assert last.code == "compute_error"
    emulator.fail_next("no_done", on="agent")
    with pytest.raises(RuntimeError, match="done"):
        sdk.agent.stream("a").final_response()


@pytest.mark.parametrize("shape", ["wrapped", "flat"])
@pytest.mark.parametrize(
    ("settings", "arguments", "status", "code"),
    [
        ({}, {"message": ""}, 400, "missing_message"),
        ({}, {"message": "a", "capabilities": ["fly"]}, 400, "invalid_capabilities"),
        ({"credits": 0}, {"message": "a"}, 402, "insufficient_credits"),
        (
            {"plan": "free"},
            {"message": "a", "capabilities": ["code"]},
            403,
            "plan_restricted",
        ),
        ({"rate_limit": 0}, {"message": "a"}, 429, "rate_limited"),
        ({"quota": 0}, {"message": "a"}, 429, "quota_exceeded"),
    ],
)
def test_errors(
    settings: dict[str, Any],
    arguments: dict[str, Any],
    status: int,
    code: str,
    shape: str,
) -> None:
    with Emulator(error_shape=shape, **settings) as emulator, official(emulator) as sdk:
        for call in (sdk.agent.run, sdk.agent.stream):
            with pytest.raises(stewrd.StewrdError) as caught:
                call(**arguments)
            assert (caught.value.status, caught.value.code) == (status, code)
            assert caught.value.docs


def test_a_wrong_key(emulator: Emulator) -> None:
    sdk = stewrd.Stewrd("sk-stw_wrong", base_url=emulator.url)
    with sdk, pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.run("a")
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("kind", "code"),
    [("error", "compute_error"), ("html", "unknown_error"), ("empty", "unknown_error")],
)
def test_ordered_errors(sdk: stewrd.Stewrd, emulator: Emulator, kind: Any, code: str) -> None:
    emulator.fail_next(kind, on="agent")
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.run("a")
    assert (caught.value.status, caught.value.code) == (502, code)


def add_tool(name: str = "add") -> ToolDefinition:
    integers = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    parameters = {"type": "object", "properties": integers, "required": ["a", "b"]}
    return ToolDefinition(name, "adds", parameters)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"compute_instance": "same"},
        {"compute_instance": "none"},
        {"extra_fields": False, "omit_status": True},
        {"calls_message": "empty", "usage": "legacy"},
        {"calls_message": "null", "usage": "none"},
    ],
    ids=str,
)
def test_the_tool_loop(settings: dict[str, Any]) -> None:
    handled: list[dict[str, Any]] = []

    def handle(call: dict[str, Any]) -> str:
        handled.append(call)
        return str(call["arguments"]["a"] + call["arguments"]["b"])

    with Emulator(**settings) as emulator, official(emulator) as sdk:
        text = "add(1, 2), add(3, 4), and then plus(5, 6)"
        got = sdk.agent.run_with_tools(text, tools=[add_tool(), add_tool("plus")], handler=handle)
        assert [call["name"] for call in handled] == ["add", "add", "plus"]
        assert (got.status, got.tool_calls) == ("completed", [])
        assert got.message == (
            "The tool add answered: 3\nThe tool add answered: 7\nThe tool plus answered: 11"
        )
        assert got.id == emulator.runs[0].id
        assert [run.round for run in emulator.runs] == [0, 1, 2]
        assert emulator.credits == 999
        assert emulator.refused == []


def test_a_step_of_the_tool_loop(sdk: stewrd.Stewrd, emulator: Emulator) -> None:
    got = sdk.agent.run("add(1, 2)", tools=[add_tool()])
    assert (got.status, got.message) == ("requires_tool_outputs", "")
    assert got._compute_instance
    [call] = got.tool_calls
    assert (call.name, call.arguments) == ("add", {"a": 1, "b": 2})
    assert emulator.waiting_runs == [got.id]
    wrong = [ToolOutput("other", "3")]
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.submit_tool_outputs(got.id, wrong, compute_instance=got._compute_instance)
    assert (caught.value.status, caught.value.code) == (400, "invalid_tool_outputs")
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.submit_tool_outputs(got.id, [ToolOutput(call.id, "3")])
    assert (caught.value.status, caught.value.code) == (404, "context_expired")
    emulator.advance(301)
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.submit_tool_outputs(
            got.id, [ToolOutput(call.id, "3")], compute_instance=got._compute_instance
        )
    assert (caught.value.status, caught.value.code) == (404, "context_expired")


def test_wrong_tools(sdk: stewrd.Stewrd) -> None:
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.run("a", tools=[ToolDefinition("a b", "", {"type": "object"})])
    assert (caught.value.status, caught.value.code) == (400, "invalid_tools")


def test_a_failure_in_the_tool_loop(sdk: stewrd.Stewrd, emulator: Emulator) -> None:
    emulator.fail_next("error", on="tool_outputs", status=503)
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.run_with_tools("add(1, 2)", tools=[add_tool()], handler=lambda call: "3")
    assert (caught.value.status, caught.value.code) == (503, "service_unavailable")
