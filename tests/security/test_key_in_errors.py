"""The key is in no error of the failure table, in no traceback with locals, and in no log."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from llama_index.core.chat_engine import SimpleChatEngine

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, StewrdError
from stewrd_integrations.langchain import ChatStewrd, StewrdTool, StewrdToolkit
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory, StewrdToolSpec
from tests.frameworks import FRAMEWORKS, MODES, NAMES, LangChain, Loop, Talk
from tests.test_failure_table import STATELESS, Row

from .searching import (
    UNUSUAL,
    USUAL,
    Listener,
    assert_hidden,
    found,
    frames_of,
    locals_of,
    reached_from,
    told_by,
)

Maker = Callable[..., Talk]
frameworks = pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)
keys = pytest.mark.parametrize("key", [USUAL, UNUSUAL], ids=["usual", "unusual"])
LOGGERS = ("stewrd_integrations", "httpx", "httpcore", "asyncio", "langchain", "llama_index")


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    loop._runner.set_debug(True)
    yield loop
    loop.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener, root = Listener(), logging.getLogger()
    before = {name: logging.getLogger(name).level for name in ("", *LOGGERS)}
    root.addHandler(listener)
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield listener
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    root.removeHandler(listener)


def assert_clean(key: str, error: BaseException) -> None:
    """The key is in nothing that an error shows, keeps or leads to."""
    assert_hidden(key, told_by(error))
    assert_hidden(key, locals_of(error))
    assert frames_of(error)
    for copied in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - made above
        assert type(copied) is type(error) or type(copied).__name__ == type(error).__name__
        assert_hidden(key, [("copy", f"{copied!r} {vars(copied)!r}")])


RAISING = [row for row in STATELESS if row.raised is not None]


@frameworks
def test_every_row_of_the_failure_table(make: Maker, loop: Loop, listener: Listener) -> None:
    key = USUAL
    with Emulator(api_key=key) as emulator:
        for row in RAISING:
            for mode in MODES:
                if row.streams and "stream" not in mode:
                    continue
                error = failure_of(make, emulator, loop, row, mode)
                assert row.raised is not None and isinstance(error, row.raised)
                assert_clean(key, error)
    assert_hidden(
        key, [(f"{name} {place}", text) for place, (name, text) in enumerate(listener.said)]
    )
    assert {"stewrd_integrations", "httpcore", "asyncio"} <= {
        name.split(".")[0] for name, _ in listener.said
    }


def failure_of(make: Maker, emulator: Emulator, loop: Loop, row: Row, mode: Any) -> BaseException:
    quick = {"max_retries": 0, "sessions": "never", **row.options}
    talk = make(emulator, loop, **quick)
    emulator.fail_next(**{"on": "agent", **row.fault, "times": 1})
    with pytest.raises(StewrdError) as caught:
        talk.say("next", mode)
    return caught.value


@frameworks
@keys
@pytest.mark.parametrize("mode", MODES)
def test_nobody_is_reached(make: Maker, key: str, loop: Loop, mode: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))

        class Place:
            api_key, url = key, f"http://127.0.0.1:{nobody.getsockname()[1]}"

        talk = make(Place, loop, max_retries=0)
        with pytest.raises(StewrdError) as caught:
            talk.say("hello", mode)
        assert_clean(key, caught.value)


@frameworks
@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_no_header_can_carry(make: Maker, loop: Loop, mode: Any) -> None:
    """httpx puts an illegal value into its exception; a callable may give one at any time."""
    for bad in (f"{UNUSUAL} x", f"{UNUSUAL}\n", f"{UNUSUAL}\0"[::-1], f"{UNUSUAL}é"):

        class Place:
            url = "http://127.0.0.1:9"

            @staticmethod
            def api_key(bad: str = bad) -> str:
                return bad

        talk = make(Place, loop, max_retries=0)
        if bad.strip() == UNUSUAL:
            continue
        with pytest.raises(ConfigurationError) as caught:
            talk.say("hello", mode)
        assert_clean(bad, caught.value)
        assert_hidden(UNUSUAL, told_by(caught.value))


@pytest.mark.parametrize("wrong", ["api_keys", "token", "openai_api_key", "password", "stroe"])
@pytest.mark.parametrize("kind", [ChatStewrd, StewrdLLM, StewrdToolkit, StewrdToolSpec, StewrdTool])
def test_a_key_under_a_wrong_name(kind: Any, wrong: str) -> None:
    given = {"api_key": USUAL, wrong: UNUSUAL}
    if kind is StewrdTool:
        given["capabilities"] = ["chat"]  # type: ignore[assignment]
    with pytest.raises(ConfigurationError) as caught:
        kind(**given)
    for key in (USUAL, UNUSUAL):
        assert_clean(key, caught.value)


@pytest.mark.parametrize("option", ["timeout", "store", "base_url", "sessions", "max_credits"])
@pytest.mark.parametrize("kind", [ChatStewrd, StewrdLLM])
def test_a_key_in_the_place_of_another_option(kind: Any, option: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**{"api_key": USUAL, option: UNUSUAL})
    assert_hidden(USUAL, told_by(caught.value))
    assert found(UNUSUAL, str(caught.value)) == []


# -- what frameworks wrap around them --------------------------------------------------


def test_in_a_chain_with_fallbacks_and_retries(listener: Listener) -> None:
    with Emulator(api_key=USUAL) as emulator:
        model = ChatStewrd(api_key=USUAL, base_url=emulator.url, max_retries=0, sessions="never")
        chain: Any = RunnableLambda(lambda text: [HumanMessage(text)]) | model.with_retry(
            stop_after_attempt=2, wait_exponential_jitter=False
        ).with_fallbacks([model])
        emulator.fail_next("error", on="agent", status=500, times=9)
        with pytest.raises(StewrdError) as caught:
            chain.invoke("hello")
        assert_clean(USUAL, caught.value)
        outcomes = model.batch(["a", "b"], return_exceptions=True)
        for error in outcomes:
            assert isinstance(error, StewrdError)
            assert_hidden(USUAL, told_by(error))
        model.close()
    assert_hidden(USUAL, listener.numbered())


def test_in_a_chat_engine(listener: Listener) -> None:
    with (
        Emulator(api_key=USUAL) as emulator,
        StewrdLLM(api_key=USUAL, base_url=emulator.url, max_retries=0, sessions="never") as llm,
    ):
        memory = StewrdMemory.from_defaults(
            conversation_id="ada", api_key=USUAL, base_url=emulator.url
        )
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
        emulator.fail_next("error", on="agent", status=500, times=9)
        with pytest.raises(StewrdError) as caught:
            engine.chat("hello")
        assert_clean(USUAL, caught.value)

        async def chat() -> None:
            try:
                await engine.achat("hello")
            finally:
                await llm.aclose()  # on the loop whose connections they are

        with pytest.raises(StewrdError) as caught:
            asyncio.run(chat())
        assert_clean(USUAL, caught.value)
        with pytest.raises(StewrdError) as caught:
            llm.complete("hello")
        assert_clean(USUAL, caught.value)
    assert_hidden(USUAL, listener.numbered())


def test_what_a_cancelled_call_shows(loop: Loop) -> None:
    with Emulator(api_key=USUAL) as emulator:
        talk = LangChain.make(emulator, loop, sessions="never")
        emulator.fail_next("slow", on="agent", seconds=5)

        async def cancelled() -> BaseException:
            task = asyncio.create_task(talk.model.ainvoke("hello"))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            return caught.value

        assert_hidden(USUAL, told_by(loop.run(cancelled())))


def test_what_an_interrupted_stream_shows(loop: Loop) -> None:
    with Emulator(api_key=USUAL) as emulator:
        stream = LangChain.make(emulator, loop).model.stream("hello")
        next(stream)
        with pytest.raises(KeyboardInterrupt) as caught:
            stream.throw(KeyboardInterrupt())  # type: ignore[attr-defined]  # it is a generator
        assert_hidden(USUAL, told_by(caught.value))


def test_the_search_finds_what_is_there() -> None:
    """Each place that is looked into does show a key that was put there."""

    class Holder:
        __module__ = "stewrd_integrations.none"

        def __init__(self) -> None:
            self.key = UNUSUAL

    def fail(holder: object) -> None:
        raise ValueError(UNUSUAL) from KeyError(holder)

    with pytest.raises(ValueError, match="live") as caught:
        fail(Holder())
    assert [name for name, text in told_by(caught.value) if found(UNUSUAL, text)]
    assert [name for name, text in reached_from({"a": [UNUSUAL]}) if found(UNUSUAL, text)]
    with pytest.raises(AssertionError, match="it is in"):
        assert_hidden(UNUSUAL, [("x", UNUSUAL)])
