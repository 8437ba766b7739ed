from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import StewrdTool

from .asking import Make


@pytest.fixture
async def tool(stewrd: Emulator) -> AsyncIterator[Make]:
    made: list[StewrdTool] = []

    def make_tool(*capabilities: str, **options: Any) -> StewrdTool:
        here = {"api_key": stewrd.api_key, "base_url": stewrd.url, "max_retries": 0}
        made.append(StewrdTool(capabilities or ["research"], **{**here, **options}))
        return made[-1]

    yield make_tool
    for one in made:
        await one.aclose()
