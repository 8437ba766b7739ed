"""What travels between processes: everything but the key and the connections."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.langchain import StewrdChatMessageHistory, StewrdTool, StewrdToolkit


def again(value: Any, stewrd: Emulator) -> Any:
    pickled = pickle.dumps(value)
    assert stewrd.api_key.encode() not in pickled
    return pickle.loads(pickled)  # noqa: S301 - made above


@pytest.fixture
def place(stewrd: Emulator, tmp_path: Path) -> dict[str, Any]:
    store = f"sqlite:///{tmp_path / 'stewrd.db'}"
    return {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": store}


@pytest.fixture
def key(stewrd: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.delenv("STEWRD_API_KEY", raising=False)
    return lambda: monkeypatch.setenv("STEWRD_API_KEY", stewrd.api_key)


async def test_a_tool(stewrd: Emulator, place: Any, key: Callable[[], None]) -> None:
    tool = StewrdTool(["research"], conversation_id="c", max_credits=3, name="look", **place)
    tool.tags = ["mine"]
    there = again(tool, stewrd)
    assert (there.name, there.tags, there.description) == ("look", ["mine"], tool.description)
    assert (there.capabilities, there.conversation_id) == (("research",), "c")
    assert "no API key" in there.invoke({"message": "Hi"})
    key()
    assert there.invoke({"message": "My name is Ada."}) == "Nice to meet you, Ada."
    assert "max_credits=3" in there.invoke({"message": "What is my name?"})
    assert "Ada" in await tool.ainvoke({"message": "What is my name?"}), "one conversation"
    for one in (tool, there):
        await one.aclose()


async def test_a_toolkit_shares_its_limit(
    stewrd: Emulator, place: Any, key: Callable[[], None]
) -> None:
    toolkit = StewrdToolkit(["chat", "data"], max_credits=1, **place)
    there = again(toolkit, stewrd)
    key()
    chat, data = there.get_tools()
    assert chat.invoke({"message": "Hello"})
    assert "max_credits=1" in data.invoke({"message": "Hello"})
    assert [one.capabilities for one in there.get_tools()] == [("chat",), ("data",)]
    await there.aclose()
    await toolkit.aclose()


def test_a_toolkit_tells_what_it_has(place: Any, stewrd: Emulator) -> None:
    toolkit = StewrdToolkit(["chat", "data"], conversation_id="c", **place)
    assert repr(toolkit) == "StewrdToolkit(capabilities=['chat', 'data'], conversation_id='c')"
    assert stewrd.api_key not in repr(toolkit)
    toolkit.close()


async def test_a_history(stewrd: Emulator, place: Any, key: Callable[[], None]) -> None:
    history = StewrdChatMessageHistory("c", tenant="t", **place)
    history.add_user_message("My name is Ada.")
    there = again(history, stewrd)
    with pytest.raises(ConfigurationError, match="no API key"):
        _ = there.messages
    key()
    assert repr(there) == repr(history)
    there.add_ai_message("Hi, Ada.")
    assert [one.text for one in await history.aget_messages()] == ["My name is Ada.", "Hi, Ada."]
    assert [one.text for one in there.messages] == ["My name is Ada.", "Hi, Ada."]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_of_a_history_keep_the_key(
    place: Any, copied: Callable[[Any], Any], key: Callable[[], None]
) -> None:
    history = StewrdChatMessageHistory("c", **place)
    copied(history).add_user_message("Hi")
    assert [one.text for one in history.messages] == ["Hi"]
