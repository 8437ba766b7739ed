"""One request and its answer in httpx's terms: the key's way in, and what its exceptions mean."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import cast

import httpx

from ..errors import (
    ConfigurationError,
    InterruptedStreamError,
    MalformedResponseError,
    NeverSentError,
    StewrdError,
    TimedOutError,
    UnknownOutcomeError,
)
from .calls import Exchange
from .connections import AsyncConnections, Connections
from .credentials import ApiKey
from .outgoing import Outgoing
from .requests import HttpRequest, Kind
from .responses import BARE, Answer, clean
from .settings import Settings
from .veils import Veil

CONNECT = 5.0
WRITE = 30.0
POOL = 5.0
READ = 300.0

REST = 0.1
"""Seconds in which a stream that has told all must end, so that its connection can serve another
request. A new one costs a TLS handshake."""

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
# A ProxyError is a tunnel that was refused: nothing of the request has left.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_UNBUILDABLE = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)

_PACKED = "content-encoding"


class KeyAuth:
    """Puts the key on a request, so that no frame of ours and no option holds it."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self.veil = BARE
        """Hides the key that the request has; a callable may give another one the next time."""

    def sign(self, request: httpx.Request) -> None:
        """Ask for the key, and put it into the request's head.

        Raises:
            NeverSentError: There is no key: what was to give it has failed.
        """
        try:
            key = self._key.reveal()
        except StewrdError:
            raise
        except Exception as error:
            # Whoever asks a vault by httpx would have its failures taken for the request's.
            name = type(error).__name__
            raise NeverSentError(f"api_key gave no key ({name}); nothing was sent.") from error
        self.veil = Veil(key)
        request.headers["Authorization"] = f"Bearer {key}"


def build(
    connections: Connections | AsyncConnections, settings: Settings, step: Exchange
) -> httpx.Request:
    """The request but for the key, with time-outs in what the whole call has left."""
    request, cap = step.request, step.deadline.cap(math.inf)
    outgoing = Outgoing(
        _parsed(settings.url(request)),
        settings.head(request),
        request.body,
        {
            "connect": min(CONNECT, cap),
            "read": _longest_read(settings, request, cap),
            "write": min(WRITE, cap),
            "pool": min(POOL, cap),
        },
    )
    return connections.build(outgoing)


@lru_cache(maxsize=256)
def _parsed(address: str) -> httpx.URL:
    # A conversation's turns go to one address, and httpx takes long to parse it.
    return httpx.URL(address)


def _longest_read(settings: Settings, request: HttpRequest, cap: float) -> float | None:
    """Seconds that the next bytes are waited for, the first ones too; None is for ever."""
    if not request.stream:
        return min(READ, cap)
    stall = settings.patience.stall_timeout
    seconds = cap if stall is None else min(stall, cap)
    return None if math.isinf(seconds) else seconds


def answer_of(kind: Kind, response: httpx.Response, veil: Veil) -> Answer[httpx.Response]:
    """The answer of a response, its body unread."""
    return Answer(kind, response.status_code, _headers_of(response), live=response, veil=veil)


def _headers_of(response: httpx.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def chunks_of(answer: Answer[httpx.Response]) -> Iterator[bytes]:
    """The bytes of an answer's body as they come, unpacked."""
    response = _live(answer)
    if not _as_it_came(answer):
        return response.iter_bytes()
    # As they come from the connection: httpx would look at each of them twice more.
    return iter(cast("Iterable[bytes]", response.stream))


async def achunks_of(answer: Answer[httpx.Response]) -> AsyncGenerator[bytes, None]:
    """`chunks_of` on the event loop; to be closed by whoever leaves it early."""
    response = _live(answer)
    stream = response.stream if _as_it_came(answer) else response.aiter_bytes()
    chunks = aiter(cast("AsyncIterable[bytes]", stream))
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        # httpx types its generators as iterators, which could not be closed.
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _as_it_came(answer: Answer[httpx.Response]) -> bool:
    """Whether the connection's bytes are the body: not packed, and read by nobody before.

    An event hook of a user's client may have read it: then httpx has it, and not the connection.
    """
    return _PACKED not in answer.headers and not _live(answer).is_stream_consumed


def read_end(answer: Answer[httpx.Response], chunks: Iterator[bytes]) -> None:
    """Read to the end of a stream whose last event has come, if the end comes at once.

    Raises:
        httpx.ReadTimeout: It does not; the connection is to be closed.
    """
    with _hurried(_live(answer)) as is_hurried:
        if is_hurried:
            next(chunks, None)


async def aread_end(answer: Answer[httpx.Response], chunks: AsyncGenerator[bytes, None]) -> None:
    """`read_end` on the event loop."""
    with _hurried(_live(answer)) as is_hurried:
        if is_hurried:
            await anext(chunks, None)


@contextmanager
def _hurried(response: httpx.Response) -> Generator[bool, None, None]:
    """Let whoever reads from a response's connection wait no longer than `REST`.

    The time-outs of a request stand fast once it was sent. So the connection's way to read is
    changed as long as this goes on; not on HTTP/2, where others read from it at the same time, nor
    for a packed body, or one that a hook has read: httpx gives the connection back by itself at
    their end, and whoever gets it next would wait no longer either.
    """
    stream = response.extensions.get("network_stream")
    given_back = response.is_closed or _PACKED in response.headers
    if stream is None or given_back or response.http_version != "HTTP/1.1":
        yield False
        return
    read, until = stream.read, time.monotonic() + REST
    # In all, as an end that drips in byte by byte would be waited for without end.
    try:
        stream.read = lambda max_bytes, **_: read(
            max_bytes, timeout=max(until - time.monotonic(), 1e-3)
        )
    except AttributeError:  # of a transport of the user's, whose streams can't be changed
        yield False
        return
    try:
        yield True
    finally:
        del stream.read


def _live(answer: Answer[httpx.Response]) -> httpx.Response:
    assert answer.live is not None
    return answer.live


# What went wrong


def failed_to_send(
    error: Exception, request: HttpRequest, base_url: str, veil: Veil
) -> StewrdError:
    """The error for an exchange that ended before an answer began.

    It does not hold httpx's exception, whose request and arguments may hold the key.
    """
    name = type(error).__name__
    if isinstance(error, _NEVER_SENT):
        why = clean(str(error), veil)
        return NeverSentError(f"No connection to {base_url} ({name}{f': {why}' if why else ''}).")
    if isinstance(error, _UNBUILDABLE):
        return ConfigurationError(
            f"httpx refuses to send the request ({name}).",
            advice="Check base_url, default_headers and the http_client that was passed.",
        )
    if isinstance(error, httpx.TimeoutException):
        return TimedOutError(f"{request.kind.value} was not answered in time ({name}).")
    return UnknownOutcomeError(f"{request.kind.value} was sent, and no answer came ({name}).")


def failed_to_read(
    error: Exception, answer: Answer[httpx.Response]
) -> Answer[httpx.Response] | StewrdError:
    """What becomes of an answer whose body broke off: a refusal is one without its body too."""
    if not answer.ok:
        return answer
    name = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return TimedOutError(
            f"{answer.kind.value} was not answered to the end in time ({name}).",
            charged="likely",
            status=answer.status,
        )
    return MalformedResponseError(
        f"The answer's body broke off or can't be decoded ({name}).", status=answer.status
    )


def broken_stream(error: Exception, answer: Answer[httpx.Response]) -> StewrdError:
    """The error for an event stream that broke off after its head."""
    name = type(error).__name__
    request_id = clean(answer.headers.get("x-request-id"), answer.veil)
    kind: type[UnknownOutcomeError] = InterruptedStreamError
    message = f"The stream broke off ({name})."
    if isinstance(error, httpx.TimeoutException):
        kind, message = TimedOutError, f"The stream fell silent ({name}): see stall_timeout."
    elif isinstance(error, httpx.DecodingError):
        kind, message = MalformedResponseError, f"The stream can't be decoded ({name})."
    return kind(message, charged="likely", status=answer.status, request_id=request_id)
