"""The API key and the base URL: where they come from, and what is refused.

A key must not show up in an error, a log, a traceback or a pickle. So frames that raise never
hold it in a local, and :class:`ApiKey` keeps it in a closure, out of reach of ``vars()``.
"""

from __future__ import annotations

import inspect
import ipaddress
import os
import re
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeAlias, runtime_checkable
from urllib.parse import urlsplit

from ..errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.stewrd.dev"

_MASK = "**********"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_QUOTES = "\"'`"
_WITH_VERSION = re.compile(r"/v1(/agent|/sessions)?(?=/*\Z)")
_COPY = "Copy it again from the project's settings (STEWRD_API_KEY or api_key)."


@runtime_checkable
class Secret(Protocol):
    """What holds a secret back until it is asked for; pydantic's ``SecretStr`` does."""

    def get_secret_value(self) -> str:
        """The secret itself."""


class ApiKey:
    """The API key of a project, or the place to ask for it.

    Args:
        source: The key, a ``SecretStr``, a callable that returns either, or another
            ``ApiKey``; None takes the environment variable ``STEWRD_API_KEY``.

    Making one never fails; :meth:`check` and :meth:`reveal` do.
    """

    __slots__ = ("_ask", "rotates")

    _ask: Callable[[], object]
    rotates: bool
    """Whether the key is asked for at each call."""

    def __init__(self, source: KeySource = None) -> None:
        if isinstance(source, ApiKey):
            self._ask, self.rotates = source._ask, source.rotates  # noqa: SLF001 - of this class
            return
        self.rotates = callable(source)
        self._ask = source if callable(source) else _remember(source)

    def check(self) -> None:
        """Refuse a key that can't work; a callable is not asked yet.

        Raises:
            ConfigurationError: The key is missing, has quotation marks around it, or holds a
                character no header can carry.
        """
        if not self.rotates:
            self.reveal()

    def reveal(self) -> str:
        """The key in plain text, stripped.

        Raises:
            ConfigurationError: The key is missing, has quotation marks around it, or holds a
                character no header can carry.
        """
        given = self._ask()
        if inspect.iscoroutine(given):
            given.close()
            raise ConfigurationError(
                "api_key is an async function, which nobody awaits.",
                advice="Pass one that gives the key at once, and renew the key elsewhere.",
            )
        value = _plain(given)
        del given
        problem = _problem_with(value)
        if problem is not None:
            del value
            raise ConfigurationError(problem[0], advice=problem[1])
        assert value is not None
        return value

    def __repr__(self) -> str:
        return f"ApiKey('{_MASK}')"

    __str__ = __repr__

    def __copy__(self) -> ApiKey:
        return self

    def __deepcopy__(self, memo: object) -> ApiKey:
        return self

    def __reduce__(self) -> NoReturn:
        raise ConfigurationError(
            "An API key can't be pickled.",
            advice="Set STEWRD_API_KEY where the object is unpickled, and build it there.",
        )


KeySource: TypeAlias = str | Secret | Callable[[], str | Secret] | ApiKey | None
"""Where a key can come from; a callable is asked at each call, so that keys can rotate."""


def _remember(source: str | Secret | None) -> Callable[[], object]:
    value = _plain(os.environ.get("STEWRD_API_KEY") if source is None else source)
    return lambda: value


def _plain(value: object) -> str | None:
    # Text first: to ask whether something is of a protocol takes as long as half a request.
    if isinstance(value, str):
        return value.strip()
    text = value.get_secret_value() if isinstance(value, Secret) else None
    return text.strip() if isinstance(text, str) else None


def _problem_with(key: str | None) -> tuple[str, str] | None:
    """What is wrong with a key, and what to do; never a part of the key."""
    if not key:
        return (
            "There is no API key: set STEWRD_API_KEY or pass api_key as text, as a SecretStr or "
            "as a callable.",
            "Without an account, run `python -m stewrd_integrations.emulator` in another shell: "
            "it prints the key and the base URL to set.",
        )
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return (
            "The API key has quotation marks around it, which are not part of it.",
            "Take them off (STEWRD_API_KEY or api_key); some readers of .env files keep them.",
        )
    if key[:7].lower() == "bearer ":
        return 'The API key begins with "Bearer", which is not part of it.', _COPY
    if not _VISIBLE.fullmatch(key):
        told = "The API key holds a space, a control character or a letter that is not ASCII."
        return told, _COPY
    return None


def check_base_url(url: str | None = None) -> str:
    """The address of the API, without white space around it and without trailing slashes.

    Args:
        url: The address; None takes ``STEWRD_BASE_URL``, or else the public API's.

    Raises:
        ConfigurationError: It is not https (or http on this machine), holds user info, a query
            or a fragment, or ends with /v1.
    """
    # A blank one is none: it must not take the place of an address in the environment.
    address = url.strip() if isinstance(url, str) else url
    address = address or os.environ.get("STEWRD_BASE_URL", "").strip() or DEFAULT_BASE_URL
    problem = _problem_with_address(address)
    if problem is not None:
        # The address itself stays out: someone may have put a password or the key into it.
        raise ConfigurationError(
            f"base_url {problem}.",
            advice="Pass base_url (or set STEWRD_BASE_URL) like https://api.stewrd.dev.",
        )
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def _problem_with_address(address: object) -> str | None:
    if not isinstance(address, str):
        return "is not text"
    if not _VISIBLE.fullmatch(address) or "\\" in address:
        return "holds white space, a backslash or a letter that is not ASCII"
    if not _parses(address):
        return "is not a valid URL"
    parts = urlsplit(address)
    if "@" in parts.netloc:
        return "holds a user name or password"
    if "?" in address or "#" in address:
        return "holds a query or a fragment"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "does not begin with https:// and a host"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return "is http: the key would travel in the clear, which only this machine may see"
    version = _WITH_VERSION.search(parts.path)
    return f"ends with {version[0]}, which the client adds by itself" if version else None


def _parses(address: str) -> bool:
    try:
        return urlsplit(address).port != 0
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip == ipaddress.ip_address("::1") or (ip.version == 4 and ip.is_loopback)
