"""The models of both frameworks live on what the vendor documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from llama_index.core.llms import ChatMessage, ChatResponse, DocumentBlock, TextBlock
from llama_index.core.tools import FunctionTool, ToolMetadata
from pydantic import BaseModel, ConfigDict

from stewrd_integrations.errors import FailedStreamError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore

from .tape import ADDRESS, FOLDER, KEY, name_of, play

FIRST = "Research the top 5 project management tools"
NEXT = "Create a comparison table of those tools as a CSV"
NEWS = "What is new in Oslo?"
WEATHER = "What is the weather in Oslo?"
STREAMS = [FOLDER / "vendor_page" / f"stream_{form}.yaml" for form in ("content", "text", "nested")]
SCHEMA: dict[str, Any] = {
    "name": "get_weather",
    "description": "Tell the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def page(name: str) -> Path:
    return FOLDER / "vendor_page" / f"{name}.yaml"


def options(**more: Any) -> dict[str, Any]:
    given = {"api_key": KEY, "base_url": ADDRESS, "store": MemoryStore(), "max_retries": 0}
    return {**given, "conversation_id": "ada", **more}


class Chat:
    """`ChatStewrd`, asked like `Llm`."""

    def __init__(self, **more: Any) -> None:
        self.model = ChatStewrd(**options(**more))

    def say(self, *texts: str, **more: Any) -> tuple[str, dict[str, Any]]:
        """The answer to the last of these texts; those before are turns of their own."""
        shown: list[Any] = []
        for text in texts:
            shown.append(HumanMessage(text))
            shown.append(self.model.invoke(shown, **more))
        return shown[-1].text, shown[-1].response_metadata["stewrd"]

    def stream(self, text: str, into: list[str], **more: Any) -> dict[str, Any]:
        """What is told at the end of a stream; the pieces of its text go into a list."""
        told: dict[str, Any] = {}
        for chunk in self.model.stream([HumanMessage(text)], **more):
            into.append(chunk.text)
            told = chunk.response_metadata.get("stewrd", told)
        return told


class Llm:
    """`StewrdLLM`, asked like `Chat`."""

    def __init__(self, **more: Any) -> None:
        self.model = StewrdLLM(**options(**more))

    def say(self, *texts: str, **more: Any) -> tuple[str, dict[str, Any]]:
        """The answer to the last of these texts; those before are turns of their own."""
        shown: list[ChatMessage] = []
        for text in texts:
            shown.append(ChatMessage(text))
            answer = self.model.chat(shown, **more)
            shown.append(answer.message)
        return answer.message.content or "", answer.additional_kwargs["stewrd"]

    def stream(self, text: str, into: list[str], **more: Any) -> dict[str, Any]:
        """What is told at the end of a stream; the pieces of its text go into a list."""
        told: dict[str, Any] = {}
        for chunk in self.model.stream_chat([ChatMessage(text)], **more):
            into.append(chunk.delta or "")
            told = chunk.additional_kwargs.get("stewrd", told)
        return told


@pytest.fixture(params=[Chat, Llm], ids=["langchain", "llama_index"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_session(kind: Any) -> None:
    with play(page("session")):
        text, told = kind().say(FIRST, NEXT)
    assert text == "The table is in comparison.csv."
    assert (told["road"], told["turn"], told["messages_used"]) == ("session", "continued", 4)
    assert [file["name"] for file in told["files"]] == ["comparison.csv", "comparison.xlsx"]
    assert told["usage"] == {
        "credits": 1,
        "credits_remaining": 4757,
        "tokens": 2310,
        "estimated": False,
    }
    assert (told["request_id"], told["duration_ms"]) == ("request-uuid-2", 5100)


def test_a_plan_without_sessions(kind: Any) -> None:
    with play(page("plan_restricted")):
        text, told = kind().say("What is a slot?")
    assert text == "One of the ten sessions that a project may have."
    assert (told["road"], told["session_id"]) == ("stateless", None)


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_streams(kind: Any, path: Path) -> None:
    with play(path):
        for more, road in (({}, "session"), ({"sessions": "never"}, "stateless")):
            model, pieces = kind(), list[str]()
            told = model.stream(NEWS, pieces, **more)
            assert [piece for piece in pieces if piece] == ["A library ", "opened."]
            assert (told["road"], told["usage"]["tokens"]) == (road, 812)
            assert told["request_id"] == "request-uuid"


def test_a_stream_that_fails(kind: Any) -> None:
    with play(page("stream_error")):
        for more in ({}, {"sessions": "never"}):
            pieces: list[str] = []
            with pytest.raises(FailedStreamError):
                kind().stream(NEWS, pieces, **more)
            assert "".join(pieces) == "A library "


def test_a_tool_round_under_langchain() -> None:
    with play(page("tool_round")):
        model = ChatStewrd(**options(sessions="never")).bind_tools([SCHEMA])
        shown: list[Any] = [HumanMessage(WEATHER)]
        shown.append(model.invoke(shown))
        [call] = shown[-1].tool_calls
        assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
        shown.append(ToolMessage("It is sunny in Oslo.", tool_call_id=call["id"]))
        assert model.invoke(shown).text == "The sun shines in Oslo."


def without_titles(schema: dict[str, Any]) -> None:
    """As the page shows it; pydantic gives each argument a title."""
    for field in schema["properties"].values():
        field.pop("title", None)


class City(BaseModel):
    """The arguments of the tool."""

    model_config = ConfigDict(json_schema_extra=without_titles)
    city: str


def test_a_tool_round_under_llama_index() -> None:
    about = ToolMetadata(SCHEMA["description"], SCHEMA["name"], City)
    tool = FunctionTool(lambda city: f"It is sunny in {city}.", about)
    with play(page("tool_round")):
        llm = StewrdLLM(**options(sessions="never"))
        shown = [ChatMessage(WEATHER)]
        more: dict[str, Any] = {"chat_history": shown, "allow_parallel_tool_calls": True}
        shown.append(llm.chat_with_tools([tool], **more).message)
        [call] = llm.get_tool_calls_from_response(ChatResponse(message=shown[-1]))
        assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Oslo"})
        named = {"tool_call_id": call.tool_id, "name": call.tool_name}
        output = tool(**call.tool_kwargs).content
        shown.append(ChatMessage(output, role="tool", additional_kwargs=named))
        answer = llm.chat_with_tools([tool], **more)
    assert answer.message.content == "The sun shines in Oslo."


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_a_file(framework: str) -> None:
    question, table = "How many lines has this file?", "a,b\n1,2\n"
    given = options(sessions="never", capabilities=["chat", "data"])
    with play(page("agent")):
        if framework == "langchain":
            file = {"type": "text-plain", "mime_type": "text/csv", "title": "t.csv", "text": table}
            message = HumanMessage([{"type": "text", "text": question}, file])
            assert ChatStewrd(**given).invoke([message]).text == "It has two lines."
            return
        blocks = [TextBlock(text=question), DocumentBlock(data=table.encode(), title="t.csv")]
        answer = StewrdLLM(**given).chat([ChatMessage(role="user", blocks=blocks)])
        assert answer.message.content == "It has two lines."
