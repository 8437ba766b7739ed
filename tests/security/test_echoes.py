"""A server, or a proxy on the way, that repeats the key that it was sent, in whatever form."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.api.responses import LONGEST_TOLD, MAX_MESSAGE, clean
from stewrd_integrations.api.veils import IN_ITS_PLACE, SHORTEST, Veil
from stewrd_integrations.errors import StewrdError
from stewrd_integrations.stores import MemoryStore
from tests.api.wire import CUT, REPLY, RawServer, answer, event, sse
from tests.frameworks import FRAMEWORKS, MODES, NAMES, Loop, Mode, Talk
from tests.worlds import stored_text

from .searching import UNUSUAL, USUAL, Listener, assert_hidden, forms, found, told_by

KEYS = [USUAL, UNUSUAL]

every_form = pytest.mark.parametrize("form", forms("x" * 12))


# -- the veil --------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("key", KEYS)
def test_a_veil_hides_every_form(key: str, form: str) -> None:
    text = forms(key)[form]
    for around in (text, f"no such key: {text}.", f'{{"token": "{text}"}}'):
        veiled = Veil(key)(around)
        assert found(key, veiled) == []
        assert IN_ITS_PLACE in veiled


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "Bearer ", "Bearer:"])
@pytest.mark.parametrize("after", ["", "x", ":pw", ":password"])
def test_a_veil_hides_it_within_base64(before: str, after: str) -> None:
    for key in KEYS:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            veiled = Veil(key)(encode(f"{before}{key}{after}".encode()).decode())
            left = veiled.replace(IN_ITS_PLACE, "")
            assert len(left) <= len(base64.b64encode(f"{before}{after}".encode())) + 8


def test_a_veil_hides_keys_of_stewrds_form_that_it_does_not_know() -> None:
    assert Veil()(f"other: {USUAL} and on") == "other: [key] and on"
    assert Veil(UNUSUAL)(f"other: {USUAL} and on") == "other: [key] and on"


def test_what_is_too_short_for_a_secret_is_no_secret() -> None:
    short = "k" * (SHORTEST - 1)
    assert Veil(short)(f"a {short} b") == f"a {short} b"
    assert not Veil(short).covers(short)
    assert Veil(short + "k").covers(f"a {short}K")


KEY_TEXTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60)


@given(KEY_TEXTS, st.text(max_size=40), st.text(max_size=40), st.data())
def test_any_key_is_hidden_and_nothing_else(key: str, before: str, after: str, data: Any) -> None:
    form = data.draw(st.sampled_from(sorted(forms(key))))
    assert forms(key)["plain"] not in Veil(key)(f"{before} {forms(key)[form]} {after}")
    other = f"{before} {after}"
    if not found(key, other) and key not in "".join(other.split()):
        assert IN_ITS_PLACE in other or "sk-stw_" in other or Veil(key)(other) == other


@pytest.mark.parametrize("unit", ["\\", "%25", "&#0", "%", " ", "l", UNUSUAL[:-1], "bGl2", "\\u00"])
def test_no_text_keeps_a_veil_busy(unit: str) -> None:
    hostile = (unit * LONGEST_TOLD)[: LONGEST_TOLD * 2]
    began = time.process_time()
    clean(hostile, Veil(UNUSUAL))
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\u202eb", "\x00", "\u2028x", "\ud800", "\x85x", "\x7f"]
)
def test_an_error_rules_no_terminal_and_turns_no_line(text: str) -> None:
    told = clean(f"before {text} after" * 100)
    assert told is not None and told.isprintable() and len(told) <= MAX_MESSAGE
    told.encode()


# -- over a socket, in both frameworks -------------------------------------------------


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


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener, root = Listener(), logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    yield listener
    root.setLevel(level)
    root.removeHandler(listener)


def talk_of(make: Callable[..., Talk], server: RawServer, loop: Loop, key: str) -> Talk:
    class Place:
        api_key, url = key, server.url

    return make(Place, loop, sessions="never", max_retries=0)


Echo = Callable[[str], list[Any]]


def refusal(status: int) -> Echo:
    def script(text: str) -> list[Any]:
        error = {"code": text, "message": f"no such key: {text}", "docs": text}
        return answer(status, {"error": error, "request_id": text, "id": text})

    return script


def in_headers(text: str) -> list[Any]:
    line = " ".join(text.split())
    return answer(401, {"error": {"code": "invalid_api_key"}}, x_request_id=line, www=line)


def flat(text: str) -> list[Any]:
    return answer(403, {"code": text, "message": text})


def bare(text: str) -> list[Any]:
    return answer(500, {"error": text})


def page(text: str) -> list[Any]:
    return answer(502, f"<html><pre>Authorization: Bearer {text}</pre>".encode())


def odd_success(text: str) -> list[Any]:
    return answer(200, json.dumps(f"You sent {text}").encode(), content_type="application/json")


def empty_success(text: str) -> list[Any]:
    return answer(200, {"id": text, "request_id": text, "note": text})


def error_event(text: str) -> list[Any]:
    return sse(event("error", {"code": text, "message": f"bad {text}", "request_id": text}))


def odd_event(text: str) -> list[Any]:
    return sse(event("token", f"a {text}"))


def odd_done(text: str) -> list[Any]:
    return sse(event("done", {"request_id": text, "id": text}))


def cut(text: str) -> list[Any]:
    line = " ".join(text.split())
    head = f"HTTP/1.1 200 OK\r\nX-Request-Id: {line}\r\nContent-Type: text/event-stream\r\n"
    return [f"{head}Connection: close\r\n\r\ndata: {line}".encode(), CUT]


REFUSALS: list[Echo] = [refusal(401), refusal(402), refusal(500), in_headers, flat, bare, page]
ODD: list[Echo] = [odd_success, empty_success]
STREAMS: list[Echo] = [error_event, odd_event, odd_done, cut]


def name_of(echo: Echo) -> str:
    return echo.__qualname__.split(".")[0]


@pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)
@pytest.mark.parametrize("echo", [*REFUSALS, *ODD, *STREAMS], ids=name_of)
def test_an_echo_is_in_no_error_and_in_none_of_our_logs(
    make: Callable[..., Talk], echo: Echo, server: RawServer, loop: Loop, listener: Listener
) -> None:
    modes: tuple[Mode, ...] = ("stream", "async stream") if echo in STREAMS else MODES
    cases = [(USUAL, form) for form in ("plain", "percent")]
    cases += [(UNUSUAL, form) for form in forms(UNUSUAL)]
    for number, (key, form) in enumerate(cases):
        talk = talk_of(make, server, loop, key)
        server.script(echo(forms(key)[form]), echo(forms(key)[form]))
        with pytest.raises(StewrdError) as caught:
            talk.say("hello", modes[number % len(modes)])
        server._scripts.clear()
        assert_hidden(key, told_by(caught.value))
        assert_hidden(key, [("log", listener.of("stewrd_integrations") or "-")])
    # httpcore's own log tells the headers of answers, whoever uses it.
    others = [text for name, text in listener.said if not name.startswith("httpcore")]
    assert_hidden(UNUSUAL, enumerate(others))


@pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)
@pytest.mark.parametrize("mode", MODES)
def test_an_echo_in_an_answer_is_neither_metadata_nor_kept(
    make: Callable[..., Talk], mode: Mode, server: RawServer, loop: Loop
) -> None:
    """Only what the agent itself says is handed on, and only its digest is kept."""
    fields = ("id", "request_id", "session_id", "plan", "project_id", "_compute_instance")
    told = {**REPLY, **dict.fromkeys(fields, UNUSUAL), "capabilities_used": [UNUSUAL, "chat"]}
    told["meta"] = {"plan": UNUSUAL, "project_id": UNUSUAL, "duration_ms": 1}
    done = sse(
        event("tool_start", {"tool": "research", "message": UNUSUAL}),
        event("tool_end", {"tool": UNUSUAL}),
        event("done", {**told, "response": {"id": UNUSUAL}}),
    )
    talk = talk_of(make, server, loop, UNUSUAL)
    server.script(done if "stream" in mode else answer(200, told))
    talk.say("hello", mode)
    assert talk.told["request_id"] is None
    assert talk.told["capabilities_used"] == ["chat"]
    store = talk.model.store
    assert isinstance(store, MemoryStore)
    assert_hidden(UNUSUAL, [("messages", repr(talk.messages)), ("store", stored_text(store))])


@pytest.mark.parametrize("make", FRAMEWORKS, ids=NAMES)
def test_a_session_that_is_called_like_the_key_is_none(
    make: Callable[..., Talk], server: RawServer, loop: Loop
) -> None:
    key = "plain-but-unusual-key-1234"
    talk = talk_of(make, server, loop, key)
    talk.who = {"conversation_id": "ada", "sessions": "always"}
    server.script(answer(201, {"id": key}), answer(201, {"id": key}), answer(200, REPLY))
    talk.say("hello")
    assert talk.told["road"] == "stateless"
    assert [request.path for request in server.requests[-1:]] == ["/v1/agent"]
    store = talk.model.store
    assert isinstance(store, MemoryStore)
    assert_hidden(key, [("store", stored_text(store)), ("told", repr(talk.told))])


def test_the_key_of_the_very_request_is_hidden_where_keys_rotate(
    server: RawServer, loop: Loop
) -> None:
    keys = [f"rotating/{number}+{'q' * 12}" for number in range(4)]
    asked: list[str] = []

    def current() -> str:
        asked.append(keys[min(len(asked), 3)])
        return asked[-1]

    class Place:
        api_key, url = current, server.url

    talk = FRAMEWORKS[0](Place, loop, sessions="never", max_retries=0)
    server.script(answer(401, {"error": {"message": " ".join(keys)}}))
    with pytest.raises(StewrdError) as caught:
        talk.say("hello")
    sent = server.requests[-1].headers["authorization"].removeprefix("Bearer ")
    assert sent in keys
    assert sent not in str(caught.value) and IN_ITS_PLACE in str(caught.value)
