"""Users of one model, whose conversations begin with the very same words, never meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.chat_engine.types import BaseChatEngine

from ..conftest import Way
from .desk import LEFT_OPEN, TRACKING, Desk, Facts, Kind, ask, on_sessions

pytestmark = LEFT_OPEN

PINS = {"ada": "heron", "bob": "otter"}
OPENINGS = ["Hello", "Remember that tea is good.", "Hello"]
Engine = Callable[[str], BaseChatEngine]


def engines(desk: Desk, kind: Kind, *, anew: bool = False, named: bool = True) -> Engine:
    """How a user comes to an engine: it is made once, or for each turn."""
    facts = {user: Facts(f"File of {pin}, page") for user, pin in PINS.items()}

    def make(user: str) -> BaseChatEngine:
        return desk.engine(kind, user if named else None, facts[user])

    made = {} if anew else {user: make(user) for user in PINS}
    return lambda user: made.get(user) or make(user)


def turns_of(user: str) -> list[str]:
    return [*OPENINGS, f"My pin is {PINS[user]}.", "What is my pin?"]


def check(desk: Desk, kind: Kind, answers: dict[str, list[str]], *, named: bool = True) -> None:
    for user, pin in PINS.items():
        assert answers[user][-1] == f"Your pin is {pin}."
    assert answers["ada"][:3] == answers["bob"][:3]
    for session in desk.emulator.sessions:
        log = " ".join(heard.text for heard in desk.emulator.heard(session))
        assert sum(pin in log for pin in PINS.values()) <= 1
    for run in desk.emulator.runs:
        said = " ".join(one.text for one in run.conversation.messages)
        seen = f"{run.conversation.instructions} {said} {run.message}"
        assert sum(pin in seen for pin in PINS.values()) <= 1
    if named and kind.tracks:
        assert len(desk.emulator.sessions) == 2
        assert on_sessions(desk.turns) == len(desk.turns)


@pytest.mark.parametrize("engines_are", ["kept", "anew", "unnamed"])
async def test_turn_by_turn(desk: Desk, kind: Kind, way: Way, engines_are: str) -> None:
    named = engines_are != "unnamed"
    engine = engines(desk, kind, anew=engines_are == "anew", named=named)
    answers: dict[str, list[str]] = {user: [] for user in PINS}
    for turn in range(len(turns_of("ada"))):
        for user in PINS:
            answers[user].append(await ask(engine(user), way, turns_of(user)[turn]))
    check(desk, kind, answers, named=named)


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
async def test_all_at_once_on_one_loop(desk: Desk, kind: Kind, way: Way, named: bool) -> None:
    engine = engines(desk, kind, named=named)

    async def talk(user: str) -> list[str]:
        return [await ask(engine(user), way, text) for text in turns_of(user)]

    found = await asyncio.gather(*map(talk, PINS))
    check(desk, kind, dict(zip(PINS, found, strict=True)), named=named)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("mode", ["chat", "stream_chat"])
async def test_in_threads(desk: Desk, kind: Kind, workers: int, mode: str) -> None:
    engine, way = engines(desk, kind, anew=True), Way(mode)

    def turn(user: str, text: str) -> str:
        return asyncio.run(ask(engine(user), way, text))

    answers: dict[str, list[str]] = {user: [] for user in PINS}
    with ThreadPoolExecutor(workers) as pool:
        for texts in zip(*map(turns_of, PINS), strict=True):
            found = [pool.submit(turn, *one) for one in zip(PINS, texts, strict=True)]
            for user, future in zip(PINS, found, strict=True):
                answers[user].append(await asyncio.to_thread(future.result))
    check(desk, kind, answers)


@pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)
async def test_streams_that_are_begun_before_one_is_read(desk: Desk, kind: Kind) -> None:
    engine = engines(desk, kind)
    answers: dict[str, list[str]] = {user: [] for user in PINS}
    for texts in zip(*map(turns_of, PINS), strict=True):
        begun = [
            (user, await engine(user).astream_chat(text))
            for user, text in zip(PINS, texts, strict=True)
        ]
        for user, stream in begun:
            answers[user].append("".join([piece async for piece in stream.async_response_gen()]))
    check(desk, kind, answers)


@pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)
def test_streams_of_threads_that_are_begun_before_one_is_read(desk: Desk, kind: Kind) -> None:
    engine = engines(desk, kind)
    answers: dict[str, list[str]] = {user: [] for user in PINS}
    for texts in zip(*map(turns_of, PINS), strict=True):
        begun = [
            (user, engine(user).stream_chat(text)) for user, text in zip(PINS, texts, strict=True)
        ]
        for user, stream in begun:
            answers[user].append("".join(stream.response_gen))
    check(desk, kind, answers)


async def test_one_user_in_two_tenants_is_two(desk: Desk, kind: Kind, way: Way) -> None:
    made = {
        tenant: kind.make(desk.llm, Facts(), memory=desk.memory("chat", tenant=tenant))
        for tenant in PINS
    }
    answers: dict[str, list[str]] = {user: [] for user in PINS}
    for texts in zip(*map(turns_of, PINS), strict=True):
        for user, text in zip(PINS, texts, strict=True):
            answers[user].append(await ask(made[user], way, text))
    check(desk, kind, answers)
