from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator import Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"error_shape": "round"},
        {"over_limit": "ignore"},
        {"newline": "\n\n"},
        {"retry_after": "never"},
        {"done": "well"},
        {"usage": "much"},
        {"token_key": "token"},
        {"token_split": "lines"},
        {"idle_reset": "never"},
        {"capabilities": ("fly",)},
        {"api_key": "secret"},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_the_documented_limits_are_the_defaults() -> None:
    usual = Settings()
    assert (usual.idle_timeout, usual.max_sessions, usual.history_limit) == (
        1800,
        10,
        50,
    )
