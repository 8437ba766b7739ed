"""Tools for tests, servers that treat them in each possible way, and what those heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from stewrd_integrations.emulator import Answer, Call, Context, Emulator
from stewrd_integrations.langchain import ChatStewrd
from tests.servers import serve

Make: TypeAlias = Callable[..., ChatStewrd]

TAKING: dict[str, Any] = {"session_tools": "accepted"}
NOT_TAKING: list[dict[str, Any]] = [{"session_tools": "refused"}, {"session_tools": "empty"}]


def on(*settings: dict[str, Any]) -> pytest.MarkDecorator:
    """A test on an emulator with each of these settings."""
    ids = [
        " ".join(f"{one[key]}" for key in one if key not in ("script", "agent")) for one in settings
    ]
    return pytest.mark.parametrize("stewrd", settings, indirect=True, ids=ids)


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


@tool
def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOLS = [get_weather, add_numbers]


@contextmanager
def emulated(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """An emulator with the settings of `on`; "script" is what its agent answers, in order."""
    settings = dict(getattr(request, "param", {}))
    if "script" in settings:
        settings["agent"] = scripted(*settings.pop("script"))
    with serve(**settings) as running:
        yield running
        assert [one.code for one in running.refused if one.path == "/v1/sessions"] == []
        assert running.overlaps == []
        assert running.over_limit == 0


def scripted(*answers: str | Answer | list[Call]) -> Callable[[Context], str | Answer]:
    """An agent that gives these answers one after the other, whatever it hears."""
    left = iter(answers)

    def agent(context: Context) -> str | Answer:
        answer = next(left)
        return Answer(calls=answer) if isinstance(answer, list) else answer

    return agent


def outputs(stewrd: Emulator) -> list[list[dict[str, str]]]:
    """The outputs that were given back, request by request."""
    return [
        exchange.body["tool_outputs"]
        for exchange in stewrd.requests
        if exchange.path.endswith("/tool-outputs")
    ]


def offered(stewrd: Emulator) -> list[dict[str, Any]]:
    """The tools of the last request that had some."""
    bodies = [exchange.body for exchange in stewrd.requests if exchange.body]
    found: list[dict[str, Any]] = [body["tools"] for body in bodies if "tools" in body][-1]
    return found


def said(stewrd: Emulator) -> list[tuple[str, str]]:
    """The conversation as the agent read it at its last answer."""
    return [(one.role, one.text) for one in stewrd.runs[-1].conversation.messages]


def charged(stewrd: Emulator) -> int:
    return stewrd.settings.credits - stewrd.credits


def refused(stewrd: Emulator) -> list[str | None]:
    """The codes of what the server refused."""
    return [exchange.code for exchange in stewrd.refused]


def ways(messages: Sequence[BaseMessage]) -> list[str]:
    """How the turns of a list travelled."""
    return [one.response_metadata["turn"] for one in messages if isinstance(one, AIMessage)]


def asked(model: Any, text: str, **who: Any) -> list[BaseMessage]:
    """A question, and the answer to it."""
    shown: list[BaseMessage] = [HumanMessage(text)]
    return [*shown, model.invoke(shown, **who)]


def given_back(answer: BaseMessage, *texts: Any, **more: Any) -> list[BaseMessage]:
    """What the tools of an answer gave back."""
    assert isinstance(answer, AIMessage)
    return [
        ToolMessage(text, tool_call_id=call["id"], name=call["name"], **more)
        for call, text in zip(answer.tool_calls, texts, strict=True)
    ]
