"""A request that is about to go out, whoever makes httpx's of it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from ..values import dataclass


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A POST but for the key, which is put on it at the last moment.

    Attributes:
        address: Where it goes.
        head: Its headers; the same for many requests, so nobody changes them.
        body: What it says.
        timeouts: Seconds by httpx's names: connect, read, write and pool. None is for ever.
    """

    address: httpx.URL
    head: httpx.Headers
    body: bytes | None
    timeouts: Mapping[str, float | None]
