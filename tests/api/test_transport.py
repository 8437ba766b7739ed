"""The sharing of HTTP clients: one per process or loop, counted, never across a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time

import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient
from stewrd_integrations.api.transport import (
    SharedAsyncClients,
    SharedClient,
    shared_async_clients,
    shared_client,
)
from stewrd_integrations.emulator import Emulator

from .conftest import KEY
from .wire import REPLY, RawServer, answer


class Holder:
    pass


def test_one_client_for_all_holders() -> None:
    shared, one, two = SharedClient(), Holder(), Holder()
    http = shared.lease(one)
    assert shared.lease(two) is http
    shared.release(one)
    shared.release(one)
    assert not http.is_closed
    shared.release(two)
    assert http.is_closed
    assert shared.lease(one) is not http
    shared.release(one)


def test_a_holder_that_is_gone_does_not_count() -> None:
    shared, one, two = SharedClient(), Holder(), Holder()
    http = shared.lease(one)
    shared.lease(two)
    del two
    gc.collect()
    shared.release(one)
    assert http.is_closed


def test_who_holds_nothing_closes_nothing() -> None:
    shared, one = SharedClient(), Holder()
    http = shared.lease(one)
    shared.release(Holder())
    assert not http.is_closed
    shared.release(one)


def test_one_async_client_per_loop() -> None:
    shared, one, two = SharedAsyncClients(), Holder(), Holder()

    async def use() -> object:
        http = shared.lease(one)
        assert shared.lease(two) is http
        await shared.release(one)
        assert not http.is_closed
        await shared.release(two)
        assert http.is_closed
        await shared.release(two)
        return http

    assert asyncio.run(use()) is not asyncio.run(use())


def test_closed_loops_are_forgotten() -> None:
    shared, one = SharedAsyncClients(), Holder()

    async def lease() -> None:
        # As an open connection does.
        vars(shared.lease(one))["loop"] = asyncio.get_running_loop()

    for _ in range(5):
        asyncio.run(lease())
    assert len(shared._held) == 1


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
        assert shared_client().lease(one) is shared_client().lease(two)
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
from stewrd_integrations.api.transport import shared_async_clients, shared_client
client = StewrdClient(api_key="k", base_url={raw_server.url!r})
client.run_agent("parent")
before = shared_client(), shared_async_clients()
lock = before[0]._lock
lock.acquire()
pid = os.fork()
if pid == 0:
    fresh = shared_client() is not before[0] and shared_async_clients() is not before[1]
    os._exit(0 if fresh and client.run_agent("child").message == "Hello." else 1)
lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
client.run_agent("parent")
"""
    raw_server.script(answer(200, REPLY))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
    assert [r.json["message"] for r in raw_server.requests] == ["parent", "child", "parent"]
    assert raw_server.connections == 2
    assert shared_async_clients() is shared_async_clients()


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
