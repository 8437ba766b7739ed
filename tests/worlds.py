"""The whole package on an emulated Stewrd without sockets: for tests that make many calls.

Everything above the wire is real, drivers, clients and httpx included; httpx is given a
transport that hands its requests to the emulator's pure world.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from stewrd_integrations.emulator.faults import Fault
from stewrd_integrations.emulator.records import Exchange, Run
from stewrd_integrations.emulator.settings import Settings
from stewrd_integrations.emulator.wire import Request, Response
from stewrd_integrations.emulator.world import World
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.stores import MemoryStore, Store

KEY = "sk-stw_" + "test" * 6
ADDRESS = "http://127.0.0.1:9"
LONG = 600.0


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, world: World, response: Response) -> None:
        self._world = world
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        delivery = self._response.delivery
        for place, chunk in enumerate(self._response.chunks):
            if delivery.stall_at == place and delivery.stall >= LONG:
                raise httpx.ReadTimeout("stalled")
            yield chunk
        if not delivery.complete:
            raise httpx.RemoteProtocolError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self._world.finished(self._response)

    async def aclose(self) -> None:
        self.close()


class WorldTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Hands httpx's requests to a world, and does what its responses order."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._world = stage.world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self._stage.away:
            self._stage.away -= 1
            raise httpx.ConnectError("nobody is there")
        headers = {name.lower(): value for name, value in request.headers.items()}
        response = self._world.handle(
            Request(request.method, request.url.path, headers, request.content)
        )
        if not response.delivery.answered:
            self._world.finished(response)
            raise httpx.RemoteProtocolError("hung up")
        if response.delivery.latency >= LONG:
            self._world.finished(response)
            raise httpx.ReadTimeout("silent")
        return httpx.Response(
            response.status, headers=list(response.headers), stream=_Body(self._world, response)
        )


class Unreachable(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A network that reaches nobody."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")


@dataclass
class Stage:
    """A world, a store and a clock, and as many models on them as a test asks for."""

    world: World
    store: Store
    clock: Clock
    away: int = 0  # how many requests will reach nobody

    @classmethod
    def make(cls, agent: Callable[..., Any] | None = None, **settings: Any) -> Stage:
        """A new one; ``settings`` are the emulator's."""
        clock = Clock()
        numbers = iter(range(1, 1_000_000))
        world = World(
            Settings(**settings),
            api_key=KEY,
            clock=clock,
            make_id=lambda: f"id-{next(numbers)}",
            agent=agent,
        )
        return cls(world, MemoryStore(clock), clock)

    def model(self, **options: Any) -> Runtime:
        """A model object with options of its own."""
        transport = WorldTransport(self)
        given: dict[str, Any] = {
            "api_key": KEY,
            "base_url": ADDRESS,
            "store": self.store,
            "max_retries": 0,
            "clock": self.clock,
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }
        return Runtime(Options(**{**given, **options}))

    def fail_next(self, kind: Any, **details: Any) -> None:
        """Order a fault."""
        self.world.fail(Fault(kind, **details))

    @property
    def runs(self) -> list[Run]:
        """Everything the agent answered."""
        return list(self.world.runs)

    @property
    def requests(self) -> list[Exchange]:
        """Every request."""
        return list(self.world.requests)

    def sent(self) -> list[str]:
        """The messages of all requests that had one, in order."""
        return [
            exchange.body["message"]
            for exchange in self.requests
            if isinstance(exchange.body, dict) and "message" in exchange.body
        ]


def stored_text(store: MemoryStore) -> str:
    """All that a memory store keeps, as text."""
    bindings = [binding.to_json() for binding, _ in store._bindings]
    notes = [json.dumps(store.note(key)) for key in store._notes]
    keys = [*store._bindings.keys(), *store._notes]
    return "\n".join(bindings + notes + keys)
