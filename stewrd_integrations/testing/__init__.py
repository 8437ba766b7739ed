"""For your tests: the emulator as a fixture, and conformance suites for backends of yours.

The fixture `stewrd_emulator` is there once the package is installed; a suite is to be subclassed
in a test file.
"""

try:
    import pytest
except ImportError as missing:
    raise ImportError("stewrd_integrations.testing needs pytest: pip install pytest") from missing

# Before they are imported: a rule that is broken then shows what was compared.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "bindings",
            "concurrency",
            "histories",
            "inventories",
            "notes",
            "processes",
            "slots",
            "transcripts",
        )
    )
)

from .stores import StoreSuite  # noqa: E402 - see above
from .transcripts import TranscriptSuite  # noqa: E402 - see above

__all__ = ["HistorySuite", "StewrdEmulator", "StoreSuite", "TranscriptSuite"]


def __getattr__(name: str) -> object:
    if name == "HistorySuite":
        from .histories import HistorySuite  # noqa: PLC0415 - it needs langchain-core

        return HistorySuite
    if name == "StewrdEmulator":
        from .emulated import StewrdEmulator  # noqa: PLC0415 - it needs the emulator's extra

        return StewrdEmulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
