"""The pytest plugin: a fixture `stewrd_emulator`, a local Stewrd for the tests that ask for it.

It stands beside the package and imports nothing of it before the fixture is used: pytest loads
this at every start, in programs that have nothing to do with Stewrd, and before coverage begins
to measure. What the fixture gives is in `stewrd_integrations.testing.emulated`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stewrd_integrations.testing.emulated import StewrdEmulator

MARKER = (
    "stewrd_emulator(check=True, **settings): settings of the emulator that the fixture of this "
    "name starts, as stewrd_integrations.emulator.Emulator takes them; with check=False the "
    "test does not fail for what the server saw go wrong."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option with settings for all tests."""
    parser.addini(
        "stewrd_emulator",
        "settings of the emulator for all tests, one `name = value` a line",
        type="linelist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def stewrd_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StewrdEmulator]:
    """A local Stewrd on a real socket, which `ChatStewrd()` and `StewrdLLM()` find by themselves.

    For this test, STEWRD_API_KEY and STEWRD_BASE_URL name it, and there is a new memory store.
    """
    try:
        from stewrd_integrations.testing import emulated  # noqa: PLC0415 - see above
    except ImportError as missing:
        pytest.fail(str(missing), pytrace=False)
    settings: dict[str, Any] = emulated.read_lines(request.config.getini("stewrd_emulator"))
    for marker in reversed(list(request.node.iter_markers("stewrd_emulator"))):
        settings.update(emulated.of_marker(marker))
    yield from emulated.serve(settings, monkeypatch)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show which messages differ where `heard()` was compared."""
    if op != "==":
        return None
    for one, other in ((left, right), (right, left)):
        kind = type(one)
        if (kind.__module__, kind.__name__) == ("stewrd_integrations.testing.emulated", "Heard"):
            told: list[str] = one.difference(other)  # type: ignore[attr-defined]  # it is a Heard
            return told
    return None
