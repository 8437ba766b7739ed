"""The end of a stream: its connection serves the next request, if the end comes at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import httpx
import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient
from stewrd_integrations.api.transport import REST
from stewrd_integrations.types import Done, Event

from .conftest import KEY
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
