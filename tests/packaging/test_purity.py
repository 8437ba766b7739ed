"""The heart holds no `async`, and takes clocks, threads, I/O and chance from outside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stewrd_integrations

SESSIONS = Path(stewrd_integrations.__file__).parent / "sessions"
MODULES = sorted(SESSIONS.rglob("*.py"))

ALLOWED = frozenset(
    {
        "__future__",
        "base64",
        "bisect",
        "collections",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "itertools",
        "json",
        "math",
        "re",
        "string",
        "types",
        "typing",
        "unicodedata",
    }
)
"""What of the standard library the heart may import: all of it is pure."""

COLOURED = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
IMPURE_CALLS = frozenset({"open", "print", "input", "id", "exec", "eval", "__import__"})


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))


def test_there_is_a_heart() -> None:
    assert len(MODULES) > 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_async(path: Path) -> None:
    found = [
        node
        for node in nodes(path)
        if isinstance(node, COLOURED) or (isinstance(node, ast.comprehension) and node.is_async)
    ]
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_pure_imports(path: Path) -> None:
    imported: set[str] = set()
    for node in nodes(path):
        match node:
            case ast.Import(names):
                imported |= {name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(module=str(module), level=0):
                imported.add(module.partition(".")[0])
    assert imported <= ALLOWED


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_impure_builtins(path: Path) -> None:
    called = {
        node.func.id
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called.isdisjoint(IMPURE_CALLS)
