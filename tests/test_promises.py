"""What is promised, in both frameworks, over a real socket, by what the server heard."""

from __future__ import annotations

import json
import logging
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.base.llms.types import DocumentBlock, TextBlock
from llama_index.core.llms import ChatMessage

from stewrd_integrations import surroundings
from stewrd_integrations.emulator import Context, Emulator
from stewrd_integrations.langchain import ChatStewrd
from tests.frameworks import FRAMEWORKS, MODES, NAMES, Loop, Mode, Talk, options
from tests.servers import serve

Maker = Callable[..., Talk]
pytestmark = pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)


def unique() -> Callable[[Context], str]:
    numbers = iter(range(1, 1_000_000))
    return lambda context: f"answer {next(numbers)}"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve(agent=unique()) as emulator:
        yield emulator


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(autouse=True)
def _every_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_warned", {})


def heard(emulator: Emulator) -> list[tuple[str, str]]:
    """What the agent read at its last answer."""
    return [(said.role, said.text) for said in emulator.runs[-1].conversation.messages]


def asked(talk: Talk) -> list[tuple[str, str]]:
    """What the framework held when it asked."""
    return talk.pairs()[:-1]


@pytest.mark.parametrize("mode", MODES)
def test_two_hundred_turns_with_expiries(
    make: Maker, emulator: Emulator, loop: Loop, mode: Mode
) -> None:
    chance = random.Random(200)  # noqa: S311
    talk = make(emulator, loop, conversation_id="ada")
    ways: list[str] = []
    for turn in range(200):
        if turn and chance.random() < 0.1:
            emulator.expire()
        ways.append(talk.say(f"text {turn}", mode))
        assert heard(emulator) == asked(talk)
    replaced = ways.count("recreated") + ways.count("rolled_over")
    assert len(emulator.sessions) == 1 + replaced
    assert set(ways) == {"opened", "continued", "recreated", "rolled_over"}
    assert max(record.messages for record in emulator.sessions.values()) <= 50
    assert {request.status for request in emulator.refused} == {410}
    assert (emulator.over_limit, emulator.overlaps) == (0, [])


def test_a_continued_turn_sends_little_more_than_the_text(
    make: Maker, emulator: Emulator, loop: Loop
) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    texts = [f"This is question number {turn}. " + "Tell me more. " * turn for turn in range(25)]
    for text in texts:
        talk.say(text)
    assert [run.message for run in emulator.runs] == texts
    sent = sum(len(json.dumps(one.body)) for one in emulator.requests if one.body)
    assert sent <= 1.3 * sum(len(text.encode()) for text in texts) + 300 * 25


@pytest.mark.parametrize("kind", ["name", "mark", "content", "tenant"])
def test_identical_conversations_never_meet(make: Maker, loop: Loop, kind: str) -> None:
    with serve(agent=lambda context: "Yes.") as emulator:
        first = make(emulator, loop)
        second = type(first)(first.model, loop)  # type: ignore[arg-type]
        for number, talk in enumerate((first, second)):
            if kind in ("name", "tenant"):
                talk.who = {"conversation_id": f"n{number}" if kind == "name" else "same"}
            if kind == "tenant":
                talk.who["tenant"] = f"t{number}"
        for turn, text in enumerate(["hello", "are you there?", "mine", "and on", "good"]):
            for number, talk in enumerate((first, second)):
                talk.say(f"I am {number}" if turn == 2 else text)
                assert heard(emulator) == asked(talk)
                if kind == "content":
                    talk.forget_marks()
        assert first.told["session_id"] != second.told["session_id"]


def edit(talk: Talk) -> str:
    talk.add("user", "edited", 0)
    del talk.messages[1]
    return "replayed"


def regenerate(talk: Talk) -> str:
    del talk.messages[-2:]
    return "replayed"


def rewind(talk: Talk) -> str:
    del talk.messages[2:]
    return "replayed"


def drop_in_the_middle(talk: Talk) -> str:
    del talk.messages[3]
    return "replayed"


def foreign_answer(talk: Talk) -> str:
    talk.add("user", "a question of the application's own")
    talk.add("assistant", "and its answer")
    return "continued"


def foreign_in_between(talk: Talk) -> str:
    talk.add("assistant", "by the way", 2)
    return "continued"


def two_user_messages(talk: Talk) -> str:
    talk.add("user", "dangling")
    return "continued"


CHANGES = [
    edit,
    regenerate,
    rewind,
    drop_in_the_middle,
    foreign_answer,
    foreign_in_between,
    two_user_messages,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("mode", ["plain", "async stream"])
def test_a_changed_history(
    make: Maker, emulator: Emulator, loop: Loop, change: Callable[[Talk], str], mode: Mode
) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    for turn in range(4):
        talk.say(f"text {turn}", mode)
    expected = change(talk)
    assert talk.say("next", mode) == expected
    assert heard(emulator) == asked(talk)
    assert talk.say("and on", mode) == "continued"
    assert emulator.runs[-1].message == "and on"


@pytest.mark.parametrize("summary", [None, "They met."])
def test_a_trimmed_front(make: Maker, emulator: Emulator, loop: Loop, summary: str | None) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    for turn in range(4):
        talk.say(f"text {turn}")
    before = heard(emulator)
    del talk.messages[:4]
    if summary:
        talk.add("user", summary, 0)
    assert talk.say("next") == "continued"
    shown = asked(talk)
    assert heard(emulator)[-len(shown) :] == shown
    assert heard(emulator)[: len(heard(emulator)) - len(shown)] == before[:4]
    assert talk.say("and on") == "continued"
    assert emulator.runs[-1].message == "and on"


def test_a_fork(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop)
    talk.say("one")
    talk.say("two")
    branch = type(talk)(talk.model, loop, messages=list(talk.messages[:2]))  # type: ignore[arg-type]
    for turn in range(3):
        for one in (branch, talk):
            one.say(f"text {turn}")
            assert heard(emulator) == asked(one)
    assert branch.told["session_id"] != talk.told["session_id"]


def test_changed_instructions(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    for system in ("Be brief.", "Be brief.", "Be kind.", ""):
        talk.system = system
        talk.say("go on")
        assert emulator.runs[-1].conversation.instructions == system
        assert heard(emulator) == asked(talk)
    assert len(emulator.sessions) == 1


def test_the_eleventh_conversation(
    make: Maker, emulator: Emulator, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    talk = make(emulator, loop)
    talks = [type(talk)(talk.model, loop) for _ in range(12)]  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        for turn in range(2):
            for number, one in enumerate(talks):
                one.who = {"conversation_id": f"n{number}"}
                one.say(f"text {turn}")
                assert heard(emulator) == asked(one)
    assert [one.told["road"] for one in talks] == ["session"] * 10 + ["stateless"] * 2
    assert "slots" in talks[-1].told["reason"]
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    assert emulator.refused == []


def test_a_rephrasing_chain_beside_an_answering_one(
    make: Maker, emulator: Emulator, loop: Loop
) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    talk.system = "Answer."
    for turn in range(12):
        aside = type(talk)(talk.model, loop, messages=list(talk.messages))  # type: ignore[arg-type]
        aside.system = "Rephrase."
        aside.say(f"text {turn}")
        talk.say(f"text {turn}")
        assert heard(emulator) == asked(talk)
        if turn > 2:
            assert aside.told["road"] == "stateless"
    assert len(emulator.sessions) <= 3


def test_state_is_never_lost_by_bad_input(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    talk.say("one")
    requests = len(emulator.requests)
    wrong: list[dict[str, Any]] = [
        {"capabilities": ["magic"]},
        {"capabilities": "chat"},
        {"temperature": 0.5},
        {"sessions": "often"},
        {"tenant": " "},
    ]
    for who in wrong:
        talk.who = who
        with pytest.raises(ValueError, match=r"\w"):
            talk.say("two")
    talk.who = {}
    with pytest.raises(ValueError, match="no text"):
        talk.say("  ")
    assert len(emulator.requests) == requests
    assert talk.say("two") == "continued"


def test_one_shots_of_a_batch_open_nothing(make: Maker, emulator: Emulator, loop: Loop) -> None:
    if make is not FRAMEWORKS[0]:
        talk = make(emulator, loop)
        for number in range(100):
            talk.model.complete(f"question {number}")  # type: ignore[union-attr]
    else:
        loop.models.append(model := ChatStewrd(**options(emulator)))
        answers = model.batch([f"question {number}" for number in range(100)])
        assert len({answer.text for answer in answers}) == 100
        loop.run(model.abatch([f"question {number}" for number in range(20)]))
    assert len(emulator.sessions) == 0
    assert {run.session_id for run in emulator.runs} == {None}


def test_explain_agrees_with_what_is_then_done(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    talk.say("one")
    shown: list[Any] = [*talk.messages, talk.messages[0]]
    explained = talk.model.explain(shown, capabilities=["research", "chat"])
    assert (explained.turn, explained.text, explained.credits) == ("continued", "one", 4)
    assert explained.session_id == talk.told["session_id"]
    assert len(emulator.runs) == 1
    assert talk.say("two") == "continued"


def test_a_session_may_be_asked_for_by_each_call(
    make: Maker, emulator: Emulator, loop: Loop
) -> None:
    talk = make(emulator, loop)
    talk.who = {"sessions": "never", "conversation_id": "ada"}
    assert talk.say("one") == "stateless"
    talk.who = {"sessions": "always"}
    assert talk.say("two") == "replayed"
    assert talk.say("three") == "continued"


def beside(talk: Talk, **who: Any) -> Talk:
    """Somebody else on the same model, with the same words to begin with."""
    messages: Any = list(talk.messages)
    return type(talk)(talk.model, talk.loop, who=who, messages=messages)  # type: ignore[arg-type]


def test_a_thread_copied_under_another_name(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop)
    talk.who = {"conversation_id": "ada"}
    talk.say("one")
    talk.say("two")
    session = talk.told["session_id"]
    copy = beside(talk, conversation_id="bob")
    copy.say("mine")
    assert heard(emulator) == asked(copy)
    assert copy.told["session_id"] != session
    assert talk.say("three") == "continued"
    assert heard(emulator) == asked(talk)


def test_the_same_words_under_other_instructions(
    make: Maker, emulator: Emulator, loop: Loop
) -> None:
    talk = make(emulator, loop)
    talk.system = "The user is Ada."
    talk.say("one")
    talk.forget_marks()
    other = beside(talk)
    other.system = "The user is Bob."
    other.say("who am I?")
    assert emulator.runs[-1].conversation.instructions == "The user is Bob."
    assert other.told["session_id"] != talk.told["session_id"]


def test_a_guessed_name_with_a_guessed_answer(make: Maker, loop: Loop) -> None:
    with serve(agent=lambda context: "Yes.") as emulator:
        talk = make(emulator, loop)
        talk.who = {"conversation_id": "ada"}
        talk.say("my secret is 42")
        talk.say("keep it")
        thief = beside(talk, conversation_id="ada")
        thief.messages = []
        thief.add("assistant", "Yes.")
        thief.say("what is it?")
        assert heard(emulator) == asked(thief)
        assert thief.told["session_id"] != talk.told["session_id"]
        assert talk.say("go on") == "continued"


def filed(make: Maker, content: str) -> Any:
    """A question about a file, in the framework's own message."""
    if make is FRAMEWORKS[0]:
        block = {"type": "text-plain", "mime_type": "text/plain", "title": "a.txt", "text": content}
        return HumanMessage([{"type": "text", "text": "read it"}, block])
    document = DocumentBlock(data=b64encode(content.encode()), title="a.txt")
    return ChatMessage(role="user", blocks=[TextBlock(text="read it"), document])


def test_the_same_words_about_another_file(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop)
    mine, others = filed(make, "mine"), filed(make, "another's")
    shown: list[Any] = [mine]
    if make is FRAMEWORKS[0]:
        answer: Any = AIMessage(talk.model.invoke(shown).text)  # type: ignore[union-attr]
    else:
        reply = talk.model.chat(shown).message  # type: ignore[union-attr]
        answer = ChatMessage(reply.content, role="assistant")
    session = emulator.runs[-1].session_id
    assert session is not None
    talk.messages = [others, answer]
    talk.say("and now")
    assert talk.told["session_id"] != session
    assert [file.content for file in emulator.runs[-1].files] == ["another's"]
