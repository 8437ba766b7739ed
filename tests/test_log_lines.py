"""What one sees of a turn at INFO: how it travelled, why, and what a failure left behind."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool

from stewrd_integrations import errors
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.sessions.digest import Digester
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.turn_log import AS_IT_WAS, GIVEN_UP, KEPT, NO_SESSION, watched
from stewrd_integrations.types import Message, Role, Tool
from tests.frameworks import FRAMEWORKS, MODES, NAMES, Loop, Mode
from tests.frameworks import Talk as FrameworkTalk
from tests.talks import Talk, grown
from tests.worlds import Stage

LOGGER = "stewrd_integrations"


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=LOGGER)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines at INFO since the last look."""

    def look() -> list[str]:
        records = [record for record in caplog.records if record.name == LOGGER]
        told = [record.getMessage() for record in records if record.levelno == logging.INFO]
        caplog.clear()
        return told

    return look


@pytest.fixture
def stewrd() -> Iterator[Emulator]:
    with Emulator(session_tools="accepted") as emulator:
        yield emulator


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def stage() -> Stage:
    return Stage.make()


Lines = Callable[[], list[str]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)
def test_one_line_for_each_turn_however_it_is_asked_for(
    stewrd: Emulator, loop: Loop, lines: Lines, make: Callable[..., FrameworkTalk], mode: Mode
) -> None:
    talk = make(stewrd, loop, conversation_id="Grace Hopper", capabilities=["chat"])
    talk.say("My name is Ada.", mode)
    (first,) = lines()
    assert re.fullmatch(
        r"Stewrd: turn=opened road=session session=[0-9a-f]{8} conversation=[0-9a-f]{8} "
        r"fresh=1/1 used=2/50 credits=~?1 \| a new conversation",
        first,
    )
    talk.system = "Be brief."
    talk.say("What is my name?", mode)
    (second,) = lines()
    assert second.replace("~", "") == first.replace("~", "").replace(
        "turn=opened", "turn=continued"
    ).replace("1/1 used=2", "1/3 used=4").replace(
        "a new conversation", "the session has heard exactly this; the instructions changed"
    )
    assert stewrd.runs[-1].session_id is not None
    assert f"session={stewrd.runs[-1].session_id[:8]} " in second
    assert second.endswith(f" | {talk.told['reason']}")


def test_nobody_is_named_and_nothing_that_was_said(
    stewrd: Emulator, loop: Loop, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    who = {"conversation_id": "grace@example.org", "tenant": "acme-tenant"}
    for make in FRAMEWORKS:
        talk = make(stewrd, loop)
        talk.system = "Be a pirate."
        talk.who = who
        for text in ("My name is Ada.", "What is my name?"):
            talk.say(text)
        talk.messages.pop(0)
        talk.say("Do you know me?")
        stewrd.fail_next("error", on="any", status=400, code="invalid_body", message="pirate")
        with pytest.raises(errors.BadRequestError):
            talk.say("Arr")
    records = [record for record in caplog.records if record.name == LOGGER]
    told = [f"{record.getMessage()} {vars(record)['stewrd']!r}" for record in records]
    assert len(lines()) == len(told) == 8
    secrets = ("grace", "acme", "pirate", "Ada", "name is", "Arr", stewrd.api_key, *stewrd.sessions)
    assert [(one, line) for one in secrets for line in told if one in line] == []


def test_a_name_is_told_from_another_and_is_the_same_for_every_process_with_the_key(
    stewrd: Emulator, lines: Lines
) -> None:
    def hashed(name: str, tenant: str | None = None, **more: Any) -> str:
        address: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": MemoryStore()}
        model = ChatStewrd(**{**address, **more}, conversation_id=name, tenant=tenant)
        model.invoke("Hello")
        return lines()[-1].split("conversation=")[1][:8]

    assert hashed("a") == hashed("a")
    assert len({hashed("a"), hashed("b"), hashed("a", "t")}) == 3
    with Emulator() as other:
        assert hashed("a") != hashed("a", api_key=other.api_key, base_url=other.url)


def test_calls_that_stand_alone(stewrd: Emulator, lines: Lines) -> None:
    address: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
    model, llm = ChatStewrd(**address), StewrdLLM(**address)
    llm.complete("My name is Ada.")
    model.batch(["a", "b"])
    model.invoke("c", sessions="never")
    told = lines()
    assert len(told) == 4
    for line in told:
        assert line.startswith("Stewrd: turn=stateless road=stateless session=- conversation=- ")
        assert "fresh=1/1 used=- credits=1 | " in line
    assert [line.partition(" | ")[2] for line in told] == [
        *["a one-shot call"] * 3,
        'sessions="never"',
    ]


def test_rounds_of_tools(stewrd: Emulator, lines: Lines) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    model = ChatStewrd(api_key=stewrd.api_key, base_url=stewrd.url, conversation_id="ada")
    bound = model.bind_tools([add])
    asked = bound.invoke([question := HumanMessage("add(1, 2)")])
    output = ToolMessage("3", tool_call_id=asked.tool_calls[0]["id"])
    bound.invoke([question, asked, output])
    first, second = lines()
    assert " turn=opened " in first
    assert " turn=continued " in second and " fresh=1/3 used=4/50 credits=0 | " in second
    assert second.endswith("the run goes on with what its tools gave back")


def test_what_a_replay_leaves_out_is_not_fresh(stage: Stage, lines: Lines) -> None:
    grown(stage, 1)
    told = ("user", "word " * 60), ("assistant", "Yes."), ("user", "Next")
    messages = [Message(role, text) for role, text in told]  # type: ignore[arg-type]  # roles
    lines()
    model = stage.model(replay_budget=200)
    model.answer(model.call(messages, {"conversation_id": "b"}))
    model.answer(model.call(messages, {"sessions": "never"}))
    assert [re.search(r"fresh=\S+", line)[0] for line in lines()] == ["fresh=2/3"] * 2  # type: ignore[index]  # it is there


def test_log_formatters_find_the_same_as_fields(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    talk = grown(stage, 2, capabilities=["chat"])
    facts = vars(caplog.records[-1])["stewrd"]
    assert talk.last is not None and talk.last.session_id is not None
    assert {**facts, "conversation": len(facts["conversation"])} == {
        "turn": "continued",
        "road": "session",
        "session": talk.last.session_id[:8],
        "conversation": 8,
        "fresh": 1,
        "messages": 3,
        "used": 4,
        "limit": 50,
        "reason": talk.last.decision.reason,
        "credits": 1,
        "estimated": False,
    }


def test_a_log_that_nobody_reads_costs_nothing(stage: Stage, lines: Lines) -> None:
    logging.getLogger(LOGGER).setLevel(logging.WARNING)
    model = stage.model()
    call = model.call([Message("user", "Hello")], {})
    flow, _ = model._turn(call)
    assert watched(flow, call, Digester(b"k"), 50) is flow
    flow.close()
    grown(stage, 2)
    assert lines() == []


def test_what_is_explained_is_not_logged(stage: Stage, lines: Lines) -> None:
    talk = grown(stage, 2)
    lines()
    reason = talk.explain("next").reason
    assert lines() == []
    talk.say("next")
    assert lines()[0].endswith(f" | {reason}")


# -- failures --------------------------------------------------------------------------


def failing(talk: Talk, raised: type[BaseException], lines: Lines) -> str:
    lines()
    with pytest.raises(raised):
        talk.say("next")
    (line,) = lines()
    return line


def test_a_session_of_unknown_content_is_given_up(stage: Stage, lines: Lines) -> None:
    talk = grown(stage, 2)
    session = str(talk.way()[1])[:8]
    stage.fail_next("hang_up", after=True)
    line = failing(talk, errors.UnknownOutcomeError, lines)
    assert line.startswith("Stewrd: failed with UnknownOutcomeError turn=continued road=session ")
    assert f" session={session} " in line
    assert line.endswith(
        f" fresh=1/5 used=- charged=maybe | {GIVEN_UP} | the session has heard exactly this"
    )
    talk.say("next")
    assert talk.way()[0] == "replayed"


def test_a_session_that_has_heard_nothing_of_it_goes_on(stage: Stage, lines: Lines) -> None:
    talk = grown(stage, 2)
    stage.fail_next("error", status=400, code="invalid_body")
    line = failing(talk, errors.BadRequestError, lines)
    assert f" charged=no | {KEPT} | " in line
    talk.say("next")
    assert talk.way()[0] == "continued"

    new = Talk(stage.model(), "grace")
    stage.fail_next("error", status=400, code="invalid_body")
    assert f" | {KEPT} | a new conversation" in failing(new, errors.BadRequestError, lines)


def test_a_call_that_sends_nothing_leaves_all_as_it_was(stage: Stage, lines: Lines) -> None:
    talk = grown(stage, 2, replay_budget=1_000)
    lines()
    with pytest.raises(errors.InvalidInputError):
        talk.say("long " * 1_000)
    (line,) = lines()
    assert line == (
        "Stewrd: failed with InvalidInputError turn=- road=- session=- "
        f"conversation={line.split('conversation=')[1][:8]} fresh=0/5 used=- charged=no "
        f"| {AS_IT_WAS}"
    )
    talk.say("next")
    assert talk.way()[0] == "continued"


def test_a_turn_without_a_session_has_none_to_lose(stage: Stage, lines: Lines) -> None:
    talk = Talk(stage.model(sessions="never"))
    stage.fail_next("hang_up", on="agent", after=True)
    line = failing(talk, errors.UnknownOutcomeError, lines)
    assert f' charged=maybe | {NO_SESSION} | sessions="never"' in line


def test_a_session_stands_aside_while_the_agent_fails(stage: Stage, lines: Lines) -> None:
    talk = grown(stage, 2)
    shown = [*talk.messages, Message("user", "next")]
    tools = (Tool("add", "Add.", {"type": "object", "properties": {}}),)
    stage.fail_next("error", status=400, code="invalid_tools")
    stage.fail_next("hang_up", on="agent", after=True)
    lines()
    with pytest.raises(errors.UnknownOutcomeError):
        talk.model.answer(talk.model.call(shown, {"conversation_id": "ada"}, tools=tools))
    (line,) = lines()
    assert " turn=stateless road=stateless session=- " in line
    assert f" charged=maybe | {KEPT} | sessions of this project take no tools" in line
    talk.say("next")
    assert talk.way()[0] == "continued"


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_stream_that_is_left(stewrd: Emulator, lines: Lines, colour: str) -> None:
    model = ChatStewrd(api_key=stewrd.api_key, base_url=stewrd.url, conversation_id="ada")

    async def left() -> None:
        async with model:
            stream = model.astream("My name is Ada.")
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]  # it is an async generator

    if colour == "async":
        asyncio.run(left())
    else:
        stream = model.stream("My name is Ada.")
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # it is a generator
    (line,) = lines()
    assert line.startswith("Stewrd: left by its caller turn=opened ")
    assert f" | {GIVEN_UP} | " in line


def seen(stewrd: Emulator) -> None:
    while not stewrd.requests:
        time.sleep(0.01)


def test_a_call_that_is_cancelled(lines: Lines) -> None:
    async def main() -> None:
        with Emulator(latency=30.0) as stewrd:
            address: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
            async with ChatStewrd(**address, sessions="never") as model:
                task = asyncio.ensure_future(model.ainvoke("Hello"))
                await asyncio.to_thread(seen, stewrd)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())
    assert lines()[0].startswith("Stewrd: failed with CancelledError turn=stateless ")


# -- the reasons -----------------------------------------------------------------------


def changed(talk: Talk, *places: int) -> Talk:
    for place in places:
        talk.messages[place] = replace(talk.messages[place], text="another text", mark=None)
    return talk


def dropped(talk: Talk, keep: slice) -> Talk:
    talk.messages = talk.messages[keep]
    return talk


def added(talk: Talk, place: int, role: Role = "user") -> Talk:
    talk.messages.insert(place, Message(role, "in between"))
    return talk


def without(talk: Talk, *places: int) -> Talk:
    talk.messages = [one for place, one in enumerate(talk.messages) if place not in places]
    return talk


CHANGES: list[tuple[str, Callable[[Talk], object], str]] = [
    ("nothing", lambda talk: None, "the session has heard exactly this"),
    ("the first", lambda talk: changed(talk, 0), "edited: message 1 differs"),
    ("the second", lambda talk: changed(talk, 1), "edited: message 2 differs"),
    ("the third", lambda talk: changed(talk, 2), "edited: message 3 differs"),
    ("two", lambda talk: changed(talk, 2, 4), "edited: message 3 differs"),
    ("the last answer", lambda talk: changed(talk, 7), "edited: message 7 or 8 differs"),
    (
        "all after the third",
        lambda talk: dropped(talk, slice(0, 2)),
        "edited: message 3 differs, or was answered already",
    ),
    ("one in the middle", lambda talk: without(talk, 3), "edited: message 4 differs"),
    ("two in the middle", lambda talk: without(talk, 2, 3), "edited: message 3 differs"),
    (
        "the oldest",
        lambda talk: dropped(talk, slice(4, None)),
        "trimmed: the oldest messages are gone (4)",
    ),
    (
        "nearly all",
        lambda talk: dropped(talk, slice(6, None)),
        "trimmed: the oldest messages are gone (6), and of the 2 exchanges that it takes to be "
        "sure 1 can be seen",
    ),
    (
        "a summary",
        lambda talk: (dropped(talk, slice(4, None)), added(talk, 0)),
        "summarised: message 1 in the place of the oldest (4)",
    ),
    (
        "an addition",
        lambda talk: added(talk, 2),
        "added between what the session has heard: message 3",
    ),
    (
        "two additions",
        lambda talk: (added(talk, 2), added(talk, 2)),
        "added between what the session has heard: messages 3 to 4",
    ),
    (
        "several additions",
        lambda talk: [added(talk, place) for place in (6, 4, 2, 2)],
        "added between what the session has heard: messages 3, 4, 7, 10",
    ),
    (
        "an answer of the application",
        lambda talk: (added(talk, 8), added(talk, 9, "assistant")),
        "the application wrote the last answer, message 10",
    ),
]


@pytest.mark.parametrize(
    ("change", "reason"), [change[1:] for change in CHANGES], ids=[change[0] for change in CHANGES]
)
def test_the_reason_names_the_rule_and_the_place(
    stage: Stage, lines: Lines, change: Callable[[Talk], object], reason: str
) -> None:
    talk = replace(grown(stage, 4), marks=False)
    talk.messages = [replace(message, mark=None) for message in talk.messages]
    change(talk)
    explained = talk.explain("next").reason
    outcome = talk.say("next")
    assert (outcome.decision.reason, explained) == (reason, reason)
    assert lines()[-1].endswith(f" | {reason}")
    assert [said.text for said in stage.runs[-1].conversation.messages][-1] == "next"


def test_system_messages_are_not_counted(stage: Stage) -> None:
    talk = replace(grown(stage, 3), system="Be brief.", marks=False)
    changed(talk, 2)
    assert talk.say("next").decision.reason == "edited: message 3 differs"


def test_a_history_longer_than_what_is_kept_of_it(stage: Stage) -> None:
    talk = grown(stage, 40, session_message_limit=100)
    near, far = (
        replace(talk, messages=list(talk.messages)),
        replace(talk, messages=talk.messages[:]),
    )
    changed(near, 70)
    changed(far, 5)
    assert near.explain("next").reason == "edited: message 71 differs"
    assert (
        far.explain("next").reason
        == "edited or rewound: one of messages 2 to 16 differs or is gone"
    )


def test_why_a_session_ends(stage: Stage) -> None:
    talk = grown(stage, 2, session_message_limit=4)
    assert talk.say("next").decision.reason == "the session is full (4 of 4 messages)"
    stage.clock.now += 3_600
    assert talk.say("next").decision.reason == (
        "the session was idle for too long (3600 of 1800 seconds)"
    )
    stage.world.expire()
    assert talk.say("next").decision.reason == "the session had expired, as the server says"


def test_why_no_session_is_to_be_had(stage: Stage) -> None:
    model = stage.model(max_active_sessions=1)
    Talk(model, "ada").say("Hello")
    outcome = Talk(model, "grace").say("Hello")
    assert outcome.decision.reason == ("a new conversation; no free slot (1 of 1 slots are in use)")


def test_why_trims_are_replayed(stage: Stage) -> None:
    talk = grown(stage, 3, on_trim="replay")
    dropped(talk, slice(2, None))
    assert talk.say("next").decision.reason == (
        'trimmed: the oldest messages are gone (2), and on_trim="replay"'
    )


def test_why_instructions_are_replayed(stage: Stage) -> None:
    talk = grown(stage, 2, on_instructions_change="replay")
    talk.system = "Be brief."
    assert talk.say("next").decision.reason == (
        'the instructions changed, and on_instructions_change="replay"'
    )
