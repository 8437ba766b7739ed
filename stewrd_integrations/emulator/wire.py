"""What goes in and out of the world: plain requests and responses, no sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One HTTP request. The names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Delivery:
    """How the transport must treat a response.

    `answered` false: close the connection without a byte. `complete` false: send
    the chunks, then close it without ending the body. Delays are in seconds:
    `latency` before the head, `chunk_delay` between chunks, `stall` once, before
    the chunk with the index `stall_at`.
    """

    answered: bool = True
    complete: bool = True
    latency: float = 0.0
    chunk_delay: float = 0.0
    stall_at: int | None = None
    stall: float = 0.0


@dataclass(frozen=True)
class Response:
    """One HTTP response; `number` is that of its request in the world's log."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: tuple[bytes, ...]
    delivery: Delivery
    number: int


def encode(value: Any) -> bytes:
    """JSON in UTF-8; a lone surrogate, which UTF-8 cannot hold, is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
