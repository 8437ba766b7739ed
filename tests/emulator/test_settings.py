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
        {"session_tools": "maybe"},
        {"session_rounds": "some"},
        {"waiting_run": "answer"},
        {"expired_session_run": "gone"},
        {"over_rounds": "endless"},
        {"tools_capabilities": "free"},
        {"tools_stream": "always"},
        {"compute_instance": "other"},
        {"wrong_instance": "ignored"},
        {"calls_message": "some"},
        {"capabilities": ("fly",)},
        {"api_key": "secret"},
        {"plan": "Free"},
        {"history_limit": "x"},
        {"latency": -1},
        {"credits": None},
        {"max_sessions": True},
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
    assert (usual.max_tools, usual.max_rounds, usual.tool_timeout) == (20, 10, 300)
