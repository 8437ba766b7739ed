"""The package and its plain rooms stand without a framework, and say so when one is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = ("langchain", "langgraph", "llama_index", "starlette", "uvicorn", "redis")

SELDOM = {
    "langchain": (
        "langchain_core.tools.base",
        "langchain_core.tracers.langchain",
        "jsonschema",
        "referencing",
        "openai",
    ),
    "llama_index": ("jsonschema", "referencing"),
}
"""What a framework's own chat model does not load, and ours has no need of for plain talk."""

OF_OURS = (
    "api.downloads",
    "api.webhooks",
    "asking",
    "capabilities",
    "conversations",
    "doctor",
    "emulator",
    "stores.redis",
    "stores.sqlite",
    "testing",
    "langchain.history",
    "langchain.progress",
    "langchain.saving",
    "langchain.tools",
    "llama_index.memory",
    "llama_index.saving",
    "llama_index.tools",
)
"""Modules of ours that most programs never need."""

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


@pytest.mark.parametrize(
    ("room", "base"),
    [
        ("langchain", "langchain_core.language_models.chat_models"),
        ("llama_index", "llama_index.core"),
    ],
)
def test_a_model_loads_only_what_plain_talk_needs(room: str, base: str) -> None:
    done = python(
        f"import sys, httpx, {base}\nbefore = set(sys.modules)\n"
        f"import stewrd_integrations.{room}\nprint(*(set(sys.modules) - before))"
    )
    assert done.returncode == 0, done.stderr
    ours = set(done.stdout.split())
    needless = {*SELDOM[room], *(f"stewrd_integrations.{name}" for name in OF_OURS)}
    assert sorted(needless & ours) == []
    assert f"stewrd_integrations.{room}" in ours


@pytest.mark.parametrize("room", ["", ".api", ".langchain", ".llama_index", ".stores"])
def test_every_public_name_is_there_when_it_is_asked_for(room: str) -> None:
    code = (
        f"import stewrd_integrations{room} as room\n"
        "assert all(getattr(room, name) is not None for name in room.__all__)\n"
        "try:\n    room.nothing\nexcept AttributeError as error:\n    print(error)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert f"module 'stewrd_integrations{room}' has no attribute 'nothing'" in done.stdout
