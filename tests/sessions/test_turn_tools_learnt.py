"""What is learnt of sessions and tools, which nobody documents, and for how long (R11)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from stewrd_integrations import errors
from stewrd_integrations.sessions import notes
from tests.sessions.tooling import Workshop, in_the_midst, last, opened, paths, scripted, workshop
from tests.worlds import Stage


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


@contextmanager
def behaving(stage: Stage, **settings: Any) -> Iterator[None]:
    """A server that behaves otherwise for a while."""
    usual = stage.world.settings
    stage.world.settings = replace(usual, **settings)
    try:
        yield
    finally:
        stage.world.settings = usual


def spent(stage: Stage) -> int:
    return stage.world.settings.credits - stage.world.credits


def tried(stage: Stage, name: str) -> str:
    """The road of a first turn with tools of another conversation."""
    work = workshop(stage, name=name, check=False)
    work.ask("do add")
    road = last(work)[0]
    work.finish()
    return road


# -- sessions were seen to take tools --------------------------------------------------


def test_an_empty_answer_is_only_itself_where_sessions_take_tools(stage: Stage) -> None:
    work = workshop(stage)
    work.talk("do add")
    before, requests = spent(stage), len(stage.requests)
    with behaving(stage, session_tools="empty"), pytest.raises(errors.EmptyAnswerError) as caught:
        work.ask("do mul")
    assert (caught.value.charged, caught.value.sent) == ("likely", True)
    assert (len(stage.requests), spent(stage)) == (requests + 1, before + 1)
    work.step()
    assert last(work) == ("session", "replayed")
    assert stage.runs[-1].session_id != "id-1"
    assert work.finish().decision.road == "session"


@pytest.mark.parametrize("who", [{"name": "bob"}, {"name": None}, {"who": {"tenant": "t"}}])
def test_what_one_conversation_saw_is_known_to_all(stage: Stage, who: dict[str, Any]) -> None:
    workshop(stage).talk("do add")
    other = workshop(stage, **who)
    with behaving(stage, session_tools="empty"), pytest.raises(errors.EmptyAnswerError):
        other.ask("do mul")
    assert tried(stage, "eve") == "session"


def test_an_empty_answer_to_outputs_is_only_itself(stage: Stage) -> None:
    work = in_the_midst(stage, "do add; mul")
    with behaving(stage, session_tools="empty"), pytest.raises(errors.EmptyAnswerError):
        work.step()
    assert tried(stage, "bob") == "session"
    work.finish()
    assert last(work)[0] == "session"


def test_an_answer_without_calls_shows_nothing(stage: Stage) -> None:
    """A session that does not look at tools answers with a message, too."""
    workshop(stage).talk("hello")
    with behaving(stage, session_tools="empty"):
        assert tried(stage, "bob") == "stateless"


def test_a_refusal_counts_for_more_than_what_was_seen(stage: Stage) -> None:
    workshop(stage).talk("do add")
    with behaving(stage, session_tools="refused"):
        assert tried(stage, "bob") == "stateless"
    before = len(stage.requests)
    assert tried(stage, "eve") == "stateless"
    assert paths(stage)[before:] == ["agent", "tool-outputs"]


def test_what_was_seen_is_believed_for_a_day_and_seen_anew(stage: Stage) -> None:
    work = workshop(stage)
    for _ in range(3):
        work.talk("do add")
        stage.clock.now += 50_000
    with behaving(stage, session_tools="empty"), pytest.raises(errors.EmptyAnswerError):
        workshop(stage, name="bob").ask("do add")
    stage.clock.now += 90_000
    with behaving(stage, session_tools="empty"):
        assert tried(stage, "eve") == "stateless"


# -- nobody knows yet ------------------------------------------------------------------


def silent(stage: Stage, name: str) -> tuple[str, int]:
    """A first turn whose session is silent: its road, and how often it was charged."""
    before = spent(stage)
    with behaving(stage, session_tools="empty"):
        road = tried(stage, name)
    return road, spent(stage) - before


def test_one_empty_answer_is_a_doubt_of_minutes(stage: Stage) -> None:
    assert silent(stage, "ada") == ("stateless", 2)
    assert silent(stage, "bob") == ("stateless", 1)
    stage.clock.now += notes.DOUBTED + 1
    assert tried(stage, "eve") == "session"
    # It takes them after all: the doubt is forgotten.
    with behaving(stage, session_tools="empty"), pytest.raises(errors.EmptyAnswerError):
        workshop(stage, name="joe").ask("do add")


def test_a_second_one_is_believed_for_a_day(stage: Stage) -> None:
    assert silent(stage, "ada")[1] == 2
    stage.clock.now += notes.DOUBTED + 1
    assert silent(stage, "bob")[1] == 2
    stage.clock.now += 80_000
    assert silent(stage, "eve")[1] == 1
    assert opened(stage) == 2


def test_two_calls_at_once_are_one_doubt(stage: Stage) -> None:
    """Both were sent before either could know."""
    works: list[Workshop] = [workshop(stage, name=name, check=False) for name in ("ada", "bob")]
    inner = stage.world.handle

    def meanwhile(request: Any) -> Any:
        stage.world.handle = inner  # type: ignore[method-assign]  # one request waits for another
        works[1].ask("do add")
        return inner(request)

    with behaving(stage, session_tools="empty"):
        works[0].user("do add")
        first, seen = stage.world.handle, 0

        def waits(request: Any) -> Any:
            nonlocal seen
            seen += request.path.endswith("/messages")
            return meanwhile(request) if seen == 1 else first(request)

        stage.world.handle = waits  # type: ignore[method-assign]  # as above
        works[0].step()
    assert paths(stage).count("messages") == 2
    stage.clock.now += notes.DOUBTED + 1
    assert tried(stage, "eve") == "session"


def test_a_doubt_is_kept_also_where_the_second_way_fails(stage: Stage) -> None:
    work = workshop(stage)
    stage.fail_next("error", on="agent", status=500)
    with behaving(stage, session_tools="empty"), pytest.raises(errors.ServerError):
        work.ask("do add")
    before = spent(stage)
    assert tried(stage, "bob") == "stateless"
    assert spent(stage) == before + 1
