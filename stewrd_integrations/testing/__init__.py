"""Conformance suites for your own backends: subclass one in a test file of yours."""

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

__all__ = ["HistorySuite", "StoreSuite", "TranscriptSuite"]


def __getattr__(name: str) -> object:
    if name == "HistorySuite":
        from .histories import HistorySuite  # noqa: PLC0415 - it needs langchain-core

        return HistorySuite
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
