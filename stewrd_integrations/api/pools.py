"""How requests leave: the connections that all clients of a process share.

Frameworks build many models, and an httpx client costs some 25 ms for its TLS context. So all our
clients of a process share their connections (those of one event loop, for async); whatever differs
between them, the key above all, goes with each request.

They go through httpx's transports, without a client around them. What that adds (cookies,
redirects, credentials, other clients' headers) must not happen here, and costs a tenth of a
millisecond at each request. Where the environment names a proxy there is a client, which knows
those, and where the user passes one of his own, that is who sends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, Protocol, TypeVar, cast
from urllib.request import getproxies
from weakref import WeakKeyDictionary, WeakSet

import httpx

from ..errors import ConfigurationError

logger = logging.getLogger("stewrd_integrations")

ROOM = 16
"""Requests that go through one transport at once. At each of them it looks at all connections
that it has, so that hundreds in one transport would cost more than all else."""

MOST = 62
"""Transports of a process, or of a loop: some thousand connections."""

IDLE = 4.0
"""Seconds after which a connection is left. One that the server closes at the moment of sending
looks like one that died at work, so idle ones are left before a server would close them."""

_LIMITS = httpx.Limits(max_connections=ROOM, max_keepalive_connections=ROOM, keepalive_expiry=IDLE)

# Without TLS only this machine is spoken to: the key must not go to a proxy in clear.
_DIRECT: dict[str, None] = {"http://": None}

_T = TypeVar("_T")


class Connections(Protocol):
    """Who sends the requests of a sync client."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""

    def build(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """A request, as it goes out but for the key."""

    def send(self, request: httpx.Request) -> httpx.Response:
        """Its answer, with the body unread: to be closed."""

    def close(self) -> None:
        """Close all connections."""


class AsyncConnections(Protocol):
    """Who sends the requests of an async client."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""

    def build(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """A request, as it goes out but for the key."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Its answer, with the body unread: to be closed."""

    async def aclose(self) -> None:
        """Close all connections."""


# -- through transports ------------------------------------------------------------------


class _Pool(Generic[_T]):
    """A transport, the requests that are on their way through it, and when the last one ended."""

    def __init__(self, transport: _T) -> None:
        self.transport = transport
        self.requests = 0
        self.left_at = 0.0


class _Pools(Generic[_T]):
    """As many transports as the requests of the moment need."""

    def __init__(self, new: Callable[[], _T], clock: Callable[[], float] = time.monotonic) -> None:
        self.is_closed = False
        self._new = new
        self._clock = clock
        self._lock = threading.Lock()
        self._pools: list[_Pool[_T]] = [_Pool(new())]

    def build(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """A request, as it goes out but for the key."""
        body = content or b""
        # Its length and its host told, httpx has nothing to look for.
        own = {"Host": url.netloc.decode(), **headers, "Content-Length": str(len(body))}
        extensions = {"timeout": timeout.as_dict()}
        stream = httpx.ByteStream(body)
        return httpx.Request(method, url, headers=own, stream=stream, extensions=extensions)

    def _enter(self) -> tuple[_Pool[_T], _Pool[_T] | None]:
        """The pool for one more request, and one that nobody needs any more: to be closed."""
        with self._lock:
            unneeded = self._unneeded()
            if unneeded is not None:
                self._pools.remove(unneeded)
            free = (pool for pool in self._pools if pool.requests < ROOM)
            pool = next(free, None) or self._one_more()
            pool.requests += 1  # here and now: whoever comes next must see it
            return pool, unneeded

    def _unneeded(self) -> _Pool[_T] | None:
        *_, last = self._pools
        if last is self._pools[0] or last.requests:
            return None
        return last if self._clock() - last.left_at > IDLE else None

    def _one_more(self) -> _Pool[_T]:
        if len(self._pools) >= MOST:
            return min(self._pools, key=lambda pool: pool.requests)
        self._pools.append(_Pool(self._new()))
        return self._pools[-1]

    def _leave(self, pool: _Pool[_T]) -> None:
        with self._lock:
            pool.requests -= 1
            pool.left_at = self._clock()

    def _close_all(self) -> list[_Pool[_T]]:
        with self._lock:
            self.is_closed = True
            return list(self._pools)


class Pools(_Pools[httpx.HTTPTransport]):
    """The connections of sync clients."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(httpx.HTTPTransport, verify=_tls(), limits=_LIMITS), clock)

    def send(self, request: httpx.Request) -> httpx.Response:
        """See `Connections.send`."""
        pool, unneeded = self._enter()
        try:
            if unneeded is not None:
                _close(unneeded.transport)
            response = pool.transport.handle_request(request)
        except BaseException:
            self._leave(pool)
            raise
        stream = cast("httpx.SyncByteStream", response.stream)
        response.stream = _Body(stream, partial(self._leave, pool))
        return response

    def close(self) -> None:
        """See `Connections.close`."""
        for pool in self._close_all():
            pool.transport.close()


class AsyncPools(_Pools[httpx.AsyncHTTPTransport]):
    """The connections of async clients on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(httpx.AsyncHTTPTransport, verify=_tls(), limits=_LIMITS), clock)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `AsyncConnections.send`."""
        pool, unneeded = self._enter()
        try:
            if unneeded is not None:
                await _aclose(unneeded.transport)
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            self._leave(pool)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _AsyncBody(stream, partial(self._leave, pool))
        return response

    async def aclose(self) -> None:
        """See `AsyncConnections.aclose`."""
        for pool in self._close_all():
            await pool.transport.aclose()


def _close(transport: httpx.HTTPTransport) -> None:
    """Close one that nobody needs; whatever goes wrong there, it is no fault of the request."""
    try:
        transport.close()
    except Exception as error:  # noqa: BLE001 - see above
        logger.debug("Stewrd: closing idle connections failed (%s)", type(error).__name__)


async def _aclose(transport: httpx.AsyncHTTPTransport) -> None:
    """`_close` on the event loop."""
    try:
        await transport.aclose()
    except Exception as error:  # noqa: BLE001 - see above
        logger.debug("Stewrd: closing idle connections failed (%s)", type(error).__name__)


class _Body(httpx.SyncByteStream):
    """A response's body; closing it tells that the request has left its pool."""

    def __init__(self, stream: httpx.SyncByteStream, leave: Callable[[], None]) -> None:
        self._stream = stream
        self._leave = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        """Called once, by the response."""
        try:
            self._stream.close()
        finally:
            self._leave()


class _AsyncBody(httpx.AsyncByteStream):
    """`_Body` on the event loop."""

    def __init__(self, stream: httpx.AsyncByteStream, leave: Callable[[], None]) -> None:
        self._stream = stream
        self._leave = leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Called once, by the response."""
        try:
            await self._stream.aclose()
        finally:
            self._leave()


# -- through a client --------------------------------------------------------------------


class ThroughClient:
    """Sends by an ``httpx.Client``: the user's own, or one for the environment's proxies."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent by it any more."""
        return self._http.is_closed

    def build(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """See `Connections.build`; the client adds what it adds to all."""
        return self._http.build_request(
            method, url, headers=headers, content=content, timeout=timeout
        )

    def send(self, request: httpx.Request) -> httpx.Response:
        """See `Connections.send`."""
        # Without the client's own credentials, which would take the place of ours.
        return self._http.send(request, auth=None, stream=True, follow_redirects=False)

    def close(self) -> None:
        """See `Connections.close`."""
        self._http.close()


class ThroughAsyncClient:
    """`ThroughClient` for an ``httpx.AsyncClient``."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent by it any more."""
        return self._http.is_closed

    def build(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """See `AsyncConnections.build`; the client adds what it adds to all."""
        return self._http.build_request(
            method, url, headers=headers, content=content, timeout=timeout
        )

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `AsyncConnections.send`."""
        return await self._http.send(request, auth=None, stream=True, follow_redirects=False)

    async def aclose(self) -> None:
        """See `AsyncConnections.aclose`."""
        await self._http.aclose()


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
                self._open = ThroughClient(_client(httpx.Client)) if _proxied() else Pools()
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
            ThroughAsyncClient(_client(httpx.AsyncClient)) if _proxied() else AsyncPools()
        )
        self.holders: WeakSet[object] = WeakSet()


def _proxied() -> bool:
    """Whether the environment names a proxy that something of ours may go through."""
    proxies = getproxies()
    return any(proxies.get(scheme) for scheme in ("https", "all"))


_Http = TypeVar("_Http", httpx.Client, httpx.AsyncClient)


def _client(kind: type[_Http]) -> _Http:
    """A client with the proxies of the environment."""
    common: dict[str, Any] = {"verify": _tls(), "cookies": _no_cookies(), "mounts": _DIRECT}
    limits = httpx.Limits(
        max_connections=ROOM * MOST, max_keepalive_connections=100, keepalive_expiry=IDLE
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


@cache
def _tls() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # an ssl.SSLError is one, too; neither names the file
        name = type(error).__name__
    raise ConfigurationError(
        f"The certificates to trust can't be read ({name}).",
        advice="Check SSL_CERT_FILE and SSL_CERT_DIR: a file of certificates in PEM, or a folder "
        "of them that `openssl rehash` has prepared.",
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
