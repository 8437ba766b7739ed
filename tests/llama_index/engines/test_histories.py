"""Histories that are given, restored or forgotten, and sessions that end in the midst of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llama_index.core.llms import ChatMessage

from stewrd_integrations.llama_index import StewrdLLM
from tests.servers import serve

from ..conftest import Way, user
from .desk import (
    CONDENSE_QUESTION,
    LEFT_OPEN,
    RETRIEVING,
    SIMPLE,
    TRACKING,
    Desk,
    Facts,
    Kind,
    agent,
    ask,
    on_sessions,
)

pytestmark = LEFT_OPEN
of_each = pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)

TOLD = [user("My name is Ada."), ChatMessage(role="assistant", content="Nice to meet you, Ada.")]


@of_each
async def test_a_history_to_begin_with_is_told(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, memory=desk.memory(chat_history=TOLD))
    for _ in range(3):
        assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.only_session()
    assert on_sessions(desk.turns) == 3
    desk.check_newest()


async def test_a_history_of_an_engine_with_its_own_memory(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, None, chat_history=list(TOLD))
    for _ in range(3):
        assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    assert len(desk.emulator.sessions) <= 1


@of_each
async def test_the_engines_own_history_given_back_each_turn(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine = desk.engine(kind)
    await ask(engine, way, "My name is Ada.")
    for _ in range(5):
        found = await ask(engine, way, "What is my name?", chat_history=engine.chat_history)
        assert found == "Your name is Ada."
    desk.only_session()
    assert on_sessions(desk.turns) == 6
    desk.check_newest()


@pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)
@pytest.mark.parametrize("mode", ["chat", "achat"])
async def test_a_history_of_roles_and_texts_given_each_turn(
    desk: Desk, kind: Kind, mode: str
) -> None:
    engine = desk.engine(kind)
    given: list[ChatMessage] = []
    for text in ["My name is Ada."] + ["What is my name?"] * 5:
        answer = await ask(engine, Way(mode), text, chat_history=list(given))
        given += [user(text), ChatMessage(role="assistant", content=answer)]
    desk.only_session()
    assert on_sessions(desk.turns) == 6
    desk.check_newest()


async def test_another_history_given_is_another_conversation(
    desk: Desk, kind: Kind, way: Way
) -> None:
    if kind is CONDENSE_QUESTION:
        return  # it uses a given history for the one turn only, and so does no memory any harm
    engine = desk.engine(kind)
    await ask(engine, way, "My name is Bob.")
    found = await ask(engine, way, "What is my name?", chat_history=list(TOLD))
    assert found == "Your name is Ada."
    assert "Bob" not in desk.turns[-1].message
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.check_newest()


async def test_a_reset_engine_has_heard_nothing(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind)
    for text in ("My name is Ada.", "What is my name?"):
        await ask(engine, way, text)
    engine.reset()
    before = len(desk.turns)
    for _ in range(2):
        assert "Ada" not in await ask(engine, way, "What is my name?")
    assert "Ada" not in " ".join(str(run.conversation) for run in desk.turns[before:])
    assert len(desk.emulator.sessions) <= 2


@of_each
@pytest.mark.parametrize("ends", ["idle", "expired", "410"])
async def test_a_session_that_ends_between_turns(
    desk: Desk, kind: Kind, way: Way, ends: str
) -> None:
    engine = desk.engine(kind)
    await ask(engine, way, "My name is Ada.")
    await ask(engine, way, "Hello")
    match ends:
        case "idle":
            desk.emulator.advance(1_801)
        case "expired":
            desk.emulator.expire()
        case _:
            desk.emulator.fail_next("expire")
    for _ in range(3):
        assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    assert len(desk.emulator.sessions) == 2
    assert len(desk.turns) == 5
    assert on_sessions(desk.turns) == 5
    desk.check_newest()


@of_each
async def test_a_full_session_hands_over(
    make: Callable[..., StewrdLLM], kind: Kind, way: Way
) -> None:
    with serve(agent=agent, history_limit=10) as emulator:
        address = {"api_key": emulator.api_key, "base_url": emulator.url}
        desk = Desk(emulator, make, options={"session_message_limit": 10, **address})
        engine = desk.engine(kind)
        await ask(engine, way, "My name is Ada.")
        for _ in range(11):
            assert await ask(engine, way, "What is my name?") == "Your name is Ada."
        assert emulator.over_limit == 0
        assert on_sessions(desk.turns) == len(desk.turns) == 12
        assert len(emulator.sessions) == 3  # five turns each
        desk.check_newest()


@pytest.mark.parametrize("kind", [k for k in RETRIEVING if not k.wraps], ids=lambda kind: kind.name)
async def test_old_contexts_do_not_pile_up_for_ever(desk: Desk, kind: Kind, way: Way) -> None:
    desk.options["replay_budget"] = 20_000
    engine = desk.engine(kind, facts=(facts := Facts()))
    answers = []
    for turn in range(12):
        facts.texts = [f"Page {turn} says: {'all is well and ' * 300}"]
        text = "What is my name?" if turn else "My name is Ada."
        answers.append(await ask(engine, way, text))
    assert answers[1:] == ["Your name is Ada."] * 11
    assert on_sessions(desk.turns) == 12
    assert len(desk.emulator.sessions) <= 4
    for session in desk.emulator.sessions:
        log = " ".join(heard.text for heard in desk.emulator.heard(session))
        assert len(log) < 60_000
    desk.check_newest()


@of_each
async def test_no_slot_is_free(desk: Desk, kind: Kind, way: Way) -> None:
    desk.options["max_active_sessions"] = 1
    first = desk.engine(SIMPLE, "bob")
    await ask(first, way, "Hello")
    engine = desk.engine(kind)
    await ask(engine, way, "My name is Ada.")
    for _ in range(3):
        assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.only_session()
    assert on_sessions(desk.turns) == 1
