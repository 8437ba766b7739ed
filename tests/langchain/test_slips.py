"""Names that nobody knows, and other slips: what the errors advise."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import TodoListMiddleware
from langchain.agents.structured_output import ProviderStrategy
from pydantic import BaseModel

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, InvalidInputError
from stewrd_integrations.langchain import ChatStewrd

from .tooling import Make

SETTINGS = "set in the project's settings"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("max_retrys", "Did you mean 'max_retries'?"),
        ("request_timeout", "Did you mean 'timeout'?"),
        ("apikey", "Did you mean 'api_key'?"),
        ("stewrd_api_key", "Did you mean 'api_key'?"),
        ("API_KEY", "Did you mean 'api_key'?"),
        ("base_uri", "Did you mean 'base_url'?"),
        ("conversationid", "Did you mean 'conversation_id'?"),
        ("session_id", "Did you mean 'conversation_id'?"),
        ("stop_sequences", "Did you mean 'stop'?"),
        ("streamin", "Did you mean 'streaming'?"),
        ("model", SETTINGS),
        ("model_name", SETTINGS),
        ("model_kwargs", SETTINGS),
        ("temperature", SETTINGS),
        ("max_tokens", SETTINGS),
        ("n", SETTINGS),
        ("verbosity", SETTINGS),
        ("something_else", SETTINGS),
        ("response_format", "ToolStrategy"),
    ],
)
def test_an_option_that_is_unknown(name: str, advice: str) -> None:
    secret = "sk-stw_" + "s" * 24
    given: dict[str, Any] = {name: secret}
    with pytest.raises(ConfigurationError, match=f"no option '{name}'") as caught:
        ChatStewrd(**given)
    assert advice in caught.value.advice and secret not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"capabilities": "chat"}, r'^capabilities must be a list, as in capabilities=\["chat"\]'),
        ({"api_key": 7}, r"^api_key must be text, a SecretStr or a callable"),
        ({"sessions": "sometimes"}, r"^sessions: Input should be 'auto', 'always' or 'never'"),
    ],
)
def test_what_is_wanted_of_an_option_is_said(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ChatStewrd(**{"api_key": "sk-stw_some", **given})


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("temperature", SETTINGS),
        ("max_tokens", SETTINGS),
        ("conversation", "Did you mean 'conversation_id'?"),
        ("capability", "Did you mean 'capabilities'?"),
        ("stop_sequences", "Did you mean 'stop'?"),
        ("timeout", "give it to the constructor"),
        ("request_timeout", "Did you mean 'timeout'?"),
        ("response_format", "ToolStrategy"),
    ],
)
def test_a_keyword_of_a_call_that_is_unknown(
    stewrd: Emulator, model: ChatStewrd, name: str, advice: str
) -> None:
    given: dict[str, Any] = {name: 1}
    with pytest.raises(InvalidInputError, match=f"no place for '{name}'") as caught:
        model.invoke("Hi", **given)
    assert advice in caught.value.advice and stewrd.requests == []


class Trip(BaseModel):
    """A trip."""

    city: str


def test_a_providers_strategy_is_told_of_another(stewrd: Emulator, model: ChatStewrd) -> None:
    agent: Any = create_agent(model, [], response_format=ProviderStrategy(Trip))
    with pytest.raises(InvalidInputError) as caught:
        agent.invoke({"messages": [("user", "Hi")]})
    for advised in ("ToolStrategy", "with_structured_output()"):
        assert advised in caught.value.advice
    assert stewrd.requests == []


def test_a_description_that_is_too_long(stewrd: Emulator, model: ChatStewrd) -> None:
    shown: Any = {"messages": [("user", "Hello")]}
    middleware = TodoListMiddleware()
    size = len(middleware.tools[0].description)
    with pytest.raises(InvalidInputError, match=f"'write_todos' has {size} char") as caught:
        create_agent(model, [], middleware=[middleware]).invoke(shown)
    assert "the API takes 1024" in caught.value.message
    assert "tool_description=" in caught.value.advice and stewrd.requests == []
    shorter = TodoListMiddleware(tool_description="Keep a list of what is to be done.")
    create_agent(model, [], middleware=[shorter]).invoke(shown)
    assert len(stewrd.runs) == 1


def test_capabilities_beside_tools_are_told_of_at_once(stewrd: Emulator, make: Make) -> None:
    model = make(capabilities=["research"])
    with pytest.raises(InvalidInputError, match="not research") as caught:
        model.bind_tools([Trip])
    assert 'capabilities=None or ["chat"]' in caught.value.advice
