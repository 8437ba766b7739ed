"""A store by its URL: the same one for everybody in this process who asks for the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode

from ..errors import ConfigurationError
from ..values import dataclass
from .memory import MemoryStore
from .sealing import EncryptionKey, sealer
from .settings import checked_namespace, checked_ttl

if TYPE_CHECKING:
    from .redis import RedisStore
    from .sqlite import SQLiteStore

DEFAULT_NAMESPACE = "default"
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})

Keys: TypeAlias = "EncryptionKey | Sequence[EncryptionKey] | None"

_MEMORY = MemoryStore()


@dataclass(frozen=True, slots=True)
class _Settings:
    namespace: str
    transcript_ttl: float | None
    encryption_key: tuple[EncryptionKey, ...] | None


_opened: dict[tuple[str, _Settings, float | None], SQLiteStore | RedisStore] = {}
_lock = threading.Lock()


def open_store(
    url: str | None = None,
    *,
    namespace: str | None = None,
    encryption_key: Keys = None,
    transcript_ttl: float | None = None,
) -> MemoryStore | SQLiteStore | RedisStore:
    """Open a store by its URL.

    Whoever opens the same URL with the same settings gets the same object, so that models and
    histories of one process share its connections. Nothing is connected before it is used.

    Args:
        url: None takes ``STEWRD_STORE`` from the environment, else ``memory://``.

            - ``memory://`` is the one store of this process.
            - ``sqlite:///conversations.db`` is a file beside the program, shared by the
              processes of one machine; ``sqlite:////var/lib/app/conversations.db`` (four
              slashes) is an absolute path.
            - ``redis://user:password@host:6379/0``, ``rediss://`` (TLS) or ``unix://`` is a
              Redis 6.2 or newer, or a Valkey, shared by machines. Its query is redis-py's.

            ``?namespace=`` and ``?transcript_ttl=`` (seconds) may stand in the URL's query too,
            and SQLite's ``?busy_timeout=`` (seconds to wait for a locked file; 5 unless said).
        namespace: Keeps applications apart that share a file or a server.
        encryption_key: A Fernet key, or several of which the first encrypts: transcripts are
            then encrypted at rest. Bindings and notes hold no text of a conversation. To change
            keys: ``[old, new]`` everywhere, then ``[new, old]`` everywhere, then the store's
            ``reencrypt()``, then ``[new]``.
        transcript_ttl: Seconds that a transcript is kept after its last message; None keeps
            it until it is cleared.

    Raises:
        ConfigurationError: The URL or a setting can't be used. The URL is not shown, since it
            may hold a password.
    """
    named = os.environ.get("STEWRD_STORE") if url is None else None
    try:
        return _open(
            named or "memory://" if url is None else url, namespace, encryption_key, transcript_ttl
        )
    except ConfigurationError as error:
        if not named:
            raise
        raise ConfigurationError(f"STEWRD_STORE: {error.message}", advice=error.advice) from None


def _open(
    url: str, namespace: str | None, encryption_key: Keys, transcript_ttl: float | None
) -> MemoryStore | SQLiteStore | RedisStore:
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme != "sqlite" and scheme not in REDIS_SCHEMES:
        if url == "memory://" and (namespace, encryption_key, transcript_ttl) == (None, None, None):
            return _MEMORY
        raise _unusable(scheme)
    bare, query = _split(url)
    settings = _settings(query, namespace, encryption_key, transcript_ttl)
    sqlite = scheme == "sqlite"
    address = str(_path(bare, query)) if sqlite else _redis_address(bare, query)
    key = (address, settings, _wait(query) if sqlite else None)
    with _lock:
        if key not in _opened:
            _opened[key] = _sqlite(*key) if sqlite else _redis(address, settings)
        return _opened[key]


# The classes are imported when they are asked for: most programs use one kind of store.


def _sqlite(path: str, settings: _Settings, busy_timeout: float | None) -> SQLiteStore:
    from .sqlite import BUSY_TIMEOUT, SQLiteStore  # noqa: PLC0415 - see above

    return SQLiteStore(
        path,
        namespace=settings.namespace,
        encryption_key=settings.encryption_key,
        transcript_ttl=settings.transcript_ttl,
        busy_timeout=BUSY_TIMEOUT if busy_timeout is None else busy_timeout,
    )


def _redis(url: str, settings: _Settings) -> RedisStore:
    from .redis import RedisStore  # noqa: PLC0415 - see above

    return RedisStore(
        url,
        namespace=settings.namespace,
        encryption_key=settings.encryption_key,
        transcript_ttl=settings.transcript_ttl,
    )


def _unusable(scheme: str) -> ConfigurationError:
    if scheme == "memory":
        return ConfigurationError(
            "memory:// is the one store of this process and takes no settings and no address.",
            advice="Pass store=MemoryStore(transcript_ttl=...), or another kind of store.",
        )
    return ConfigurationError(
        f"The store's URL has an unknown scheme ({scheme!r}).",
        advice='Use "memory://", "sqlite:///path.db" or "redis://host:port/db".',
    )


def _split(url: str) -> tuple[str, dict[str, str]]:
    bare, _, query = url.partition("?")
    return bare, dict(parse_qsl(query, keep_blank_values=True))


def _settings(
    query: dict[str, str], namespace: str | None, key: Keys, ttl: float | None
) -> _Settings:
    in_url = query.pop("namespace", None)
    ttl_in_url = query.pop("transcript_ttl", None)
    if ttl is None and ttl_in_url is not None:
        ttl = _number("transcript_ttl", ttl_in_url, "86400 for a day")
    chosen = namespace if namespace is not None else in_url
    sealer(key)  # it tells of a malformed key before anything is opened
    several = key if key is None or isinstance(key, (list, tuple)) else (key,)
    return _Settings(
        checked_namespace(DEFAULT_NAMESPACE if chosen is None else chosen),
        checked_ttl(ttl),
        None if several is None else tuple(several),
    )


def _wait(query: dict[str, str]) -> float | None:
    found = query.get("busy_timeout")
    return None if found is None else _number("busy_timeout", found, "2.5")


def _number(name: str, text: str, example: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(
            f"{name} in the store's URL is not a number of seconds.",
            advice=f"Write, say, ?{name}={example}.",
        ) from None


def _path(bare: str, query: Mapping[str, str]) -> Path:
    host, slash, path = bare.removeprefix("sqlite://").partition("/")
    path = unquote(path)
    if host or not slash or not path or path == ":memory:":
        raise ConfigurationError(
            "The SQLite store's URL names no file.",
            advice='Use "sqlite:///conversations.db", "sqlite:////absolute/path.db", or '
            '"memory://" for one that lives in the process.',
        )
    unknown = sorted(set(query) - {"busy_timeout"})
    if unknown:
        raise ConfigurationError(
            f"The SQLite store's URL has unknown settings: {', '.join(unknown)}.",
            advice="It may have namespace, transcript_ttl and busy_timeout.",
        )
    return Path(path).absolute()


def _redis_address(bare: str, query: Mapping[str, str]) -> str:
    return f"{bare}?{urlencode(query)}" if query else bare


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it in the moment of the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
