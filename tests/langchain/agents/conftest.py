from __future__ import annotations

from collections.abc import Iterator

import pytest

from stewrd_integrations.emulator import Emulator

from ..tooling import emulated


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running
