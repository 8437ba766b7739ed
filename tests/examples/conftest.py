from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEWRD_API_KEY", "STEWRD_BASE_URL", "STEWRD_STORE"):
        monkeypatch.delenv(name, raising=False)
