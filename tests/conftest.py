"""In CI a skipped test is a failed one, unless its reason is allowed here.

`--server=peer` lets the tests of conversations run against a second server, which was written
from the contract alone (see `tests/peer`).
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machines that run the tests are shared: no test may depend on how fast one is.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")

EMULATOR_ONLY = "emulator_only(reason): looks at what only the emulator has; not for --server=peer"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        choices=("emulator", "peer"),
        default="emulator",
        help="the server that the tests of conversations talk to",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", EMULATOR_ONLY)
    os.environ["SERVER_OF_THE_TESTS"] = config.getoption("--server")  # tests/servers.py reads it


LONG_ONES = ("machines", "chaos", "live", "security", "peer")
"""Where the tests walk through lines that others cover, thousands of times: measuring how they do
would take them half as long again."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        room = item.path.relative_to(Path(__file__).parent).parts[0]
        if room in LONG_ONES or item.path.stem.endswith("_machine"):
            item.add_marker(pytest.mark.no_cover)  # of pytest-cov
    if config.getoption("--server") == "emulator":
        return
    left_out = [item for item in items if item.get_closest_marker("emulator_only")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("emulator_only")]


ALLOWED_REASONS: tuple[str, ...] = (
    "The store lives in one process only.",  # the memory store, in the published suite
)
"""How the reasons of our own skips may begin; each with a comment that says why."""

ALLOWED_OF_STANDARD_SUITES = frozenset(
    {
        "Model override not supported.",  # the API has no choice of a model
        "Model does not support PDF inputs.",  # files go in as text
        "Model does not support PDF tool message.",
        "Model does not support audio inputs.",
        "Model does not support image message.",
        "Model does not support image tool message.",
        "Not implemented.",  # token counts without the input/output split that core asks for
        "VCR not set up.",  # times replays of recordings; ours are read by other tests
    }
)
"""Reasons of the `langchain_tests` package: each names a feature that Stewrd does not have."""


def is_allowed(path: str, reason: str) -> bool:
    """Whether a test that is skipped in this file for this reason may be skipped in CI."""
    reason = reason.removeprefix("Skipped: ")
    if "langchain_tests" in Path(path).parts:
        return reason in ALLOWED_OF_STANDARD_SUITES
    return any(reason.startswith(allowed) for allowed in ALLOWED_REASONS)


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that is not allowed into a failure; expected failures are no skips."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    match report.longrepr:
        case (str(path), int(line), str(reason)):
            if is_allowed(path, reason):
                return
            cause = f"{reason} ({path}:{line})"
        case other:
            cause = str(other)
    report.outcome = "failed"
    report.longrepr = f"A test may not be skipped in CI. {cause}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_if_skipped(report)
    return report
