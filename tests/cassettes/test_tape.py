"""Playing and recording: what is refused, and what a recording loses on its way to the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from vcr.errors import (  # type: ignore[import-untyped]  # it has no types
    CannotOverwriteExistingCassetteException as NotThere,
)

from stewrd_integrations.emulator import Emulator

from .scrubbing import scrub
from .tape import ADDRESS, FOLDER, KEY, header, interactions, play, record, write

PAGE = FOLDER / "vendor_page" / "agent.yaml"
[TOLD] = interactions(PAGE)


def send(
    path: str = TOLD.path,
    content: str = TOLD.request,
    address: str = ADDRESS,
    key: str = KEY,
    **headers: str,
) -> httpx.Response:
    given = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **headers}
    return httpx.post(address + path, content=content, headers=given, trust_env=False)


def test_a_request_is_answered_once() -> None:
    with play(PAGE):
        assert send().json() == TOLD.answered
        with pytest.raises(NotThere):
            send()


def test_json_is_compared_and_not_its_spaces() -> None:
    with play(PAGE):
        assert send(content=json.dumps(TOLD.asked, indent=1)).status_code == 200


@pytest.mark.parametrize(
    "other",
    [
        {"content": TOLD.request.replace("How", "Now")},
        {"content": json.dumps({**TOLD.asked, "stream": True})},
        {"content": json.dumps({"message": TOLD.asked["message"]})},
        {"content": ""},
        {"path": "/v1/sessions"},
        {"Content-Type": "text/plain"},
    ],
    ids=str,
)
def test_another_request_is_refused(other: dict[str, str]) -> None:
    with play(PAGE):
        with pytest.raises(NotThere):
            send(**other)
        send()


async def test_another_request_is_refused_async() -> None:
    with play(PAGE):
        async with httpx.AsyncClient() as http:
            with pytest.raises(NotThere):
                await http.post(f"{ADDRESS}{TOLD.path}", json={"message": "other"})
            await http.post(f"{ADDRESS}{TOLD.path}", json=TOLD.asked)


def test_a_cassette_must_be_played_to_its_end() -> None:
    unplayed = r"agent was not played to its end.*POST /v1/agent"
    with pytest.raises(AssertionError, match=unplayed), play(PAGE):
        pass


def test_a_failure_inside_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), play(PAGE):
        raise ZeroDivisionError


def exchange(request: Any, response: str, uri: str = "https://api.stewrd.dev/v1/agent") -> Any:
    body = request if isinstance(request, str) else json.dumps(request)
    asked = {"method": "POST", "uri": uri, "headers": {}, "body": body}
    return {
        "request": asked,
        "response": {"status": {}, "headers": {}, "body": {"string": response}},
    }


def scrubbed(*told: Any) -> list[tuple[str, Any, str]]:
    clean = scrub(list(told))
    return [
        (each["request"]["uri"], each["request"]["body"], each["response"]["body"]["string"])
        for each in clean
    ]


def test_ids_are_numbered_wherever_they_stand() -> None:
    run, call = "0d6d1e0e-5f3f-4a53-8d07-0a0a7b1f2c11", "call_8f1d2c3b"
    asked = json.dumps({"id": run, "tool_calls": [{"id": call, "name": "f", "arguments": {}}]})
    path = f"https://api.stewrd.dev/v1/agent/{run}/tool-outputs"
    outputs = {"tool_outputs": [{"tool_call_id": call, "output": f"for {call}"}]}
    stream = f'event: done\ndata: {{"request_id": "{run}"}}\n\n'
    [_, (uri, body, told)] = scrubbed(exchange("", asked), exchange(outputs, stream, path))
    assert uri.split("/")[-2] == "00000000-0000-4000-8000-000000000001"
    assert json.loads(body)["tool_outputs"] == [{"tool_call_id": "id-2", "output": "for id-2"}]
    assert told == ('event: done\ndata: {"request_id": "00000000-0000-4000-8000-000000000001"}\n\n')


def test_accounts_times_keys_and_codes_are_replaced() -> None:
    secret = "sk-stw_" + "abc123"
    answers = [
        {"message": f"Your key is {secret}.", "usage": {"credits_remaining": 4321}},
        {"meta": {"duration_ms": 8200, "project_id": "p-1"}, "usage": {"credits_remaining": 4300}},
        {"files": [{"name": "a", "url": "https://s3.example/x?signature=1"}], "message": "ä"},
    ]
    told = scrubbed(*(exchange({"message": f"{secret} here"}, json.dumps(a)) for a in answers))
    bodies = [json.loads(body) for _, _, body in told]
    assert bodies[0] == {"message": "Your key is [key]", "usage": {"credits_remaining": 1000}}
    assert bodies[1]["meta"] == {"duration_ms": 0, "project_id": "project"}
    assert bodies[1]["usage"] == {"credits_remaining": 979}
    assert bodies[2]["files"] == [{"name": "a", "url": "https://files.example/1"}]
    assert json.loads(told[0][1]) == {"message": "[key] here"}


def test_what_is_no_json_stays_as_it_is() -> None:
    assert scrubbed(exchange("", "<html>\n\n</html>")) == [
        ("https://api.stewrd.dev/v1/agent", "", "<html>\n\n</html>")
    ]


def test_only_allowed_headers_are_written(tmp_path: Path) -> None:
    with Emulator() as server, record() as told:
        send(address=server.url, key=server.api_key, **{"X-Account": "me"})
    assert told[0]["response"]["headers"] == {"content-type": ["application/json"]}
    assert told[0]["request"]["headers"]["content-type"] == ["application/json"]
    assert {*told[0]["request"]["headers"]} == {"accept", "content-type"}
    path = tmp_path / "live" / "one.yaml"
    assert write(path, "live", "2026-01-01", "Recorded.", told)
    assert header(path)["source"] == "live"
    with play(path):
        send()
    assert server.api_key not in path.read_text("utf-8")
