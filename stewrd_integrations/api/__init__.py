"""The HTTP client of the Stewrd API, in both colours.

``requests``, ``responses``, ``sse`` and ``calls`` decide and never touch a socket;
``client`` and ``async_client`` do what they say. ``veils`` hides the key in what comes back;
``webhooks`` checks what Stewrd posts to others. Only this room imports httpx.
"""

from __future__ import annotations

from .async_client import AsyncStewrdClient
from .client import StewrdClient
from .webhooks import verify_webhook

__all__ = ["AsyncStewrdClient", "StewrdClient", "verify_webhook"]
