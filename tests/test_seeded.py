"""The seeded bugs are ones that could be made now: each changes the code that there is."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.seeded import Mutant
from tests.seeded.everything import ALL
from tests.seeded.places import ROOMS, room_of
from tests.seeded.report import Verdict, page

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "stewrd_integrations"


def _text(mutant: Mutant) -> str:
    return (PACKAGE / mutant.file).read_text(encoding="utf-8")


def test_each_mistake_changes_the_code_where_it_says() -> None:
    wrong = {one.name: one.file for one in ALL if _text(one).count(one.old) != one.times}
    assert wrong == {}
    assert [one.name for one in ALL if one.old == one.new] == []


def test_the_code_can_still_be_read_with_it() -> None:
    for one in ALL:  # who can't even import it has learnt nothing
        ast.parse(_text(one).replace(one.old, one.new), one.name)


def test_each_mistake_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(one.name for one in ALL).items() if count > 1] == []


def test_every_room_has_some() -> None:
    assert {room_of(one.file).title for one in ALL} == {room.title for room in ROOMS}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders - {one.file.partition("/")[0] for one in ALL} == set()


def test_the_tests_that_are_named_are_there() -> None:
    named = {one.tests for one in ALL if one.tests}
    assert [each for each in named if not (TESTS.parent / each.partition("::")[0]).exists()] == []


def test_the_page_lists_what_survived_and_what_hangs() -> None:
    first, second, third = ALL[:3]
    verdicts = [
        Verdict(first, "caught", "tests/test_a.py::test_b[x|y]", 3),
        Verdict(second, "hangs", "tests/test_a.py::test_c", 150),
        Verdict(third, "SURVIVED", "", 40),
    ]
    told = page(verdicts, "python -m tests.mutants", "1.2.3")
    assert "**2 of 3 caught**" in told
    assert f"| {first.name} | `{first.file}` | `tests/test_a.py::test_b[x\\|y]` |" in told
    assert f"| {second.name} | `{second.file}` | `tests/test_a.py::test_c`, which hangs |" in told
    assert f"| {third.name} | `{third.file}` | **survived** |" in told
