from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator import Context, Conversation, Said, Tool, ToolCall, default_agent
from stewrd_integrations.emulator.calling import calls, told

INT = {"type": "integer"}
STR = {"type": "string"}


def tool(name: str, **named: Any) -> Tool:
    return Tool(name, "", {"type": "object", "properties": named, "required": list(named)})


ADD, MULTIPLY = tool("add", a=INT, b=INT), tool("multiply", a=INT, b=INT)
WEATHER, NOW = tool("get_weather", location=STR), tool("now")
ANY = "You must call at least one of the tools."


def result(name: str | None, text: str, call_id: str = "c", **more: Any) -> Said:
    return Said("tool", text, name=name, tool_call_id=call_id, **more)


def context(
    text: str, *tools: Tool, instructions: str = "", after: tuple[Said, ...] = ()
) -> Context:
    conversation = Conversation(instructions, (Said("user", text), *after))
    return Context(conversation, "" if after else text, tools=tools)


def called(text: str, *tools: Tool, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, dict(call.arguments)) for call in calls(context(text, *tools, **more))]


# -- what the user asks for --------------------


@pytest.mark.parametrize(
    ("text", "tools", "expected"),
    [
        ("Add 1 and 2", [ADD], [("add", {"a": 1, "b": 2})]),
        ("What is 3 + 4? Use add.", [ADD], [("add", {"a": 3, "b": 4})]),
        ("add(b=5, a=3)", [ADD], [("add", {"a": 3, "b": 5})]),
        ("add(-1, 2)", [ADD], [("add", {"a": -1, "b": 2})]),
        ("What's the weather in Oslo?", [WEATHER], [("get_weather", {"location": "Oslo"})]),
        ("get_weather('Oslo')", [WEATHER], [("get_weather", {"location": "Oslo"})]),
        ("weather(New York)", [WEATHER], [("get_weather", {"location": "New York"})]),
        ("weather (location=Rome)", [WEATHER], [("get_weather", {"location": "Rome"})]),
        ("Add 1 and 2, for I like to add.", [ADD], [("add", {"a": 1, "b": 2})]),
        ("Use add: add(1, 2)", [ADD], [("add", {"a": 1, "b": 2})]),
        ("now(), please", [NOW, ADD], [("now", {})]),
        ("Call NOW", [NOW], [("now", {})]),
        ("Hello", [ADD, WEATHER], []),
        ("address 1 and 2", [ADD], []),
        ("add_all 1 2", [ADD], []),
        ("I like whether", [WEATHER], []),
        ("a b", [tool("a"), tool("to_b")], []),
        ("a() and b()", [tool("a"), tool("to_b")], [("a", {}), ("to_b", {})]),
        ("Add 1 and 2", [], []),
    ],
)
def test_a_tool_is_called_by_its_name_or_the_last_part_of_it(
    text: str, tools: list[Tool], expected: list[Any]
) -> None:
    assert called(text, *tools) == expected


def test_a_longer_name_does_not_name_a_shorter_tool() -> None:
    tools = (tool("magic_function", input=INT), tool("magic_function_no_args"))
    assert called("magic_function_no_args()", *tools) == [("magic_function_no_args", {})]
    assert called("magic_function(3)", *tools) == [("magic_function", {"input": 3})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Add 1 and 2 and multiply 3 by 4",
            [("add", {"a": 1, "b": 2}), ("multiply", {"a": 3, "b": 4})],
        ),
        ("add(1, 2), add(3, 4)", [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]),
        (
            "multiply 2 by 3, and the weather in Oslo?",
            [("multiply", {"a": 2, "b": 3}), ("get_weather", {"location": "Oslo"})],
        ),
    ],
)
def test_several_at_once(text: str, expected: list[Any]) -> None:
    assert called(text, ADD, MULTIPLY, WEATHER) == expected


def test_one_after_the_other() -> None:
    text = "Add 1 and 2, then multiply the result by 4"
    assert called(text, ADD, MULTIPLY) == [("add", {"a": 1, "b": 2})]
    first = (result("add", "3"),)
    assert called(text, ADD, MULTIPLY, after=first) == [("multiply", {"a": 4, "b": 3})]
    assert called(text, ADD, MULTIPLY, after=(*first, result("multiply", "12"))) == []


# -- what has been done --------------------


def asking(*names: str) -> Said:
    return Said(
        "assistant", "", tool_calls=tuple(ToolCall(f"id-{name}", name, {}) for name in names)
    )


@pytest.mark.parametrize(
    "after",
    [
        (asking("add"), result("add", "3", "id-add")),
        (asking("add"), result(None, "3", "id-add")),
        (result("add", "3"),),
        (result(None, "3", "unknown"),),
        (result("another", "3"),),
    ],
)
def test_what_has_its_result_is_not_called_again(after: tuple[Said, ...]) -> None:
    assert called("Add 1 and 2", ADD, after=after) == []
    answer = default_agent(context("Add 1 and 2", ADD, after=after)).text
    assert answer.endswith("answered: 3")


def test_what_has_no_result_is_called_again() -> None:
    assert called("Add 1 and 2", ADD, after=(asking("add"),)) == [("add", {"a": 1, "b": 2})]
    both = (asking("add", "multiply"), result("multiply", "2", "id-multiply"))
    again = called("add 1 and 2, multiply 1 by 2", ADD, MULTIPLY, after=both)
    assert [name for name, _ in again] == ["add"]


def test_a_turn_of_before_counts_for_nothing() -> None:
    said = (Said("user", "add(1, 2)"), result("add", "3"), Said("user", "add(3, 4)"))
    found = calls(Context(Conversation(messages=said), "add(3, 4)", tools=(ADD,)))
    assert [call.arguments for call in found] == [{"a": 3, "b": 4}]


# -- what the instructions demand --------------------


@pytest.mark.parametrize(
    ("instructions", "text", "expected"),
    [
        (ANY, "Hello", ["now"]),
        ("You must use one of the functions", "Hello", ["now"]),
        (ANY, "Add 1 and 2", ["add"]),
        (ANY, "add(1, 2), multiply(1, 2)", ["add", "multiply"]),
        ('You must call the tool "multiply".', "Hello", ["multiply"]),
        ('You must call the tool "multiply".', "add(1, 2)", ["multiply"]),
        ("You must call the function named multiply.", "Hello", ["multiply"]),
        ('You must call the tool "unknown".', "Hello", ["now"]),
        ("You must not call any tool.", "add(1, 2)", []),
        ("Call one tool at a time.", "add(1, 2), multiply(1, 2)", ["add"]),
        ("You must be kind.", "Hello", []),
    ],
)
def test_instructions_demand_calls(instructions: str, text: str, expected: list[str]) -> None:
    found = called(text, ADD, MULTIPLY, NOW, instructions=instructions)
    assert [name for name, _ in found] == expected


def test_a_demand_may_stand_in_the_message() -> None:
    assert [name for name, _ in called(f"Hello. {ANY}", ADD)] == ["add"]


def test_a_demand_is_met_once() -> None:
    after = (result("now", "12"),)
    assert called("Hello", ADD, NOW, instructions=ANY, after=after) == []
    named = 'You must call the tool "now".'
    assert called("Hello", ADD, NOW, instructions=named, after=after) == []
    assert called("add(1, 2)", ADD, NOW, instructions=named, after=after) == []


def test_what_was_asked_for_follows_what_was_demanded() -> None:
    named = 'You must call the tool "now".'
    after = (result("now", "12"),)
    text = "add(1, 2), now()"
    assert called(text, ADD, NOW, instructions=named) == [("now", {})]
    assert called(text, ADD, NOW, instructions=named, after=after) == [("add", {"a": 1, "b": 2})]


def test_a_demand_for_every_answer_holds_until_each_was_called() -> None:
    every = "You must call at least one of the tools in every answer."
    form = tool("Report", text=STR)
    text = "the weather in Oslo?"
    assert [name for name, _ in called(text, WEATHER, form, instructions=every)] == ["get_weather"]
    first = (result("get_weather", "It's 'sunny'."),)
    [(name, arguments)] = called(text, WEATHER, form, instructions=every, after=first)
    assert (name, arguments) == ("Report", {"text": "sunny"})
    both = (*first, result("Report", "ok"))
    assert called(text, WEATHER, form, instructions=every, after=both) == []


# -- what is demanded of one answer ------------------------------------------------------------


def demanded(text: str, *tools: Tool, demand: str, after: tuple[Said, ...] = ()) -> list[str]:
    conversation = Conversation(messages=(Said("user", text), *after), demand=demand)
    return [call.name for call in calls(Context(conversation, "", tools=tools))]


@pytest.mark.parametrize(
    ("text", "demand", "expected"),
    [
        ("Hello", ANY, ["now"]),
        ("add(1, 2)", ANY, ["add"]),
        ("Hello", 'You must call the tool "add".', ["add"]),
        ("now()", 'You must call the tool "add".', ["add"]),
        ("add(1, 2), now()", "Call at most one tool at a time.", ["add"]),
        ("add(1, 2)", "You must not call any tool.", []),
        ("Hello", "Be brief.", []),
    ],
)
def test_one_answer_does_what_is_demanded_of_it(
    text: str, demand: str, expected: list[str]
) -> None:
    assert demanded(text, ADD, NOW, demand=demand) == expected


def test_what_was_called_before_does_not_meet_it() -> None:
    one, both = (result("now", "12"),), (result("now", "12"), result("add", "3"))
    assert demanded("Hello", ADD, NOW, demand=ANY, after=one) == ["add"]
    assert demanded("Hello", ADD, NOW, demand=ANY, after=both) == ["now"]
    named = 'You must call the tool "now".'
    assert demanded("Hello", ADD, NOW, demand=named, after=one) == ["now"]
    assert demanded("add(1, 2)", ADD, NOW, demand=named, after=one) == ["now"]


WORDS = "Of the answer to this the application demands the following. "


def test_the_last_output_may_demand_something() -> None:
    insisting = result("now", f"12\n\n{WORDS}{ANY}")
    assert [name for name, _ in called("Hello", ADD, NOW, after=(insisting,))] == ["add"]
    assert called("Hello", ADD, NOW, after=(insisting, result("add", "3"))) == []
    assert told(context("x", after=(insisting,))) == "The tool now answered: 12"
    error = result("now", f"Error: no\n\n{WORDS}{ANY}")
    assert told(context("x", after=(error,))) == "The tool now failed: Error: no"


# -- the answer after it --------------------


def test_results_are_told() -> None:
    after = (asking("add"), result(None, "3", "id-add"), result("get_weather", "sunny"))
    assert told(context("x", after=after)) == (
        "The tool add answered: 3\nThe tool get_weather answered: sunny"
    )


@pytest.mark.parametrize(
    "failed",
    [
        result("add", "no", error=True),
        result("add", "Error: no"),
        result("add", '{"error": "no"}'),
        result("add", "Traceback (most recent call last)"),
    ],
)
def test_a_failure_is_told_as_such(failed: Said) -> None:
    assert told(context("x", after=(failed,))).startswith("The tool add failed: ")


def test_a_field_that_says_that_there_is_no_error_is_no_failure() -> None:
    shown = context("x", after=(result("add", '{"error": null}'), result("add", '{"error": ""}')))
    assert "failed" not in told(shown)


def test_an_answer_with_calls_says_nothing_else() -> None:
    answer = default_agent(context("add(1, 2)", ADD, instructions="Always end with 'Over.'"))
    assert (answer.text, len(answer.calls)) == ("", 1)


def test_a_user_message_after_the_results_is_answered_for_itself() -> None:
    said = (Said("user", "add(1, 2)"), asking("add"), result("add", "3"), Said("user", "Thanks"))
    shown = Context(Conversation(messages=said), "Thanks", tools=(ADD,))
    assert default_agent(shown).text == "You are welcome."
