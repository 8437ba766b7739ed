"""What the options of a call mean, however they are written."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from .talks import Talk
from .worlds import Stage

NAME = uuid.UUID(int=7)


@pytest.mark.parametrize(("given", "text"), [(7, "7"), (NAME, str(NAME))])
@pytest.mark.parametrize("option", ["conversation_id", "tenant"])
def test_a_name_that_is_a_number_is_the_same_as_its_text(
    option: str, given: Any, text: str
) -> None:
    stage = Stage.make()
    who = {"conversation_id": "c", "tenant": "t"}
    first = Talk(stage.model(), marks=False, who={**who, option: given})
    first.say("My name is Ada.")
    again = Talk(stage.model(), marks=False, who={**who, option: text}, messages=first.messages)
    again.say("What is my name?")
    assert again.way() == ("continued", "id-1")
