"""Bodies of answers, and what must not be left behind one in its connection.

What a server sends beyond an answer would be taken for the answer to the next request, which may be
another user's. httpcore looks at what has come to the socket since, and not at what came in one
piece with the answer's end and lies in a buffer: its own, that of TLS, or that of the event loop.
Nothing public tells of these, so they are looked for by their private names; where one is missing,
as in a version that is built in another way, the connection is closed.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any, cast

import httpx

logger = logging.getLogger("stewrd_integrations")

_WAY = ("_httpcore_stream", "_stream", "_connection", "_h11_state")
"""From httpx's stream to what httpcore knows of its connection."""


class Body(httpx.SyncByteStream):
    """A response's body; closing it tells that the request has left its line."""

    def __init__(
        self, response: httpx.Response, leave: Callable[[BaseException | None], None]
    ) -> None:
        self._stream = cast("httpx.SyncByteStream", response.stream)
        self._bytes: Iterator[bytes] | None = None
        self._process = os.getpid()
        self._connection = _connection_of(response)
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
            if self._connection is not None and _is_doubtful(
                self._stream, _lies_in_tls(self._connection)
            ):
                self._connection.close()
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
        self._connection = _connection_of(response)
        self._leave = leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Called once, by the response."""
        try:
            if self._connection is not None and _is_doubtful(
                self._stream, _lies_in_loop(self._connection)
            ):
                await self._connection.aclose()
            await self._stream.aclose()
        except BaseException as error:
            self._leave(error)
            raise
        self._leave(None)


def _connection_of(response: httpx.Response) -> Any:
    """The connection of a response of HTTP/1, which answers one request after the other."""
    one_by_one = response.extensions.get("http_version") in (b"HTTP/1.1", b"HTTP/1.0")
    return response.extensions.get("network_stream") if one_by_one else None


def _is_doubtful(stream: object, lies_below: bool | None) -> bool:
    """Whether a connection is to be closed, since nobody can tell what lies in it.

    Where something does for sure, httpcore is told that the connection has failed, and closes it by
    itself.

    Args:
        stream: The body, as httpx has it.
        lies_below: Whether something lies between httpcore and the socket; None if that is unknown.
    """
    state: Any = getattr(stream, "_stream", stream)  # a client binds it to the response
    for name in _WAY:
        state = getattr(state, name, None)
    if state is None or lies_below is None:
        _tell_of_the_unknown()
        return True
    more, _ended = state.trailing_data
    if more or lies_below:
        state.send_failed()  # what failed is not used again
    return False


def _lies_in_tls(connection: Any) -> bool:
    """Whether a thread's connection has unpacked more than was read from it."""
    session = connection.get_extra_info("ssl_object")
    return isinstance(session, ssl.SSLSocket) and session.pending() > 0


def _lies_in_loop(connection: Any) -> bool | None:
    """Whether anyio has more of an event loop's connection than was read from it."""
    session = connection.get_extra_info("ssl_object")
    if isinstance(session, ssl.SSLObject) and _unpacks_more(session):
        return True
    below: Any = getattr(connection, "_stream", None)
    while hasattr(below, "transport_stream"):  # TLS, or TLS within that of a proxy
        packed = getattr(below, "_read_bio", None)
        if packed is None:
            return None
        if packed.pending:
            return True
        below = below.transport_stream
    queue = getattr(getattr(below, "_protocol", None), "read_queue", None)
    return None if queue is None else bool(queue)


def _unpacks_more(session: ssl.SSLObject) -> bool:
    """Whether TLS has more to read, or its end, already here."""
    try:
        session.read(1)
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        return True
    return True


@cache
def _tell_of_the_unknown() -> None:
    logger.warning(
        "Stewrd: this version of httpcore or anyio, or a transport around them, is not known, so "
        "every connection is closed after its answer; a newer stewrd-integrations may know it"
    )
