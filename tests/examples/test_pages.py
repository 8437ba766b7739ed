from __future__ import annotations

import ast
import builtins
import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import stewrd_integrations.errors
from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.options import OPTION_NAMES, Options

from .pages import PAGES, README, ROOT, Block, Page, masked

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


def is_test(block: Block) -> bool:
    return "\ndef test_" in block.code


def with_code() -> list[Page]:
    return [page for page in PAGES if page.blocks()]


@pytest.mark.parametrize("page", with_code(), ids=lambda page: page.name)
def test_its_code_prints_what_it_shows(
    page: Page,
    environment: Emulator,
    namespace: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for block in page.blocks():
        if is_test(block):
            continue  # it runs below
        code = "\n" * (block.line - 1) + block.code  # so that tracebacks name the line
        exec(compile(code, page.name, "exec"), namespace)  # noqa: S102
        printed = capsys.readouterr().out
        assert block.shown is not None or not printed, f"line {block.line} prints {printed!r}"
        assert masked(printed) == masked(block.shown or ""), f"line {block.line}"
    assert not environment.overlaps


def unmade(code: str) -> set[str]:
    """Names that some code uses and does not make."""
    made, used = set(dir(builtins)), set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                made.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                made.add(name)
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                made.add(name)
            case ast.alias(name=name, asname=other):
                made.add(other or name.partition(".")[0])
    return used - made


@pytest.mark.parametrize("page", ["index.md", "langchain.md", "llama-index.md", "errors.md"])
def test_on_the_first_pages_each_block_stands_for_itself(page: str) -> None:
    blocks = Page(f"docs/{page}").blocks()
    assert blocks
    assert {block.line: names for block in blocks if (names := unmade(block.code))} == {}


def test_nearly_all_pages_have_code() -> None:
    assert len(with_code()) >= 10


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_the_first_screen_has_a_demo_of_two_turns_without_a_key(
    framework: str, namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = [b for b in README.blocks()[:2] if f"stewrd_integrations.{framework}" in b.code]
    assert block.line < 60
    exec(compile(block.code, "README.md", "exec"), namespace)  # noqa: S102
    assert capsys.readouterr().out.splitlines()[-1] == "Your name is Ada."


def test_every_option_is_listed_with_its_default() -> None:
    listed = {
        name.strip("`"): ast.literal_eval(default.strip("`"))
        for name, default, _ in Page("docs/options.md").rows()
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
    listed = {name.strip("`"): charged for name, _, charged, _ in Page("docs/errors.md").rows()}
    # The root is in the text.
    wanted = set(classes()) - {"StewrdError"}
    assert listed == {name: classes()[name].charged for name in wanted}


@pytest.mark.parametrize("page", [*PAGES, Page("docs/llms.txt")], ids=lambda page: page.name)
def test_links_within_the_checkout_lead_somewhere(page: Page) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.text)
    assert [target for target in targets if not (page.path.parent / target).exists()] == []


def test_the_proofs_that_the_guarantees_name_are_there() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", Page("docs/guarantees.md").text))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_tests_that_a_page_shows_pass(tmp_path: Path) -> None:
    shown = [b for page in PAGES for b in page.blocks() if is_test(b)]
    assert len(shown) == 1
    (tmp_path / "test_shown.py").write_text(shown[0].code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_stewrd", "test_shown.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
