from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from stewrd_integrations.emulator import Emulator, Settings
from stewrd_integrations.emulator.wire import Request, Response
from stewrd_integrations.emulator.world import World

KEY = "sk-stw_test"


class Lab:
    """A world without sockets, with a clock that stands still until it is told to go."""

    def __init__(self, agent: Any = None, **changes: Any) -> None:
        self.now = 1_000_000.0
        ids = itertools.count(1)
        self.world = World(
            Settings(**changes),
            api_key=KEY,
            clock=lambda: self.now,
            make_id=lambda: f"id-{next(ids)}",
            agent=agent,
        )

    def post(self, path: str, body: Any = None, *, key: str = KEY) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key}"}
        response = self.world.handle(Request("POST", path, headers, raw))
        self.world.finished(response)
        return response

    def create(self) -> str:
        response = self.post("/v1/sessions")
        assert response.status == 201, response
        return str(parsed(response)["id"])

    def say(self, session_id: str, message: str, **more: Any) -> Response:
        return self.post(f"/v1/sessions/{session_id}/messages", {"message": message, **more})

    def run(self, message: str, **more: Any) -> Response:
        return self.post("/v1/agent", {"message": message, **more})

    def submit(self, asked: Any, output: str = "3", **changes: Any) -> Response:
        """Give the run of an answer the same output for each of its calls."""
        if isinstance(asked, Response):
            asked = parsed(asked)
        body = {
            "tool_outputs": [
                {"tool_call_id": call["id"], "output": output} for call in asked["tool_calls"]
            ],
            "_compute_instance": asked.get("_compute_instance"),
        }
        return self.post(f"/v1/agent/{asked['id']}/tool-outputs", body | changes)


def tool(name: str = "add", **changes: Any) -> dict[str, Any]:
    """A tool as it is sent, of two integers."""
    integers = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    parameters = {"type": "object", "properties": integers, "required": ["a", "b"]}
    return {"name": name, "description": "adds", "parameters": parameters} | changes


ADD = [tool()]


def parsed(response: Response) -> Any:
    return json.loads(b"".join(response.chunks))


def code(response: Response) -> tuple[int, Any]:
    return response.status, parsed(response)["error"].get("code")


def sse(raw: bytes) -> list[tuple[str, Any]]:
    """A second, line-wise reading of an event stream."""
    events = []
    text = raw.decode().replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line[:1] not in ("", ":")
        )
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


@pytest.fixture
def lab() -> Callable[..., Lab]:
    return Lab


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx.Client]:
    with client(emulator) as connected:
        yield connected


def client(emulator: Emulator, timeout: float = 5.0) -> httpx.Client:
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    return httpx.Client(base_url=emulator.url, headers=headers, timeout=timeout, trust_env=False)
