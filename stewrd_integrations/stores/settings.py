"""What stores that outlive the process have in common: their settings, checked."""

from __future__ import annotations

import math
import re

from ..errors import ConfigurationError

NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")

LAYOUT = 1
"""The schema version of what the stores write; one that finds another leaves it alone."""


def checked_namespace(namespace: str) -> str:
    """A namespace, which keeps applications that share a file or a server apart.

    Raises:
        ConfigurationError: It is empty, too long, or has characters that keys should not have.
    """
    if not isinstance(namespace, str) or not NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(
            f"namespace={namespace!r} can't be used.",
            advice="Use 1 to 64 letters, digits, dots, hyphens or underscores.",
        )
    return namespace


def checked_ttl(seconds: float | None) -> float | None:
    """How long transcripts are kept, in seconds; None is for ever.

    Raises:
        ConfigurationError: It is no positive number.
    """
    if seconds is None:
        return None
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < math.inf:
        raise ConfigurationError(
            f"transcript_ttl={seconds!r} is not a number of seconds above 0.",
            advice="Leave it out to keep transcripts for as long as the store does.",
        )
    return float(seconds)
