"""Who sends requests: connections that all clients of a process share, or the user's own client.

Frameworks build many models, and an httpx client costs some 25 ms for its TLS context. So all our
clients of a process share their connections (those of one event loop, for async); whatever differs
between them, the key above all, goes with each request. They go through bare transports, see
`pool`. Where the environment names a proxy there is a client, which knows those, and where the
user passes one of his own, that is who sends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, Protocol, TypeVar
from urllib.request import getproxies
from weakref import WeakKeyDictionary, WeakSet

import httpx

from ..errors import ConfigurationError
from .bodies import AsyncBody, Body
from .outgoing import Outgoing
from .pool import IDLE, MOST, AsyncPool, Pool, tls

# Without TLS only this machine is spoken to: the key must not go to a proxy in clear.
_DIRECT: dict[str, None] = {"http://": None}


class _Builds(Protocol):
    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""

    def build(self, outgoing: Outgoing) -> httpx.Request:
        """A request, as it goes out but for the key."""


class Connections(_Builds, Protocol):
    """Who sends the requests of a sync client."""

    def send(self, request: httpx.Request) -> httpx.Response:
        """Its answer, with the body unread: to be closed."""

    def close(self) -> None:
        """Close all connections."""


class AsyncConnections(_Builds, Protocol):
    """Who sends the requests of an async client."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Its answer, with the body unread: to be closed."""

    async def aclose(self) -> None:
        """Close all connections."""


# -- through a client --------------------------------------------------------------------


_Http = TypeVar("_Http", bound="httpx.Client | httpx.AsyncClient")


class _Through(Generic[_Http]):
    def __init__(self, http: _Http) -> None:
        self._http = http

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent by it any more."""
        return self._http.is_closed

    def build(self, outgoing: Outgoing) -> httpx.Request:
        """A request, as it goes out but for the key; the client adds what it adds to all."""
        return self._http.build_request(
            "POST",
            outgoing.address,
            headers=outgoing.head,
            content=outgoing.body,
            timeout=httpx.Timeout(**outgoing.timeouts),
        )


class ThroughClient(_Through[httpx.Client]):
    """Sends by an ``httpx.Client``: the user's own, or one for the environment's proxies."""

    def send(self, request: httpx.Request) -> httpx.Response:
        """See `Connections.send`."""
        # Without the client's own credentials, which would take the place of ours.
        response = self._http.send(request, auth=None, stream=True, follow_redirects=False)
        response.stream = Body(response, _nothing)
        return response

    def close(self) -> None:
        """See `Connections.close`."""
        self._http.close()


class ThroughAsyncClient(_Through[httpx.AsyncClient]):
    """`ThroughClient` for an ``httpx.AsyncClient``."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `AsyncConnections.send`."""
        response = await self._http.send(request, auth=None, stream=True, follow_redirects=False)
        response.stream = AsyncBody(response, _nothing)
        return response

    async def aclose(self) -> None:
        """See `AsyncConnections.aclose`."""
        await self._http.aclose()


def _nothing(_error: BaseException | None) -> None:
    """Nobody counts the requests of a client."""


# -- shared ------------------------------------------------------------------------------


class SharedConnections:
    """The connections of this process's sync clients, open while somebody holds them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: WeakSet[object] = WeakSet()
        self._open: Connections | None = None

    def lease(self, holder: object) -> Connections:
        """The connections, which ``holder`` holds from now on."""
        with self._lock:
            self._holders.add(holder)
            if self._open is None:
                self._open = ThroughClient(_client(httpx.Client)) if _proxied() else Pool()
            return self._open

    def release(self, holder: object) -> None:
        """Give them back; the last one closes them."""
        with self._lock:
            held = holder in self._holders
            self._holders.discard(holder)
            if not held or self._holders or self._open is None:
                return
            open_, self._open = self._open, None
        open_.close()


class SharedAsyncConnections:
    """The connections of each event loop's clients, open while somebody holds them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, _Held] = WeakKeyDictionary()

    def lease(self, holder: object) -> AsyncConnections:
        """The connections of the running loop, which ``holder`` holds from now on."""
        loop = asyncio.get_running_loop()
        with self._lock:
            held = self._held.get(loop)
            if held is None:
                self._forget_closed_loops()
                held = self._held[loop] = _Held()
            held.holders.add(holder)
            return held.open

    async def release(self, holder: object) -> None:
        """Give them back, on every loop; the running loop's are closed by the last one."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for other in list(self._held.values()):
                other.holders.discard(holder)
            held = self._held.get(loop)
            if held is None or held.holders:
                return
            del self._held[loop]
        await held.open.aclose()

    def _forget_closed_loops(self) -> None:
        # An open connection refers to its loop, so the weak keys alone would keep it.
        for loop in [loop for loop in self._held if loop.is_closed()]:
            del self._held[loop]


class _Held:
    def __init__(self) -> None:
        self.open: AsyncConnections = (
            ThroughAsyncClient(_client(httpx.AsyncClient)) if _proxied() else AsyncPool()
        )
        self.holders: WeakSet[object] = WeakSet()


def _proxied() -> bool:
    """Whether the environment names a proxy that something of ours may go through."""
    proxies = getproxies()
    return any(proxies.get(scheme) for scheme in ("https", "all"))


def _client(kind: type[_Http]) -> _Http:
    """A client with the proxies of the environment."""
    common: dict[str, Any] = {"verify": tls(), "cookies": _no_cookies(), "mounts": _DIRECT}
    limits = httpx.Limits(
        max_connections=MOST, max_keepalive_connections=100, keepalive_expiry=IDLE
    )
    try:
        return kind(limits=limits, **common)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        name = type(error).__name__
    # Outside, as httpx's error may show the proxy's address, and that its password.
    raise ConfigurationError(
        f"httpx can't use the proxy settings of the environment ({name}).",
        advice="Check HTTPS_PROXY, ALL_PROXY and NO_PROXY (no brackets and no /bits there); for a "
        'SOCKS proxy, pip install "httpx[socks]".',
    )


def _no_cookies() -> CookieJar:
    # The client is shared, so a cookie of one project's answer would go out with another's key.
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


class _Process:
    sync = SharedConnections()
    asynchronous = SharedAsyncConnections()


def shared() -> SharedConnections:
    """What this process's sync clients share."""
    return _Process.sync


def shared_async() -> SharedAsyncConnections:
    """What this process's async clients share."""
    return _Process.asynchronous


def _start_anew() -> None:
    # The parent's connections must not be used by a forked child, nor be closed: they are still
    # the parent's. Its locks may be held by a thread that the child does not have.
    _Process.sync = SharedConnections()
    _Process.asynchronous = SharedAsyncConnections()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_start_anew)
