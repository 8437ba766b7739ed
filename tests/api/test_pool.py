"""Connections: shared by a process or a loop, never across a fork, one for each request."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient, pool
from stewrd_integrations.api.connections import (
    SharedAsyncConnections,
    SharedConnections,
    shared,
    shared_async,
)
from stewrd_integrations.api.outgoing import Outgoing
from stewrd_integrations.api.pool import AsyncPool, Pool
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, NeverSentError
from stewrd_integrations.types import Done

from .conftest import KEY
from .wire import CUT, HANG, REPLY, RawServer, answer


class Holder:
    pass


def test_one_client_for_all_holders() -> None:
    sharing, one, two = SharedConnections(), Holder(), Holder()
    http = sharing.lease(one)
    assert sharing.lease(two) is http
    sharing.release(one)
    sharing.release(one)
    assert not http.is_closed
    sharing.release(two)
    assert http.is_closed
    assert sharing.lease(one) is not http
    sharing.release(one)


def test_a_holder_that_is_gone_does_not_count() -> None:
    sharing, one, two = SharedConnections(), Holder(), Holder()
    http = sharing.lease(one)
    sharing.lease(two)
    del two
    gc.collect()
    sharing.release(one)
    assert http.is_closed


def test_who_holds_nothing_closes_nothing() -> None:
    sharing, one = SharedConnections(), Holder()
    http = sharing.lease(one)
    sharing.release(Holder())
    assert not http.is_closed
    sharing.release(one)


def test_one_async_client_per_loop() -> None:
    sharing, one, two = SharedAsyncConnections(), Holder(), Holder()

    async def use() -> object:
        http = sharing.lease(one)
        assert sharing.lease(two) is http
        await sharing.release(one)
        assert not http.is_closed
        await sharing.release(two)
        assert http.is_closed
        await sharing.release(two)
        return http

    assert asyncio.run(use()) is not asyncio.run(use())


def test_closed_loops_are_forgotten() -> None:
    sharing, one = SharedAsyncConnections(), Holder()

    async def lease() -> None:
        # As an open connection does.
        vars(sharing.lease(one))["loop"] = asyncio.get_running_loop()

    for _ in range(5):
        asyncio.run(lease())
    assert len(sharing._held) == 1


def test_one_async_client_serves_many_loops(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY, connection="close"))
    client = AsyncStewrdClient(api_key=KEY, base_url=raw_server.url)

    async def use() -> str:
        return (await client.run_agent("hi")).message

    assert [asyncio.run(use()) for _ in range(3)] == ["Hello."] * 3
    asyncio.run(client.aclose())


def test_nothing_is_made_before_the_first_call() -> None:
    begin = time.perf_counter()
    for _ in range(100):
        StewrdClient(api_key=KEY)
        AsyncStewrdClient(api_key=KEY)
    assert time.perf_counter() - begin < 0.5


def test_settings_do_not_mix_in_a_shared_client(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY, set_cookie="who=one; Path=/"))
    with (
        StewrdClient(api_key="one", base_url=raw_server.url) as one,
        StewrdClient(api_key="two", base_url=raw_server.url) as two,
    ):
        one.run_agent("hi")
        two.run_agent("hi")
        assert shared().lease(one) is shared().lease(two)
    keys = [request.headers["authorization"] for request in raw_server.requests]
    assert keys == ["Bearer one", "Bearer two"]
    assert "cookie" not in raw_server.requests[1].headers
    assert raw_server.connections == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_begins_anew(raw_server: RawServer) -> None:
    # In a process of its own, as this one has threads.
    program = f"""
import os
from stewrd_integrations.api import StewrdClient
from stewrd_integrations.api.connections import shared, shared_async
client = StewrdClient(api_key="k", base_url={raw_server.url!r})
client.run_agent("parent")
before = shared(), shared_async()
lock = before[0]._lock
lock.acquire()
pid = os.fork()
if pid == 0:
    fresh = shared() is not before[0] and shared_async() is not before[1]
    os._exit(0 if fresh and client.run_agent("child").message == "Hello." else 1)
lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
client.run_agent("parent")
"""
    raw_server.script(answer(200, REPLY))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
    assert [r.json["message"] for r in raw_server.requests] == ["parent", "child", "parent"]
    assert raw_server.connections == 2
    assert shared_async() is shared_async()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_stands_between_this_machine_and_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The key goes in clear on loopback, so it must not leave the machine."""
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    with Emulator() as emulator:
        key, url = emulator.api_key, emulator.url
        with StewrdClient(api_key=key, base_url=url) as client:
            assert client.run_agent("hello").message
        async with AsyncStewrdClient(api_key=key, base_url=url) as async_client:
            assert (await async_client.run_agent("hello")).message


# Proxies


def tunnel() -> tuple[socket.socket, list[bytes]]:
    """A proxy that refuses, and what it was asked."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def serve() -> None:
        connection, _ = listener.accept()
        asked.append(connection.recv(1000))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener, asked


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_the_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, colour: Any, variable: str
) -> None:
    listener, asked = tunnel()
    monkeypatch.setenv(variable, f"http://127.0.0.1:{listener.getsockname()[1]}")
    with listener, pytest.raises(NeverSentError, match="ProxyError"):
        colour.call("https://stewrd.invalid", "run_agent", "hi", options={"max_retries": 0})
    assert asked[0].startswith(b"CONNECT stewrd.invalid:443 ") and KEY.encode() not in asked[0]


def test_a_proxy_for_another_address_is_not_used(
    monkeypatch: pytest.MonkeyPatch, colour: Any
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "stewrd.invalid")
    with pytest.raises(NeverSentError, match="ConnectError") as caught:
        colour.call("https://stewrd.invalid", "run_agent", "hi", options={"max_retries": 0})
    assert "Connection refused" not in str(caught.value)


# Lines


def request_of(server: RawServer, connections: Pool | AsyncPool) -> httpx.Request:
    return request_to(server.url, connections)


def request_to(base_url: str, connections: Pool | AsyncPool) -> httpx.Request:
    url = httpx.URL(f"{base_url}/v1/agent")
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), 5.0)
    return connections.build(Outgoing(url, httpx.Headers({"X-Ours": "1"}), b"{}", timeouts))


def lines(connections: Pool | AsyncPool) -> tuple[list[int], int]:
    """How many requests each busy line has, and how many lines are free."""
    busy = sorted((line.requests for line in connections._busy), reverse=True)
    return busy, sum(map(len, connections._free.values()))


def test_each_request_of_a_moment_has_a_connection(
    raw_server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server.script(answer(200, REPLY))
    now, connections = [0.0], Pool(lambda: now[0])
    responses = [connections.send(request_of(raw_server, connections)) for _ in range(5)]
    assert (lines(connections), raw_server.connections) == (([1] * 5, 0), 5)
    for response in responses:
        response.read()
        response.close()
    assert lines(connections) == ([], 5)
    connections.send(request_of(raw_server, connections)).close()
    assert raw_server.connections == 5, "the connections are kept"
    now[0] = pool.IDLE + 1
    monkeypatch.setattr(pool, "AT_ONCE", 2)
    for left in (3, 1, 1):  # two at each request, and the one that was used last serves it
        connections.send(request_of(raw_server, connections)).close()
        assert lines(connections) == ([], left)
    connections.close()
    assert connections.is_closed


def test_what_was_used_last_is_used_first(raw_server: RawServer) -> None:
    """So the others grow old, and are left."""
    raw_server.script(answer(200, REPLY))
    now, connections = [0.0], Pool(lambda: now[0])
    for response in [connections.send(request_of(raw_server, connections)) for _ in range(2)]:
        now[0] += 1
        response.close()
    for _ in range(5):
        now[0] += 1
        connections.send(request_of(raw_server, connections)).close()
    assert lines(connections) == ([], 1)
    connections.close()


def test_addresses_do_not_take_connections_from_one_another(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY))
    with Emulator() as other:
        connections = Pool()
        for _ in range(3):
            for url in (raw_server.url, other.url):
                response = connections.send(request_to(url, connections))
                response.read()
                response.close()
        assert (raw_server.connections, lines(connections)) == (1, ([], 2))
        connections.close()


def test_a_request_that_fails_has_left_its_line(raw_server: RawServer) -> None:
    raw_server.script([CUT], [*answer(200, REPLY)[:1], CUT], answer(200, REPLY))
    connections = Pool()
    with pytest.raises(httpx.RemoteProtocolError):
        connections.send(request_of(raw_server, connections))
    assert lines(connections) == ([], 1)
    connections.send(request_of(raw_server, connections)).close()
    assert lines(connections) == ([], 1)
    connections.close()


def test_beyond_so_many_they_share(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST", 2)
    raw_server.script(answer(200, REPLY))
    connections = Pool()
    first, second = (connections.send(request_of(raw_server, connections)) for _ in range(2))
    waiting = threading.Thread(
        target=lambda: connections.send(request_of(raw_server, connections)).close()
    )
    waiting.start()
    while lines(connections)[0] != [2, 1]:
        time.sleep(0.01)
    assert raw_server.connections == 2
    first.read()
    first.close()
    second.read()
    second.close()
    waiting.join(5)
    assert (lines(connections), raw_server.connections) == (([], 2), 2)
    connections.close()


async def test_requests_of_one_moment_do_not_wait_for_one_another(raw_server: RawServer) -> None:
    raw_server.script([0.2, *answer(200, REPLY)])
    connections = AsyncPool()

    async def one() -> None:
        response = await connections.send(request_of(raw_server, connections))
        assert await response.aread()
        await response.aclose()

    tasks = [asyncio.ensure_future(one()) for _ in range(40)]
    await asyncio.sleep(0)
    assert lines(connections) == ([1] * 40, 0)
    await asyncio.gather(*tasks)
    assert lines(connections) == ([], 40)
    await connections.aclose()


async def test_a_request_that_was_cancelled_has_left_its_line(raw_server: RawServer) -> None:
    raw_server.script([HANG])
    connections = AsyncPool()
    for seconds in (0.0, 0.05):
        task = asyncio.ensure_future(connections.send(request_of(raw_server, connections)))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lines(connections) == ([], 0), "its connection may be lost, so nobody gets it"
    await connections.aclose()


async def test_an_idle_connection_of_the_loop_is_closed(raw_server: RawServer) -> None:
    raw_server.script(answer(200, REPLY))
    now = [0.0]
    connections = AsyncPool(lambda: now[0])
    held = [await connections.send(request_of(raw_server, connections)) for _ in range(3)]
    await held[0].aclose()
    now[0] = pool.IDLE + 1
    await held[1].aclose()
    await (await connections.send(request_of(raw_server, connections))).aclose()
    assert lines(connections) == ([1], 1), "the one that was left long ago is closed"
    await held[2].aclose()
    await connections.aclose()


async def test_who_is_cancelled_while_idle_ones_are_closed_leaves_them_to_the_next(
    raw_server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server.script(answer(200, REPLY))
    now = [0.0]
    connections = AsyncPool(lambda: now[0])
    held = [await connections.send(request_of(raw_server, connections)) for _ in range(3)]
    for response in held:
        await response.aclose()
    now[0] = pool.IDLE + 1

    async def cancelled(_transport: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_aclose", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await connections.send(request_of(raw_server, connections))
    assert len(connections._given_up) == 2, "one that was not begun with, and one's own"
    await (await connections.send(request_of(raw_server, connections))).aclose()
    assert connections._given_up == []
    await connections.aclose()


def test_a_hook_of_the_users_client_may_read_the_answer() -> None:
    hooks = {"response": [lambda response: response.read()]}
    with Emulator() as stewrd, httpx.Client(event_hooks=hooks) as http:
        client = StewrdClient(
            api_key=stewrd.api_key, base_url=stewrd.url, http_client=http, timeout=5
        )
        assert client.run_agent("My name is Ada.").message == "Nice to meet you, Ada."
        *_, last = client.stream_agent("My name is Ada.")
        assert isinstance(last, Done)


async def test_a_hook_of_the_users_async_client_may_read_the_answer() -> None:
    async def read(response: httpx.Response) -> None:
        await response.aread()

    with Emulator() as stewrd:
        async with httpx.AsyncClient(event_hooks={"response": [read]}) as http:
            client = AsyncStewrdClient(
                api_key=stewrd.api_key, base_url=stewrd.url, http_async_client=http, timeout=5
            )
            assert (await client.run_agent("My name is Ada.")).message == "Nice to meet you, Ada."
            events = [event async for event in client.stream_agent("My name is Ada.")]
            assert isinstance(events[-1], Done)


def test_certificates_that_cannot_be_read_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file in (tmp_path / "none.pem", empty):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        pool.tls.cache_clear()
        with pytest.raises(ConfigurationError, match="certificates") as caught:
            Pool()
        assert "SSL_CERT_FILE" in str(caught.value)
    pool.tls.cache_clear()


async def test_a_connection_whose_request_was_cancelled_is_given_up(
    raw_server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # httpcore keeps the place of a connection for ever, if its request is cancelled just as it
    # was made, or just as it is given back.
    raw_server.script(answer(200, REPLY))
    connections = AsyncPool()
    await (await connections.send(request_of(raw_server, connections))).aclose()
    first = next(iter(connections._free.values()))[0]

    async def cancelled(_request: httpx.Request) -> httpx.Response:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(first.transport, "handle_async_request", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await connections.send(request_of(raw_server, connections))
    assert connections._given_up == [first]
    await (await connections.send(request_of(raw_server, connections))).aclose()
    assert (connections._given_up, lines(connections)) == ([], ([], 1))
    await connections.aclose()


def test_a_line_that_has_no_connection_left_is_given_up(
    raw_server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server.script(answer(200, REPLY))
    connections = Pool()
    connections.send(request_of(raw_server, connections)).close()
    first = next(iter(connections._free.values()))[0]

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.PoolTimeout("")

    monkeypatch.setattr(first.transport, "handle_request", refuse)
    with pytest.raises(httpx.PoolTimeout):
        connections.send(request_of(raw_server, connections))
    assert connections._given_up == [first]
    connections.send(request_of(raw_server, connections)).close()
    assert (connections._given_up, lines(connections)) == ([], ([], 1))
    connections.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_leaves_the_answers_of_its_parent_alone(raw_server: RawServer) -> None:
    raw_server.script([answer(200, REPLY)[0][:-1], HANG])
    connections = Pool()
    response = connections.send(request_of(raw_server, connections))
    chunks = iter(cast("httpx.SyncByteStream", response.stream))
    next(chunks)
    (line,) = connections._busy
    with connections._lock, line.transport._pool._optional_thread_lock:  # as another thread may
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            response.close()
            del response, chunks
            gc.collect()
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    response.close()
    assert lines(connections) == ([], 1)
    connections.close()
