"""Calling a tool as agents do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from stewrd_integrations.langchain import StewrdTool

Make: TypeAlias = Callable[..., StewrdTool]
KEY = "sk-stw_" + "s3cret" * 4
NOWHERE: Any = {"api_key": KEY, "base_url": "http://127.0.0.1:9"}
EXAMPLE: Any = {
    "message": "How many lines has this file?",
    "files": [{"name": "a.csv", "content": "x,y\n1,2\n"}],
}


Ask: TypeAlias = Callable[..., Any]


async def ask(tool: BaseTool, message: str, config: Any = None, **more: Any) -> ToolMessage:
    """As an agent calls a tool."""
    return tool.invoke(_call(tool, message, more), config)  # type: ignore[no-any-return]


async def aask(tool: BaseTool, message: str, config: Any = None, **more: Any) -> ToolMessage:
    return await tool.ainvoke(_call(tool, message, more), config)  # type: ignore[no-any-return]


def _call(tool: BaseTool, message: str, more: dict[str, Any]) -> Any:
    arguments = {"message": message, **more}
    return {"type": "tool_call", "id": "1", "name": tool.name, "args": arguments}


both = pytest.mark.parametrize("ask", [ask, aask])


class Events(BaseCallbackHandler):
    raise_error = True

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.run: Any = None

    def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.run = run_id

    def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:
        assert run_id == self.run
        self.seen.append((name, data))
