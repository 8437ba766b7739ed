"""A named conversation in a store: its transcript, its session, and how it is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from stewrd_integrations.conversations import Conversation, SessionInfo
from stewrd_integrations.emulator import Answer, Call, Context, Emulator
from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.types import Message, Tool

from .sessions.tooling import paths, scripted, words_heard, words_of, workshop
from .talks import Talk
from .worlds import ADDRESS, KEY, Stage, stored_text

Forget = Callable[[Conversation, list[Message]], None]


def forget(conversation: Conversation, messages: list[Message]) -> None:
    conversation.forget(messages)


def aforget(conversation: Conversation, messages: list[Message]) -> None:
    asyncio.run(conversation.aforget(messages))


def session(conversation: Conversation) -> SessionInfo | None:
    """By both colours, which must agree."""
    found = conversation.session()
    assert asyncio.run(conversation.asession()) == found
    return found


both = pytest.mark.parametrize("forget", [forget, aforget])


def kept(stage: Stage, name: str = "ada", **options: Any) -> Conversation:
    """What is kept of a conversation of this stage's models."""
    given = {"api_key": KEY, "base_url": ADDRESS, "store": stage.store, "clock": stage.clock}
    return Conversation(Options(**{**given, "conversation_id": name, **options}))


def bindings(stage: Stage) -> list[Any]:
    assert isinstance(stage.store, MemoryStore)
    return [one.binding for one in stage.store.inventory().bindings]


# -- the session's facts ---------------------------------------------------------------


def test_the_session_of_a_conversation() -> None:
    stage = Stage.make()
    talk, conversation = Talk(stage.model(), "ada"), kept(stage)
    assert session(conversation) is None
    for turn in (1, 2):
        stage.clock.now += 60
        talk.say(f"text {turn}")
        begun = datetime.fromtimestamp(stage.clock.now, timezone.utc)
        assert session(conversation) == SessionInfo(
            session_id=str(talk.way()[1]),
            messages_used=2 * turn,
            messages_left=50 - 2 * turn,
            idle_deadline=begun + timedelta(minutes=30),
            generation=1,
        )
    stage.clock.now += 1_799
    assert session(conversation) is not None
    stage.clock.now += 1
    assert session(conversation) is None
    talk.say("text 3")
    found = session(conversation)
    assert found and (found.session_id, found.generation) == (talk.way()[1], 2)


def test_only_the_very_conversation_has_it() -> None:
    stage = Stage.make()
    Talk(stage.model(), "ada", who={"tenant": "t"}).say("Hi")
    for other in (
        kept(stage),
        kept(stage, "Ada", tenant="t"),
        kept(stage, tenant="T"),
        kept(stage, tenant="t", api_key="sk-stw_other"),
        kept(stage, tenant="t", base_url="http://127.0.0.1:8"),
        kept(stage, tenant="t", store=MemoryStore()),
    ):
        assert session(other) is None
    assert session(kept(stage, tenant="t")) is not None


def test_an_answer_without_a_session_has_none() -> None:
    stage = Stage.make(plan="free")
    Talk(stage.model(), "ada").say("Hi")
    assert session(kept(stage)) is None


def test_a_session_that_was_given_up_is_none() -> None:
    stage = Stage.make()
    talk = Talk(stage.model(), "ada")
    talk.say("Hi")
    stage.fail_next("hang_up", after=True)
    with pytest.raises(Exception, match="no answer"):
        talk.say("Hello?")
    assert session(kept(stage)) is None


# -- the transcript --------------------------------------------------------------------


async def test_the_transcript_in_both_colours() -> None:
    conversation = kept(Stage.make())
    conversation.append(["1", "2"])
    await conversation.aappend(["3"])
    assert conversation.load() == await conversation.aload() == ["1", "2", "3"]
    await conversation.aappend(["4"], replace=True)
    conversation.append(["5"])
    assert conversation.load() == ["4", "5"]


def test_names_lie_around_in_no_plain_text() -> None:
    stage = Stage.make()
    conversation = kept(stage, "the name", tenant="the tenant")
    conversation.append(["x"])
    Talk(stage.model(), "the name", who={"tenant": "the tenant"}).say("Hi")
    assert isinstance(stage.store, MemoryStore)
    transcripts = [one.name for one in stage.store.inventory().transcripts]
    assert len(transcripts) == 1
    text = stored_text(stage.store) + "".join(transcripts)
    assert "name" not in text.replace("named", "") and "tenant" not in text
    assert conversation.seal() not in text


def test_a_key_that_rotates_finds_each_its_own() -> None:
    keys = iter(["sk-stw_1", "sk-stw_1", "sk-stw_2"])
    conversation = kept(Stage.make(), api_key=lambda: next(keys))
    conversation.append(["x"])
    assert [conversation.load(), conversation.load()] == [["x"], []]


@pytest.mark.parametrize(
    "options",
    [
        {"conversation_id": None},
        {"conversation_id": " "},
        {"conversation_id": True},
        {"tenant": []},
        {"tenant": ""},
        {"store": "carrier-pigeon://"},
        {"base_url": "http://example.com"},
        {"api_key": "sk stw"},
    ],
    ids=str,
)
def test_wrong_options(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigurationError, match=name.replace("api_key", "API key")):
        kept(Stage.make(), **options)


# -- forgetting ------------------------------------------------------------------------


@both
def test_what_was_forgotten_is_continued_no_more(forget: Forget) -> None:
    stage = Stage.make()
    talk, conversation = Talk(stage.model(), "ada"), kept(stage)
    talk.say("My name is Ada.")
    talk.say("My pet is Rex.")
    conversation.append(["x"])
    _, old = talk.way()
    forget(conversation, talk.messages)
    assert conversation.load() == [] and session(conversation) is None and bindings(stage) == []

    again = Talk(stage.model(), "ada")
    assert again.say("Who am I?").reply.message == "You have not told me your name."
    again.say("What is my pet?")
    assert again.last and again.last.reply.message == "You have not told me your pet."
    # Somebody who has kept the old list says it again, to a session of its own.
    talk.say("Who am I?")
    assert talk.way()[0] == "replayed" and old not in {run.session_id for run in stage.runs[2:]}


@both
def test_every_beginning_is_forgotten(forget: Forget) -> None:
    stage = Stage.make()
    talk = Talk(stage.model(), "ada")
    for text in ("My name is Ada.", "My pet is Rex.", "Hello"):
        talk.say(text)
    early = Talk(stage.model(), "ada", messages=talk.messages[:2])
    early.say("My pet is Bello.")
    assert len(bindings(stage)) == 2
    forget(kept(stage), talk.messages)
    # A branch is known by its last answer, so it goes when that is shown.
    assert [binding.covered.count for binding in bindings(stage)] == [4]
    forget(kept(stage), early.messages)
    assert bindings(stage) == []


@both
def test_what_was_said_before_it_had_a_name_is_forgotten_too(forget: Forget) -> None:
    stage = Stage.make()
    talk = Talk(stage.model())
    talk.say("My name is Ada.")
    assert len(bindings(stage)) == 1
    forget(kept(stage), talk.messages)
    assert bindings(stage) == []


@both
def test_others_are_not_forgotten(forget: Forget) -> None:
    stage = Stage.make()
    talks = [
        Talk(stage.model(), name, who={"tenant": tenant})
        for name, tenant in (("ada", None), ("bo", None), ("ada", "t"))
    ]
    for talk in talks:
        talk.say("My name is Ada.")
        kept(stage, str(talk.name), tenant=talk.who["tenant"]).append(["x"])
    forget(kept(stage), talks[0].messages)
    for talk in talks[1:]:
        talk.say("Who am I?")
        assert talk.way()[0] == "continued"
        other = kept(stage, str(talk.name), tenant=talk.who["tenant"])
        assert other.load() == ["x"] and session(other) is not None


@both
def test_long_conversations_are_forgotten(forget: Forget) -> None:
    stage = Stage.make(credits=10_000)
    talk = Talk(stage.model(sessions="always"), "ada")
    for turn in range(40):
        talk.say(f"text {turn}")
    messages = [Message("system", "Be kind."), *talk.messages]
    forget(kept(stage), messages)
    assert bindings(stage) == []


@both
def test_a_call_in_flight_does_not_bring_it_back(forget: Forget) -> None:
    stage = Stage.make()
    model = stage.model()
    talk = Talk(model, "ada")
    talk.say("My name is Ada.")
    talk.say("My pet is Rex.")
    items = model.stream(talk._call("Hello", stream=True))
    next(items)
    stage.clock.now += 1
    forget(kept(stage), talk.messages)
    *_, outcome = items
    assert isinstance(outcome, Outcome)
    late = Message("assistant", outcome.reply.message, mark=outcome.mark)
    again = Talk(model, "ada", messages=[Message("user", "Hello"), late])
    again.say("What is my name?")
    assert again.last and again.last.reply.message == "You have not told me your name."
    assert again.last.decision.reason == "the conversation was cleared since"
    stage.clock.now += 1
    again.say("My name is Bo.")
    again.say("Who am I?")
    assert again.way()[0] == "continued"


@both
@pytest.mark.parametrize("after", [0, 1])
def test_a_call_in_flight_tells_nothing_of_the_session_that_was_forgotten(
    forget: Forget, after: int
) -> None:
    stage = Stage.make()
    model, conversation = stage.model(), kept(stage)
    talk = Talk(model, "ada")
    for turn in range(after):
        talk.say(f"text {turn}")
    items = model.stream(talk._call("Hello", stream=True))
    next(items)
    stage.clock.now += 1
    forget(conversation, talk.messages)
    assert session(conversation) is None
    list(items)
    assert session(conversation) is None
    again = Talk(model, "ada")
    again.say("One")
    again.say("Two")
    found = session(conversation)
    assert found and found.session_id == stage.runs[-1].session_id


@both
@pytest.mark.parametrize("skew", [0.0, -3_600.0, 3_600.0])
def test_clocks_that_do_not_agree_bring_nothing_back(forget: Forget, skew: float) -> None:
    """It is forgotten on another machine, while a call is in flight on this one."""
    stage = Stage.make()
    model, conversation = stage.model(), kept(stage)
    talk = Talk(model, "ada")
    talk.say("My name is Ada.")
    items = model.stream(talk._call("Hello", stream=True))
    next(items)
    stage.clock.now += skew
    forget(conversation, talk.messages)
    stage.clock.now -= skew
    answer = list(items)[-1]
    assert isinstance(answer, Outcome)
    assert session(conversation) is None
    said = Message("assistant", answer.reply.message)
    again = Talk(model, "ada", messages=[Message("user", "Hello"), said])
    again.say("What is my name?")
    assert again.last and again.last.reply.message == "You have not told me your name."
    # What is said from now on is of the new epoch.
    before = len(stage.world.sessions)
    again.say("And now?")
    assert len(stage.world.sessions) == before


@both
def test_a_call_that_waits_for_its_session_does_not_bring_it_back(forget: Forget) -> None:
    """It was forgotten while the session was being opened, so nothing had been sent yet."""
    stage = Stage.make()
    model, usual = stage.model(match_by_content=False), stage.world.handle
    talk = Talk(model, "ada")
    talk.messages = [Message("user", "My name is Ada."), Message("assistant", "Hello Ada.")]

    def handle(request: Any) -> Any:
        if request.path == "/v1/sessions":
            stage.clock.now += 1
            forget(kept(stage), talk.messages)
            stage.clock.now += 1
        return usual(request)

    stage.world.handle = handle  # type: ignore[method-assign]  # it forgets in the midst
    talk.say("Hello")
    stage.world.handle = usual  # type: ignore[method-assign]  # as above
    assert session(kept(stage)) is None
    again = Talk(model, "ada", messages=talk.messages[-2:])
    again.say("What is my name?")
    assert again.last and again.last.reply.message == "You have not told me your name."


@both
@pytest.mark.parametrize("sessions", ["auto", "never"])
@pytest.mark.parametrize("server", [{"session_tools": "refused"}, {"plan": "free"}])
@pytest.mark.parametrize("in_flight", [True, False])
def test_a_run_without_a_session_that_waits_does_not_bring_it_back(
    forget: Forget, sessions: Any, server: dict[str, Any], in_flight: bool
) -> None:
    """It knows what was said before, and the list that is shown now does not."""
    stage = scripted(**server)
    work = workshop(stage, sessions=sessions, check=False)
    work.talk("my secret")
    heard = list(work.messages)
    if in_flight:
        usual = stage.world.handle

        def handle(request: Any) -> Any:
            response = usual(request)
            stage.world.handle = usual  # type: ignore[method-assign]  # once only
            stage.clock.now += 1
            forget(kept(stage), heard)
            return response

        stage.world.handle = handle  # type: ignore[method-assign]  # it forgets in the midst
    work.ask("do add")
    if not in_flight:
        stage.clock.now += 1
        forget(kept(stage), heard)
    stage.clock.now += 1
    work.messages = work.messages[-2:]
    work.give()
    work.step()
    assert "tool-outputs" not in paths(stage)
    assert words_heard(stage.runs[-1]) == words_of(work.messages[:-1])
    work.ask("do add, mul")
    work.finish()
    assert paths(stage)[-1] == "tool-outputs"


@pytest.mark.parametrize("session_tools", ["accepted", "refused"])
def test_over_a_socket_too(session_tools: str) -> None:
    """The agent forgets the conversation while it is asked: calls of tools, and an answer."""
    store, heard = MemoryStore(), [Message("user", "My name is Ada."), Message("assistant", "Hi.")]

    def agent(context: Context) -> str | Answer:
        if context.message in ("sum", "hello"):
            conversation.forget(heard)
        return Answer(calls=[Call("add")]) if context.message == "sum" else "done"

    with Emulator(agent=agent, session_tools=session_tools) as stewrd:
        options = Options(
            api_key=stewrd.api_key, base_url=stewrd.url, conversation_id="ada", store=store
        )
        conversation, model = Conversation(options), Runtime(options)
        tools = [Tool("add", "Adds.", {"type": "object"})]
        said = Message("user", "sum")
        (call,) = model.answer(model.call([*heard, said], {}, tools=tools)).reply.tool_calls
        assert session(conversation) is None
        calls = Message("assistant", "", tool_calls=(call,))
        output = Message("tool", "3", tool_call_id=call.id)
        model.answer(model.call([said, calls, output], {}, tools=tools))
        assert not [one for one in stewrd.requests if one.path.endswith("/tool-outputs")]
        assert [one.text for one in stewrd.runs[-1].conversation.messages] == ["sum", "", "3"]
        model.answer(model.call([*heard, Message("user", "hello")], {}))
        assert session(conversation) is None
        model.close()


def test_a_slot_stays_taken_until_the_server_lets_it_go() -> None:
    stage = Stage.make()
    talk = Talk(stage.model(), "ada")
    talk.say("Hi")
    kept(stage).forget(talk.messages)
    project = stage.model().client.project
    assert len(stage.store.slots(project)) == stage.world.active_sessions == 1


def test_a_new_beginning_waits_for_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage.make()
    talk = Talk(stage.model(), "ada")
    talk.say("Hi")
    kept(stage).forget(talk.messages)
    again = Talk(stage.model(), "ada")
    ways = []
    for text in ("One", "Two", "Three"):
        again.say(text)
        ways.append(again.way()[0])
    assert ways == ["stateless", "replayed", "continued"]
    assert "under the name of" not in caplog.text, "it was cleared, so nothing is missing"
    found = session(kept(stage))
    assert found and found.generation == 1


class Broken(MemoryStore):
    """Fails at whatever a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.at = ""

    def _fail(self, what: str) -> None:
        if what == self.at:
            raise OSError("the disk is on fire")

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Any:
        self._fail("take")
        return super().take(keys, unique)

    def note(self, key: str, change: Any = None) -> Any:
        self._fail("note")
        return super().note(key, change)


@both
@pytest.mark.parametrize("at", ["take", "note"])
def test_a_failing_store_never_looks_as_if_it_had_forgotten(forget: Forget, at: str) -> None:
    stage = Stage.make()
    stage.store = store = Broken()
    talk, conversation = Talk(stage.model(), "ada"), kept(stage)
    talk.say("Hi")
    conversation.append(["x"])
    store.at = at
    with pytest.raises(StoreError):
        forget(conversation, talk.messages)
    store.at = ""
    assert conversation.load() == ["x"]
    forget(conversation, talk.messages)
    assert conversation.load() == [] and bindings(stage) == []
