"""Garbage that is collected in the midst of a store: nobody waits for ever, and nothing is lost."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stewrd_integrations.locks import held_here, new_lock
from stewrd_integrations.stores import MemoryStore, SQLiteStore
from stewrd_integrations.types import Token

from .talks import Talk
from .worlds import Stage


def in_a_thread(work: Callable[[], Any]) -> list[Any]:
    """What it gives back; nothing if it never ends."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(10)
    return results


def test_a_thread_knows_what_it_holds() -> None:
    lock, other = new_lock(), new_lock()
    assert not held_here()
    with lock:
        assert held_here()
        assert in_a_thread(held_here) == [False]
        with other, lock:
            assert held_here()
        assert held_here()
    assert not held_here()
    del lock, other
    assert not held_here()


def test_other_threads_may_make_and_forget_locks_meanwhile() -> None:
    ended = threading.Event()

    def make() -> None:
        while not ended.is_set():
            [new_lock() for _ in range(100)]

    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    try:
        with new_lock():
            assert all(held_here() for _ in range(300))
        assert not any(held_here() for _ in range(300))
    finally:
        ended.set()
        for maker in makers:
            maker.join()


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Garbage is collected when a test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["memory", "sqlite"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.make(lambda context: "one two three four")
    with closing(SQLiteStore(tmp_path / "stewrd.db", clock=stage.clock)) as sqlite:
        stage.store = MemoryStore(stage.clock) if request.param == "memory" else sqlite
        yield stage


def collect_a_stream_in_the_midst(stage: Stage, talk: Talk) -> None:
    """One of the talk that its reader left, while the store changes a note."""
    talk.say("hello")
    call = talk.model.call(talk.list_with("tell me"), {"conversation_id": "ada"}, stream=True)
    stream = talk.model.stream(call)
    assert next(stream) == Token("one")
    circle: list[Any] = [stream]
    circle.append(circle)
    del stream, circle

    def collecting(note: dict[str, Any]) -> dict[str, Any]:
        gc.collect()
        return {**note, "a": 1}

    assert in_a_thread(lambda: stage.store.note("another", collecting)) == [{"a": 1}]


def test_a_stream_that_is_collected_in_the_midst_of_its_store(stage: Stage, by_hand: None) -> None:
    talk = Talk(stage.model(), "ada")
    collect_a_stream_in_the_midst(stage, talk)
    for thread in threading.enumerate():
        if thread.name == "stewrd-last-words":
            thread.join(10)
    talk.say("next")
    assert talk.way()[0] == "replayed", "the name is free, and its session is given up"


def test_where_no_thread_can_begin_the_name_is_held_for_a_while(
    stage: Stage, by_hand: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "stewrd-last-words":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    caplog.set_level("DEBUG", "stewrd_integrations")
    talk = Talk(stage.model(), "ada")
    collect_a_stream_in_the_midst(stage, talk)
    assert unraisable == []
    assert "the last words of a turn are left out" in caplog.text
    talk.say("next")
    assert talk.way()[0] == "stateless", "its session is never gone on with"
