"""What agents are told of capabilities, whatever the framework."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.capabilities import (
    ABOUT,
    Question,
    TextFile,
    description_of,
    name_of,
    question_of,
    wrong_arguments,
)
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.types import CAPABILITIES, CREDITS


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("remembers", [True, False])
def test_every_capability_is_described(capability: str, remembers: bool) -> None:
    told = description_of([capability], remembers=remembers)
    cost = CREDITS[capability]
    for part in (
        *ABOUT[capability],
        "Use it for ",
        "Don't use it for ",
        f"costs {cost} credit{'s' * (cost > 1)}, ",
    ):
        assert part in told
    assert ("remembers earlier calls" in told) == remembers
    assert ("nothing of earlier calls" in told) != remembers
    assert len(told) <= 1_024  # more is refused by LlamaIndex and by providers


def test_several_at_once() -> None:
    assert name_of(["research", "documents"]) == "stewrd_research_documents"
    assert "costs 8 credits" in description_of(["research", "documents"], remembers=False)
    assert len(name_of(CAPABILITIES)) <= 64


def test_arguments_are_checked() -> None:
    given = {"message": "Hi", "files": ({"name": "a.csv", "content": "x"},)}
    file = TextFile(name="a.csv", content="x")
    assert question_of(given) == Question(message="Hi", files=[file])
    assert question_of({"message": "Hi", "files": [file]}).files == [file]


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "message: Field required."),
        ({"message": "Hi", "x": SECRET}, "x: Extra inputs are not permitted."),
        ({"message": "Hi", "files": [{"name": "a"}]}, "files.0.content: Field required."),
    ],
)
def test_wrong_arguments_are_told_without_their_values(
    arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        question_of(arguments)
    assert str(caught.value) == f"The arguments are wrong, and nothing was sent. {told}"
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_wrong_arguments_as_a_whole() -> None:
    told = wrong_arguments([{"loc": (), "msg": "No"}, {"loc": ("a", 1), "msg": "Odd"}])
    assert told == "The arguments are wrong, and nothing was sent. arguments: No. a.1: Odd."
