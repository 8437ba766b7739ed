"""LlamaIndex formats the history like a template: what was said must stay what was said."""

from __future__ import annotations

import pytest

from ..conftest import Way
from .desk import Desk, Kind, ask, on_sessions

TEXTS = [
    "Remember that {query_str} is a word.",
    "Remember that {context_str} and {context_msg} are words.",
    'Remember that {"a": {"b": {}}} is JSON.',
    "Remember that {existing_answer} is a word.",
    "Remember that {chat_history} and {question} are words.",
]


async def test_words_in_braces_cost_no_session(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind)
    for text in TEXTS:
        assert await ask(engine, way, text) == f"I will {text[0].lower()}{text[1:]}"
    if not kind.tracks:
        return
    assert on_sessions(desk.turns) == len(desk.turns)
    desk.only_session()
    desk.check_newest()


@pytest.mark.parametrize("forgets", ["expired", "stateless"])
async def test_words_in_braces_are_told_again_as_they_were(
    desk: Desk, kind: Kind, way: Way, forgets: str
) -> None:
    if forgets == "stateless":
        desk.options["sessions"] = "never"
    engine = desk.engine(kind)
    for text in TEXTS:
        await ask(engine, way, text)
    desk.emulator.expire()
    await ask(engine, way, "What is my name?")
    said = [one.text for one in desk.turns[-1].conversation.messages if one.role == "user"]
    if kind.tracks:
        assert said[:-1] == TEXTS
