"""Ids that are paths, redirects, and who shares what: over a real socket, in both frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import StewrdError
from stewrd_integrations.stores import MemoryStore
from tests.api.wire import REPLY, RawServer, answer
from tests.frameworks import FRAMEWORKS, MODES, NAMES, Loop, Talk

from .searching import USUAL

Maker = Callable[..., Talk]
frameworks = pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)

PATHS = ["../agent", "a/b", "a%2Fb", "..", "", "a?b", "a#b", "a b", "x" * 129, "é", "a\n", 7, None]


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


class Place:
    def __init__(self, url: str) -> None:
        self.api_key, self.url = USUAL, url


@frameworks
@pytest.mark.parametrize("bad", PATHS)
def test_a_session_id_that_is_a_path_is_none(
    make: Maker, server: RawServer, loop: Loop, bad: object
) -> None:
    talk = make(Place(server.url), loop, conversation_id="ada", max_retries=0)
    server.script(answer(201, {"id": bad}), answer(201, {"id": bad}), answer(200, REPLY))
    talk.say("hello")
    assert [request.path for request in server.requests] == [*["/v1/sessions"] * 2, "/v1/agent"]
    assert talk.told["session_id"] is None


class Spoilt(MemoryStore):
    """A store into which somebody writes session ids of their own."""

    bad = ""

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Any:
        """Pop a binding, and change its session's id."""
        binding = super().take(keys, unique)
        return binding and replace(binding, session_id=self.bad)


@frameworks
@pytest.mark.parametrize("bad", ["../agent", "a/b?c", "x" * 129, "a\r\nX: y"])
def test_a_stored_session_id_that_is_a_path_is_never_asked_for(
    make: Maker, loop: Loop, bad: str
) -> None:
    store = Spoilt()
    store.bad = bad
    with Emulator() as emulator:
        talk = make(emulator, loop, conversation_id="ada", store=store)
        talk.say("hello")
        before = len(emulator.requests)
        assert talk.say("and on") in ("replayed", "stateless")
        asked = [request.path for request in emulator.requests[before:]]
    assert not [path for path in asked if bad in path]
    assert not [path for path in asked if ".." in path or "?" in path]


@frameworks
def test_no_redirect_is_followed_whatever_the_users_client_does(
    make: Maker, server: RawServer, loop: Loop
) -> None:
    other = RawServer()
    other.script(answer(200, REPLY))
    server.script(*[answer(307, location=f"{other.url}/v1/agent")] * 2)
    with httpx.Client(follow_redirects=True) as http:
        talk = make(Place(server.url), loop, sessions="never", http_client=http)
        for mode in MODES[:2]:
            with pytest.raises(StewrdError, match="Redirects are never followed"):
                talk.say("hello", mode)
    other.close()
    assert (len(server.requests), other.requests) == (2, [])


@frameworks
def test_tenants_share_the_slots_of_their_project(make: Maker, loop: Loop) -> None:
    with Emulator() as emulator:
        talk = make(emulator, loop, max_active_sessions=3)
        roads = []
        for number in range(5):
            one = type(talk)(talk.model, loop)  # type: ignore[arg-type]
            one.who = {"conversation_id": "same", "tenant": f"t{number}"}
            one.say("hello")
            roads.append(one.told["road"])
        assert roads == ["session"] * 3 + ["stateless"] * 2
        assert emulator.refused == []


@frameworks
def test_other_letters_cost_what_they_cost(make: Maker, loop: Loop) -> None:
    """All-ASCII JSON would make Chinese twice as long in bytes, and six times in characters."""
    text = "\u4f60\u597d\u4e16\u754c" * 100
    with Emulator() as emulator:
        talk = make(emulator, loop, conversation_id="ada")
        talk.add("user", text)
        talk.add("assistant", text)
        talk.say("hello")
        assert len(emulator.runs[-1].message) < 2 * len(text) + 1_000
