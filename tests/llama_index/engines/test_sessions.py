"""Every engine in every mode: how many sessions it takes, and what each request says."""

from __future__ import annotations

import pytest

from ..conftest import Way
from .desk import LEFT_OPEN, RETRIEVING, SIMPLE, Desk, Facts, Kind, ask, on_sessions

pytestmark = LEFT_OPEN

TALK = ["My name is Ada.", "What is my name?"] * 6
ANSWERS = ["Nice to meet you, Ada.", "Your name is Ada."] * 6


async def test_a_named_conversation_is_one_session(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind)
    answers = [await ask(engine, way, text) for text in TALK]
    assert answers == ANSWERS
    assert len(desk.turns) == 12
    if not kind.tracks:
        assert len(desk.emulator.sessions) == 0
        return
    session = desk.only_session()
    assert on_sessions(desk.turns) >= 11
    assert len(desk.emulator.context(session).messages) == 24
    memory = desk.memory()
    assert memory.session is not None
    assert (memory.session.session_id, memory.session.messages_used) == (session, 24)


async def test_an_unnamed_conversation_takes_two_at_most(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, None)
    answers = [await ask(engine, way, text) for text in TALK]
    assert answers == ANSWERS
    if kind is SIMPLE:
        assert len(desk.emulator.sessions) == 1
        assert on_sessions(desk.turns) >= 11
    else:
        # Marks are lost, and the instructions change each turn: nobody could tell whose it is.
        assert len(desk.emulator.sessions) <= 2


@pytest.mark.parametrize("kind", RETRIEVING, ids=lambda kind: kind.name)
async def test_each_turn_tells_its_own_context_and_no_other(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine = desk.engine(kind)
    for text in TALK[:6]:
        await ask(engine, way, text)
    told = [[f"Fact number {one}." in run.message for one in range(1, 7)] for run in desk.turns]
    assert told == [[one == turn for one in range(6)] for turn in range(6)]


@pytest.mark.parametrize("kind", [k for k in RETRIEVING if not k.wraps], ids=lambda kind: kind.name)
async def test_the_newest_context_is_what_counts(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    for number in (1, 2, 3):
        facts.texts = [f"The code is {number}."]
        assert await ask(engine, way, "What is the code?") == f"The code is {number}."
    assert f"The code is {3}." in desk.emulator.context(desk.only_session()).instructions


async def test_only_the_turn_itself_is_said_where_nothing_else_is_new(desk: Desk, way: Way) -> None:
    engine = desk.engine(SIMPLE, system_prompt="You are Grim.")
    for text in TALK[:6]:
        await ask(engine, way, text)
    assert [run.message for run in desk.turns][1:] == TALK[1:6]


@pytest.mark.parametrize("kind", RETRIEVING, ids=lambda kind: kind.name)
async def test_history_is_told_once(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind)
    for number in range(6):
        await ask(engine, way, f"Remember that word {number} is good.")
    for number, run in enumerate(desk.turns):
        assert [f"word {one} " in run.message for one in range(6)] == [
            one == number for one in range(6)
        ]


async def test_engines_made_anew_each_turn_go_on(desk: Desk, kind: Kind, way: Way) -> None:
    facts = Facts()
    answers = [await ask(desk.engine(kind, "ada", facts), way, text) for text in TALK]
    assert answers == ANSWERS
    assert len(desk.emulator.sessions) == (1 if kind.tracks else 0)
    assert on_sessions(desk.turns) >= (11 if kind.tracks else 0)


async def test_a_condenser_is_not_shown_whose_words_they_are(desk: Desk, way: Way) -> None:
    """LlamaIndex writes all that stands beside a message into its prompts."""
    engine = desk.engine(RETRIEVING[1])
    for text in TALK[:2]:
        await ask(engine, way, text)
    (condensing,) = [run for run in desk.emulator.runs if "Follow Up" in run.message]
    for word in ("seal", "mark", "tenant"):
        assert word not in condensing.message
