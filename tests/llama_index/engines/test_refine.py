"""Contexts too big for one call: the answer is put together from several."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from stewrd_integrations.emulator import Answer, Context, Emulator
from stewrd_integrations.llama_index import StewrdLLM
from tests.servers import serve

from ..conftest import Way
from .desk import CONDENSE_PLUS, CONTEXT, Desk, Facts, Kind, agent, ask

BUDGET = 12_000
BIG = [f"Page {one} says that {'the north sells well and ' * 150} so on." for one in range(5)]

refining = pytest.mark.parametrize("kind", [CONTEXT, CONDENSE_PLUS], ids=lambda kind: kind.name)


def refiner(context: Context) -> str | Answer:
    """Says how often it has refined, so that no refined answer is that of one call."""
    answer = agent(context)
    given = context.conversation.instructions.partition("xisting Answer:")[2].strip()
    if not given or not context.message:
        return answer
    return f"{given.splitlines()[0].removesuffix(' Refined.')} Refined."


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve(agent=refiner) as running:
        yield running


@pytest.fixture
def desk(emulator: Emulator, make: Callable[..., StewrdLLM]) -> Desk:
    return Desk(emulator, make, options={"replay_budget": BUDGET})


@refining
async def test_a_conversation_that_is_always_refined_takes_one_slot(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    facts.texts = BIG
    answers = [
        await ask(engine, way, text) for text in ["My name is Ada."] + ["What is my name?"] * 5
    ]
    assert answers[1:] == ["Your name is Ada. Refined."] * 5
    assert len(desk.turns) >= 12
    assert len(desk.emulator.sessions) == 1


@refining
async def test_the_turns_around_a_refined_one(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    answers = []
    for turn, text in enumerate(["My name is Ada."] + ["What is my name?"] * 7):
        facts.texts = BIG if turn == 2 else None
        answers.append(await ask(engine, way, text))
    assert answers[2] == "Your name is Ada. Refined."
    assert [one for at, one in enumerate(answers[1:], 1) if at != 2] == ["Your name is Ada."] * 6
    assert len(desk.emulator.sessions) == 2
    desk.check_newest()


@refining
async def test_what_a_refined_turn_said_is_heard_once(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, facts=(facts := Facts()))
    await ask(engine, way, "My name is Ada.")
    facts.texts = BIG
    await ask(engine, way, "Remember that tea is good.")
    facts.texts = None
    for _ in range(3):
        await ask(engine, way, "What is my name?")
    for run in desk.turns:
        said = [one.text for one in run.conversation.messages if one.role == "user"]
        assert sum("tea is good" in text for text in said) <= 1
    assert "tea is good" in str(desk.turns[-1].conversation)
    desk.check_newest()


@refining
async def test_refined_turns_of_engines_made_anew(desk: Desk, kind: Kind, way: Way) -> None:
    facts = Facts()
    facts.texts = BIG
    texts = ["My name is Ada."] + ["What is my name?"] * 7
    answers = [await ask(desk.engine(kind, "ada", facts), way, text) for text in texts]
    assert answers[1:] == ["Your name is Ada. Refined."] * 7
    assert len(desk.emulator.sessions) <= 4  # then it is known not to align (R6)
