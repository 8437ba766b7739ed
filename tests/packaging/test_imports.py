"""The package and its plain rooms stand without a framework, and say so when one is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = ("langchain", "langgraph", "llama_index", "starlette", "uvicorn", "redis")

PLAIN = ("", ".api", ".drivers", ".errors", ".runtime", ".sessions.turn", ".stores", ".types")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("room", PLAIN)
def test_a_plain_room_imports_no_framework(room: str) -> None:
    code = f"import sys, stewrd_integrations{room}\nprint(*sys.modules)"
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert [name for name in done.stdout.split() if name.startswith(FRAMEWORKS)] == []


@pytest.mark.parametrize(
    ("room", "root", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("emulator", "starlette", "emulator"),
        ("emulator", "uvicorn", "emulator"),
    ],
)
def test_a_room_without_its_framework_says_what_to_install(
    room: str, root: str, extra: str
) -> None:
    # A None in sys.modules makes the import fail as if nothing were installed.
    done = python(f"import sys\nsys.modules[{root!r}] = None\nimport stewrd_integrations.{room}")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ImportError: ")
    assert f"stewrd-integrations[{extra}]" in last


@pytest.mark.parametrize("room", ["langchain", "llama_index"])
def test_an_adapter_does_not_load_the_other_nor_the_emulator(room: str) -> None:
    done = python(f"import sys, stewrd_integrations.{room}\nprint(*sys.modules)")
    others = {"langchain", "llama_index", "emulator"} - {room}
    assert done.returncode == 0, done.stderr
    for other in others:
        assert f"stewrd_integrations.{other}" not in done.stdout.split()
