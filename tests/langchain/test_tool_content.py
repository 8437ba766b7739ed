"""What tools gave back in other forms than text: nothing of it ends a thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain import ChatStewrd

from .tooling import NOT_TAKING, TAKING, TOOLS, asked, emulated, given_back, on, outputs


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


IMAGE = {"type": "image", "base64": "AA==", "mime_type": "image/png"}
FOUND = {"type": "search_result", "title": "t", "source": "u", "content": []}
CONTENTS: list[tuple[Any, str]] = [
    ([IMAGE], "[image: not shown]"),
    ([{"type": "image_url", "image_url": {"url": "https://x.y/z.png"}}], "[image: not shown]"),
    ([{"type": "audio", "url": "https://x.y/z.wav"}], "[audio: not shown]"),
    (
        [{"type": "file", "base64": "AA==", "mime_type": "application/pdf", "filename": "a.pdf"}],
        "[file: not shown]",
    ),
    ([{"type": "text", "text": "Oslo:"}, IMAGE], "Oslo:\n[image: not shown]"),
    (
        [IMAGE, IMAGE, {"type": "text", "text": "Two"}],
        "[image: not shown]\n[image: not shown]\nTwo",
    ),
    ([{"type": "json", "json": {"a": 1}}], '{"type": "json", "json": {"a": 1}}'),
    ([FOUND], '{"type": "search_result", "title": "t", "source": "u", "content": []}'),
    ([{"city": "Zürich"}, {"city": "Bern"}], '{"city": "Zürich"}\n{"city": "Bern"}'),
    ([{"type": "image", "size": 3}], '{"type": "image", "size": 3}'),
    ([{"type": "file", "path": "a.txt"}], '{"type": "file", "path": "a.txt"}'),
    ([{"type": "text", "value": 3}], '{"type": "text", "value": 3}'),
    ([{"type": "reasoning", "reasoning": "r"}], '{"type": "reasoning", "reasoning": "r"}'),
    (["21", " degrees"], "21 degrees"),
    ([], ""),
    (
        [
            {"type": "text", "text": "See:"},
            {"type": "text-plain", "text": "a,b", "title": "t.csv", "mime_type": "text/csv"},
        ],
        "See:\n\n[t.csv]\na,b",
    ),
]


@pytest.mark.parametrize(("content", "text"), CONTENTS)
@on(TAKING)
def test_outputs_are_text(stewrd: Emulator, model: ChatStewrd, content: Any, text: str) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "get_weather(Oslo)")
    messages += given_back(messages[-1], content)
    messages.append(bound.invoke(messages))
    assert [one["output"] for one in outputs(stewrd)[0]] == [text]
    bound.invoke([*messages, HumanMessage("Thanks")])
    assert stewrd.requests[-1].body["message"] == "Thanks", "they are known again"


@on(TAKING, *NOT_TAKING)
def test_a_thread_goes_on_after_a_picture(stewrd: Emulator, model: ChatStewrd) -> None:
    @tool
    def shot(city: str) -> Any:
        """Take a picture of a city."""
        return [IMAGE]

    agent: Any = create_agent(model, [shot], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    for text, told in (("shot(Oslo)", "[image: not shown]"), ("Hello", "Hello")):
        answer = agent.invoke({"messages": [("user", text)]}, config)["messages"][-1]
        assert told in answer.text


def test_what_people_say_stays_strict(stewrd: Emulator, model: ChatStewrd) -> None:
    for block in (IMAGE, {"type": "json", "json": {}}):
        with pytest.raises(InvalidInputError, match="Block 1 of message 1"):
            model.invoke([HumanMessage([block])])
    assert stewrd.requests == []
