from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.llama_index import StewrdLLM
from tests.servers import serve

from .desk import ENGINES, Desk, Kind, agent


@pytest.fixture(autouse=True)
def _memories_are_collected_here() -> Iterator[None]:
    # LlamaIndex's own memories leave their in-memory databases open.
    gc.freeze()  # looking through all of LlamaIndex would take half a second
    yield
    gc.collect()
    gc.unfreeze()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve(agent=agent) as running:
        yield running


@pytest.fixture(params=ENGINES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def desk(emulator: Emulator, make: Callable[..., StewrdLLM]) -> Desk:
    return Desk(emulator, make)
