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


def test_tools_are_refused_and_not_pretended(sdk: stewrd.Stewrd) -> None:
    tool = ToolDefinition("add", "adds", {"type": "object"})
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.run_with_tools("a", tools=[tool], handler=lambda call: "")
    assert (caught.value.status, caught.value.code) == (400, "invalid_tools")
    with pytest.raises(stewrd.StewrdError) as caught:
        sdk.agent.submit_tool_outputs("x", [ToolOutput("c", "o")])
    assert (caught.value.status, caught.value.code) == (404, "context_expired")
