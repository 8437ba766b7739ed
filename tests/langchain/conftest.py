from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd
from tests.servers import serve


@pytest.fixture
def stewrd() -> Iterator[Emulator]:
    with serve() as running:
        yield running
        assert [told for told in running.refused if told.status != 410] == []
        assert running.overlaps == []


@pytest.fixture
async def make(stewrd: Emulator) -> AsyncIterator[Callable[..., ChatStewrd]]:
    models: list[ChatStewrd] = []

    def make_model(**options: Any) -> ChatStewrd:
        models.append(ChatStewrd(api_key=stewrd.api_key, base_url=stewrd.url, **options))
        return models[-1]

    yield make_model
    for model in models:
        await model.aclose()


@pytest.fixture
def model(make: Callable[..., ChatStewrd]) -> ChatStewrd:
    return make()


def heard(stewrd: Emulator) -> list[list[str]]:
    """What the user's side said on each session."""
    return [
        [text for role, text in stewrd.heard(session) if role == "user"]
        for session in stewrd.sessions
    ]


def roads(stewrd: Emulator) -> list[str]:
    return [run.road for run in stewrd.runs]
