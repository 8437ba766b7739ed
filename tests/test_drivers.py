"""The drivers: they hand out events as they come, and let a turn say its last word."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from stewrd_integrations import drivers, errors, surroundings
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.sessions.call import Call, Outcome
from stewrd_integrations.sessions.effects import Emit, Pieces
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.types import Done, Message, Token, Tool
from tests.talks import Talk
from tests.worlds import Stage


@pytest.fixture(autouse=True)
def _every_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_warned", {})


@pytest.fixture
def stage() -> Stage:
    return Stage.make(lambda context: "one two three four")


def after_two(stage: Stage, talk: Talk) -> None:
    """An abandoned stream costs its session, and nothing else."""
    first = talk.way()[1]
    talk.say("next")
    assert talk.way()[0] == "replayed"
    assert talk.way()[1] != first
    told = stage.runs[-1].conversation.messages
    assert [said.text for said in told] == [m.text for m in talk.messages[:-1]]
    talk.say("on")
    assert talk.way()[0] == "continued"


def begun(stage: Stage) -> Talk:
    talk = Talk(stage.model(), "ada")
    talk.say("hello")
    return talk


def streaming(talk: Talk) -> Any:
    who = {"conversation_id": "ada"}
    return talk.model.call(talk.list_with("tell me"), who, stream=True)


def test_events_come_before_the_outcome(stage: Stage) -> None:
    talk = begun(stage)
    items = list(talk.model.stream(streaming(talk)))
    assert [type(item) for item in items] == [Token] * 4 + [Outcome]


def test_an_abandoned_stream(stage: Stage) -> None:
    talk = begun(stage)
    stream = talk.model.stream(streaming(talk))
    assert next(stream) == Token("one")
    stream.close()
    after_two(stage, talk)


def test_a_stream_that_is_only_forgotten(stage: Stage) -> None:
    talk = begun(stage)
    stream = talk.model.stream(streaming(talk))
    next(stream)
    del stream
    gc.collect()
    after_two(stage, talk)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), errors.InvalidInputError("Theirs.")])
def test_a_caller_whose_own_code_fails(stage: Stage, failure: BaseException) -> None:
    """A part was shown, so it does not matter what kind of error it is."""
    talk = begun(stage)
    stream = talk.model.stream(streaming(talk))
    next(stream)
    with pytest.raises(type(failure)):
        stream.throw(failure)
    after_two(stage, talk)


@pytest.mark.parametrize("on_loop", [False, True])
async def test_what_is_held_back_goes_out_with_the_next_piece(stage: Stage, on_loop: bool) -> None:
    talk = begun(stage)
    who = {"conversation_id": "ada"}
    call = talk.model.call(talk.list_with("tell me"), who, stream=True, stop=[" two five"])
    if on_loop:
        items = [item async for item in talk.model.astream(call)]
    else:
        items = list(talk.model.stream(call))
    assert items[:-1] == [Token("one"), Token(" two three"), Token(" four")]


@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_stream_is_counted_with_what_its_end_says(on_loop: bool) -> None:
    talk = begun(Stage.make(done="documented"))  # it tells the credits
    before = talk.model.budget.spent
    if on_loop:
        [_ async for _ in talk.model.astream(streaming(talk))]
    else:
        list(talk.model.stream(streaming(talk)))
    assert talk.model.budget.spent - before == 1


async def test_an_abandoned_async_stream(stage: Stage) -> None:
    talk = begun(stage)
    async with aclosing(talk.model.astream(streaming(talk))) as stream:
        assert await anext(stream) == Token("one")
    after_two(stage, talk)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call(stream: bool) -> None:
    """Over a real socket: the task is cancelled while the server works."""
    with Emulator(latency=0.0, chunk_delay=0.05) as emulator:
        model = Runtime(Options(api_key=emulator.api_key, base_url=emulator.url, timeout=20))
        talk = Talk(model, "ada")
        await talk.asay("hello")
        emulator.fail_next("slow", on="message", seconds=30.0)
        work = asyncio.create_task(talk.astream("more") if stream else talk.asay("more"))
        await asyncio.sleep(0.3)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        before = talk.way()[1]
        await talk.asay("again")
        assert talk.way()[0] == "replayed"
        assert talk.way()[1] != before
        await model.aclose()


def test_a_stream_is_handed_out_as_it_comes() -> None:
    with Emulator(chunk_delay=0.2) as emulator:
        model = Runtime(Options(api_key=emulator.api_key, base_url=emulator.url))
        call = model.call([Message("user", "My name is Ada")], {}, stream=True)
        began = time.monotonic()
        arrivals = [time.monotonic() - began for _ in model.stream(call)]
        assert arrivals[0] < arrivals[-1] / 2, "collected before it was handed out"
        model.close()


async def test_the_event_loop_is_not_blocked() -> None:
    with Emulator(latency=0.4) as emulator:
        model = Runtime(Options(api_key=emulator.api_key, base_url=emulator.url))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticker = asyncio.create_task(tick())
        await model.aanswer(model.call([Message("user", "hi")], {}))
        ticker.cancel()
        assert ticks > 5
        await model.aclose()


# -- a store that fails ------------------------------------------------------------------


class Broken(MemoryStore):
    """Fails at what it is told to fail at."""

    def __init__(self, *methods: str) -> None:
        super().__init__()
        self.methods = methods

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "methods"):
            raise OSError("the disk is gone")
        return super().__getattribute__(name)


METHODS = ["take", "put", "occupy", "vacate", "note"]


@pytest.mark.parametrize("failing", [*[[method] for method in METHODS], METHODS])
@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_failing_store_never_leads_to_a_guess(
    caplog: pytest.LogCaptureFixture, failing: list[str], on_loop: bool
) -> None:
    stage = Stage.make(lambda context: "ok")
    store = Broken(*failing, *[f"a{method}" for method in failing])
    talk = Talk(stage.model(store=store), "ada")
    for turn in range(4):
        text = f"text {turn}"
        await talk.asay(text) if on_loop else talk.say(text)
        told = stage.runs[-1].conversation.messages
        assert [said.text for said in told] == [m.text for m in talk.messages[:-1]]
    if {"occupy", "note"} & set(failing):
        assert stage.world.sessions == {}, "a session without a slot, or without its name"
    warnings = [record.message for record in caplog.records if "store failed" in record.message]
    if failing != ["vacate"] or warnings:
        assert len(warnings) == 1


@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_failing_store_can_be_an_error(on_loop: bool) -> None:
    stage = Stage.make(lambda context: "ok")
    talk = Talk(stage.model(store=Broken("note", "anote"), on_store_error="error"), "ada")
    with pytest.raises(errors.StoreError):
        await talk.asay("hi") if on_loop else talk.say("hi")
    assert stage.requests == []


class Far(MemoryStore):
    """Answers the event loop only after a moment, as one behind a socket does."""

    calls = 0

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in {f"a{method}" for method in METHODS}:
            return method

        async def later(*args: Any) -> Any:
            Far.calls += 1
            await asyncio.sleep(0.01)
            return await method(*args)

        return later


@pytest.mark.parametrize("stream", [False, True])
async def test_a_scope_that_cancels_every_await_still_frees_the_name(stream: bool) -> None:
    """Frameworks on anyio (Starlette) cancel again and again until the task has gone."""
    with Emulator(chunk_delay=0.05) as emulator:
        store = Far()
        model = Runtime(Options(api_key=emulator.api_key, base_url=emulator.url, store=store))
        talk = Talk(model, "ada")
        await talk.asay("hello")
        emulator.fail_next("slow", on="message", seconds=30.0)
        with anyio.move_on_after(0.3):
            await (talk.astream("more") if stream else talk.asay("more"))
        await asyncio.sleep(0.1)
        await talk.asay("again")
        assert talk.way()[0] == "replayed", talk.way()
        await model.aclose()


async def test_a_store_that_is_away_is_not_asked_for_ever() -> None:
    """Each question may cost a time-out, and a turn asks a dozen."""
    stage = Stage.make(lambda context: "ok")
    asked: list[str] = []

    class Away(MemoryStore):
        def __getattribute__(self, name: str) -> Any:
            if name.removeprefix("a") in METHODS or name in METHODS:
                asked.append(name)
                raise TimeoutError
            return super().__getattribute__(name)

    talk = Talk(stage.model(store=Away()), "ada")
    talk.say("one")
    assert 0 < len(asked) <= drivers.STORE_CHANCES
    await talk.asay("two")
    assert len(asked) <= 2 * drivers.STORE_CHANCES


@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_store_that_is_set_up_wrongly_is_told_at_once(on_loop: bool) -> None:
    stage = Stage.make(lambda context: "ok")

    class Foreign(MemoryStore):
        def note(self, *args: Any) -> Any:
            raise errors.ConfigurationError("The file is something else's.")

    talk = Talk(stage.model(store=Foreign()), "ada")
    with pytest.raises(errors.ConfigurationError, match="something else"):
        await talk.asay("hi") if on_loop else talk.say("hi")
    assert stage.requests == []


@pytest.mark.parametrize("call", range(8))
async def test_who_is_cancelled_at_the_store_holds_nothing(call: int) -> None:
    """Whatever the store was asked in that moment: the name and the slots are free again."""
    stage = Stage.make(lambda context: "ok")
    asked = 0

    class Slow(MemoryStore):
        def __getattribute__(self, name: str) -> Any:
            method = super().__getattribute__(name)
            if name not in {f"a{method}" for method in METHODS}:
                return method

            async def done_and_then_slow(*args: Any) -> Any:
                nonlocal asked
                asked += 1
                answer = await method(*args)
                if asked == call + 1:
                    await asyncio.sleep(30)
                return answer

            return done_and_then_slow

    store = Slow()
    talk = Talk(stage.model(store=store), "ada")
    work = asyncio.create_task(talk.asay("hello"))
    await asyncio.sleep(0.05)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    held = [slot for slots in store._pools.values() for slot in slots]
    spare = [slot for slot in held if slot.startswith("opening-")]
    assert len(spare) <= len(stage.world.sessions), "a slot without a session"
    assert not any(store.note(key).get("call") for key in store._notes)


async def test_a_loop_that_ends_at_once_hears_the_last_word() -> None:
    """As `asyncio.run` ends it, right after a scope that timed out."""
    stage = Stage.make(lambda context: "ok")
    store = Far()
    talk = Talk(stage.model(store=store), "ada")

    async def main() -> None:
        with anyio.move_on_after(0.025):
            await talk.asay("hello")

    await asyncio.to_thread(asyncio.run, main())
    assert not any(store.note(key).get("call") for key in store._notes)


@pytest.mark.parametrize("on_loop", [False, True])
async def test_a_store_that_fails_after_a_session_was_opened_loses_no_turn(on_loop: bool) -> None:
    """Raised there, "nothing was sent" would not be true, and the session would be wasted."""
    stage = Stage.make(lambda context: "ok")

    class Failing(MemoryStore):
        def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
            if stage.world.sessions:
                raise OSError("gone")
            return super().occupy(pool, slot, limit, ttl)

    talk = Talk(stage.model(store=Failing(), on_store_error="error"), "ada")
    outcome = await talk.asay("hi") if on_loop else talk.say("hi")
    assert outcome.decision.road == "session"


def test_explaining_takes_a_failing_store_for_an_empty_one() -> None:
    stage = Stage.make(lambda context: "ok")
    talk = Talk(stage.model(store=Broken("note", "take", "peek", "slots")), "ada")
    assert talk.explain("hi").road == "stateless"


def test_a_note_of_a_wrong_clock_holds_no_name(stage: Stage) -> None:
    """A worker whose clock is an hour ahead was killed in the midst of a turn."""
    talk = begun(stage)
    for key in list(stage.store._notes):  # type: ignore[attr-defined]  # the memory store's own
        stage.store.note(key, lambda note: {**note, "call": "x", "until": stage.clock.now + 3_700})
    talk.say("again")
    assert talk.way()[0] == "continued"


# -- many at once ------------------------------------------------------------------------


def test_thirty_threads_under_one_name() -> None:
    with Emulator(agent=lambda context: f"re: {context.message}", latency=0.02) as emulator:
        store = MemoryStore()
        options = Options(api_key=emulator.api_key, base_url=emulator.url, store=store)
        models = [Runtime(options) for _ in range(3)]
        first = Talk(models[0], "ada")
        first.say("hello")
        answers: dict[int, Outcome] = {}

        def work(number: int) -> None:
            talk = Talk(models[number % 3], "ada", messages=list(first.messages))
            answers[number] = talk.say(f"question {number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {n: a.reply.message for n, a in answers.items()} == {
            n: f"re: question {n}" for n in range(30)
        }
        check_many(emulator)


async def test_thirty_tasks_under_one_name() -> None:
    with Emulator(agent=lambda context: f"re: {context.message}", latency=0.02) as emulator:
        options = Options(api_key=emulator.api_key, base_url=emulator.url, store=MemoryStore())
        model = Runtime(options)
        talks = [Talk(model, "ada") for _ in range(30)]
        await asyncio.gather(*(talk.asay(f"question {n}") for n, talk in enumerate(talks)))
        assert [talk.messages[-1].text for talk in talks] == [
            f"re: question {n}" for n in range(30)
        ]
        check_many(emulator)
        await model.aclose()


def check_many(emulator: Emulator) -> None:
    """Right contexts, no two requests on a session at once, and few sessions."""
    assert len(emulator.sessions) <= 4
    assert emulator.overlaps == []
    assert emulator.refused == []
    for run in emulator.runs:
        questions = [said.text for said in run.conversation.messages if "question" in said.text]
        asked = [text for text in questions if not text.startswith("re: ")]
        assert len(asked) <= 1, "a question of another call stands in the context"


def named(stage: Stage) -> tuple[Runtime, Call]:
    talk = Talk(stage.model(), "ada")
    return talk.model, talk.model.call(talk.list_with("hello"), {"conversation_id": "ada"})


def named_again(stage: Stage) -> tuple[Runtime, Call]:
    talk = begun(stage)
    return talk.model, streaming(talk)


def unnamed(stage: Stage) -> tuple[Runtime, Call]:
    model = stage.model()
    return model, model.call([Message("user", "hello")], {})


def with_tools(stage: Stage) -> tuple[Runtime, Call]:
    model, tool = stage.model(), Tool("look", "Looks.", {"type": "object", "properties": {}})
    return model, model.call([Message("user", "look")], {"conversation_id": "ada"}, tools=[tool])


@pytest.mark.parametrize("begin", [named, named_again, unnamed, with_tools])
@pytest.mark.parametrize("failing", [False, True])
def test_a_turn_that_is_closed_asks_for_nothing(begin: Any, failing: bool) -> None:
    """As in a child of a fork, where nobody performs it; Python would complain at its end."""
    steps = 0
    while True:
        stage = Stage.make(lambda context: "one two three four")
        model, call = begin(stage)
        if failing:
            stage.fail_next("hang_up")
        flow, around = model._turn(call)
        if _went_on(flow, drivers._Hands(model.client, around), steps):
            break
        flow.close()
        steps += 1
    assert steps >= 6


def _went_on(flow: Any, hands: Any, steps: int) -> bool:
    """Take so many steps of a turn; whether it has ended."""
    answer: Any = None
    failure: BaseException | None = None
    for _ in range(steps + 1):
        try:
            effect = flow.throw(failure) if failure else flow.send(answer)
        except (StopIteration, errors.StewrdError):
            return True
        answer = failure = None
        try:
            if isinstance(effect, Pieces):
                while not isinstance(answer := hands.next_piece(effect), Done):
                    pass
            elif not isinstance(effect, Emit):
                answer = hands.perform(effect)
        except errors.StewrdError as error:
            failure = error
    return False
