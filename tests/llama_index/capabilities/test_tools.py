"""`StewrdToolSpec`: what other models are told, and what the server hears."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from typing import Any

import pytest
from llama_index.core.tools import FunctionTool, ToolMetadata, ToolOutput
from pydantic import BaseModel

from stewrd_integrations.asking import ToolOptions
from stewrd_integrations.capabilities import Question, TextFile, description_of
from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.errors import ConfigurationError, InvalidInputError, StewrdError
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.llama_index.tools import StewrdToolSpec
from stewrd_integrations.types import CAPABILITIES
from tests.servers import serve

from .asking import EXAMPLE, KEY, NOWHERE, Ask, Make, ask, both, only

# -- what models are told ------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "c"])
def test_every_capability_is_a_tool(name: str | None) -> None:
    tools = StewrdToolSpec(conversation_id=name, **NOWHERE).to_tool_list()
    assert [tool.metadata.name for tool in tools] == [f"stewrd_{one}" for one in CAPABILITIES]
    for tool, capability in zip(tools, CAPABILITIES, strict=True):
        assert isinstance(tool, FunctionTool)
        told = tool.metadata.to_openai_tool()["function"]  # it raises if a text is too long
        assert told["description"] == description_of([capability], remembers=name is not None)
        parameters = told["parameters"]
        assert list(parameters["properties"]) == ["message", "files"]
        assert parameters["required"] == ["message"]
        file = parameters["$defs"]["TextFile"]["properties"]
        for described in (*parameters["properties"].values(), *file.values()):
            assert len(described["description"]) > 20


async def test_only_what_was_named() -> None:
    spec = StewrdToolSpec(["code", "data", "code"], **NOWHERE)
    assert spec.capabilities == ("code", "data") and spec.conversation_id is None
    assert spec.spec_functions == [("code", "acode"), ("data", "adata")]
    names = [tool.metadata.name for tool in await spec.to_tool_list_async()]
    assert names == ["stewrd_code", "stewrd_data"]


# -- what the server hears -----------------------------------------------------------


@both
async def test_a_call(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    output: ToolOutput = await ask(only(spec("data")), **EXAMPLE)
    assert output.content == "a.csv has 2 lines; the first one is “x,y”."
    assert [block.block_type for block in output.blocks] == ["text"]
    assert (output.tool_name, output.is_error, output.exception) == ("stewrd_data", False, None)
    assert output.raw_input == {"args": (), "kwargs": EXAMPLE}
    (run,) = stewrd.runs
    assert run.capabilities == ("data",) and run.message == EXAMPLE["message"]
    assert run.files == (File("a.csv", "x,y\n1,2\n"),)
    assert (run.road, run.stream, stewrd.sessions) == ("stateless", False, {})
    facts = output.raw_output
    assert facts["answer"] == output.content and facts["road"] == "stateless"
    assert facts["usage"]["credits"] == 1 and facts["usage"]["credits_remaining"] == 999
    assert facts["capabilities_used"] == ["data"] and "mark" not in facts
    assert json.loads(json.dumps(facts)) == facts


@both
async def test_calls_stand_alone(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    tool = only(spec())
    await ask(tool, message="My name is Ada.")
    assert (await ask(tool, message="Who am I?")).content == "You have not told me your name."
    assert stewrd.sessions == {}
    assert [run.message for run in stewrd.runs] == ["My name is Ada.", "Who am I?"]


@both
async def test_arguments_may_stand_in_their_order(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    tool = only(spec("files"))
    output = await ask(tool, EXAMPLE["message"], EXAMPLE["files"])
    assert output.raw_input["args"] == (EXAMPLE["message"], EXAMPLE["files"])
    assert stewrd.runs[0].files == (File("a.csv", "x,y\n1,2\n"),)


@both
async def test_arguments_that_are_given_before(stewrd: Emulator, spec: Make, ask: Ask) -> None:
    tool = only(spec("files"))
    tool.partial_params = {"files": EXAMPLE["files"]}
    await ask(tool, message=EXAMPLE["message"])
    assert stewrd.runs[0].files == (File("a.csv", "x,y\n1,2\n"),)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_methods_ask_too(stewrd: Emulator, spec: Make, colour: str) -> None:
    whole = spec(*CAPABILITIES)
    for capability in CAPABILITIES:
        method = getattr(whole, capability if colour == "sync" else f"a{capability}")
        output = method("Hello", [TextFile(name="a.txt", content="x")])
        output = output if colour == "sync" else await output
        assert output.tool_name == f"stewrd_{capability}"
        assert output.raw_output["capabilities_used"] == [capability]
        given = {"message": "Hello", "files": [{"name": "a.txt", "content": "x"}]}
        assert output.raw_input == {"args": (), "kwargs": given}
    assert [run.capabilities for run in stewrd.runs] == [(one,) for one in CAPABILITIES]
    assert stewrd.runs[0].files == (File("a.txt", "x"),)


async def test_methods_raise(stewrd: Emulator, spec: Make) -> None:
    one = spec("research")
    for asked in (one.research, one.aresearch):
        with pytest.raises(InvalidInputError, match=r"nothing was sent\. message: String"):
            await asked("")  # type: ignore[misc]  # it raises before there is anything to await
    for asked in (one.code, one.acode):
        with pytest.raises(ConfigurationError, match=r"not made for 'code'\. It has research"):
            await asked("Hello")  # type: ignore[misc]  # the same
    assert stewrd.requests == []
    stewrd.fail_next("error", on="agent", status=402, times=2)
    with pytest.raises(StewrdError, match="credits"):
        one.research("Hello")
    with pytest.raises(StewrdError, match="credits"):
        await one.aresearch("Hello")


async def test_the_loop_goes_on_while_a_tool_is_at_work() -> None:
    arrived, told = threading.Event(), threading.Event()

    def waits(context: Context) -> Answer:
        arrived.set()
        return Answer("In time." if told.wait(10) else "The loop stood still.")

    with serve(agent=waits) as stewrd:
        spec = StewrdToolSpec(["chat"], api_key=stewrd.api_key, base_url=stewrd.url)
        asked = asyncio.create_task(only(spec).acall(message="Hello"))
        assert await asyncio.to_thread(arrived.wait, 10)
        told.set()
        assert (await asked).content == "In time."
        await spec.aclose()


@pytest.mark.parametrize(
    ("files", "content"),
    [
        ((File("a", "x"),), "Files that came with it: a (text)."),
        (
            (File("a.md", "# A"), File("b.pdf", None, "https://files.example/b?sig=x")),
            "Files that came with it: a.md (text), b.pdf (to be downloaded).",
        ),
    ],
)
async def test_files_come_with_the_raw_output(files: Any, content: str) -> None:
    with serve(agent=lambda context: Answer(" ", files=files)) as stewrd:
        spec = StewrdToolSpec(["documents"], api_key=stewrd.api_key, base_url=stewrd.url)
        output = await ask(only(spec), message="Write it")
        await spec.aclose()
    assert output.content == content
    listed = [{"name": one.name, "content": one.content, "url": one.url} for one in files]
    assert output.raw_output["files"] == listed


# -- what users of tool specs expect -------------------------------------------------


@both
@pytest.mark.parametrize("wanted", ["code", "acode", ("code", "acode")])
async def test_functions_can_be_picked(stewrd: Emulator, spec: Make, ask: Ask, wanted: Any) -> None:
    (tool,) = spec("research", "code").to_tool_list([wanted])
    assert tool.metadata.name == "stewrd_code" and tool.metadata.fn_schema is Question
    assert (await ask(tool, message="Hello")).content
    assert stewrd.runs[0].capabilities == ("code",)


def test_what_is_known_of_functions() -> None:
    spec = Own(["code", "data"], **NOWHERE)
    for name, schema in (("data", Question), ("adata", Question), ("dice", None), ("code", None)):
        assert spec.get_fn_schema_from_fn_name(name) is schema
        metadata = spec.get_metadata_from_fn_name(name)
        assert (metadata and metadata.fn_schema) is schema


def test_functions_of_other_capabilities_can_not_be_picked() -> None:
    with pytest.raises(ConfigurationError, match="not made for 'chat'"):
        StewrdToolSpec(["code"], **NOWHERE).to_tool_list([("chat", "achat")])


class Narrow(BaseModel):
    message: str


@both
@pytest.mark.parametrize("function", ["code", "acode"])
async def test_metadata_can_be_chosen(
    stewrd: Emulator, spec: Make, ask: Ask, function: str
) -> None:
    own = ToolMetadata("Ask Bo.", "colleague", return_direct=True)
    (tool,) = spec("code").to_tool_list(func_to_metadata_mapping={function: own})
    metadata = tool.metadata
    assert (metadata.name, metadata.description) == ("colleague", "Ask Bo.")
    assert metadata.return_direct and metadata.fn_schema is Question
    assert own.fn_schema is not Question  # it is the application's
    assert (await ask(tool, message="Hello")).tool_name == "colleague"
    stewrd.fail_next("error", on="agent", status=402)
    assert (await ask(tool, message="Hello")).content.startswith("colleague failed: ")


def test_a_schema_can_be_chosen() -> None:
    own = {"code": ToolMetadata("Ask Bo.", fn_schema=Narrow)}
    (tool,) = StewrdToolSpec(["code"], **NOWHERE).to_tool_list(func_to_metadata_mapping=own)
    assert tool.metadata.fn_schema is Narrow and tool.metadata.name == "stewrd_code"


class Own(StewrdToolSpec):
    """A spec with a function and another body of its own."""

    def dice(self, sides: int) -> int:
        """Throw a die."""
        return sides

    def code(self, message: str, files: Any = ()) -> ToolOutput:
        """Ask Bo."""
        return super().code(f"Bo, {message}", files)


async def test_subclasses_add_functions_and_change_them(stewrd: Emulator) -> None:
    spec = Own(["code", "data"], api_key=stewrd.api_key, base_url=stewrd.url)
    dice, code, data = spec.to_tool_list(["dice", "code", "data"])
    assert dice.metadata.name == "dice" and dice(sides=6).raw_output == 6
    assert code.metadata.description.endswith("Ask Bo.")
    assert code(message="Hello").content and stewrd.runs[0].message == "Bo, Hello"
    assert data.metadata.name == "stewrd_data"
    await spec.aclose()


async def test_it_can_be_used_after_its_connections_were_given_back(
    stewrd: Emulator, spec: Make
) -> None:
    one = spec("code")
    for _ in range(2):
        assert one.code("Hello").content == (await one.acode("Hello")).content
        one.close()
        await one.aclose()
    assert len(stewrd.runs) == 4


async def test_its_function_serves_other_frameworks(stewrd: Emulator, spec: Make) -> None:
    tool = only(spec())
    assert str(tool.fn("Hello")) == str(await tool.async_fn("Hello")) == tool("Hello").content


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@both
async def test_copies_work(stewrd: Emulator, spec: Make, ask: Ask, copied: Any) -> None:
    original = spec("code", max_credits=6)
    for tool in (copied(only(original)), only(copied(original)), only(original)):
        output = await ask(tool, message="Hello")
    assert output.is_error and "max_credits=6" in output.content  # what they spend is one sum
    assert [run.capabilities for run in stewrd.runs] == [("code",)] * 2


# -- options -------------------------------------------------------------------------


def test_its_options_are_those_of_the_model() -> None:
    assert set(ToolOptions.__annotations__) <= {*StewrdLLM.model_fields, "api_key"}


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
        ({"on_store_error": "cry"}, "on_store_error"),
        ({"base_url": "http://example.com"}, "base_url"),
        ({"temperature": 0.5}, "temperature"),
        ({"api_key": KEY + "\n\0"}, "API key"),
        ({"apikey": KEY}, "apikey"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        StewrdToolSpec(**{"capabilities": ["chat"], **NOWHERE, **options})
    link: BaseException | None = caught.value
    while link is not None:
        assert KEY not in f"{link} {link!r} {link.args} {vars(link)}"
        frame = link.__traceback__
        while frame is not None:
            if "stewrd_integrations" in frame.tb_frame.f_code.co_filename:
                assert KEY not in repr(frame.tb_frame.f_locals)
            frame = frame.tb_next
        link = link.__cause__ or link.__context__


def test_the_key_does_not_show() -> None:
    spec = StewrdToolSpec(["chat"], conversation_id="c", **NOWHERE)
    tool = only(spec)
    for shown in (spec, vars(spec), tool, vars(tool), tool.metadata):
        assert KEY not in repr(shown)
    assert repr(spec) == "StewrdToolSpec(['chat'])"


def test_what_it_may_use_is_fixed() -> None:
    spec: Any = StewrdToolSpec(["chat"], **NOWHERE)
    for name, value in (("capabilities", ("code",)), ("conversation_id", "d")):
        with pytest.raises(AttributeError):
            setattr(spec, name, value)
