from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient
from stewrd_integrations.types import Event

from .wire import RawServer

KEY = "sk-stw_" + "0123456789abcdefSECRET"  # no key: nothing here may look like one


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEWRD_API_KEY", raising=False)
    monkeypatch.delenv("STEWRD_BASE_URL", raising=False)


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


class Sync:
    """Drives the sync client."""

    @staticmethod
    def call(url: str, name: str, *args: Any, options: Any = None, **kwargs: Any) -> Any:
        with without_jitter(StewrdClient(api_key=KEY, base_url=url, **(options or {}))) as client:
            return getattr(client, name)(*args, **kwargs)

    @staticmethod
    def listen(
        url: str, name: str, *args: Any, into: list[Event], options: Any = None, **kwargs: Any
    ) -> None:
        with without_jitter(StewrdClient(api_key=KEY, base_url=url, **(options or {}))) as client:
            events = getattr(client, name)(*args, **kwargs)
            with events:
                for event in events:
                    into.append(event)


class Async:
    """Drives the async client with the same interface."""

    @staticmethod
    def call(url: str, name: str, *args: Any, options: Any = None, **kwargs: Any) -> Any:
        async def run() -> Any:
            made = AsyncStewrdClient(api_key=KEY, base_url=url, **(options or {}))
            async with without_jitter(made) as client:
                return await getattr(client, name)(*args, **kwargs)

        return asyncio.run(run())

    @staticmethod
    def listen(
        url: str, name: str, *args: Any, into: list[Event], options: Any = None, **kwargs: Any
    ) -> None:
        async def run() -> None:
            made = AsyncStewrdClient(api_key=KEY, base_url=url, **(options or {}))
            async with without_jitter(made) as client:
                events = getattr(client, name)(*args, **kwargs)
                async with events:
                    async for event in events:
                        into.append(event)

        asyncio.run(run())


def without_jitter(client: Any) -> Any:
    settings = client._settings
    settings.patience = replace(settings.patience, jitter=lambda: 0.0)
    return client


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> type[Sync | Async]:
    return request.param  # type: ignore[no-any-return]  # params are untyped


class Way:
    """One of the four ways to send a message, in one of the two colours."""

    def __init__(self, colour: Any, name: str) -> None:
        self.colour = colour
        self.name = name
        self.in_session = name.endswith("message")
        self.streamed = name.startswith("stream")

    def go(self, url: str, into: list[Event] | None = None, **options: Any) -> Any:
        """The reply, either way."""
        args = ("sess-1", "hi") if self.in_session else ("hi",)
        if not self.streamed:
            return self.colour.call(url, self.name, *args, options=options)
        events = [] if into is None else into
        self.colour.listen(url, self.name, *args, into=events, options=options)
        return events[-1].reply  # type: ignore[union-attr]  # the last event is Done


@pytest.fixture(params=["run_agent", "send_message", "stream_agent", "stream_message"])
def way(request: pytest.FixtureRequest, colour: Any) -> Way:
    return Way(colour, request.param)


@pytest.fixture(params=["stream_agent", "stream_message"])
def stream(request: pytest.FixtureRequest, colour: Any) -> Way:
    return Way(colour, request.param)


@pytest.fixture(params=["run_agent", "send_message"])
def plain(request: pytest.FixtureRequest, colour: Any) -> Way:
    return Way(colour, request.param)
