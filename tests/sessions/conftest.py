"""A stage whose answers are all different, and no waiting."""

from __future__ import annotations

import pytest

from stewrd_integrations import surroundings
from stewrd_integrations.sessions import opening
from tests.worlds import Stage


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SHORT_WAIT", 0.0)
    monkeypatch.setattr(surroundings, "_warned", {})


@pytest.fixture
def stage() -> Stage:
    numbers = iter(range(1, 10_000))
    return Stage.make(lambda context: f"answer {next(numbers)}")
