from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from stewrd_integrations.api.requests import (
    Kind,
    agent_request,
    post_message,
    post_session,
    post_tool_outputs,
)
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.types import AgentRequest, File, Tool, ToolOutput

SCHEMA = {"type": "object", "properties": {}}


def body(request: Any) -> Any:
    return json.loads(request.body)


def test_the_least_of_a_run() -> None:
    request = post_message(AgentRequest("hi"))
    assert (request.kind, request.path) == (Kind.RUN, "/v1/agent")
    assert request.body == b'{"message":"hi"}'
    assert "hi" not in repr(request)


def test_all_of_a_message() -> None:
    tool = Tool("add_1", "Adds.", MappingProxyType(SCHEMA))
    request = agent_request("hi", ["chat", "data"], [File("a.txt", "x")], [tool])
    sent = post_message(request, session_id="s_-1")
    assert (sent.kind, sent.path) == (Kind.MESSAGE, "/v1/sessions/s_-1/messages")
    assert body(sent) == {
        "message": "hi",
        "capabilities": ["chat", "data"],
        "files": [{"name": "a.txt", "content": "x"}],
        "tools": [{"name": "add_1", "description": "Adds.", "parameters": SCHEMA}],
    }


def test_a_stream() -> None:
    request = post_message(AgentRequest("hi"), stream=True)
    assert request.stream
    assert body(request) == {"message": "hi", "stream": True}


def test_creating_has_no_body() -> None:
    assert (post_session().path, post_session().body) == ("/v1/sessions", None)


def test_tool_outputs() -> None:
    request = post_tool_outputs("r1", [ToolOutput("c1", "4")], compute_instance="i=1")
    assert request.path == "/v1/agent/r1/tool-outputs"
    assert body(request) == {
        "tool_outputs": [{"tool_call_id": "c1", "output": "4"}],
        "_compute_instance": "i=1",
    }
    assert "_compute_instance" not in body(post_tool_outputs("r1", [ToolOutput("c1", "4")]))


@pytest.mark.parametrize("text", ["中文 😀", "\ud800", "a\udfffb", "\x00\u2028", 'q"\\'])
def test_any_text_can_be_sent(text: str) -> None:
    sent = post_message(AgentRequest(text)).body
    assert sent is not None
    assert json.loads(sent.decode("utf-8")) == {"message": text}
    if text == "中文 😀":
        assert text.encode() in sent


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (AgentRequest(""), "message"),
        (AgentRequest(7), "message"),  # type: ignore[arg-type]  # what users do
        (AgentRequest("hi", capabilities=("chat", "fly")), "'fly'.*chat, research"),
        (AgentRequest("hi", capabilities=()), "empty"),
        (AgentRequest("hi", files=(File("", "x"),)), "name"),
        (AgentRequest("hi", files=(File("a.txt"),)), "a.txt"),
        (AgentRequest("hi", files=(File("a", b"x"),)), "text"),  # type: ignore[arg-type]  # ditto
        (AgentRequest("hi", tools=(Tool("a-b", "", SCHEMA),)), "a-b"),
        (AgentRequest("hi", tools=(Tool("a\n", "", SCHEMA),)), "name"),
        (AgentRequest("hi", tools=(Tool("a" * 65, "", SCHEMA),)), "64"),
        (AgentRequest("hi", tools=(Tool("a", "x" * 1025, SCHEMA),)), "1024"),
        (AgentRequest("hi", tools=(Tool("a", "", {}),)), "object"),
        (AgentRequest("hi", tools=(Tool("a", "", SCHEMA),) * 2), "same name"),
        (AgentRequest("hi", tools=tuple(Tool(f"t{i}", "", SCHEMA) for i in range(21))), "20"),
        (AgentRequest("hi", tools=(Tool("a", "", {**SCHEMA, "x": {1}}),)), "set is not JSON"),
        (AgentRequest("hi", tools=(Tool("a", "", {**SCHEMA, "x": float("nan")}),)), "JSON"),
    ],
)
def test_what_is_refused(request_: AgentRequest, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        post_message(request_)
    assert caught.value.__context__ is None
    assert not caught.value.sent


def test_what_just_fits_is_sent() -> None:
    tools = tuple(Tool(f"t{i:02}".ljust(64, "a"), "x" * 1024, SCHEMA) for i in range(20))
    assert len(body(post_message(AgentRequest("hi", tools=tools)))["tools"]) == 20
    output = ToolOutput("c", "é" * 50_000)  # 100,000 bytes
    assert len(body(post_tool_outputs("r1", [output]))["tool_outputs"]) == 1


def test_tools_cannot_be_streamed() -> None:
    with pytest.raises(InvalidInputError, match="stream"):
        post_message(AgentRequest("hi", tools=(Tool("a", "", SCHEMA),)), stream=True)


def test_capabilities_are_not_one_text() -> None:
    with pytest.raises(InvalidInputError, match="sequence"):
        agent_request("hi", "chat", ())


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "a\n", "a?b", "é", "x" * 129, 7, None])
def test_ids_that_do_not_fit_into_a_path(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match="request_id"):
        post_tool_outputs(bad, [ToolOutput("c", "")])
    if bad is not None:
        with pytest.raises(InvalidInputError, match="session_id"):
            post_message(AgentRequest("hi"), session_id=bad)


@pytest.mark.parametrize(
    "outputs",
    [[], [ToolOutput("", "x")], [ToolOutput("c", 7)], [ToolOutput("c", "é" * 52_000)]],  # type: ignore[arg-type]  # what users do
)
def test_outputs_that_are_refused(outputs: Any) -> None:
    with pytest.raises(InvalidInputError):
        post_tool_outputs("r1", outputs)
