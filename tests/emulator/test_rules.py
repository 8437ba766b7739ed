from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from stewrd_integrations.emulator import errors, replies, rules, settings, tools

TAG = re.compile(r"\[(documented|observed|assumed)\] ")


def functions() -> list[tuple[str, str]]:
    return [
        (name, inspect.getdoc(each) or "")
        for module in (rules, tools)
        for name, each in inspect.getmembers(module, inspect.isfunction)
        if each.__module__ == module.__name__
    ]


@pytest.mark.parametrize(("name", "doc"), functions(), ids=[name for name, _ in functions()])
def test_every_rule_says_where_it_comes_from(name: str, doc: str) -> None:
    assert TAG.match(doc), name


def test_every_setting_says_where_it_comes_from() -> None:
    source = Path(inspect.getfile(settings)).read_text()
    lines = source.splitlines()
    [record] = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    fields = [node.lineno for node in record.body if isinstance(node, ast.AnnAssign)]
    assert fields
    for number in fields:
        first = number - 2
        while lines[first - 1].strip().startswith("#"):
            first -= 1
        assert TAG.search(lines[first]), lines[number - 1]


def test_every_documented_code_is_in_the_table() -> None:
    documented = {
        400: "invalid_body missing_message invalid_capabilities invalid_tools"
        " invalid_tool_outputs tool_output_too_large",
        401: "invalid_api_key",
        402: "insufficient_credits",
        403: "capability_not_enabled plan_restricted",
        404: "context_expired",
        429: "rate_limited quota_exceeded",
        502: "compute_error compute_unavailable",
        503: "service_unavailable",
    }
    expected = {code: status for status, codes in documented.items() for code in codes.split()}
    assert {code: known.status for code, known in errors.ERRORS.items()} == expected


@pytest.mark.parametrize(
    ("capabilities", "credits"),
    [
        ((), 1),
        (("chat",), 1),
        (("data",), 1),
        (("files",), 2),
        (("research",), 3),
        (("code",), 3),
    ]
    + [(("documents",), 5), (("chat", "research", "documents"), 9)],
)
def test_prices(capabilities: tuple[str, ...], credits: int) -> None:
    assert rules.price(capabilities) == credits


def test_the_emulator_stands_alone() -> None:
    folder = Path(inspect.getfile(replies)).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, file
                assert not (node.module or "").startswith("stewrd"), file
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("stewrd") for name in node.names), file
