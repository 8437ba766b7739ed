"""The end of a stream: its connection serves the next request, if the end comes at once."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import httpx
import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient, bodies
from stewrd_integrations.api.connections import shared
from stewrd_integrations.api.transport import REST
from stewrd_integrations.types import Done, Event

from .conftest import KEY, Way
from .wire import CUT, HANG, REPLY, Action, RawServer, answer, event

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
Streams: TypeAlias = "Callable[[str, int], list[list[Event]]]"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


TOLD = chunk(event("token", {"text": "Hello."})) + chunk(event("done", REPLY))


def sync(url: str, count: int) -> list[list[Event]]:
    with StewrdClient(api_key=KEY, base_url=url) as client:
        return [list(client.stream_agent("hi")) for _ in range(count)]


def asynchronous(url: str, count: int) -> list[list[Event]]:
    async def run() -> list[list[Event]]:
        async with AsyncStewrdClient(api_key=KEY, base_url=url) as client:
            heard: list[list[Event]] = [[] for _ in range(count)]
            for events in heard:
                async for one in client.stream_agent("hi"):
                    events.append(one)
            return heard

    return asyncio.run(run())


both = pytest.mark.parametrize("streams", [sync, asynchronous])


def are_whole(heard: list[list[Event]]) -> bool:
    return all(isinstance(events[-1], Done) and len(events) == 2 for events in heard)


@both
@pytest.mark.parametrize(
    "script", [[HEAD + TOLD + END], [HEAD, TOLD, END], [HEAD, TOLD, REST / 4, END]]
)
def test_the_connection_of_a_stream_serves_the_next(
    raw_server: RawServer, streams: Streams, script: Sequence[Action]
) -> None:
    raw_server.script(script)
    assert are_whole(streams(raw_server.url, 3))
    assert raw_server.connections == 1


@both
@pytest.mark.parametrize(
    "script", [[HEAD + TOLD, HANG], [HEAD + TOLD, CUT], [HEAD + TOLD, chunk(b": more\n"), HANG]]
)
def test_a_stream_that_does_not_end_costs_its_connection_and_no_more(
    raw_server: RawServer, streams: Streams, script: Sequence[Action]
) -> None:
    raw_server.script(script)
    began = time.monotonic()
    assert are_whole(streams(raw_server.url, 2))
    assert time.monotonic() - began < 4  # the server would wait for 5 seconds at each
    assert raw_server.connections == 2


@both
def test_the_time_outs_of_the_next_request_are_its_own(
    raw_server: RawServer, streams: Streams
) -> None:
    raw_server.script([HEAD + TOLD + END], [3 * REST, HEAD + TOLD + END])
    assert are_whole(streams(raw_server.url, 2))
    assert raw_server.connections == 1


@both
def test_an_end_that_drips_in_is_not_waited_for(raw_server: RawServer, streams: Streams) -> None:
    drip: list[Action] = [b"0;"]
    for _ in range(20):
        drip += [b"x", REST / 2]
    raw_server.script([HEAD + TOLD, *drip, b"\r\n\r\n"])
    began = time.monotonic()
    assert are_whole(streams(raw_server.url, 1))
    assert time.monotonic() - began < 8 * REST


@both
def test_a_packed_stream_does_not_hurry_the_next(raw_server: RawServer, streams: Streams) -> None:
    # At its end httpx gives the connection back, and another thread or task may have it by then.
    told = chunk(gzip.compress(event("token", {"text": "Hello."}) + event("done", REPLY)))
    packed = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    raw_server.script([packed + told + END])
    assert are_whole(streams(raw_server.url, 2))
    assert raw_server.connections == 2


OTHERS = b"".join(answer(200, {**REPLY, "message": "Another's secret."}))


@both
def test_what_came_behind_a_stream_answers_nobody_else(
    raw_server: RawServer, streams: Streams
) -> None:
    raw_server.script([HEAD + TOLD + END + OTHERS], [HEAD + TOLD + END])
    heard = streams(raw_server.url, 2)
    assert are_whole(heard)
    assert "Another's" not in repr(heard)
    assert raw_server.connections == 2


def test_what_came_behind_an_answer_answers_nobody_else(raw_server: RawServer, way: Way) -> None:
    # As of a server that counts characters where Content-Length counts bytes.
    raw_server.script([b"".join(answer(200, REPLY)) + OTHERS], answer(200, REPLY))
    shared().lease(raw_server)  # so that the connections outlive the client
    try:
        assert [way.go(raw_server.url).message for _ in range(2)] == ["Hello."] * 2
        assert raw_server.connections == 2
    finally:
        shared().release(raw_server)


def test_nor_does_it_where_the_user_sends(raw_server: RawServer) -> None:
    raw_server.script([b"".join(answer(200, REPLY)) + OTHERS], answer(200, REPLY))
    with httpx.Client() as http:
        client = StewrdClient(api_key=KEY, base_url=raw_server.url, http_client=http)
        assert [client.run_agent("hi").message for _ in range(2)] == ["Hello."] * 2
    assert raw_server.connections == 2


def test_in_an_httpcore_that_is_built_in_another_way_every_connection_is_closed(
    raw_server: RawServer, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_WAY", ("_renamed", *bodies._WAY))
    raw_server.script([b"".join(answer(200, REPLY)) + OTHERS], answer(200, REPLY))
    shared().lease(raw_server)
    try:
        assert [way.go(raw_server.url).message for _ in range(3)] == ["Hello."] * 3
        assert raw_server.connections == 3
    finally:
        shared().release(raw_server)


class Sealed:
    """A stream to which nothing can be added."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class SealedTransport(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.extensions["network_stream"] = Sealed(response.extensions["network_stream"])
        return response


def test_a_stream_that_can_not_be_hurried_is_whole(raw_server: RawServer) -> None:
    raw_server.script([HEAD + TOLD + END])
    with httpx.Client(transport=SealedTransport()) as http:
        client = StewrdClient(api_key=KEY, base_url=raw_server.url, http_client=http)
        assert are_whole([list(client.stream_agent("hi"))])


def test_a_transport_without_connections_is_read_to_the_done_event() -> None:
    def say(_request: httpx.Request) -> httpx.Response:
        told = event("token", {"text": "Hello."}) + event("done", REPLY)
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=told)

    with httpx.Client(transport=httpx.MockTransport(say)) as http:
        client = StewrdClient(api_key=KEY, base_url="http://localhost", http_client=http)
        assert are_whole([list(client.stream_agent("hi"))])


def test_a_whole_answer_to_a_stream_leaves_its_connection_in_use(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY))
    assert are_whole(sync(raw_server.url, 2))
    assert raw_server.connections == 1
