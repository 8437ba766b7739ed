"""Retrieval that finds nothing, or fails: what a memory left for the call must not stray."""

from __future__ import annotations

import pytest
from llama_index.core.chat_engine.types import BaseChatEngine

from stewrd_integrations.llama_index import StewrdLLM

from ..conftest import Way, told, user
from .desk import CONDENSE_PLUS, CONTEXT, LEFT_OPEN, RETRIEVING, Desk, Facts, Kind, ask

pytestmark = LEFT_OPEN

of_each = pytest.mark.parametrize("kind", RETRIEVING, ids=lambda kind: kind.name)
asking_late = pytest.mark.parametrize(
    "kind", [kind for kind in RETRIEVING if kind.condenses], ids=lambda kind: kind.name
)
saying_nothing = pytest.mark.parametrize(
    "kind", [CONTEXT, CONDENSE_PLUS], ids=lambda kind: kind.name
)


async def fails(engine: BaseChatEngine, way: Way, text: str) -> bool:
    """Whether retrieval fails; apart, so that no traceback keeps the engine's frames."""
    try:
        await ask(engine, way, text)
    except ConnectionError:
        return True
    return False


async def unrelated(llm: StewrdLLM, way: Way, text: str) -> dict[str, object]:
    """How a call travelled that has nothing to do with any engine."""
    return told(await way.ask(llm, [user(text)]))


@saying_nothing
async def test_an_empty_response_is_told_with_the_next_turn(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    await ask(engine, way, "My name is Ada.")
    facts.texts = []
    assert (await ask(engine, way, "What is lost?")).strip() == "Empty Response"
    assert len(desk.turns) == 1
    facts.texts = None
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.only_session()
    desk.check_newest()


@saying_nothing
async def test_after_an_empty_response_the_next_call_is_its_own(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    facts.texts = []
    await ask(engine, way, "What is lost?")
    await unrelated(desk.llm, way, "What is lost?")
    assert desk.memory().session is None
    facts.texts = None
    assert await ask(engine, way, "My name is Ada.") == "Nice to meet you, Ada."
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.check_newest()


@of_each
async def test_a_turn_without_nodes_goes_on_where_the_engine_asks_all_the_same(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    await ask(engine, way, "My name is Ada.")
    facts.texts = []
    await ask(engine, way, "What is my name?")
    facts.texts = None
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.only_session()
    desk.check_newest()


@of_each
async def test_a_failed_retrieval_is_made_up_for(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    await ask(engine, way, "My name is Ada.")
    facts.breaks = True
    assert await fails(engine, way, "What is my name?")
    facts.breaks = False
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.only_session()
    desk.check_newest()
    assert len(desk.turns) == 2


@of_each
async def test_after_a_failed_retrieval_a_history_that_reads_the_same_is_anothers(
    desk: Desk, kind: Kind, way: Way
) -> None:
    ada = desk.engine(kind, "ada", facts := Facts("File of Ada, page"))
    bob = desk.engine(kind, None, Facts("File of Bob, page"))
    for engine in (ada, bob):
        await ask(engine, way, "Hello")
    facts.breaks = True
    assert await fails(ada, way, "Hello")
    assert await ask(bob, way, "Hello") == "Hello! What can I do for you?"
    facts.breaks = False
    assert await ask(ada, way, "Hello") == "Hello! What can I do for you?"
    for session in desk.emulator.sessions:
        log = " ".join(heard.text for heard in desk.emulator.heard(session))
        assert not ("File of Ada" in log and "File of Bob" in log)
    assert desk.memory().session is not None


@of_each
async def test_a_look_into_a_memory_gives_its_session_to_nobody_else(
    desk: Desk, kind: Kind, way: Way
) -> None:
    ada = desk.engine(kind, "ada", Facts("File of Ada, page"))
    bob = desk.engine(kind, None, Facts("File of Bob, page"))
    for engine in (ada, bob):
        await ask(engine, way, "Hello")
    assert len(desk.memory().get(input="Hello")) == 2
    assert await ask(bob, way, "Hello") == "Hello! What can I do for you?"
    assert await ask(ada, way, "Hello") == "Hello! What can I do for you?"
    for session in desk.emulator.sessions:
        log = " ".join(heard.text for heard in desk.emulator.heard(session))
        assert not ("File of Ada" in log and "File of Bob" in log)


@asking_late
@pytest.mark.parametrize(
    "text", ["What is lost?", "Title for: What is lost?"], ids=["same", "wrapped"]
)
async def test_after_a_failed_first_retrieval_the_next_call_is_its_own(
    desk: Desk, kind: Kind, way: Way, text: str
) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    facts.breaks = True
    assert await fails(engine, way, "What is lost?")
    await unrelated(desk.llm, way, text)
    assert desk.memory().session is None
