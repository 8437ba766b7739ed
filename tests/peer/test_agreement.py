"""The peer and the emulator, two readings of one contract, must answer alike what it documents.

Both are asked over HTTP alone, once with plain requests and once by the vendor's own SDK.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import stewrd

from stewrd_integrations.emulator import Answer, Call, Context, Emulator

from .stand_in import StandIn

Servers = tuple[Any, Any]
MAKERS: tuple[Callable[..., Any], ...] = (Emulator, StandIn)
ADD: dict[str, Any] = {
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
PLAIN = {"extra_fields": False, "session_tools": "accepted"}


def agent(context: Context) -> str | Answer:
    """Calls what a message names, works with what it may, and tells how much it has heard."""
    if context.tools and not context.results and "call" in context.message:
        calls = [Call("add", {"a": 1}) for _ in range(context.message.count("call"))]
        return Answer(calls=calls)
    texts = [said.text for said in context.conversation.messages if said.role == "user"]
    return f"{len(texts)} heard — the last: {texts[-1]}"


@dataclass
class Asked:
    """One server, and what it answered."""

    server: Any
    client: httpx.Client
    answers: list[Any] = field(default_factory=list)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """Ask, and note the status, the kind and the shape of the answer."""
        given: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = self.client.post(path, **({} if body is None else given), **more)
        kind = answer.headers["content-type"].partition(";")[0]
        told = _events(answer.text) if kind == "text/event-stream" else answer.json()
        self.answers.append((path.rpartition("/")[2], answer.status_code, kind, _shape(told)))
        return told

    def session(self) -> str:
        """The path of a new session's messages."""
        return f"/v1/sessions/{self.post('/v1/sessions')['id']}/messages"


def _shape(value: Any) -> Any:
    """What a value is made of; the codes of errors and the words of enumerations stay."""
    kept = {"code", "object", "status", "capabilities_used", "plan", "tool", "name"}
    kept |= {"credits_this_request", "credits_remaining", "event", "arguments", "tool_calls"}
    if isinstance(value, dict):
        shown = {name: inner for name, inner in value.items() if name != "docs"}
        return {
            name: inner if name in kept and not _is_deep(inner) else _shape(inner)
            for name, inner in sorted(shown.items())
        }
    if isinstance(value, list):
        return [_shape(each) for each in value]
    return type(value).__name__


def _is_deep(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _events(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append({"event": lines["event"], "data": json.loads(lines["data"])})
    # How a text is cut into tokens is nobody's matter, nor when a capability is at work.
    tokens = [event for event in found if event["event"] == "token"]
    others = [event for event in found if event["event"] != "token"]
    return [*tokens[:1], *others]


@pytest.fixture
def both() -> Iterator[Callable[..., list[Asked]]]:
    """The emulator and the peer with the same settings."""
    with ExitStack() as stack:

        def start(**settings: Any) -> list[Asked]:
            asked = []
            for make in MAKERS:
                server = stack.enter_context(make(agent=agent, **{**PLAIN, **settings}))
                headers = {"Authorization": f"Bearer {server.api_key}"}
                client = httpx.Client(base_url=server.url, headers=headers, verify=False)  # noqa: S501  # no TLS here
                asked.append(Asked(server, stack.enter_context(client)))
            return asked

        yield start


def agree(asked: list[Asked], script: Callable[[Asked], object]) -> list[Any]:
    """Play a script on both, and compare."""
    for one in asked:
        script(one)
    emulator, peer = asked
    assert emulator.answers == peer.answers
    assert emulator.server.credits == peer.server.credits
    assert emulator.server.active_sessions == peer.server.active_sessions
    return peer.answers


Both = Callable[..., list[Asked]]
TOO_MANY = [{**ADD, "name": f"add_{number}"} for number in range(21)]
BODIES: dict[str, Any] = {
    "plain": {"message": "hi"},
    "all fields": {
        "message": "hi",
        "capabilities": ["chat", "documents", "research"],
        "files": [{"name": "a.txt", "content": "x"}],
        "stream": False,
    },
    "unknown fields": {"message": "hi", "temperature": 1},
    "tools": {"message": "hi", "tools": [ADD]},
    "tools with a call": {"message": "call", "tools": [ADD]},
    "twenty tools": {"message": "hi", "tools": TOO_MANY[:20]},
    "no JSON": b"{",
    "nothing": b"",
    "a list": [],
    "no message": {},
    "an empty message": {"message": ""},
    "no such capability": {"message": "hi", "capabilities": ["chat", "flying"]},
    "capabilities as a text": {"message": "hi", "capabilities": "chat"},
    "files as a text": {"message": "hi", "files": "a.txt"},
    "a file without a name": {"message": "hi", "files": [{"content": "x"}]},
    "a file without a content": {"message": "hi", "files": [{"name": "a.txt"}]},
    "a file of bytes": {"message": "hi", "files": [{"name": "a.txt", "content": [1]}]},
    "stream as a text": {"message": "hi", "stream": "yes"},
    "tools as an object": {"message": "hi", "tools": ADD},
    "21 tools": {"message": "hi", "tools": TOO_MANY},
    "a name with a blank": {"message": "hi", "tools": [{**ADD, "name": "a b"}]},
    "a name with a dash": {"message": "hi", "tools": [{**ADD, "name": "a-b"}]},
    "a long name": {"message": "hi", "tools": [{**ADD, "name": "a" * 65}]},
    "the longest name": {"message": "hi", "tools": [{**ADD, "name": "a" * 64}]},
    "a name with a line end": {"message": "hi", "tools": [{**ADD, "name": "add\n"}]},
    "no name": {"message": "hi", "tools": [{**ADD, "name": ""}]},
    "a long description": {"message": "hi", "tools": [{**ADD, "description": "x" * 1_025}]},
    "the longest description": {"message": "hi", "tools": [{**ADD, "description": "é" * 1_024}]},
    "a description of no text": {"message": "hi", "tools": [{**ADD, "description": 3}]},
    "parameters of a list": {"message": "hi", "tools": [{**ADD, "parameters": {"type": "array"}}]},
    "parameters without a type": {"message": "hi", "tools": [{**ADD, "parameters": {}}]},
    "tools in a stream": {"message": "hi", "tools": [ADD], "stream": True},
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(both: Both, name: str) -> None:
    def script(asked: Asked) -> None:
        asked.post("/v1/agent", BODIES[name])
        asked.post(asked.session(), BODIES[name])

    agree(both(), script)


def test_a_message_of_no_text(both: Both) -> None:
    """Two of the codes fit; the SDK's own users can't send it."""
    for asked in both():
        told = asked.post("/v1/agent", {"message": 3})
        assert asked.answers[-1][1] == 400
        assert told["error"]["code"] in {"invalid_body", "missing_message"}


KEYS = ["", "Bearer", "Bearer sk-stw_other", "Basic {key}", "{key}", "Bearer {key}x"]


@pytest.mark.parametrize("sent", KEYS)
def test_keys(both: Both, sent: str) -> None:
    def script(asked: Asked) -> None:
        headers = {"Authorization": sent.format(key=asked.server.api_key)}
        for path in ("/v1/sessions", "/v1/agent", "/v1/agent/x/tool-outputs"):
            asked.post(path, {"message": "hi"}, headers=headers)

    answers = agree(both(), script)
    assert {answer[1] for answer in answers} == {401}


def test_a_conversation(both: Both) -> None:
    def script(asked: Asked) -> None:
        one, other = asked.session(), asked.session()
        texts = [asked.post(one, {"message": f"text {turn}"})["message"] for turn in range(3)]
        texts.append(asked.post(other, {"message": "hello"})["message"])
        texts.append(asked.post("/v1/agent", {"message": "hello"})["message"])
        asked.answers.append(texts)

    answers = agree(both(), script)
    assert answers[-1][2] == "3 heard — the last: text 2"


def test_sessions_expire_and_are_limited(both: Both) -> None:
    def script(asked: Asked) -> None:
        path = asked.session()
        for seconds in (1_790, 1_790, 1_801):
            asked.server.advance(seconds)
            asked.post(path, {"message": "still there?"})
        for _ in range(11):
            asked.post("/v1/sessions")
        asked.server.advance(1_801)
        asked.post("/v1/sessions")

    answers = agree(both(expired_code="gone", limit_code="full"), script)
    assert [answer[1] for answer in answers] == [201, 200, 200, 410, *[201] * 10, 429, 201]


@pytest.mark.parametrize(
    "capabilities",
    [["chat"], ["data"], ["files"], ["research"], ["code"], ["documents"], ["chat", "documents"]],
)
@pytest.mark.parametrize("plan", ["free", "scale"])
def test_prices_and_plans(both: Both, plan: str, capabilities: list[str]) -> None:
    def script(asked: Asked) -> None:
        asked.post("/v1/sessions")
        for stream in (False, True):
            body = {"message": "hi", "capabilities": capabilities, "stream": stream}
            asked.post("/v1/agent", body)

    agree(both(plan=plan, credits=12), script)


def test_what_is_not_enabled(both: Both) -> None:
    def script(asked: Asked) -> None:
        asked.post("/v1/agent", {"message": "hi", "capabilities": ["code"]})
        asked.post(asked.session(), {"message": "hi", "capabilities": ["chat", "code"]})

    answers = agree(both(capabilities=("chat", "research")), script)
    assert [answer[1] for answer in answers] == [403, 201, 403]


def test_the_last_credit(both: Both) -> None:
    def script(asked: Asked) -> None:
        path = asked.session()
        for target in ("/v1/agent", path, "/v1/agent", path):
            asked.post(target, {"message": "hi", "capabilities": ["chat"]})

    answers = agree(both(credits=2), script)
    assert [answer[1] for answer in answers] == [201, 200, 200, 402, 402]


def test_sixty_a_minute_and_the_quota(both: Both) -> None:
    def script(asked: Asked) -> None:
        for _ in range(61):
            asked.post("/v1/agent", {"message": "hi", "capabilities": ["chat"]})
        asked.server.advance(61)
        for _ in range(2):
            asked.post("/v1/agent", {"message": "hi", "capabilities": ["chat"]})

    answers = agree(both(rate_limit=60, quota=61), script)
    assert [answer[1] for answer in answers] == [*[200] * 60, 429, 200, 429]


STREAMS = [
    {"token_key": token, "done": done, "newline": newline}
    for token in ("text", "content")
    for done in ("live", "documented", "nested")
    for newline in ("\n", "\r\n")
]


@pytest.mark.parametrize("settings", STREAMS, ids=lambda one: " ".join(one.values()).strip())
def test_streams(both: Both, settings: dict[str, Any]) -> None:
    def script(asked: Asked) -> None:
        path = asked.session()
        for target in ("/v1/agent", path):
            for capabilities in (["chat"], ["chat", "research"]):
                body = {"message": "hi", "capabilities": capabilities, "stream": True}
                asked.post(target, body)
        asked.server.fail_next("stream_error", on="send", code="compute_error", chunks=1)
        asked.post("/v1/agent", {"message": "hi", "stream": True, "capabilities": ["chat"]})

    agree(both(**settings), script)


@pytest.mark.parametrize("settings", [{"usage": "legacy"}, {"omit_status": True}])
def test_older_answers(both: Both, settings: dict[str, Any]) -> None:
    def script(asked: Asked) -> None:
        asked.post("/v1/agent", {"message": "hi"})
        asked.post(asked.session(), {"message": "hi"})

    agree(both(**settings), script)


def _outputs(answer: dict[str, Any], *outputs: Any, **more: Any) -> dict[str, Any]:
    calls = [call["id"] for call in answer["tool_calls"]]
    rows = [
        {"tool_call_id": call, "output": output}
        for call, output in zip(calls, outputs, strict=False)
    ]
    return {"tool_outputs": rows, "_compute_instance": answer["_compute_instance"], **more}


SENDING: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "both": lambda answer: _outputs(answer, "1", "2"),
    "one of two": lambda answer: _outputs(answer, "1"),
    "none": _outputs,
    "no list": lambda answer: _outputs(answer, tool_outputs="1"),
    "nothing": lambda answer: {},
    "of another call": lambda answer: _outputs(
        answer, tool_outputs=[{"tool_call_id": "other", "output": "1"}] * 2
    ),
    "no text": lambda answer: _outputs(answer, 1, 2),
    "100,000 bytes": lambda answer: _outputs(answer, "é" * 50_000, "2"),
    "too large": lambda answer: _outputs(answer, "é" * 52_000, "2"),
}


@pytest.mark.parametrize("where", ["agent", "session"])
@pytest.mark.parametrize("name", SENDING)
def test_outputs(both: Both, name: str, where: str) -> None:
    def script(asked: Asked) -> None:
        path = asked.session() if where == "session" else "/v1/agent"
        answer = asked.post(path, {"message": "call and call", "tools": [ADD]})
        asked.post(f"/v1/agent/{answer['id']}/tool-outputs", SENDING[name](answer))

    agree(both(), script)


def test_late_and_unknown_runs(both: Both) -> None:
    def script(asked: Asked) -> None:
        answer = asked.post("/v1/agent", {"message": "call", "tools": [ADD]})
        asked.post("/v1/agent/unknown/tool-outputs", _outputs(answer, "1"))
        asked.server.advance(301)
        asked.post(f"/v1/agent/{answer['id']}/tool-outputs", _outputs(answer, "1"))
        answer = asked.post("/v1/agent", {"message": "call", "tools": [ADD]})
        asked.server.advance(290)
        for _ in range(2):
            asked.post(f"/v1/agent/{answer['id']}/tool-outputs", _outputs(answer, "1"))

    answers = agree(both(), script)
    assert [answer[1] for answer in answers] == [200, 404, 404, 200, 200, 404]


@pytest.mark.parametrize("code", ["compute_error", "compute_unavailable", "service_unavailable"])
def test_failures(both: Both, code: str) -> None:
    def script(asked: Asked) -> None:
        asked.server.fail_next("error", on="send", code=code)
        asked.post("/v1/agent", {"message": "hi"})
        asked.post("/v1/agent", {"message": "hi"})

    agree(both(), script)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("done", ["live", "documented", "nested"])
def test_the_sdk_of_the_vendor(make: Callable[..., Any], done: str) -> None:
    with (
        make(agent=agent, done=done) as server,
        stewrd.Stewrd(server.api_key, base_url=server.url) as client,
    ):
        answer = client.agent.run("Hello", capabilities=["chat", "research"])
        assert answer.message == "1 heard — the last: Hello"
        assert (answer.status, answer.usage.credits_this_request) == ("completed", 4)
        events: list[Any] = list(client.agent.stream("Hello", capabilities=["research"]))
        assert "".join(event.content for event in events if event.type == "token") == answer.message
        assert {event.type for event in events} == {"tool_start", "token", "tool_end", "done"}
        assert events[-1].response.message == answer.message
        tool = stewrd.ToolDefinition("add", "Add.", {"type": "object"})
        ran = client.agent.run_with_tools("call", tools=[tool], handler=lambda call: "1")
        assert ran.message == "1 heard — the last: call"
        with pytest.raises(stewrd.StewrdError) as raised:
            client.agent.run("Hello", capabilities=["flying"])
        assert (raised.value.status, raised.value.code) == (400, "invalid_capabilities")
