"""Calling a tool as LlamaIndex's agents do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from llama_index.core.tools import FunctionTool, ToolOutput

from stewrd_integrations.llama_index.tools import StewrdToolSpec

Make: TypeAlias = Callable[..., StewrdToolSpec]
Ask: TypeAlias = Callable[..., Any]
KEY = "sk-stw_" + "s3cret" * 4
NOWHERE: Any = {"api_key": KEY, "base_url": "http://127.0.0.1:9"}
EXAMPLE: Any = {
    "message": "How many lines has this file?",
    "files": [{"name": "a.csv", "content": "x,y\n1,2\n"}],
}


def only(spec: StewrdToolSpec) -> FunctionTool:
    """The tool of a spec that has one."""
    (tool,) = spec.to_tool_list()
    return tool


async def ask(tool: FunctionTool, *args: Any, **arguments: Any) -> ToolOutput:
    return tool(*args, **arguments)


async def aask(tool: FunctionTool, *args: Any, **arguments: Any) -> ToolOutput:
    return await tool.acall(*args, **arguments)


both = pytest.mark.parametrize("ask", [ask, aask])
