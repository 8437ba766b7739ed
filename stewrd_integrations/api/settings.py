"""What a client was told when it was made, checked, and what follows from it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import httpx

from ..errors import ConfigurationError
from .calls import Patience
from .credentials import ApiKey, check_base_url
from .requests import HttpRequest
from .responses import PACKINGS

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?")
_OUR_HEADERS = frozenset(
    {"authorization", "host", "accept", "content-type", "content-length", "transfer-encoding"}
)


_JSON = "application/json"


class Settings:
    """The settings that both clients share; never changed after they were made.

    Raises:
        ConfigurationError: One of them is wrong.
    """

    def __init__(
        self,
        key: ApiKey,
        *,
        base_url: str | None,
        timeout: float | None,
        stall_timeout: float | None,
        max_retries: int,
        default_headers: Mapping[str, str] | None,
    ) -> None:
        key.check()
        self.key = key
        self.base_url = check_base_url(base_url)
        self.patience = Patience(
            _checked_seconds("timeout", timeout),
            _checked_retries(max_retries),
            stall_timeout=_checked_seconds("stall_timeout", stall_timeout),
        )
        self._identity: tuple[str, bytes] | None = None
        # httpx takes long to make its headers of ours, so those of each kind are made once.
        self._heads: dict[tuple[bool, bool], httpx.Headers] = {}
        self._headers = _with_ours(_checked_headers(default_headers or {}))

    def url(self, request: HttpRequest) -> str:
        """The whole address of a request."""
        return self.base_url + request.path

    def head(self, request: HttpRequest) -> httpx.Headers:
        """The headers of a request, all but the key; not to be changed."""
        kind = request.stream, request.body is not None
        head = self._heads.get(kind)
        if head is None:
            accepted = "text/event-stream, application/json" if request.stream else _JSON
            head = httpx.Headers({**self._headers, "Accept": accepted})
            if request.body is not None:
                head["Content-Type"] = _JSON
            self._heads[kind] = head
        return head

    def identity(self) -> tuple[str, bytes]:
        """What `project` and `secret` say, asking for the key once."""
        if self._identity is not None:
            return self._identity
        key = self.key.reveal().encode()
        address = f"{self.base_url}\n".encode()
        project = hashlib.blake2b(address + key, digest_size=16, person=b"stewrd-project")
        secret = hashlib.blake2b(key, digest_size=32, person=b"stewrd-digests")
        identity = project.hexdigest(), secret.digest()
        if not self.key.rotates:
            self._identity = identity
        return identity

    @property
    def project(self) -> str:
        """A name for the project in stores: 32 hex digits that do not give the key away."""
        return self.identity()[0]

    @property
    def secret(self) -> bytes:
        """32 bytes to key digests with, derived from the API key."""
        return self.identity()[1]


class Identified:
    """What both clients tell about themselves, none of which gives the key away."""

    _settings: Settings

    def __repr__(self) -> str:
        # A debugger may show a client whose making was refused.
        address = self.base_url if hasattr(self, "_settings") else "?"
        return f"{type(self).__name__}(base_url={address!r}, api_key='**********')"

    @property
    def base_url(self) -> str:
        """The API's address, without a trailing slash."""
        return self._settings.base_url

    @property
    def project(self) -> str:
        """A name for the project in stores; it does not give the key away."""
        return self._settings.project

    def identity(self) -> tuple[str, bytes]:
        """`project` and `secret` of one and the same key, also where keys rotate."""
        return self._settings.identity()

    @property
    def secret(self) -> bytes:
        """32 bytes to key digests with, derived from the API key."""
        return self._settings.secret


@cache
def user_agent() -> str:
    """How the package names itself to the server."""
    try:
        return f"stewrd-integrations/{version('stewrd-integrations')}"
    except PackageNotFoundError:
        return "stewrd-integrations/0"


def _with_ours(headers: Mapping[str, str]) -> dict[str, str]:
    """The user's headers, and ours where they say nothing else."""
    ours = {"User-Agent": user_agent(), "Accept-Encoding": ", ".join(PACKINGS)}
    named = {name.lower() for name in headers}
    return {**{name: ours[name] for name in ours if name.lower() not in named}, **headers}


def _checked_seconds(option: str, seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ConfigurationError(f"{option} must be a number of seconds, or None for no limit.")
    if not math.isfinite(seconds) or seconds <= 0:
        raise ConfigurationError(f"{option} must be more than 0 seconds, not {seconds}.")
    return float(seconds)


def _checked_retries(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ConfigurationError("max_retries must be 0 or a positive whole number.")
    return count


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"default_headers: {name!r} is not a header's name.")
        if name.lower() in _OUR_HEADERS:
            raise ConfigurationError(f"default_headers can't set {name}: the client does.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            # Its value may be a secret of the user's, so it is not shown.
            raise ConfigurationError(f"default_headers: no header can carry {name}'s value.")
    return dict(headers)
