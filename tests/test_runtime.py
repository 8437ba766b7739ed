"""What a model object is to the conversations that it serves, and to its connections."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.runtime import Options, Runtime

from .talks import Talk
from .worlds import ADDRESS, KEY, Stage

NAME = uuid.UUID(int=7)


def test_what_is_known_by_its_words_alone_is_known_to_one_model_object() -> None:
    stage = Stage.make()
    first = Talk(stage.model(), marks=False)
    first.say("My name is Ada.")
    other = Talk(stage.model(), marks=False, messages=list(first.messages))
    assert other.say("What is my name?").session_id is None
    first.say("What is my name?")
    assert first.way() == ("continued", "id-1")


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


async def test_the_end_on_the_event_loop_is_the_end_of_both_clients() -> None:
    runtime = Runtime(Options(api_key=KEY, base_url=ADDRESS))
    client, async_client = runtime.client, runtime.async_client
    await runtime.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        client.create_session()
    with pytest.raises(ConfigurationError, match="closed"):
        await async_client.create_session()
