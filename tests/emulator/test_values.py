from __future__ import annotations

import pytest

from stewrd_integrations.emulator.values import Values


def numbers(text: str, *others: str) -> list[int | float]:
    values = Values(text, *others)
    found = []
    while (number := values.number(lambda _: True)) is not None:
        found.append(number)
    return found


def quotations(text: str) -> list[str]:
    values = Values(text)
    found = []
    while (words := values.quotation(lambda _: True)) is not None:
        found.append(words)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2", [1, 2]),
        ("f(-3, 4.5)", [-3, 4.5]),
        ("3-4", [3, 4]),
        ("It is 7.", [7]),
        ("room 12, not v2 nor a1b2", [12]),
        ("on 2024-02-03 at 12:30 with AB-77", []),
        ('"7" and 8', [8]),
        ("1.2.3", []),
    ],
)
def test_numbers(text: str, expected: list[int | float]) -> None:
    assert numbers(text) == expected


def test_the_own_text_comes_first_and_others_may_be_left_out() -> None:
    assert numbers("a 5", "b 1") == [5, 1]
    values = Values("a 5", "b 1")
    assert [values.number(lambda _: True, first_text=True) for _ in range(2)] == [5, None]
    assert values.has_number()


def test_only_what_fits_is_taken() -> None:
    values = Values('1 2 "a" "bb"')
    assert values.number(lambda number: number > 1) == 2
    assert values.number(lambda number: number > 1) is None
    assert values.quotation(lambda text: len(text) > 1) == "bb"
    assert values.has_quotation() and values.has_number()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("say \"a b\" and 'c' or “d” or `e` or \u2018f\u2019", ["a b", "c", "d", "e", "f"]),
        ("don't say it isn't", []),
        ("named '你好' (x)", ["你好"]),
    ],
)
def test_quotations(text: str, expected: list[str]) -> None:
    assert quotations(text) == expected


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("age: 36", "age", 36),
        ("the age is 36", "age", 36),
        ("age 36", "age", 36),
        ("Page 36", "age", None),
        ("b=5, a=3", "a", 3),
        ("give me a 3", "a", None),
        ("max results: 7", "max_results", 7),
        ("max results: 7", "maxResults", 7),
        ('"max_results": 7', "max_results", 7),
    ],
)
def test_the_number_of_a_name(text: str, name: str, expected: int | None) -> None:
    assert Values(text).number_of(name) == expected


def test_what_is_told_of_a_name_is_taken() -> None:
    values = Values("b=5, 3, name 'x', 'y'")
    assert (values.number_of("b"), values.number(lambda _: True)) == (5, 3)
    assert (values.words_of("name"), values.quotation(lambda _: True)) == ("x", "y")


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("my name is Ada and I am 36", "name", "Ada"),
        ("name: Ada Lovelace, aged 36", "name", "Ada Lovelace"),
        ("city=New York", "city", "New York"),
        ("city 'New York'", "city", "New York"),
        ("the city hall", "city", None),
        ("The version is 1.5. It works.", "version", "1.5"),
    ],
)
def test_the_words_of_a_name(text: str, name: str, expected: str | None) -> None:
    assert Values(text).words_of(name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("urgent: yes", True), ("urgent is FALSE", False), ("urgent: maybe", None), ("", None)],
)
def test_the_flag_of_a_name(text: str, expected: bool | None) -> None:
    assert Values(text).flag_of("urgent") is expected


def test_words_and_mentions() -> None:
    values = Values("New York", "in celsius")
    assert values.words() == ["New", "York", "in", "celsius"]
    assert values.mentions("new york") and not values.mentions("cel")
    assert values.find(r"c\w+") == "celsius" and values.find("z") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the weather in San Francisco, CA?", "San Francisco, CA"),
        ("Tell me a joke about cats.", "cats"),
        ("Hello", "Hello"),
        ("", ""),
    ],
)
def test_the_subject(text: str, expected: str) -> None:
    assert Values(text).subject() == expected
