"""Custom tools on the wire: what is offered, what is asked for, and what is called."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool, tool
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as OldModel
from pydantic.v1 import Field as OldField
from typing_extensions import TypedDict

from stewrd_integrations.emulator import Answer, Call, Emulator
from stewrd_integrations.errors import BadRequestError, InvalidInputError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.sessions.tools import legal_name

from .conftest import roads
from .entrances import BATCHES, DIRECT, Say
from .talks import Tokens
from .tooling import (
    NOT_TAKING,
    TAKING,
    TOOLS,
    Make,
    add_numbers,
    asked,
    emulated,
    given_back,
    offered,
    on,
    outputs,
    refused,
    said,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings(
        "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
    ),
]


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


# -- what is offered -------------------------------------------------------------------


def add(a: int, b: Annotated[int, "The second."]) -> int:
    """Add two integers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


class Add(BaseModel):
    """Add two integers."""

    a: int = Field(description="The first.")
    b: int = Field(description="The second.")


class OldAdd(OldModel):
    """Add two integers."""

    a: int = OldField(description="The first.")
    b: int = OldField(description="The second.")


class AddDict(TypedDict):
    """Add two integers."""

    a: Annotated[int, ..., "The first."]
    b: Annotated[int, ..., "The second."]


PROPERTIES = {
    "a": {"type": "integer", "description": "The first."},
    "b": {"type": "integer", "description": "The second."},
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": ["a", "b"]}
DESCRIPTION = "Add two integers."
FUNCTION = {"name": "add", "description": DESCRIPTION, "parameters": SCHEMA}

FORMS: dict[str, Any] = {
    "function": add,
    "pydantic": Add,
    "pydantic v1": OldAdd,
    "typed dict": AddDict,
    "tool": tool(add, parse_docstring=True),
    "structured tool": StructuredTool.from_function(add, name="adder", args_schema=Add),
    "function's schema": FUNCTION,
    "tool's schema": {"type": "function", "function": FUNCTION},
    "JSON Schema": {"title": "add", "description": DESCRIPTION, **SCHEMA},
    "another provider's schema": {
        "name": "add",
        "description": DESCRIPTION,
        "input_schema": SCHEMA,
    },
}


@pytest.mark.parametrize("form", [*FORMS, "runnable"])
def test_every_form_of_a_tool(stewrd: Emulator, model: ChatStewrd, form: str) -> None:
    adding = RunnableLambda(lambda given: given["a"] + given["b"])
    runnable = adding.as_tool(Add, name="add", description=DESCRIPTION)
    model.bind_tools([FORMS.get(form, runnable)]).invoke("Hi")
    (body,) = offered(stewrd)
    assert set(body) == {"name", "description", "parameters"}
    assert body["name"].lower() in ("add", "oldadd", "adddict", "adder")
    assert body["description"] == DESCRIPTION or form == "structured tool"
    assert body["parameters"]["type"] == "object"
    assert body["parameters"]["properties"] == PROPERTIES
    assert body["parameters"]["required"] == ["a", "b"]


def test_a_tool_without_arguments_or_description(stewrd: Emulator, model: ChatStewrd) -> None:
    model.bind_tools([{"name": "ping"}]).invoke("Hi")
    empty = {"type": "object", "properties": {}}
    assert offered(stewrd) == [{"name": "ping", "description": "", "parameters": empty}]


@pytest.mark.parametrize("strict", [True, False, None])
def test_strict_schemas(stewrd: Emulator, model: ChatStewrd, strict: bool | None) -> None:
    model.bind_tools([add], strict=strict).invoke("Hi")
    (body,) = offered(stewrd)
    assert set(body) == {"name", "description", "parameters"}
    assert ("additionalProperties" in body["parameters"]) is bool(strict)


def test_the_same_tool_twice_is_one(stewrd: Emulator, model: ChatStewrd) -> None:
    class Titled(BaseModel):
        """It has a property of this name."""

        title: str

    model.bind_tools([add, add, Titled, Titled.model_json_schema()]).invoke("Hi")
    assert [body["name"] for body in offered(stewrd)] == ["add", "Titled"]
    assert list(offered(stewrd)[1]["parameters"]["properties"]) == ["title"]


@pytest.mark.parametrize("name", ["weather now!", "get.weather", "погода", "w" * 80])
@on(TAKING, *NOT_TAKING)
def test_names_that_the_api_refuses_go_there_and_back(
    stewrd: Emulator, model: ChatStewrd, name: str
) -> None:
    named = StructuredTool.from_function(lambda city: city, name=name, description="Tells it.")
    bound = model.bind_tools([named], tool_choice=name)
    messages = asked(bound, "How is it in Oslo?")
    (call,) = messages[-1].tool_calls  # type: ignore[attr-defined]
    assert call["name"] == name
    assert messages[-1].response_metadata["tool_choice_honoured"] is True
    messages += given_back(messages[-1], "sunny")
    bound.invoke(messages)
    ((output,),) = outputs(stewrd)
    assert output["tool_call_id"] == call["id"] and output["output"].startswith("sunny")
    (body,) = offered(stewrd)
    assert body["name"].isascii() and len(body["name"]) <= 64
    assert set(refused(stewrd)) <= {"invalid_tools"}


def sized(**changes: Any) -> dict[str, Any]:
    return {**FUNCTION, **changes}


def titled(kind: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"title": {"type": kind, "title": "T"}}}
    return {"name": "titled", "description": "Has a title.", "parameters": parameters}


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ([sized(name=f"tool_{n}") for n in range(21)], "at most 20 tools, not 21"),
        ([sized(description="d" * 1025)], "'add' has 1025 characters; the API takes 1024"),
        ([sized(parameters={"type": "array"})], "parameters of the tool 'add'"),
        ([add, sized(description="Another.")], "Two different tools have the name 'add'"),
        ([titled("string"), titled("integer")], "Two different tools have the name 'titled'"),
        ([{"type": "web_search_preview"}], "another provider runs"),
        ([{"type": "web_search", "name": "search"}], "another provider runs"),
        ([{"type": "function", "function": {}}], "no function with a name"),
        (["add"], "can't be made a tool"),
    ],
)
def test_a_tool_that_the_api_would_refuse_is_named_when_bound(
    stewrd: Emulator, model: ChatStewrd, tools: Any, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        model.bind_tools(tools)
    assert stewrd.requests == []


ODD = "погода, \"now\" 'n' later?"


@pytest.mark.parametrize(
    "changes", [{"description": "d" * 1025}, {"parameters": {"type": "array"}}]
)
@pytest.mark.parametrize("bound", [True, False])
def test_errors_name_a_tool_as_its_user_does(
    stewrd: Emulator, model: ChatStewrd, changes: Any, bound: bool
) -> None:
    odd = sized(name=ODD, **changes)
    with pytest.raises(InvalidInputError) as raised:
        if bound:
            model.bind_tools([odd])
        else:
            model.invoke("hi", tools=[{"type": "function", "function": odd}])
    assert repr(ODD) in str(raised.value) and legal_name(ODD) not in str(raised.value)
    assert stewrd.requests == []


@on({**TAKING, "script": ("a", "b")})
def test_the_apis_own_errors_name_it_so_too(stewrd: Emulator, model: ChatStewrd) -> None:
    told = f"The tool '{legal_name(ODD)}' is wrong, and {legal_name(ODD)} must not be."
    for road in ("message", "agent"):
        stewrd.fail_next("error", on=road, status=400, code="invalid_tools", message=told)
    with pytest.raises(BadRequestError) as raised:
        model.bind_tools([sized(name=ODD)]).invoke("hi")
    wanted = f"The tool {ODD!r} is wrong, and {ODD!r} must not be."
    assert wanted in str(raised.value) and wanted in raised.value.args[0]
    assert legal_name(ODD) not in repr(raised.value)


@pytest.mark.parametrize("tools", [1, "add", {"name": "add"}, ["add"], [FUNCTION]])
def test_tools_that_were_not_bound_are_looked_at_too(
    stewrd: Emulator, model: ChatStewrd, tools: Any
) -> None:
    with pytest.raises(InvalidInputError, match=r"bind_tools\(\)"):
        model.invoke("Hi", tools=tools)
    assert stewrd.requests == []


def test_other_capabilities_do_not_go_with_tools(stewrd: Emulator, make: Make) -> None:
    model = make(capabilities=["chat", "research"])
    with pytest.raises(InvalidInputError, match="chat capability only, not research"):
        model.bind_tools(TOOLS)
    model.bind_tools(TOOLS, tool_choice="none"), model.bind_tools([])
    bound = model.bind_tools(TOOLS, capabilities=["chat"])
    with pytest.raises(InvalidInputError, match="chat capability only, not research"):
        bound.invoke("Hi", capabilities=["research"])
    assert stewrd.requests == []
    bound.invoke("Hi")
    assert stewrd.runs[-1].capabilities == ("chat",)


def test_a_call_that_offers_tools_is_explained(stewrd: Emulator, model: ChatStewrd) -> None:
    bound: Any = model.bind_tools(TOOLS, tool_choice="any")
    plan = model.explain("Hi", **bound.kwargs)
    assert plan.turn == "opened" and plan.credits == 1
    assert "You must call at least one of the tools." in plan.text
    assert stewrd.requests == []


# -- what is asked for in words --------------------------------------------------------

ANY = "You must call at least one of the tools."
NAMED = 'You must call the tool "add_numbers".'
CHOICES: list[tuple[Any, str | None]] = [
    (None, None),
    ("auto", None),
    (False, None),
    ({"type": "auto"}, None),
    ("any", ANY),
    ("required", ANY),
    (True, ANY),
    ({"type": "any"}, ANY),
    ("add_numbers", NAMED),
    ({"type": "function", "function": {"name": "add_numbers"}}, NAMED),
    ({"type": "tool", "name": "add_numbers"}, NAMED),
]


@pytest.mark.parametrize(("choice", "words"), CHOICES)
def test_every_form_of_a_choice(
    stewrd: Emulator, model: ChatStewrd, choice: Any, words: str | None
) -> None:
    answer = model.bind_tools(TOOLS, tool_choice=choice).invoke("Hello")
    message = stewrd.requests[-1].body["message"]
    assert message == "Hello" if words is None else words in message
    assert bool(answer.tool_calls) is (words is not None)
    followed = None if words is None else True
    assert answer.response_metadata.get("tool_choice_honoured") is followed
    assert answer.response_metadata["stewrd"].get("tool_choice_honoured") is followed


def test_a_forced_tool_out_of_one_is_named(stewrd: Emulator, model: ChatStewrd) -> None:
    model.bind_tools([add_numbers], tool_choice="any").invoke("Hello")
    assert NAMED in stewrd.requests[-1].body["message"]


@pytest.mark.parametrize("choice", ["none", {"type": "none"}])
def test_no_tool_at_all(stewrd: Emulator, model: ChatStewrd, choice: Any) -> None:
    answer = model.bind_tools(TOOLS, tool_choice=choice).invoke("get_weather in Oslo")
    assert "tools" not in stewrd.requests[-1].body
    assert answer.tool_calls == [] and roads(stewrd) == ["session"]


@pytest.mark.parametrize(
    ("tools", "choice", "told"),
    [
        (TOOLS, "subtract", "'subtract', which is not among the tools get_weather, add_numbers"),
        (TOOLS, {"type": "function", "function": {"name": "subtract"}}, "'subtract'"),
        ([], "any", "without tools"),
    ],
)
def test_a_choice_of_nothing(
    stewrd: Emulator, model: ChatStewrd, tools: Any, choice: Any, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        model.bind_tools(tools, tool_choice=choice)


@on({"script": ("No.", "No.", [Call("get_weather", {"city": "Oslo"})])})
def test_a_choice_that_the_agent_does_not_follow_is_told(
    stewrd: Emulator, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    model = make(sessions="never")
    for choice in ("any", "add_numbers", "add_numbers"):
        with caplog.at_level(logging.WARNING, "stewrd_integrations"):
            answer = model.bind_tools(TOOLS, tool_choice=choice).invoke("Hello")
        assert answer.response_metadata["tool_choice_honoured"] is False
    told = [record.message for record in caplog.records if "tool_choice" in record.message]
    assert len(told) == 3


@pytest.mark.parametrize("parallel", [True, False, None])
def test_parallel_calls(stewrd: Emulator, make: Make, parallel: bool | None) -> None:
    bound = make(sessions="never").bind_tools(TOOLS, parallel_tool_calls=parallel)
    text = "get_weather(Oslo) and add_numbers(1, 2)"
    answer = bound.invoke(text)
    called = [call["name"] for call in answer.tool_calls]
    message = stewrd.requests[-1].body["message"]
    if parallel is False:
        assert called == ["get_weather"] and "at most one tool at a time" in message
        assert answer.response_metadata["tool_choice_honoured"] is True
    else:
        assert called == ["get_weather", "add_numbers"] and message == text
        assert "tool_choice_honoured" not in answer.response_metadata


@on({"script": ([Call("get_weather", {"city": c}) for c in ("Oslo", "Rome")],)})
def test_parallel_calls_that_were_not_wanted_are_told(stewrd: Emulator, make: Make) -> None:
    bound = make(sessions="never").bind_tools(TOOLS, parallel_tool_calls=False)
    answer = bound.invoke("Hi")
    assert len(answer.tool_calls) == 2, "they are given out all the same"
    assert answer.response_metadata["tool_choice_honoured"] is False


# -- what is called --------------------------------------------------------------------


def test_the_calls_of_an_answer(stewrd: Emulator, model: ChatStewrd) -> None:
    answer = model.bind_tools(TOOLS).invoke("add_numbers(1, 2)")
    (call,) = answer.tool_calls
    assert (call["name"], call["args"], call["type"]) == (
        "add_numbers",
        {"a": 1, "b": 2},
        "tool_call",
    )
    assert [one.id for one in stewrd.runs[-1].calls] == [call["id"]]
    assert answer.text == "" and answer.invalid_tool_calls == []
    told = answer.response_metadata
    assert told["finish_reason"] == "tool_calls" and told["id"] == stewrd.runs[-1].id
    assert model.invoke("Hi").response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("say", [*DIRECT, *BATCHES])
@on(TAKING, *NOT_TAKING)
async def test_every_entrance_calls_and_gives_back(
    stewrd: Emulator, model: ChatStewrd, say: Say
) -> None:
    bound = model.bind_tools(TOOLS)
    messages: list[BaseMessage] = [HumanMessage("get_weather(Oslo) and add_numbers(1, 2)")]
    answer = await say(bound, messages, {"configurable": {"conversation_id": "c"}})
    assert isinstance(answer, AIMessage)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("add_numbers", {"a": 1, "b": 2}),
    ]
    messages += [answer, *given_back(answer, "sunny", "3")]
    last = await say(bound, messages, {"configurable": {"conversation_id": "c"}})
    assert "sunny" in last.text and "3" in last.text
    ids = [call["id"] for call in answer.tool_calls]
    assert outputs(stewrd) == [
        [
            {"tool_call_id": one, "output": text}
            for one, text in zip(ids, ["sunny", "3"], strict=True)
        ]
    ]
    assert len(stewrd.sessions) == 1
    assert set(refused(stewrd)) <= {"invalid_tools"}


@on(TAKING, *NOT_TAKING)
async def test_an_unnamed_list_finds_its_run_by_the_mark(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)")
    messages += given_back(messages[-1], "3")
    messages.append(await bound.ainvoke(messages))
    messages.append(HumanMessage("My name is Ada."))
    messages.append(bound.invoke(messages))
    assert len(outputs(stewrd)) == 1
    assert messages[3].text.endswith("3") and "Ada" in messages[-1].text
    assert said(stewrd)[-1] == ("user", "My name is Ada.")
    assert [role for role, _ in said(stewrd)] == ["user", "assistant", "tool", "assistant", "user"]


# -- streams ---------------------------------------------------------------------------


def chunks_of(model: Any, *given: Any, **more: Any) -> list[AIMessageChunk]:
    return list(model.stream(*given, **more))


def test_a_stream_with_tools_merges_right(stewrd: Emulator, model: ChatStewrd) -> None:
    bound, tokens = model.bind_tools(TOOLS), Tokens()
    chunks = chunks_of(bound, "get_weather(Oslo) and add_numbers(1, 2)", {"callbacks": [tokens]})
    told = [chunk for chunk in chunks if chunk.tool_call_chunks]
    (chunk,) = told
    assert [(one["name"], one["args"], one["index"]) for one in chunk.tool_call_chunks] == [
        ("get_weather", '{"city": "Oslo"}', 0),
        ("add_numbers", '{"a": 1, "b": 2}', 1),
    ]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Oslo"}, {"a": 1, "b": 2}]
    assert whole.text == "" and "".join(tokens.seen) == ""
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    (ended,) = tokens.ended
    assert ended.tool_calls == whole.tool_calls  # type: ignore[attr-defined]
    assert not any(run.stream for run in stewrd.runs)


def test_a_stream_with_tools_has_one_piece_of_text(stewrd: Emulator, model: ChatStewrd) -> None:
    tokens = Tokens()
    chunks = chunks_of(model.bind_tools(TOOLS), "My name is Ada.", {"callbacks": [tokens]})
    assert [chunk.text for chunk in chunks if chunk.text] == ["Nice to meet you, Ada."]
    assert [token for token in tokens.seen if token] == ["Nice to meet you, Ada."]


async def test_events_of_a_stream_with_tools(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    events = await bound.astream_events("add_numbers(1, 2)", version="v3")
    seen = [event async for event in events]
    answer = await events.output
    kinds = [event["event"] for event in seen]
    assert kinds[0] == "message-start" and kinds[-1] == "message-finish"
    assert [call["args"] for call in answer.tool_calls] == [{"a": 1, "b": 2}]
    assert [block["type"] for block in answer.content_blocks] == ["tool_call"]
    messages = [HumanMessage("add_numbers(1, 2)"), answer, *given_back(answer, "3")]
    assert bound.invoke(messages).text.endswith("3")
    assert len(outputs(stewrd)) == 1, "the mark and the run survive"


@on(
    {
        **TAKING,
        "calls_message": "text",
        "script": (
            Answer("I look it up.", calls=[Call("get_weather", {"city": "Oslo"})]),
            "Sunny.",
        ),
    }
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_words_beside_calls(stewrd: Emulator, model: ChatStewrd, way: str) -> None:
    bound = model.bind_tools(TOOLS)
    shown = [HumanMessage("How is it in Oslo?")]
    if way == "invoke":
        answer: Any = bound.invoke(shown)
    else:
        first, *rest = bound.stream(shown)
        answer = sum(rest, first)
    assert answer.text == "I look it up." and len(answer.tool_calls) == 1
    last = bound.invoke([*shown, answer, *given_back(answer, "sun")])
    assert last.text == "Sunny." and len(outputs(stewrd)) == 1
