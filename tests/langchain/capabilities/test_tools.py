"""`StewrdTool` and `StewrdToolkit`: what other models are told, and what the server hears."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from stewrd_integrations.asking import ToolOptions
from stewrd_integrations.capabilities import ABOUT, Question
from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.langchain import StewrdTool, StewrdToolkit
from stewrd_integrations.options import OPTION_NAMES
from stewrd_integrations.types import CAPABILITIES, CREDITS
from tests.servers import serve

from ..test_configured import check_hygiene
from .asking import EXAMPLE, KEY, NOWHERE, Ask, Make, ask, both

# -- what models are told ------------------------------------------------------------


def test_every_capability_is_described() -> None:
    assert set(ABOUT) == set(CAPABILITIES)
    toolkit = StewrdToolkit(**NOWHERE)
    assert [tool.name for tool in toolkit.get_tools()] == [f"stewrd_{one}" for one in CAPABILITIES]
    for tool, capability in zip(toolkit.get_tools(), CAPABILITIES, strict=True):
        cost = CREDITS[capability]
        for part in (
            *ABOUT[capability],
            "Use it for ",
            "Don't use it for ",
            f"costs {cost} credit{'s' * (cost > 1)}, ",
            "nothing of your conversation",
        ):
            assert part in tool.description, capability
        assert len(tool.description) <= 1_024


def test_several_capabilities_at_once() -> None:
    tool = StewrdTool(["research", "documents", "research"], **NOWHERE)
    assert tool.name == "stewrd_research_documents" and tool.capabilities == (
        "research",
        "documents",
    )
    assert "costs 8 credits" in tool.description
    assert len(StewrdTool(CAPABILITIES, **NOWHERE).name) <= 64


def test_whether_it_remembers_is_told() -> None:
    alone = StewrdTool(["chat"], **NOWHERE)
    remembers = StewrdTool(["chat"], conversation_id="c", **NOWHERE)
    assert "nothing of earlier calls" in alone.description
    assert "remembers earlier calls" in remembers.description


def test_its_arguments_are_described() -> None:
    assert StewrdTool(["chat"], **NOWHERE).args_schema is Question
    schema = Question.model_json_schema()
    assert list(schema["properties"]) == ["message", "files"] and schema["required"] == ["message"]
    file = schema["$defs"]["TextFile"]["properties"]
    for described in (*schema["properties"].values(), *file.values()):
        assert len(described["description"]) > 20


def test_name_and_description_can_be_chosen() -> None:
    tool = StewrdTool(["chat"], name="colleague", description="Ask Bo.", tags=["x"], **NOWHERE)
    assert (tool.name, tool.description, tool.tags) == ("colleague", "Ask Bo.", ["x"])


# -- what the server hears -----------------------------------------------------------


@both
async def test_a_call(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    answer = await ask(tool("data", "files"), **EXAMPLE)
    assert answer.content == "a.csv has 2 lines; the first one is “x,y”."
    assert (answer.status, answer.tool_call_id, answer.name) == (
        "success",
        "1",
        "stewrd_data_files",
    )
    (run,) = stewrd.runs
    assert run.capabilities == ("data", "files") and run.message == EXAMPLE["message"]
    assert run.files == (File("a.csv", "x,y\n1,2\n"),)
    assert (run.road, run.stream, stewrd.sessions) == ("stateless", False, {})
    facts = answer.artifact
    assert facts["answer"] == answer.content and facts["road"] == "stateless"
    assert facts["usage"]["credits"] == 3 and facts["usage"]["credits_remaining"] == 997
    assert facts["capabilities_used"] == ["data", "files"] and "mark" not in facts
    assert json.loads(json.dumps(facts)) == facts


@both
async def test_calls_stand_alone(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    research = tool()
    await ask(research, "My name is Ada.")
    config = {"configurable": {"thread_id": "t", "session_id": "s", "conversation_id": "c"}}
    answer = await ask(research, "Who am I?", config)
    assert answer.content == "You have not told me your name."
    assert stewrd.sessions == {} and [run.message for run in stewrd.runs] == [
        "My name is Ada.",
        "Who am I?",
    ]


@both
async def test_the_capabilities_of_each_tool_of_a_kit(stewrd: Emulator, ask: Ask) -> None:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
    toolkit = StewrdToolkit(["research", "code"], **here)
    for tool in toolkit.get_tools():
        await ask(tool, "Hello")
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("code",)]
    toolkit.close()
    await toolkit.aclose()


def answering(*files: File, text: str = "Here it is.") -> Callable[[Context], Answer]:
    return lambda context: Answer(text, files=files)


async def test_files_come_with_the_artifact() -> None:
    files = [File("a.md", "# A"), File("b.pdf", None, "https://files.example/b?sig=x")]
    with serve(agent=answering(*files)) as stewrd:
        tool = StewrdTool(["documents"], api_key=stewrd.api_key, base_url=stewrd.url)
        answer = await ask(tool, "Write it")
        tool.close()
    assert answer.content == (
        "Here it is.\n\nFiles that came with it: a.md (text), b.pdf (to be downloaded)."
    )
    assert answer.artifact["files"] == [
        {"name": "a.md", "content": "# A", "url": None},
        {"name": "b.pdf", "content": None, "url": "https://files.example/b?sig=x"},
    ]


@pytest.mark.parametrize(
    ("files", "content"),
    [((), "neither a message nor tool calls"), ((File("a", "x"),), "Files that came with it: a (")],
)
async def test_an_answer_without_words(files: Any, content: str) -> None:
    with serve(agent=answering(*files, text=" ")) as stewrd:
        tool = StewrdTool(["chat"], api_key=stewrd.api_key, base_url=stewrd.url)
        assert content in (await ask(tool, "Hi")).content
        tool.close()


# -- options -------------------------------------------------------------------------


def test_its_options_are_those_of_the_models() -> None:
    assert set(ToolOptions.__annotations__) <= set(OPTION_NAMES)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"capabilities": None}, "needs its capabilities"),
        ({"capabilities": []}, "capabilities"),
        ({"capabilities": "research"}, "capabilities"),
        ({"capabilities": ["magic"]}, "magic"),
        ({"conversation_id": " "}, "conversation_id"),
        ({"conversation_id": True}, "conversation_id"),
        ({"tenant": []}, "tenant"),
        ({"timeout": -1}, "timeout"),
        ({"max_credits": -1}, "max_credits"),
        ({"store": "carrier-pigeon://"}, "store"),
        ({"base_url": "http://example.com"}, "base_url"),
        ({"temperature": 0.5}, "temperature"),
        ({"api_key": KEY + "\n\0"}, "API key"),
        ({"apikey": KEY}, "apikey"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [StewrdTool, StewrdToolkit])
def test_wrong_options_are_named(kind: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        kind(**{"capabilities": ["chat"], **NOWHERE, **options})
    check_hygiene(caught.value)


def test_the_key_does_not_show() -> None:
    tool = StewrdTool(["chat"], conversation_id="c", **NOWHERE)
    toolkit = StewrdToolkit(**NOWHERE)
    for shown in (tool, toolkit, vars(tool), tool.model_dump(), tool.__pydantic_private__):
        assert KEY not in repr(shown)


def test_what_it_may_use_is_fixed() -> None:
    tool = StewrdTool(["chat"], **NOWHERE)
    for name, value in (("capabilities", ("code",)), ("conversation_id", "d")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(tool, name, value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, StewrdTool.model_copy])
async def test_copies_work(stewrd: Emulator, tool: Make, copied: Any) -> None:
    twin = copied(tool("code"))
    assert (await ask(twin, "Hello")).status == "success"
    assert stewrd.runs[0].capabilities == ("code",)
