"""The failure table: what an error does to the session that it happened on (R9)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..errors import (
    AuthenticationError,
    BadRequestError,
    ComputeError,
    ConfigurationError,
    CreditLimitError,
    InvalidInputError,
    NeverSentError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    SessionExpiredError,
)

Verdict: TypeAlias = Literal["keep", "drop", "gone", "anew"]
"""The session goes on; is given up; is not there; or is given up and the turn goes to a new one."""

_KEEP = (
    BadRequestError,
    AuthenticationError,
    NeverSentError,
    InvalidInputError,
    ConfigurationError,
    CreditLimitError,
)


def verdict(error: BaseException, *, shown: bool, retry_on_compute_error: bool) -> Verdict:
    """Judge an error met while a session's message was sent or answered.

    Args:
        error: What came up, cancellation and an abandoned stream included.
        shown: Whether a part of the answer was handed out: then nothing is sent again.
        retry_on_compute_error: Whether the user allows a refunded run to be repeated.
    """
    match error:
        case _ if shown:
            return "drop"
        case SessionExpiredError() | NotFoundError(code="context_expired"):
            return "gone"
        case ComputeError():
            return "anew" if retry_on_compute_error else "drop"
        case ServerError(status=503, retry_after=float() | int(), code=str()):
            return "anew"
        case QuotaExceededError():
            return "drop"  # like 402 and 403: the user's turn may have been appended
        case RateLimitError(code=None | "rate_limited"):
            return "keep"  # the API's own limit, or that of a proxy before it
        case _ if isinstance(error, _KEEP):
            return "keep"
        case _:
            return "drop"
