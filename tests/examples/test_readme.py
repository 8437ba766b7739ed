from __future__ import annotations

import ast
import gc
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

import stewrd_integrations.errors
from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.runtime import OPTION_NAMES, Options

from . import readme

pytestmark = [
    # LlamaIndex's memories leave their in-memory databases open.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # Its agents look at all that they have, what pydantic will remove included.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


@pytest.fixture
def namespace() -> Iterator[dict[str, Any]]:
    """What the code defines; its memories are collected here, and not in another test."""
    names: dict[str, Any] = {"__name__": "readme"}
    gc.freeze()  # looking through all of LlamaIndex would take half a second
    yield names
    names.clear()
    gc.collect()
    gc.unfreeze()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator() as emulator:
        monkeypatch.setenv("STEWRD_BASE_URL", emulator.url)
        monkeypatch.setenv("STEWRD_API_KEY", emulator.api_key)
        yield emulator


def test_its_code_prints_what_it_shows(
    environment: Emulator, namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = readme.blocks()
    assert len(blocks) >= 8
    for block in blocks:
        code = "\n" * (block.line - 1) + block.code  # so that tracebacks name the line
        exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102
        printed = capsys.readouterr().out
        assert block.shown is not None or not printed, f"line {block.line} prints {printed!r}"
        shown = readme.masked(block.shown or "")
        assert readme.masked(printed) == shown, f"line {block.line}"
    assert environment.requests
    assert not environment.overlaps


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_the_first_screen_has_a_demo_of_two_turns_without_a_key(
    framework: str, namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = [b for b in readme.blocks()[:2] if f"stewrd_integrations.{framework}" in b.code]
    assert block.line < 60
    exec(compile(block.code, "README.md", "exec"), namespace)  # noqa: S102
    assert capsys.readouterr().out.splitlines()[-1] == "Your name is Ada."


def test_every_option_is_listed_with_its_default() -> None:
    listed = {
        name.strip("`"): ast.literal_eval(default.strip("`"))
        for name, default, _ in readme.rows("Options")
    }
    defaults = {field.name: field.default for field in fields(Options)}
    assert listed == {name: defaults[name] for name in OPTION_NAMES}


def classes() -> dict[str, type[StewrdError]]:
    return {
        name: value
        for name, value in vars(stewrd_integrations.errors).items()
        if isinstance(value, type) and issubclass(value, StewrdError)
    }


def test_every_error_is_listed_with_what_it_charges() -> None:
    listed = {name.strip("`"): charged for name, _, charged, _ in readme.rows("Errors")}
    # The root is in the text; no call has a limit on credits yet.
    wanted = set(classes()) - {"StewrdError"}
    assert listed == {name: classes()[name].charged for name in wanted}


def test_links_within_the_checkout_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", readme.TEXT)
    assert targets
    assert [target for target in targets if not (readme.ROOT / target).exists()] == []
