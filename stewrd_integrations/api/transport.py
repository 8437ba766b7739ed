"""The shared HTTP clients, the key's way into a request, and what httpx's exceptions mean.

An httpx client costs some 25 ms for its TLS context, and frameworks build many models. So all
our clients of a process share one (one per event loop for async); whatever differs between them,
the key above all, goes with each request.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import sys
import threading
from collections.abc import Generator
from functools import cache, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

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
from .credentials import ApiKey
from .requests import HttpRequest, Kind
from .responses import BARE, Answer, clean
from .settings import Settings
from .veils import Veil

CONNECT = 5.0
WRITE = 30.0
POOL = 5.0
READ = 300.0

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
# A ProxyError is a tunnel that was refused: nothing of the request has left.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_UNBUILDABLE = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)

# A connection the server closes at the moment of sending looks like one that died at work, so
# idle ones are left before a server would close them.
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=4.0)

# Without TLS only this machine is spoken to: the key must not go to a proxy in clear.
_DIRECT: dict[str, None] = {"http://": None}


class KeyAuth(httpx.Auth):
    """Puts the key on a request, so that no frame of ours and no option holds it."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self.veil = BARE
        """Hides the key that the request has; a callable may give another one the next time."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by httpx for every request."""
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
        del key
        yield request


def build(
    http: httpx.Client | httpx.AsyncClient, settings: Settings, step: Exchange
) -> httpx.Request:
    """The request as httpx sends it, with time-outs in what the whole call has left."""
    request, cap = step.request, step.deadline.cap
    return http.build_request(
        request.method,
        _parsed(settings.url(request)),
        content=request.body,
        headers=settings.headers(request),
        timeout=httpx.Timeout(
            connect=cap(CONNECT),
            write=cap(WRITE),
            pool=cap(POOL),
            read=_longest_read(settings, step),
        ),
    )


@lru_cache(maxsize=256)
def _parsed(address: str) -> httpx.URL:
    # A conversation's turns go to one address, and httpx takes long to parse it.
    return httpx.URL(address)


def _longest_read(settings: Settings, step: Exchange) -> float | None:
    """Seconds that the next bytes are waited for, the first ones too; None is for ever."""
    if not step.request.stream:
        return step.deadline.cap(READ)
    stall = settings.patience.stall_timeout
    seconds = step.deadline.cap(math.inf if stall is None else stall)
    return None if math.isinf(seconds) else seconds


def answer_of(kind: Kind, response: httpx.Response, veil: Veil) -> Answer[httpx.Response]:
    """The answer of a response, its body unread."""
    return Answer(kind, response.status_code, dict(response.headers), live=response, veil=veil)


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


# Shared clients


class SharedClient:
    """The ``httpx.Client`` of this process, open while somebody holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: WeakSet[object] = WeakSet()
        self._http: httpx.Client | None = None

    def lease(self, holder: object) -> httpx.Client:
        """The client, which ``holder`` holds from now on."""
        with self._lock:
            self._holders.add(holder)
            if self._http is None:
                self._http = _made(httpx.Client)
            return self._http

    def release(self, holder: object) -> None:
        """Give it back; the last one closes it."""
        with self._lock:
            held = holder in self._holders
            self._holders.discard(holder)
            if not held or self._holders or self._http is None:
                return
            http, self._http = self._http, None
        http.close()


class SharedAsyncClients:
    """One ``httpx.AsyncClient`` per event loop, open while somebody holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, _Held] = WeakKeyDictionary()

    def lease(self, holder: object) -> httpx.AsyncClient:
        """The client of the running loop, which ``holder`` holds from now on."""
        loop = asyncio.get_running_loop()
        with self._lock:
            held = self._held.get(loop)
            if held is None:
                self._forget_closed_loops()
                held = self._held[loop] = _Held()
            held.holders.add(holder)
            return held.http

    async def release(self, holder: object) -> None:
        """Give it back, on every loop; the running loop's is closed by the last one."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for other in list(self._held.values()):
                other.holders.discard(holder)
            held = self._held.get(loop)
            if held is None or held.holders:
                return
            del self._held[loop]
        await held.http.aclose()

    def _forget_closed_loops(self) -> None:
        # An open connection refers to its loop, so the weak keys alone would keep it.
        for loop in [loop for loop in self._held if loop.is_closed()]:
            del self._held[loop]


class _Held:
    def __init__(self) -> None:
        self.http = _made(httpx.AsyncClient)
        self.holders: WeakSet[object] = WeakSet()


_Http = TypeVar("_Http", httpx.Client, httpx.AsyncClient)


def _made(kind: type[_Http]) -> _Http:
    """A client with the proxies of the environment."""
    try:
        return kind(mounts=_DIRECT, **_common())
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        name = type(error).__name__
    # Outside, as httpx's error may show the proxy's address, and that its password.
    raise ConfigurationError(
        f"httpx can't use the proxy settings of the environment ({name}).",
        advice="Check HTTPS_PROXY, ALL_PROXY and NO_PROXY (no brackets and no /bits there); for a "
        'SOCKS proxy, pip install "httpx[socks]".',
    )


def _common() -> dict[str, Any]:
    return {"verify": _tls(), "limits": _LIMITS, "cookies": _no_cookies()}


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _no_cookies() -> CookieJar:
    # The client is shared, so a cookie of one project's answer would go out with another's key.
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


class _Process:
    sync = SharedClient()
    asynchronous = SharedAsyncClients()


def shared_client() -> SharedClient:
    """The sharing of ``httpx.Client`` in this process."""
    return _Process.sync


def shared_async_clients() -> SharedAsyncClients:
    """The sharing of ``httpx.AsyncClient`` in this process."""
    return _Process.asynchronous


def _start_anew() -> None:
    # The parent's connections must not be used by a forked child, nor be closed: they are still
    # the parent's. Its locks may be held by a thread that the child does not have.
    _Process.sync = SharedClient()
    _Process.asynchronous = SharedAsyncClients()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_start_anew)
