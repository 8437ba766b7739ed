"""The HTTP client of the Stewrd API, in both colours.

``requests``, ``responses``, ``sse`` and ``calls`` decide and never touch a socket;
``client`` and ``async_client`` do what they say. ``veils`` hides the key in what comes back;
``webhooks`` checks what Stewrd posts to others. Only this room imports httpx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .async_client import AsyncStewrdClient
from .client import StewrdClient

if TYPE_CHECKING:
    from .webhooks import verify_webhook

__all__ = ["AsyncStewrdClient", "StewrdClient", "verify_webhook"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: who talks to Stewrd seldom listens to its webhooks, too.
    if name == "verify_webhook":
        from .webhooks import verify_webhook  # noqa: PLC0415 - see above

        return verify_webhook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
