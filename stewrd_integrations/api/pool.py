"""Bare transports of httpx, one for each request of the moment.

A client around a transport adds what must not happen here (cookies, redirects, credentials, other
clients' headers), and costs a tenth of a millisecond at each request. A transport with many
connections looks at all of them at each request, and asks the system about each that is idle: with
hundreds at once that costs more than all else. So each has one connection, and who is free is
known here.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Generic, TypeVar

import httpx

from ..errors import ConfigurationError
from ..locks import new_lock
from .bodies import AsyncBody, Body
from .outgoing import Outgoing

logger = logging.getLogger("stewrd_integrations")

MOST = 500
"""Requests at once in a process, or on a loop, from which on they share connections, and wait. Many
systems let a process have 1,024 files open."""

IDLE = 4.0
"""Seconds after which a connection is left. One that the server closes at the moment of sending
looks like one that died at work, so idle ones are left before a server would close them."""

AT_ONCE = 16
"""Connections that nobody needs any more which one request closes, so that none takes long."""

_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE)

_T = TypeVar("_T")


class _Line(Generic[_T]):
    """A transport of one connection.

    Attributes:
        transport: Sends.
        origin: Where its connection goes; to send elsewhere, it would have to be closed.
        requests: Those that are on their way through it; more than one only where there are so
            many that they share.
        left_at: When the last one ended.
        is_spoilt: Whether the connection's place may be lost: httpcore keeps it, for ever, if its
            request was cancelled at the wrong moment.
    """

    __slots__ = ("is_spoilt", "left_at", "origin", "requests", "transport")

    def __init__(self, transport: _T, origin: bytes) -> None:
        self.transport = transport
        self.origin = origin
        self.requests = 0
        self.left_at = 0.0
        self.is_spoilt = False


def _spoils(error: BaseException | None) -> bool:
    """Whether a request's end may have cost the connection its place."""
    if isinstance(error, httpx.PoolTimeout):
        return True  # or it is shared by too many, which tells the same
    return error is not None and not isinstance(error, Exception)


class _Pool(Generic[_T]):
    """As many transports as the requests of the moment need."""

    def __init__(self, new: Callable[[], _T], clock: Callable[[], float] = time.monotonic) -> None:
        self.is_closed = False
        self._new = new
        self._clock = clock
        self._lock = new_lock()
        self._busy: set[_Line[_T]] = set()
        self._free: dict[bytes, deque[_Line[_T]]] = {}
        """By origin; what was used last stands last, and is used first."""

        self._given_up: list[_Line[_T]] = []

    def build(self, outgoing: Outgoing) -> httpx.Request:
        """A request, as it goes out but for the key."""
        body = outgoing.body or b""
        request = httpx.Request(
            "POST",
            outgoing.address,
            headers=outgoing.head,
            stream=httpx.ByteStream(body),
            extensions={"timeout": outgoing.timeouts},
        )
        # A client would look for both.
        request.headers["Host"] = outgoing.address.netloc.decode()
        request.headers["Content-Length"] = str(len(body))
        return request

    def _enter(self, url: httpx.URL) -> tuple[_Line[_T], list[_Line[_T]]]:
        """The line for one more request, and some that nobody needs any more: to be closed."""
        origin = url.raw_scheme + url.netloc
        with self._lock:
            free = self._free.get(origin)
            line = free.pop() if free else self._one_more(origin)
            line.requests += 1  # here and now: whoever comes next must see it
            self._busy.add(line)
            return line, self._unneeded()

    def _one_more(self, origin: bytes) -> _Line[_T]:
        if len(self._busy) < MOST:
            return _Line(self._new(), origin)
        return min(list(self._busy), key=lambda line: (line.is_spoilt, line.requests))

    def _unneeded(self) -> list[_Line[_T]]:
        found: list[_Line[_T]] = []
        while self._given_up and len(found) < AT_ONCE:
            found.append(self._given_up.pop())
        since = self._clock() - IDLE
        for origin, free in list(self._free.items()):
            while free and free[0].left_at < since and len(found) < AT_ONCE:
                found.append(free.popleft())
            if not free:
                del self._free[origin]
        return found

    def _leave(self, line: _Line[_T], error: BaseException | None = None) -> None:
        """A request ended, with this error or without one."""
        with self._lock:
            line.requests -= 1
            line.is_spoilt |= _spoils(error)
            if line.requests:
                return
            self._busy.discard(line)
            line.left_at = self._clock()
            if line.is_spoilt:
                self._given_up.append(line)
            else:
                self._free.setdefault(line.origin, deque()).append(line)

    def _close_all(self) -> list[_Line[_T]]:
        with self._lock:
            self.is_closed = True
            free = [line for lines in self._free.values() for line in lines]
            return [*self._busy, *free, *self._given_up]


class Pool(_Pool[httpx.HTTPTransport]):
    """The connections of sync clients."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(httpx.HTTPTransport, verify=tls(), limits=_LIMITS), clock)

    def send(self, request: httpx.Request) -> httpx.Response:
        """See `Connections.send`."""
        line, unneeded = self._enter(request.url)
        try:
            while unneeded:
                _close(unneeded.pop().transport)
            response = line.transport.handle_request(request)
        except BaseException as error:
            self._given_up += unneeded
            self._leave(line, error)
            raise
        response.stream = Body(response, partial(self._leave, line))
        return response

    def close(self) -> None:
        """See `Connections.close`."""
        for line in self._close_all():
            line.transport.close()


class AsyncPool(_Pool[httpx.AsyncHTTPTransport]):
    """The connections of async clients on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(httpx.AsyncHTTPTransport, verify=tls(), limits=_LIMITS), clock)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `AsyncConnections.send`."""
        line, unneeded = self._enter(request.url)
        try:
            while unneeded:
                await _aclose(unneeded.pop().transport)
            response = await line.transport.handle_async_request(request)
        except BaseException as error:
            self._given_up += unneeded
            self._leave(line, error)
            raise
        response.stream = AsyncBody(response, partial(self._leave, line))
        return response

    async def aclose(self) -> None:
        """See `AsyncConnections.aclose`."""
        for line in self._close_all():
            await line.transport.aclose()


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


@cache
def tls() -> ssl.SSLContext:
    """The TLS context of all connections, made once.

    Raises:
        ConfigurationError: The environment names certificates that are not there.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # an ssl.SSLError is one, too; neither names the file
        name = type(error).__name__
    raise ConfigurationError(
        f"The certificates to trust can't be read ({name}).",
        advice="Check SSL_CERT_FILE and SSL_CERT_DIR: a file of certificates in PEM, or a folder "
        "of them that `openssl rehash` has prepared.",
    )
