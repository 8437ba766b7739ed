"""Models, tools and histories travel without their secrets, and find them where they arrive."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.langchain import (
    ChatStewrd,
    StewrdChatMessageHistory,
    StewrdTool,
    StewrdToolkit,
)
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores.redis import RedisStore
from tests.api.wire import REPLY, RawServer, answer

from .searching import USUAL
from .test_key_in_objects import HEADER, PASSWORD, QUOTED, URL, assert_all_hidden, few, given

THINGS: dict[str, Callable[..., Any]] = {
    "ChatStewrd": lambda **more: ChatStewrd(**given(**more)),
    "ChatStewrd, in a form": lambda **more: ChatStewrd(**given(**more)).with_structured_output(
        {"title": "a", "description": "b", "type": "object", "properties": {}}
    ),
    "StewrdLLM": lambda **more: StewrdLLM(**given(**more)),
    "StewrdTool": lambda **more: StewrdTool(["chat"], **given(**more)),
    "StewrdToolkit": lambda **more: StewrdToolkit(["chat"], **given(**more)),
    "StewrdChatMessageHistory": lambda **more: StewrdChatMessageHistory("c", **few(**more)),
}
every = pytest.mark.parametrize("name", THINGS)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEWRD_API_KEY", "STEWRD_BASE_URL", "STEWRD_STORE", "STEWRD_DEFAULT_HEADERS"):
        monkeypatch.delenv(name, raising=False)


@every
@pytest.mark.parametrize("store", [URL, RedisStore(URL), "redis://localhost?password=" + QUOTED])
def test_no_secret_is_in_a_pickle(name: str, store: Any) -> None:
    thing = THINGS[name](store=store)
    pickled = pickle.dumps(thing)
    assert_all_hidden([("pickle", pickled)])
    assert PASSWORD.encode() not in pickled


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer()
    server.script(answer(200, REPLY))
    yield server
    server.close()


def ask(model: Any) -> str:
    with model:
        if isinstance(model, ChatStewrd):
            return str(model.invoke("Hi").text)
        return str(model.complete("Hi").text)


def of(server: RawServer, **more: Any) -> dict[str, Any]:
    return given(base_url=server.url, sessions="never", **more)


@pytest.mark.parametrize("kind", [ChatStewrd, StewrdLLM])
def test_a_model_finds_its_secrets_where_it_arrives(
    kind: Any, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(kind(**of(server)))
    monkeypatch.setenv("STEWRD_API_KEY", USUAL)
    for variable, value in (
        ("STEWRD_STORE", "memory://"),
        ("STEWRD_DEFAULT_HEADERS", json.dumps({"X-Proxy-Key": HEADER})),
    ):
        with pytest.raises(ConfigurationError, match=f"Set {variable}") as caught:
            ask(pickle.loads(pickled))  # noqa: S301 - made above
        assert_all_hidden([("error", "".join(traceback.format_exception(caught.value)))])
        monkeypatch.setenv(variable, value)
    assert ask(pickle.loads(pickled)) == "Hello."  # noqa: S301 - made above
    assert server.requests[-1].headers["x-proxy-key"] == HEADER


@pytest.mark.parametrize("kind", [ChatStewrd, StewrdLLM])
def test_a_model_without_such_secrets_travels_as_it_did(
    kind: Any, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", USUAL)
    options = of(server, store="memory://", default_headers=None)
    there = pickle.loads(pickle.dumps(kind(**options)))  # noqa: S301 - made above
    assert there.store == "memory://"
    assert ask(there) == "Hello."


def test_secrets_may_be_given_again(server: RawServer) -> None:
    there = pickle.loads(pickle.dumps(ChatStewrd(**of(server))))  # noqa: S301 - made above
    there.api_key, there.store, there.default_headers = USUAL, "memory://", {"X": "y"}
    assert ask(there) == "Hello."
    assert server.requests[-1].headers["x"] == "y"
