"""A summary that is made while tools run: the run goes on, and hears of it afterwards (R4, R11)."""

from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.types import Message
from tests.sessions.tooling import (
    Workshop,
    clean,
    last,
    opened,
    paths,
    scripted,
    words_heard,
    words_of,
    workshop,
)
from tests.worlds import Stage

SUMMARY = "They said hello, twice."


@pytest.fixture
def stage() -> Stage:
    return scripted(session_tools="accepted")


def summarised(stage: Stage, script: str = "do add, mul", **details: Any) -> Workshop:
    """A conversation whose front became a summary while its tools ran; they have."""
    work = workshop(stage, check=False, **details)
    for text in ("hello", "hello again", "how are you", "and now"):
        work.talk(text)
    work.ask(script)
    work.give()
    work.messages[:4] = [Message("user", SUMMARY)]
    return work


def told(stage: Stage) -> list[str]:
    """The messages that told of the summary."""
    return [text for text in stage.sent() if SUMMARY in text]


@pytest.mark.parametrize("who", [{"name": None}, {}, {"marks": False}])
@pytest.mark.parametrize("way", ["plain", "stream"])
def test_the_run_goes_on_and_hears_of_it_with_the_next_message(
    stage: Stage, who: dict[str, Any], way: str
) -> None:
    work = summarised(stage, way=way, **who)
    everything = words_heard(stage.runs[-1])
    work.step()
    assert (paths(stage)[-1], last(work)) == ("tool-outputs", ("session", "continued"))
    # Nothing but the summary's own words is missing: all that it stands for was heard.
    assert words_heard(stage.runs[-1]) == [*everything, *words_of(work.messages[-4:-1])]
    assert told(stage) == []
    work.talk("thanks")
    assert (opened(stage), len(told(stage)), stage.sent()[-1]) == (1, 1, told(stage)[0])
    assert '"summary": true' in stage.sent()[-1]
    assert words_of([Message("user", SUMMARY)])[0] in words_heard(stage.runs[-1])
    work.talk("go on")
    assert stage.sent()[-1] == "go on"
    clean(stage)


def test_more_rounds_after_it(stage: Stage) -> None:
    work = summarised(stage, "do add; mul; sub, add")
    work.finish()
    assert (paths(stage)[-3:], opened(stage)) == (["tool-outputs"] * 3, 1)
    work.talk("thanks")
    work.talk("go on")
    assert (len(told(stage)), stage.sent()[-1], opened(stage)) == (1, "go on", 1)


def test_a_second_summary_in_the_same_run(stage: Stage) -> None:
    work = summarised(stage, "do add; mul")
    work.step()
    work.give()
    work.messages[:3] = [Message("user", "Much was said.")]
    work.finish()
    work.talk("thanks")
    assert (opened(stage), told(stage)) == (1, [])
    assert "Much was said." in stage.sent()[-1]


def test_a_user_who_speaks_before_the_answer_brings_it_along(stage: Stage) -> None:
    work = summarised(stage)
    work.user("and double it")
    work.step()
    assert (paths(stage)[-2:], opened(stage)) == (["tool-outputs", "messages"], 1)
    assert len(told(stage)) == 1
    heard = words_heard(stage.runs[-1])
    assert [one[1] for one in heard].count("and double it") == 1
    assert [one for one in heard if one[0] == "tool"] == words_of(work.messages[-4:-2])
    work.talk("go on")
    assert stage.sent()[-1] == "go on"


def test_whoever_wants_trims_to_be_replayed_gets_that(stage: Stage) -> None:
    work = summarised(stage, model=stage.model(on_trim="replay"))
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_an_edit_is_no_summary(stage: Stage) -> None:
    work = summarised(stage)
    work.messages[1:1] = [Message("user", f"another {n}") for n in range(3)]
    work.step()
    assert "tool-outputs" not in paths(stage)


def test_a_message_beside_the_summary_is_no_part_of_it(stage: Stage) -> None:
    work = summarised(stage)
    work.messages.insert(3, Message("user", "by the way"))
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_a_run_without_a_session_goes_on_too(stage: Stage) -> None:
    work = summarised(stage, sessions="never")
    work.step()
    assert (paths(stage)[-1], opened(stage)) == ("tool-outputs", 0)
    work.talk("thanks")
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])


def test_a_summary_of_the_same_words_is_taken_for_a_cut(stage: Stage) -> None:
    """The first summary with its middle cut out looks the same, so nothing is continued."""
    work = summarised(stage)
    work.finish()
    work.talk("thanks")
    work.talk("go on")
    work.messages[:-2] = [Message("user", SUMMARY)]
    work.check = True
    work.talk("well")
    assert last(work) == ("session", "replayed")
