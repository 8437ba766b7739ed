from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM

from ...langchain.tooling import emulated
from .desk import Make


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


@pytest.fixture
async def make(stewrd: Emulator) -> AsyncIterator[Make]:
    made: list[StewrdLLM] = []

    def build(**options: Any) -> StewrdLLM:
        given = {"api_key": stewrd.api_key, "base_url": stewrd.url, **options}
        made.append(StewrdLLM(**given))
        return made[-1]

    yield build
    for llm in made:
        await llm.aclose()


@pytest.fixture
def llm(make: Make) -> StewrdLLM:
    return make()


@pytest.fixture(autouse=True)
def _memories_are_collected_here() -> Iterator[None]:
    gc.freeze()  # LlamaIndex's memories leave their in-memory databases open
    yield
    gc.collect()
    gc.unfreeze()
