"""`chat_with_tools` and its kin: what is offered, and what is asked for in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.core.tools.types import BaseTool, ToolOutput
from pydantic import BaseModel, Field

from stewrd_integrations.emulator import Call, Emulator
from stewrd_integrations.errors import BadRequestError, InvalidInputError
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.sessions.tools import legal_name

from ..langchain.tooling import (
    NOT_TAKING,
    TAKING,
    emulated,
    offered,
    on,
    outputs,
    refused,
)
from .conftest import user
from .tooling import (
    BOTH,
    TOOLS,
    WAYS,
    ToolWay,
    add_numbers,
    called,
    get_weather,
    given_back,
    tool_of,
)

Make = Callable[..., StewrdLLM]


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


@pytest.fixture
def emulator(stewrd: Emulator) -> Emulator:
    return stewrd


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> ToolWay:
    return ToolWay(request.param)


# -- what is offered -------------------------------------------------------------------


class Trip(BaseModel):
    """Where one goes."""

    city: str
    days: int = Field(default=1, description="How long.")


class Described(BaseModel):
    a: int = Field(description="The first.")
    trips: list[Trip]


def plan(a: Annotated[int, "The first."], trips: list[Trip]) -> str:
    """Plan trips."""
    return "planned"


class Plain(BaseTool):
    """A tool of one's own, without a schema."""

    @property
    def metadata(self) -> ToolMetadata:
        return ToolMetadata(description="Takes anything.", name="plain")

    def __call__(self, input: Any) -> ToolOutput:  # noqa: A002  # LlamaIndex's name
        return ToolOutput(content=str(input), tool_name="plain", raw_input={}, raw_output=input)


async def test_arguments_that_are_models(stewrd: Emulator, llm: StewrdLLM, way: ToolWay) -> None:
    tools = [tool_of(plan, fn_schema=Described), Plain()]
    await way.ask(llm, [user("Hi")], tools)
    body, plain = offered(stewrd)
    assert set(body) == {"name", "description", "parameters"} and body["name"] == "plan"
    assert body["parameters"]["type"] == "object"
    assert body["parameters"]["properties"]["a"]["description"] == "The first."
    assert body["parameters"]["$defs"]["Trip"]["properties"]["days"]["default"] == 1
    assert plain["parameters"]["required"] == ["input"]
    response = await way.ask(llm, [user('plan "Oslo" 3 4')], tools)
    (call,) = called(response)
    assert isinstance(call.tool_kwargs, dict)
    assert Described.model_validate(call.tool_kwargs).trips[0].city == "Oslo"


async def test_no_tools_are_a_plain_chat(stewrd: Emulator, llm: StewrdLLM, way: ToolWay) -> None:
    response = await way.ask(llm, [user("My name is Ada.")], [])
    assert response.message.content == "Nice to meet you, Ada."
    (body,) = [one.body for one in stewrd.requests if one.body]
    assert "tools" not in body and body.get("stream", False) is ("stream" in way.name)


@pytest.mark.parametrize("more", [{"tool_required": True}, {"tool_choice": "add_numbers"}])
async def test_a_choice_among_no_tools(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, more: Any
) -> None:
    with pytest.raises(InvalidInputError, match="without tools"):
        await way.ask(llm, [user("Hi")], [], **more)
    assert stewrd.requests == []


@pytest.mark.parametrize("name", ["weather now!", "get.weather", "größe", "w" * 70, "a-b"])
@on(TAKING, *NOT_TAKING)
async def test_names_that_the_api_refuses_go_there_and_back(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, name: str
) -> None:
    tools = [tool_of(get_weather, name=name)]
    messages = [user("How is it in Oslo?")]
    response = await way.ask(llm, messages, tools, tool_choice=name)
    (selected,) = llm.get_tool_calls_from_response(response)
    assert selected.tool_name == name and selected.tool_kwargs["city"]
    told = response.raw
    assert isinstance(told, dict) and told["tool_choice_honoured"] is True
    messages += [response.message, *given_back(response, "sunny")]
    last = await way.ask(llm, messages, tools)
    assert "sunny" in (last.message.content or "")
    (body,) = offered(stewrd)
    assert body["name"] == legal_name(name) and body["name"].isascii()
    assert len(body["name"]) <= 64 and set(refused(stewrd)) <= {"invalid_tools"}


def twenty_one() -> list[FunctionTool]:
    return [tool_of(get_weather, name=f"tool_{n}") for n in range(21)]


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        (twenty_one(), "at most 20 tools, not 21"),
        ([tool_of(get_weather, description="d" * 1_025)], "'get_weather' has 1025 characters"),
        ([tool_of(get_weather, name="wéather!", description="d" * 1_025)], "'wéather!'"),
        ([tool_of(get_weather), tool_of(add_numbers, name="get_weather")], "name 'get_weather'"),
        ([get_weather], "no tool of LlamaIndex"),
    ],
)
async def test_a_tool_that_the_api_would_refuse_is_named_before_anything_is_sent(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, tools: Any, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        await way.ask(llm, [user("Hi")], tools)
    assert stewrd.requests == []


async def test_limits_are_limits(stewrd: Emulator, llm: StewrdLLM) -> None:
    tools = twenty_one()[:20]
    tools[0] = tool_of(get_weather, description="d" * 1_024)
    llm.chat_with_tools(tools, "Hi")
    assert len(offered(stewrd)) == 20 and stewrd.refused == []


@on({**TAKING, "script": ("a", "b")})
async def test_the_apis_own_errors_name_a_tool_as_its_user_does(
    stewrd: Emulator, llm: StewrdLLM
) -> None:
    odd = "weather now!"
    for road in ("message", "agent"):
        told = f"The tool {legal_name(odd)} is wrong."
        stewrd.fail_next("error", on=road, status=400, code="invalid_tools", message=told)
    with pytest.raises(BadRequestError, match=odd) as raised:
        llm.chat_with_tools([tool_of(get_weather, name=odd)], "Hi")
    assert legal_name(odd) not in str(raised.value)


async def test_other_capabilities_do_not_go_with_tools(stewrd: Emulator, make: Make) -> None:
    llm = make(capabilities=["chat", "research"])
    with pytest.raises(InvalidInputError, match="chat capability only, not research"):
        llm.chat_with_tools(TOOLS, "Hi")
    llm.chat_with_tools(TOOLS, "Hi", capabilities=["chat"])
    assert stewrd.runs[-1].capabilities == ("chat",)


async def test_what_the_api_has_no_place_for_is_refused(stewrd: Emulator, llm: StewrdLLM) -> None:
    with pytest.raises(InvalidInputError, match="temperature"):
        llm.chat_with_tools(TOOLS, "Hi", temperature=0.5)
    assert stewrd.requests == []


def test_a_call_that_offers_tools_is_explained(stewrd: Emulator, llm: StewrdLLM) -> None:
    given = llm._prepare_chat_with_tools(TOOLS, "Hi", tool_required=True)
    plan = llm.explain(**given)
    assert plan.turn == "opened" and "You must call at least one of the tools." in plan.text
    assert stewrd.requests == []


# -- what is asked for in words ----------------------------------------------------------

ANY = "You must call at least one of the tools."
NAMED = 'You must call the tool "add_numbers".'
CHOICES: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"tool_choice": "auto"}, None),
    ({"tool_choice": {"type": "auto"}}, None),
    ({"tool_choice": None, "tool_required": False}, None),
    ({"tool_required": True}, ANY),
    ({"tool_required": True, "tool_choice": "auto"}, ANY),
    ({"tool_required": True, "tool_choice": {"type": "auto"}}, ANY),
    ({"tool_required": True, "tool_choice": "any"}, ANY),
    ({"tool_choice": "required"}, ANY),
    ({"tool_choice": "any"}, ANY),
    ({"tool_choice": "add_numbers"}, NAMED),
    ({"tool_required": True, "tool_choice": "add_numbers"}, NAMED),
    ({"tool_choice": {"type": "function", "function": {"name": "add_numbers"}}}, NAMED),
    ({"tool_choice": {"type": "tool", "name": "add_numbers"}}, NAMED),
]


@pytest.mark.parametrize(("asked", "words"), CHOICES)
async def test_every_form_of_a_choice(
    stewrd: Emulator, make: Make, asked: Any, words: str | None
) -> None:
    response = make(sessions="never").chat_with_tools(
        TOOLS, "Hello", allow_parallel_tool_calls=True, **asked
    )
    message = stewrd.requests[-1].body["message"]
    assert message == "Hello" if words is None else words in message
    assert bool(called(response)) is (words is not None)
    assert isinstance(response.raw, dict)
    assert response.raw.get("tool_choice_honoured") is (None if words is None else True)


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("choice", ["none", {"type": "none"}])
async def test_no_tool_at_all(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, choice: Any, required: bool
) -> None:
    response = await way.ask(
        llm, [user("get_weather(Oslo)")], tool_choice=choice, tool_required=required
    )
    assert called(response) == [] and "tools" not in stewrd.requests[-1].body
    assert stewrd.runs[0].road == "session"


async def test_a_forced_tool_out_of_one_is_named(stewrd: Emulator, llm: StewrdLLM) -> None:
    llm.chat_with_tools(TOOLS[1:], "Hello", tool_required=True)
    assert NAMED in stewrd.requests[-1].body["message"]


async def test_a_choice_of_nothing(stewrd: Emulator, llm: StewrdLLM) -> None:
    with pytest.raises(InvalidInputError, match="'subtract', which is not among the tools"):
        llm.chat_with_tools(TOOLS, "Hello", tool_choice="subtract")
    assert stewrd.requests == []


@on({"script": ("No.", "No.")})
async def test_a_choice_that_is_not_followed_is_told(
    stewrd: Emulator, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    llm = make(sessions="never")
    for asked in ({"tool_required": True}, {"tool_choice": "add_numbers"}):
        with caplog.at_level(logging.WARNING, "stewrd_integrations"):
            response = llm.chat_with_tools(TOOLS, "Hello", **asked)
        assert isinstance(response.raw, dict) and response.raw["tool_choice_honoured"] is False
        assert response.additional_kwargs["tool_choice_honoured"] is False
    assert sum("tool_choice" in record.message for record in caplog.records) == 2
    with pytest.raises(ValueError, match=r"called no tool.*'No\.'"):
        llm.get_tool_calls_from_response(response)
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []


@pytest.mark.parametrize("parallel", [True, False])
@on(TAKING, *NOT_TAKING)
async def test_parallel_calls(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, parallel: bool
) -> None:
    response = await way.ask(llm, [user(BOTH)], allow_parallel_tool_calls=parallel)
    names = [call.tool_name for call in called(response)]
    message = stewrd.requests[-1].body["message"]
    assert ("at most one tool at a time" in message) is not parallel
    assert names == (["get_weather", "add_numbers"] if parallel else ["get_weather"])
    assert called(response)[0].tool_kwargs == {"city": "Oslo"}
    told = response.raw
    assert isinstance(told, dict)
    assert told.get("tool_choice_honoured") is (None if parallel else True)


@on({**TAKING, "script": ([Call("get_weather", {"city": c}) for c in "OR"], "Both.")})
async def test_parallel_calls_that_were_not_wanted_are_told(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay
) -> None:
    messages = [user("Hi")]
    response = await way.ask(llm, messages, allow_parallel_tool_calls=False)
    assert len(called(response)) == 2, "the agent waits for the outputs of both"
    assert isinstance(response.raw, dict) and response.raw["tool_choice_honoured"] is False
    messages += [response.message, *given_back(response, "a", "b")]
    response = await way.ask(llm, messages, allow_parallel_tool_calls=False)
    assert response.message.content == "Both." and len(outputs(stewrd)[0]) == 2
