from __future__ import annotations

import json
from typing import Any

import pytest

from stewrd_integrations.emulator import Answer, Call, Context, Tool

from .conftest import ADD, Lab, code, parsed, tool

# -- the tools of a request --------------------


@pytest.mark.parametrize(
    "tools",
    [
        "add",
        {},
        ["add"],
        [{}],
        [tool("")],
        [tool("a-b")],
        [tool("a b")],
        [tool("ä")],
        [tool("a" * 65)],
        [tool("add\n")],
        [{**tool(), "name": 7}],
        [tool(description=None)],
        [tool(description="x" * 1025)],
        [tool(parameters=None)],
        [tool(parameters={})],
        [tool(parameters={"type": "array"})],
        [tool(parameters="object")],
        [tool(), tool()],
        [tool(f"t{number}") for number in range(21)],
    ],
)
def test_wrong_tools(tools: Any) -> None:
    lab = Lab(session_tools="accepted")
    for path in ("/v1/agent", f"/v1/sessions/{lab.create()}/messages"):
        assert code(lab.post(path, {"message": "hi", "tools": tools})) == (400, "invalid_tools")
    assert lab.world.runs == []
    assert lab.world.credits == 1000


@pytest.mark.parametrize(
    "tools",
    [
        [tool("a" * 64, description="x" * 1024)],
        [tool("Az_09", description="", parameters={"type": "object"}, strict=True)],
        [tool(f"t{number}") for number in range(20)],
    ],
)
def test_right_tools(tools: Any) -> None:
    lab = Lab()
    assert lab.run("hi", tools=tools).status == 200
    assert [each.name for each in lab.world.runs[0].tools] == [each["name"] for each in tools]


def test_the_number_of_tools_is_a_setting() -> None:
    assert code(Lab(max_tools=1).run("hi", tools=[tool("a1"), tool("a2")]))[0] == 400


def test_tools_are_not_streamed() -> None:
    lab = Lab()
    assert code(lab.run("hi", tools=ADD, stream=True)) == (400, "invalid_tools")
    assert lab.run("hi", tools=[], stream=True).status == 200


def test_or_the_stream_is_whole() -> None:
    lab = Lab(tools_stream="whole")
    assert parsed(lab.run("add(1, 2)", tools=ADD, stream=True))["tool_calls"]
    assert not lab.world.runs[0].stream


@pytest.mark.parametrize(
    ("setting", "wanted", "credits", "expected"),
    [
        ("charged", [], 1, None),
        ("charged", ["chat"], 1, None),
        ("charged", ["research", "code"], 6, None),
        ("ignored", ["research"], 1, None),
        ("refused", ["chat"], 1, None),
        ("refused", ["chat", "research"], 0, (400, "invalid_capabilities")),
    ],
)
def test_other_capabilities(
    setting: str, wanted: list[str], credits: int, expected: tuple[int, str] | None
) -> None:
    lab = Lab(tools_capabilities=setting)
    answer = lab.run("add(1, 2)", tools=ADD, capabilities=wanted)
    assert 1000 - lab.world.credits == credits
    if expected is None:
        assert parsed(answer)["capabilities_used"] == ["chat"]
        assert parsed(answer)["usage"]["credits_this_request"] == credits
    else:
        assert code(answer) == expected


def test_what_is_charged_must_be_enabled_and_what_is_ignored_need_not() -> None:
    asked = {"tools": ADD, "capabilities": ["research"]}
    charged = Lab(capabilities=("chat",))
    assert code(charged.run("hi", **asked)) == (403, "capability_not_enabled")
    assert (
        Lab(capabilities=("chat",), tools_capabilities="ignored").run("hi", **asked).status == 200
    )
    none = Lab(capabilities=("research",))
    assert code(none.run("hi", tools=ADD)) == (403, "capability_not_enabled")


def test_with_tools_the_agent_has_chat_only() -> None:
    lab = Lab()
    answer = parsed(lab.run("Write a file called x.csv", tools=ADD))
    assert (answer["files"], answer["usage"]["credits_this_request"]) == ([], 1)


# -- the outputs --------------------


def outputs(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {"tool_outputs": [{"tool_call_id": one, "output": two} for one, two in pairs]}


WRONG: list[tuple[Any, str]] = [
    (b"{", "invalid_body"),
    (b"\xff", "invalid_body"),
    ([], "invalid_body"),
    ({}, "invalid_tool_outputs"),
    ({"tool_outputs": []}, "invalid_tool_outputs"),
    ({"tool_outputs": {}}, "invalid_tool_outputs"),
    ({"tool_outputs": ["x"]}, "invalid_tool_outputs"),
    ({"tool_outputs": [{"tool_call_id": "x"}]}, "invalid_tool_outputs"),
    (outputs(("ID1", 3), ("ID2", "3")), "invalid_tool_outputs"),
    (outputs((1, "3"), ("ID2", "3")), "invalid_tool_outputs"),
    (outputs(("ID1", "3")), "invalid_tool_outputs"),
    (outputs(("ID1", "3"), ("other", "3")), "invalid_tool_outputs"),
    (outputs(("ID1", "3"), ("ID2", "3"), ("other", "3")), "invalid_tool_outputs"),
    (outputs(("ID1", "3"), ("ID2", "3"), ("ID2", "3")), "invalid_tool_outputs"),
    (outputs(("ID1", "3"), ("ID2", "x" * 100_001)), "tool_output_too_large"),
    (outputs(("ID1", "3"), ("ID2", "ü" * 50_001)), "tool_output_too_large"),
    ({**outputs(("ID1", "3"), ("ID2", "3")), "_compute_instance": 7}, "invalid_body"),
]


@pytest.mark.parametrize(("body", "expected"), WRONG, ids=[str(body)[:60] for body, _ in WRONG])
def test_wrong_outputs_leave_the_run_as_it_was(body: Any, expected: str) -> None:
    lab = Lab(wrong_instance="accepted")
    asked = parsed(lab.run("add(1, 2), add(3, 4)", tools=ADD))
    path = f"/v1/agent/{asked['id']}/tool-outputs"
    if not isinstance(body, bytes):
        text = json.dumps(body)
        for number, call in enumerate(asked["tool_calls"], 1):
            text = text.replace(f"ID{number}", call["id"])
        body = text.encode()
    assert code(lab.post(path, body)) == (400, expected)
    assert lab.world.waiting_runs == [asked["id"]]
    assert lab.submit(asked, "x" * 100_000).status == 200


def test_outputs_come_in_any_order() -> None:
    lab = Lab()
    asked = parsed(lab.run("add(1, 2), add(3, 4)", tools=ADD))
    given = [
        {"tool_call_id": call["id"], "output": str(number)}
        for number, call in enumerate(asked["tool_calls"])
    ]
    answer = parsed(lab.submit(asked, tool_outputs=given[::-1]))
    assert answer["message"] == "The tool add answered: 0\nThe tool add answered: 1"


def test_the_size_of_an_output_is_a_setting() -> None:
    lab = Lab(max_output=3)
    asked = lab.run("add(1, 2)", tools=ADD)
    assert code(lab.submit(asked, "1234")) == (400, "tool_output_too_large")
    assert lab.submit(asked, "123").status == 200


def test_a_lone_surrogate_in_an_output() -> None:
    lab = Lab()
    answer = parsed(lab.submit(lab.run("add(1, 2)", tools=ADD), "\ud800"))
    assert answer["message"].endswith("\ud800")


# -- agents that go wrong --------------------


@pytest.mark.parametrize(
    ("calls", "tools"),
    [([Call("add")], []), ([Call("add", id="x"), Call("add", id="x")], ADD)],
)
def test_an_agent_that_may_not_call_has_failed(calls: list[Call], tools: list[Any]) -> None:
    lab = Lab(lambda context: Answer(calls=calls))
    assert code(lab.run("hi", tools=tools)) == (502, "compute_error")
    assert lab.world.credits == 1000
    assert lab.world.waiting_runs == []


def test_an_agent_is_shown_the_tools_and_the_results() -> None:
    seen: list[Context] = []

    def agent(context: Context) -> str | Answer:
        seen.append(context)
        if not context.results:
            return Answer("Let me see.", calls=[Call("add", {"a": 1}, id="mine"), Call("unknown")])
        return f"It is {context.results[-1].text}."

    lab = Lab(agent)
    asked = parsed(lab.run("hi", tools=ADD, files=[{"name": "a.txt", "content": "x"}]))
    assert [call["name"] for call in asked["tool_calls"]] == ["add", "unknown"]
    assert asked["tool_calls"][0]["id"] == "mine"
    assert parsed(lab.submit(asked, "7"))["message"] == "It is 7."
    first, second = seen
    assert first.tools == second.tools == (Tool(**ADD[0]),)
    assert (first.round, first.message, first.results) == (0, "hi", ())
    assert (second.round, second.message, [said.text for said in second.results]) == (
        1,
        "",
        ["7"] * 2,
    )
    assert (len(first.files), len(second.files), len(second.earlier_files)) == (1, 0, 1)
    assert [said.role for said in second.conversation.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert second.conversation.messages[1].text == "Let me see."
    assert second.conversation.messages[1].tool_calls[0].id == "mine"
    assert second.conversation.messages[2].tool_call_id == "mine"
    assert second.conversation.messages[2].name == "add"
    assert first.capabilities == second.capabilities == ("chat",)
