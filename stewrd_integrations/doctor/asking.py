"""One request to the API, with all that its answer shows."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..api.connections import shared
from ..api.credentials import ApiKey
from ..api.outgoing import Outgoing
from ..api.responses import BARE
from ..api.settings import user_agent
from ..api.transport import TRANSPORT_ERRORS, KeyAuth
from ..api.veils import Veil
from ..errors import ConfigurationError

LONGEST = 2**20
"""Bytes of an answer that are read."""

_CODE = re.compile(r"[a-z_]{1,40}")


class Unreached(Exception):
    """No answer came.

    Attributes:
        kind: The name of what went wrong; nothing else is told, as it might hold the key.
        certificate: Whether the server's certificate was not trusted.
        plain: Whether the server does not speak https, though the address says so.
        late: Whether the time was up.
        proxy: Whether it was a proxy that refused, and ``password`` that it asks for one.
        settings: What is wrong with the proxy's settings and what to do, if it is they.
    """

    def __init__(self, error: Exception) -> None:
        self.kind = type(error).__name__
        super().__init__(self.kind)
        self.certificate = "CERTIFICATE_VERIFY_FAILED" in str(error)
        self.plain = "WRONG_VERSION_NUMBER" in str(error)
        self.late = "Timeout" in self.kind
        self.proxy = self.kind == "ProxyError"
        self.password = self.proxy and "407" in str(error)
        self.settings: tuple[str, str] | None = None
        if isinstance(error, ConfigurationError):
            self.settings = (error.message, error.advice or "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; ``seconds`` it took, ``came`` is when (since the epoch)."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    came: float
    veil: Veil = field(default=BARE, repr=False)

    @property
    def data(self) -> dict[str, Any]:
        """Its JSON object, empty if it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def code(self) -> str:
        """The API's error code, "" if there is none that looks like one."""
        inner = self.data.get("error")
        code = (inner if isinstance(inner, dict) else self.data).get("code")
        return code if isinstance(code, str) and _CODE.fullmatch(code) else ""

    @property
    def told(self) -> str:
        """Its status and code. Not its message: it might repeat the key."""
        return f"HTTP {self.status}{f' {self.code}' if self.code else ''}"


class Line:
    """Asks the API with a key.

    Args:
        base_url: Its address.
        key: The key; no frame of ours holds it in a form that shows it.
        seconds: How long an answer may take.
    """

    def __init__(self, base_url: str, key: ApiKey, seconds: float) -> None:
        self._base_url = base_url
        self._key = key
        self.seconds = seconds

    def ask(self, path: str, body: dict[str, Any] | None, *, seconds: float = 0) -> Answer:
        """Send one POST.

        Raises:
            Unreached: No answer came.
        """
        try:
            connections, began = shared().lease(self), time.monotonic()
        except ConfigurationError as error:  # of the proxies
            raise Unreached(error) from None
        end = began + (seconds or self.seconds)
        try:
            outgoing = Outgoing(
                httpx.URL(self._base_url + path),
                httpx.Headers({"User-Agent": user_agent(), "Content-Type": "application/json"}),
                b"" if body is None else json.dumps(body).encode(),
                dict.fromkeys(("connect", "read", "write", "pool"), seconds or self.seconds),
            )
            request = connections.build(outgoing)
            auth = KeyAuth(self._key)
            auth.sign(request)
            response = connections.send(request)
            came, said = time.time(), bytearray()
            try:
                for chunk in response.iter_bytes():
                    said += chunk
                    if len(said) > LONGEST or time.monotonic() > end:
                        break
            finally:
                response.close()
        except TRANSPORT_ERRORS as error:
            raise Unreached(error) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        took = time.monotonic() - began
        return Answer(response.status_code, headers, bytes(said), took, came, auth.veil)

    def close(self) -> None:
        """Give the connection back."""
        shared().release(self)
