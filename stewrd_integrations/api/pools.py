"""Bare transports of httpx, a few requests through each at once, and what is read through them.

A client around a transport adds what must not happen here (cookies, redirects, credentials, other
clients' headers), and costs a tenth of a millisecond at each request.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from typing import Any, Generic, TypeVar, cast

import httpx

from ..errors import ConfigurationError
from .outgoing import Outgoing

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

_T = TypeVar("_T")


class _Pool(Generic[_T]):
    """A transport, the requests that are on their way through it, and when the last one ended.

    Attributes:
        lost: Connections that it may have lost: httpcore keeps the place of one whose request was
            cancelled at the wrong moment, for ever. So there is room for fewer from then on, and
            a pool that may have lost half of them is closed as soon as all have left it.
    """

    def __init__(self, transport: _T) -> None:
        self.transport = transport
        self.requests = 0
        self.left_at = 0.0
        self.lost = 0

    @property
    def is_spoilt(self) -> bool:
        """Whether no further request is to go through it."""
        return 2 * self.lost >= ROOM

    @property
    def has_room(self) -> bool:
        """Whether a request finds a connection at once."""
        return self.requests < ROOM - self.lost and not self.is_spoilt

    def note(self, error: BaseException) -> None:
        """A request ended with this."""
        if isinstance(error, httpx.PoolTimeout):
            self.lost = ROOM  # it had room, and none of its connections was free
        elif not isinstance(error, Exception):
            self.lost += 1


class _Pools(Generic[_T]):
    """As many transports as the requests of the moment need."""

    def __init__(self, new: Callable[[], _T], clock: Callable[[], float] = time.monotonic) -> None:
        self.is_closed = False
        self._new = new
        self._clock = clock
        self._lock = threading.Lock()
        self._pools: list[_Pool[_T]] = [_Pool(new())]

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

    def _enter(self) -> tuple[_Pool[_T], _Pool[_T] | None]:
        """The pool for one more request, and one that nobody needs any more: to be closed."""
        with self._lock:
            unneeded = self._unneeded()
            if unneeded is not None:
                self._pools.remove(unneeded)
            free = (pool for pool in self._pools if pool.has_room)
            pool = next(free, None) or self._one_more()
            pool.requests += 1  # here and now: whoever comes next must see it
            return pool, unneeded

    def _unneeded(self) -> _Pool[_T] | None:
        for pool in self._pools:
            if pool.is_spoilt and not pool.requests:
                return pool
        *_, last = self._pools
        if last is self._pools[0] or last.requests:
            return None
        return last if self._clock() - last.left_at > IDLE else None

    def _one_more(self) -> _Pool[_T]:
        if len(self._pools) >= MOST:
            return min(self._pools, key=lambda pool: (pool.is_spoilt, pool.requests))
        self._pools.append(_Pool(self._new()))
        return self._pools[-1]

    def _leave(self, pool: _Pool[_T], error: BaseException | None = None) -> None:
        with self._lock:
            if error is not None:
                pool.note(error)
            pool.requests -= 1
            pool.left_at = self._clock()

    def _close_all(self) -> list[_Pool[_T]]:
        with self._lock:
            self.is_closed = True
            return list(self._pools)


class Pools(_Pools[httpx.HTTPTransport]):
    """The connections of sync clients."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(httpx.HTTPTransport, verify=tls(), limits=_LIMITS), clock)

    def send(self, request: httpx.Request) -> httpx.Response:
        """See `Connections.send`."""
        pool, unneeded = self._enter()
        try:
            if unneeded is not None:
                _close(unneeded.transport)
            response = pool.transport.handle_request(request)
        except BaseException as error:
            self._leave(pool, error)
            raise
        response.stream = Body(response, partial(self._leave, pool))
        return response

    def close(self) -> None:
        """See `Connections.close`."""
        for pool in self._close_all():
            pool.transport.close()


class AsyncPools(_Pools[httpx.AsyncHTTPTransport]):
    """The connections of async clients on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(httpx.AsyncHTTPTransport, verify=tls(), limits=_LIMITS), clock)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `AsyncConnections.send`."""
        pool, unneeded = self._enter()
        try:
            if unneeded is not None:
                await _aclose(unneeded.transport)
            response = await pool.transport.handle_async_request(request)
        except BaseException as error:
            self._leave(pool, error)
            raise
        response.stream = AsyncBody(response, partial(self._leave, pool))
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


class Body(httpx.SyncByteStream):
    """A response's body; closing it tells that the request has left its pool."""

    def __init__(
        self, response: httpx.Response, leave: Callable[[BaseException | None], None]
    ) -> None:
        self._stream = cast("httpx.SyncByteStream", response.stream)
        self._bytes: Iterator[bytes] | None = None
        self._process = os.getpid()
        self._connection = response.extensions.get("network_stream")
        self._leave = leave

    def __iter__(self) -> Iterator[bytes]:
        self._bytes = iter(self._stream)
        return self._bytes

    def close(self) -> None:
        """Called once, by the response."""
        if os.getpid() != self._process:
            # It is the parent's still, and a thread that the child does not have may hold its
            # locks. Kept, as what becomes garbage is closed.
            _of_the_parent.append(self)
            return
        try:
            _refuse_surplus(self._stream, self._connection)
            self._stream.close()
        except BaseException as error:
            self._leave(error)
            raise
        self._leave(None)


_of_the_parent: list[Body] = []
"""Answers that were being read as this process was forked."""


class AsyncBody(httpx.AsyncByteStream):
    """`Body` on the event loop."""

    def __init__(
        self, response: httpx.Response, leave: Callable[[BaseException | None], None]
    ) -> None:
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._connection = response.extensions.get("network_stream")
        self._leave = leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Called once, by the response."""
        try:
            _refuse_surplus(self._stream, self._connection)
            await self._stream.aclose()
        except BaseException as error:
            self._leave(error)
            raise
        self._leave(None)


def _refuse_surplus(stream: object, connection: Any) -> None:
    """Have a connection closed that holds more than the answer that was read from it.

    It would be taken for the answer to the next request, which may be another user's: httpcore
    looks at what has come since, and not at what came in one piece with the answer's end.
    """
    state: Any = getattr(stream, "_stream", stream)  # a client binds it to the response
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        state = getattr(state, name, None)
    if state is None:
        return  # not of HTTP/1.1
    more, _ended = state.trailing_data
    if more or _is_unread(connection):
        state.send_failed()  # what failed is not used again


def _is_unread(connection: Any) -> bool:
    """Whether a TLS connection of an event loop has more to read, or its end, already here."""
    session = None if connection is None else connection.get_extra_info("ssl_object")
    if not isinstance(session, ssl.SSLObject):  # a thread's own reads from the socket itself
        return False
    try:
        session.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        return True
    return True


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
