"""What a model object is to the conversations that it serves, and to its connections."""

from __future__ import annotations

import pytest

from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime

from .talks import Talk
from .worlds import ADDRESS, KEY, Stage


def test_what_is_known_by_its_words_alone_is_known_to_one_model_object() -> None:
    stage = Stage.make()
    first = Talk(stage.model(), marks=False)
    first.say("My name is Ada.")
    other = Talk(stage.model(), marks=False, messages=list(first.messages))
    assert other.say("What is my name?").session_id is None
    first.say("What is my name?")
    assert first.way() == ("continued", "id-1")


async def test_the_end_on_the_event_loop_is_the_end_of_both_clients() -> None:
    runtime = Runtime(Options(api_key=KEY, base_url=ADDRESS))
    client, async_client = runtime.client, runtime.async_client
    await runtime.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        client.create_session()
    with pytest.raises(ConfigurationError, match="closed"):
        await async_client.create_session()
