"""Which tests a mistake is tried on, by the room that its file is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Tests: TypeAlias = tuple[str, ...]
"""Arguments of pytest: files and folders, where they are there, patterns of files, options."""

MACHINE = "tests/sessions/test_machine.py"
QUICK: Tests = (
    "tests/sessions",
    "tests/stores/test_memory.py",
    "tests/stores/test_contract.py::TestMemoryStore",
    "tests/test_drivers.py",
    "tests/test_conversations.py",
    f"--ignore={MACHINE}",
)


@dataclass(frozen=True)
class Room:
    """A room of the package, and the tests of it.

    Attributes:
        title: Its name on the page.
        begins: How its files begin.
        runs: Runs of tests, the nearest first; the next one where none of a run fails.
    """

    title: str
    begins: Tests
    runs: tuple[Tests, ...]


ROOMS = (
    Room(
        "The heart: decisions, the memory store and the drivers",
        ("sessions/", "stores/memory.py", "stores/shelves.py", "drivers.py", "surroundings.py"),
        (QUICK, (MACHINE,)),
    ),
    Room(
        "The wire",
        ("api/",),
        (
            ("tests/api", "tests/security"),
            ("tests/test_failure_table.py", "tests/test_stalls.py", "tests/cassettes"),
        ),
    ),
    Room(
        "Stores",
        ("stores/",),
        (
            ("tests/stores",),
            (
                "tests/test_conversations.py",
                "tests/langchain/histories",
                "tests/llama_index/memory",
            ),
        ),
    ),
    Room("Suites for stores of others", ("testing/",), (("tests/testing", "tests/stores"),)),
    Room(
        "LangChain",
        ("langchain/",),
        (("tests/langchain",), ("tests/test_promises.py", "tests/machines", "tests/examples")),
    ),
    Room(
        "LlamaIndex",
        ("llama_index/",),
        (("tests/llama_index",), ("tests/test_promises.py", "tests/machines", "tests/examples")),
    ),
    Room(
        "The emulator",
        ("emulator/",),
        (
            ("tests/emulator", "tests/peer/test_agreement.py"),
            ("tests/test_conversations.py", "tests/test_failure_table.py", "tests/cassettes"),
        ),
    ),
    Room("The doctor", ("doctor/",), (("tests/doctor",),)),
    Room(
        "What both adapters stand on",
        ("",),
        (
            ("tests/test_*.py", "tests/langchain/capabilities", "tests/llama_index/capabilities"),
            ("tests/langchain", "tests/llama_index"),
        ),
    ),
)


def room_of(file: str) -> Room:
    """The room that a file of the package is in."""
    return next(room for room in ROOMS if file.startswith(room.begins))
