"""LangChain's own suites for tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from stewrd_integrations.langchain import StewrdTool
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

from .asking import EXAMPLE, KEY, NOWHERE


class TestUnit(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return StewrdTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"capabilities": ["research"], **NOWHERE}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(EXAMPLE)

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        given = {"capabilities": ["data"]}
        return {"STEWRD_API_KEY": KEY}, given, {"name": "stewrd_data", "capabilities": ("data",)}


class TestUnitOfConversations(TestUnit):
    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"capabilities": ["code", "data"], "conversation_id": "c", **NOWHERE}


class TestIntegration(ToolsIntegrationTests):
    own: ClassVar[Any] = {}

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with serve() as self._stewrd:
            yield

    @pytest.fixture
    async def tool(self) -> AsyncIterator[BaseTool]:
        tool = StewrdTool(**self.tool_constructor_params)
        yield tool
        await tool.aclose()

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return StewrdTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        here = {"api_key": self._stewrd.api_key, "base_url": self._stewrd.url}
        return {"capabilities": ["research"], "store": MemoryStore(), **here, **self.own}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(EXAMPLE)


class TestIntegrationOfConversations(TestIntegration):
    own: ClassVar[Any] = {"conversation_id": "c", "capabilities": ["chat", "files"]}
