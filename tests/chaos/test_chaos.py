"""Workers that are killed, a server that fails, conversations that fork: no context is wrong.

Six processes share a store and take turns of conversations that all of them know, in both
frameworks, on sessions that die young, while the server breaks off, hangs up and falls silent,
and `kill -9` hits them at any moment. The server tells for each answer what it knew when it gave
it, and that must be what the application had shown.

It goes on for as long as one wants in `tests.soak`.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests import redis_server
from tests.chaos.launch import launch
from tests.chaos.plan import Report
from tests.chaos.redis_trouble import Trouble

TURNS = 2_000
SQLITE = "sqlite:///DIRECTORY/store.db"
WAYS = {
    *("session/continued", "session/opened", "session/replayed"),
    *("session/recreated", "session/rolled_over", "stateless/stateless"),
}


def seed() -> int:
    return secrets.randbelow(1_000_000)


def show(name: str, report: Report) -> None:
    sys.stdout.write(f"\n{name}\n{report.table()}\n")


def contexts_are_right(report: Report) -> None:
    assert not report.wrong, report.troubles()
    assert not report.crashes, report.troubles()
    assert report.overlaps == 0
    assert report.overfull == 0
    assert report.fullest <= 50


def slots_are_counted(report: Report) -> None:
    assert report.refused_creates == 0
    assert report.uncounted_sessions == 0, report.troubles()
    assert not report.broken, report.troubles()


def it_was_chaos(report: Report) -> None:
    """The run was worth its name: all of this happened."""
    assert set(report.ways) >= WAYS
    assert len(report.kinds) == 6
    assert len(report.changes) == 10
    assert {"killed", "left", "cancelled", "TimedOutError"} <= set(report.unanswered)
    assert report.kills >= 10 and report.faults >= 50 and report.expired >= 10
    assert report.ways["session/continued"] >= report.turns / 20


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield SQLITE
        return
    redis_server.require()
    with redis_server.RedisServer() as server:
        yield server.url


@pytest.fixture
def trouble() -> Iterator[Trouble]:
    redis_server.require()
    with redis_server.RedisServer() as server:
        yield Trouble(server, seed())


def test_two_thousand_turns(store: str) -> None:
    report = launch(store, seed=seed(), turns=TURNS, limit=300.0)
    show("chaos", report)
    contexts_are_right(report)
    slots_are_counted(report)
    assert report.turns >= TURNS
    it_was_chaos(report)


def test_a_redis_in_trouble(trouble: Trouble) -> None:
    plan = {"seconds": 20.0, "turns": 300, "limit": 120.0}
    report = launch(trouble.url, trouble, seed=seed(), slots_last=False, **plan)
    show(f"chaos, and Redis in trouble ({trouble})", report)
    contexts_are_right(report)
    assert report.turns >= 300


# -- does the judge see anything? ------------------------------------------------------

# A memory store has only the threads of one process to share it, and none of them is killed.
BROKEN: dict[str, Any] = {
    "workers": 1,
    "threads": 6,
    "kill_every": 0.0,
    "turns": 100_000,
    "limit": 60.0,
    "until_wrong": True,
    "slots_last": False,
}


@pytest.mark.parametrize("broken", ["peeking://", "leasing://"])
def test_the_judge_sees_a_store_that_does_not_give_bindings_away(broken: str) -> None:
    report = launch(broken, seed=seed(), **BROKEN)
    assert report.wrong, report.table()
    assert "list shown:" in report.wrong[0] and "server knew:" in report.wrong[0]


def test_the_judge_sees_a_store_that_does_not_count_slots() -> None:
    # In two projects, one of which has as few slots as Stewrd gives.
    report = launch("uncounting://", seed=seed(), **{**BROKEN, "projects": 2})
    assert report.refused_creates > 0, report.table()
    assert not report.wrong, report.troubles()
