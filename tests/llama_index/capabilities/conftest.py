from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index.tools import StewrdToolSpec
from tests.servers import serve

from .asking import Make


@pytest.fixture
def stewrd() -> Iterator[Emulator]:
    with serve() as running:
        yield running
        assert [told for told in running.refused if told.status != 410] == []
        assert running.overlaps == []


@pytest.fixture
async def spec(stewrd: Emulator) -> AsyncIterator[Make]:
    made: list[StewrdToolSpec] = []

    def make_spec(*capabilities: str, **options: Any) -> StewrdToolSpec:
        here = {"api_key": stewrd.api_key, "base_url": stewrd.url, "max_retries": 0}
        made.append(StewrdToolSpec(capabilities or ["research"], **{**here, **options}))
        return made[-1]

    yield make_spec
    for one in made:
        await one.aclose()
