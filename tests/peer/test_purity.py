"""The peer is of another make only as long as it shares nothing with the package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SERVER = (
    "agent",
    "asked",
    "faults",
    "forms",
    "reading",
    "records",
    "refusals",
    "server",
    "service",
    "unknowns",
    "working",
    "world",
)


@pytest.mark.parametrize("name", SERVER)
def test_the_server_imports_the_standard_library_and_itself(name: str) -> None:
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                imported = {alias.name.partition(".")[0] for alias in node.names}
            case ast.ImportFrom(level=0, module=str(module)):
                imported = {module.partition(".")[0]}
            case ast.ImportFrom(level=1, module=str(module)):
                assert module in SERVER
                continue
            case ast.ImportFrom(level=1, module=None, names=names):
                assert {alias.name for alias in names} <= set(SERVER)
                continue
            case ast.ImportFrom(level=level):
                raise AssertionError(f"an import of level {level}")
            case _:
                continue
        assert imported <= sys.stdlib_module_names
