"""The Redis store's connections: one pool for a process, and one for each event loop.

Nothing is ever sent twice: redis-py's retries are off, and a connection on which anything went
wrong is closed, so that a late answer can't be taken for that of a later command.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigurationError, StewrdError, StoreError
from .redis_scripts import Request, Word

Client: TypeAlias = Any
"""A `redis.Redis` or a `redis.asyncio.Redis`: the package is imported only when it is used."""

PLACES = 64
"""Connections that one event loop may have; whoever comes then waits for a place."""

SINGLE_CALLS = 64
"""The first calls of an event loop each have a connection of their own.

Some programs run one coroutine in a loop and close it at once, without the shutdown that
`asyncio.run` makes. A connection that was kept open would be left to the garbage collector.
"""

_NO_PERMISSION = r"NOPERM|NoPermission|ACL fail|can't run this"

ADVICE = {_NO_PERMISSION: 'The README lists what it needs, under "Redis in production".'}

_CAUSES = (
    (r"\bWRONGTYPE\b", None),
    (r"\bLOADING\b|BusyLoading", "Redis is still loading its data."),
    (r"\bOOM\b|OutOfMemory", "Redis has no memory left (maxmemory)."),
    (r"\bREADONLY\b|ReadOnly", "Redis is a replica that can only be read."),
    (r"\bMISCONF\b", "Redis can't save to its disk and takes no changes."),
    (r"\bNOAUTH\b|WRONGPASS|Authenti|Authoriz", "Redis refuses the user or the password."),
    (_NO_PERMISSION, "Redis does not permit this user enough."),
    (r"MaxConn|Too many conn|max number of clients", "There are too many connections."),
    (r"\bMOVED\b|Moved|\bASK|CLUSTERDOWN|CrossSlot", "Redis is a cluster and sends us away."),
    (r"Timeout|timed out", "Redis did not answer in time."),
    (r"ConnectionError|OSError", "Redis can't be reached."),
)


def failure(error: Exception) -> StewrdError:
    """What users are told; the error's own text may hold names, addresses and values."""
    kind = "OSError" if isinstance(error, OSError) else type(error).__name__
    text = f"{kind} {error}"
    for pattern, message in _CAUSES:
        if re.search(pattern, text):
            advice = ADVICE.get(pattern)
            return (
                StoreError(message, advice=advice) if message else foreign("a key of another type")
            )
    return StoreError(f"Redis refused a command ({kind}).")


def foreign(found: str) -> ConfigurationError:
    """Something in the namespace is not ours."""
    return ConfigurationError(
        f"The Redis namespace holds what this version does not understand: {found}.",
        advice="Use another namespace=, or remove what is in this one.",
    )


class Connections:
    """Runs scripts on the server of a URL, by threads and by event loops.

    Args:
        url: As redis-py reads it.
        timeout: Seconds to connect and for each command, if the URL does not say.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._redis = _library()
        self._timeout = _checked_timeout(timeout)
        if not _is_sound(url):
            raise _malformed()
        parsers = (self._redis.connection.parse_url, self._redis.asyncio.connection.parse_url)
        try:
            self._options, self._aoptions = [parse(url) for parse in parsers]
            self._client, self._process = self._new_client(), os.getpid()
            for client in (self._client, self._new_aclient()):
                _connection(client.connection_pool)  # redis-py looks at its options only here
        except (ValueError, TypeError, AttributeError, self._redis.RedisError) as error:
            raise _unknown_setting(url, error) or _malformed() from None
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}

    def __repr__(self) -> str:
        options = self._options
        address = f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return f"{options.get('path', address)!r}, db={options.get('db', 0)}"

    @property
    def has_password(self) -> bool:
        """Whether the address holds one, be it the user's or that of a file of keys."""
        return any(value for name, value in self._options.items() if "password" in name)

    def run(self, request: Request) -> list[Any]:
        """What a script answers.

        Raises:
            StoreError: It is not known to have run.
        """
        execute = self._of_process().execute_command
        with self._telling():
            try:
                return list(execute("EVALSHA", request.script.sha, *request.arguments))
            except self._redis.exceptions.NoScriptError:
                return list(execute("EVAL", request.script.text, *request.arguments))

    def names(self, pattern: str) -> list[str]:
        """The keys that match, each once, without holding up the server."""
        with self._telling():
            found = set(self._of_process().scan_iter(pattern, count=1_000))
        return sorted(name.decode("utf-8", "replace") for name in found)

    def close(self) -> None:
        """Close the connections that no thread is using; whoever comes later opens new ones."""
        client = self._of_process()
        self._client = self._new_client()
        client.connection_pool.disconnect(inuse_connections=False)

    async def arun(self, request: Request) -> list[Any]:
        """`run` for the event loop."""
        execute = self._of_loop().execute
        with self._telling():
            try:
                return list(await execute("EVALSHA", request.script.sha, *request.arguments))
            except self._redis.exceptions.NoScriptError:
                return list(await execute("EVAL", request.script.text, *request.arguments))

    async def aclose(self) -> None:
        """Close the running loop's connections; other loops' end with those loops."""
        loop = self._loops.pop(asyncio.get_running_loop(), None)
        if loop is not None:
            await loop.close()

    def _of_process(self) -> Client:
        # redis-py's pool survives a fork only if no thread was using it at that moment.
        if self._process != os.getpid():
            self._client = self._new_client()
            self._process = os.getpid()
        return self._client

    def _of_loop(self) -> _Loop:
        running = asyncio.get_running_loop()
        found = self._loops.get(running)
        if found is None:
            for loop in list(self._loops):
                if loop.is_closed():
                    self._loops.pop(loop, None)
            found = self._loops[running] = _Loop(self._new_aclient, self._timeout)
        return found

    def _new_client(self) -> Client:
        options = self._set(self._options, self._redis.retry.Retry)
        pool = self._redis.ConnectionPool(**options)
        return self._redis.Redis(connection_pool=pool)

    def _new_aclient(self) -> Client:
        options = self._set(self._aoptions, self._redis.asyncio.retry.Retry)
        pool = self._redis.asyncio.ConnectionPool(**options)
        return self._redis.asyncio.Redis(connection_pool=pool)

    def _set(self, options: Any, retry: Callable[..., Any]) -> dict[str, Any]:
        asked = {name: value for name, value in options.items() if name != "retry_on_error"}
        return {
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "max_connections": 2**31,
            "protocol": 2,  # the later one can interrupt answers with news
            **asked,
            "retry": retry(self._redis.backoff.NoBackoff(), 0),
            "retry_on_timeout": False,
            "decode_responses": False,
            "encoding": "utf-8",
        }

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (self._redis.RedisError, OSError) as error:
            raise failure(error) from None


class _Loop:
    """The connections of one event loop; it is used inside that loop only.

    Args:
        make: Makes a client that is not connected.
        patience: Seconds to wait for a place.
    """

    def __init__(self, make: Callable[[], Client], patience: float) -> None:
        self._make = make
        self._pool = make().connection_pool
        self._patience = patience
        self._places = asyncio.Semaphore(min(PLACES, self._pool.max_connections))
        self._calls = 0
        self._spare: list[Any] = []
        self._client: Client | None = None
        self._keeper: AsyncGenerator[None, None] | None = None

    async def execute(self, *words: Word) -> Any:
        """What Redis answers to a command."""
        await self._enter()
        try:
            self._calls += 1
            if self._calls > SINGLE_CALLS:
                client = await self._lasting()
                return await client.execute_command(*words)
            return await self._once(words)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close what is open."""
        keeper, self._keeper, self._client = self._keeper, None, None
        if keeper is not None:
            await keeper.aclose()

    async def _enter(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        # Not `asyncio.wait_for`: before Python 3.12 that swallows a cancellation that comes just
        # as a place is free, and whoever cancelled would wait for ever.
        waiting = asyncio.ensure_future(self._places.acquire())
        try:
            await asyncio.wait({waiting}, timeout=self._patience)
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        if not waiting.done():
            self._leave(waiting)
            raise StoreError("All connections to Redis were in use for too long.")

    def _leave(self, waiting: asyncio.Task[Any]) -> None:
        """Wait no more for a place, and give it back if it is had at this very moment."""

        def ended(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                self._places.release()

        waiting.cancel()
        waiting.add_done_callback(ended)

    async def _once(self, words: tuple[Word, ...]) -> Any:
        # A connection that was closed can be opened again, and has its TLS context already.
        connection = self._spare.pop() if self._spare else _connection(self._pool)
        try:
            await connection.connect()
            await connection.send_command(*words)
            return await connection.read_response()
        finally:
            # It is closed before anything is waited for, so also if this task is cancelled.
            await connection.disconnect()
            self._spare.append(connection)

    async def _lasting(self) -> Client:
        if self._client is None:
            self._client = self._make()
            self._keeper = _keep(self._client)
            await anext(self._keeper)
        return self._client


async def _keep(client: Client) -> AsyncGenerator[None, None]:
    """Close a client with its event loop, which ends the generators that were begun in it."""
    try:
        yield
    finally:
        await client.connection_pool.disconnect()


def _connection(pool: Any) -> Any:
    """One of the pool's kind that is not in it, and not connected."""
    return pool.connection_class(**pool.connection_kwargs)


def _checked_timeout(seconds: float) -> float:
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < math.inf:
        raise ConfigurationError(
            f"timeout={seconds!r} is not a number of seconds above 0.",
            advice="Pass, say, timeout=1.0.",
        )
    return float(seconds)


def _is_sound(url: str) -> bool:
    """Whether nothing is in the URL that redis-py would pass over in silence.

    It takes what it can't read of a path for database 0, and a password that is not
    percent-encoded may look to it like a port, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        return False
    if parts.fragment or parts.scheme not in ("redis", "rediss", "unix"):
        return False
    if parts.scheme == "unix":
        return bool(parts.path)
    return bool(host or not parts.netloc) and bool(re.fullmatch(r"/?\d*/?", parts.path))


def _library() -> Any:
    try:
        import redis.asyncio  # noqa: PLC0415 - an extra
        import redis.backoff  # noqa: PLC0415 - an extra
        import redis.retry  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "A Redis store needs the redis package.",
            advice='Install "stewrd-integrations[redis]".',
        ) from None
    return redis


def _unknown_setting(url: str, error: Exception) -> ConfigurationError | None:
    """The error that names a setting which redis-py does not know, if that is what is wrong."""
    found = re.search(r"unexpected keyword argument '([a-z_]{1,40})'", str(error))
    query = url.partition("?")[2]
    # With an @ in it, what looks like the query may be the end of a password.
    if found is None or "@" in query or found[1] not in dict(parse_qsl(query, True)):
        return None
    return ConfigurationError(
        f"The Redis store's URL has an unknown setting: {found[1]}.",
        advice="It may have namespace, transcript_ttl, and what redis-py knows.",
    )


def _malformed() -> ConfigurationError:
    # It is not shown, since it may hold a password.
    return ConfigurationError(
        "The Redis store's URL is malformed.",
        advice="Write redis://user:password@host:6379/0, rediss:// or unix:///path?db=0, and "
        "percent-encode what is special in a password.",
    )
