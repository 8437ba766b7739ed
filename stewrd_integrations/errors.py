"""Every error of the package: one tree, one root.

::

    StewrdError
    ├── ConfigurationError       an option, the key, an address or a store is wrong
    ├── InvalidInputError        the messages or arguments of this call are wrong
    ├── StoreError               the store failed and ``on_store_error="error"``
    ├── DownloadError            a file of an answer can't be saved
    ├── WebhookError             a webhook that Stewrd has not signed, or that is too old
    ├── CreditLimitError         the request could pass ``max_credits``: nothing was sent
    ├── NeverSentError           the server was not reached: nothing was sent
    ├── APIStatusError           the server refused, with an HTTP status
    │   ├── BadRequestError                400
    │   ├── AuthenticationError            401
    │   ├── InsufficientCreditsError       402
    │   ├── PermissionDeniedError          403
    │   │   └── PlanRestrictedError        403 plan_restricted
    │   ├── NotFoundError                  404
    │   ├── SessionExpiredError            410, and 404 on a session's message
    │   ├── RateLimitError                 429
    │   │   ├── QuotaExceededError         429 quota_exceeded
    │   │   └── SessionLimitError          429 on creating a session
    │   └── ServerError                    408, 409, 5xx
    │       └── ComputeError               502 compute_error, compute_unavailable
    └── UnknownOutcomeError      sent, and no complete answer came back
        ├── TimedOutError                  within the time allowed
        ├── InterruptedStreamError         a stream that broke off
        ├── FailedStreamError              a stream that reported an error
        └── MalformedResponseError         an answer that is not of the documented shape
            └── EmptyAnswerError               with neither a message nor tool calls
"""

from __future__ import annotations

from .types import Charged


class StewrdError(Exception):
    """The root of every error that this package raises.

    Attributes:
        message: What went wrong, and where.
        advice: One sentence that says what to do.
        status: HTTP status, if the server gave one.
        code: The API's ``error.code``, if it gave one.
        request_id: The API's id of the request, if it is known.
        sent: Whether the request may have reached the server.
        charged: Whether credits were taken: "no", "maybe", "likely" or "yes".
        retryable: Whether the same call may succeed if it is made again.
        retry_after: Seconds that the server asked to wait, if it did.
    """

    advice = ""
    sent = False
    charged: Charged = "no"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        advice: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        sent: bool | None = None,
        charged: Charged | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        if advice is not None:
            self.advice = advice
        if sent is not None:
            self.sent = sent
        if charged is not None:
            self.charged = charged
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not pickle by themselves, and workers do.
        return _rebuild, (type(self), self.message, dict(self.__dict__))


def _rebuild(cls: type[StewrdError], message: str, state: dict[str, object]) -> StewrdError:
    error = cls(message)
    error.__dict__.update(state)
    return error


class ConfigurationError(StewrdError, ValueError):
    """An option, the API key, an address or a store's URL is wrong. Nothing was sent."""


class InvalidInputError(StewrdError, ValueError):
    """The messages or arguments of a call can't be sent as they are. Nothing was sent."""


class StoreError(StewrdError):
    """The store can't be used, and ``on_store_error="error"`` asked to be told."""

    advice = "Check the store's address and health, or let such turns run without it."
    retryable = True


class DownloadError(StewrdError):
    """A file of an answer could not be saved. Nothing is charged for downloads."""

    advice = "The answer itself is not lost: save its text, or ask the agent for the file again."


class WebhookError(StewrdError):
    """What came as a webhook was not signed by Stewrd, not lately, or is no event."""

    advice = "Answer it with 400, and do nothing of what it says."


class CreditLimitError(StewrdError):
    """The request could cost more than ``max_credits`` leaves; it was not sent."""

    advice = "Raise max_credits, make a new model, or name fewer capabilities."


class NeverSentError(StewrdError, ConnectionError):
    """The server was not reached, so nothing was sent and nothing was charged."""

    advice = (
        "Check the network and base_url, or let `python -m stewrd_integrations.doctor` look; it is "
        "safe to try again."
    )
    retryable = True


class APIStatusError(StewrdError):
    """The server refused the request with an HTTP status (contract, *Errors*)."""

    sent = True


class BadRequestError(APIStatusError):
    """400: the request is wrong; the API did no work."""

    advice = "Correct the request; the conversation goes on from where it was."


class AuthenticationError(APIStatusError):
    """401: the API key is missing, malformed or revoked."""

    advice = (
        "Check the API key (api_key, else STEWRD_API_KEY); a regenerated key revokes the old one "
        "at once."
    )


class InsufficientCreditsError(APIStatusError):
    """402: the balance is zero."""

    advice = "Buy credits, then send the turn again."


class PermissionDeniedError(APIStatusError):
    """403: the project has not enabled the capability, or its plan does not allow it."""

    advice = "Enable the capability in the project's settings, or leave it out."


class PlanRestrictedError(PermissionDeniedError):
    """403 ``plan_restricted``: needs purchased credits."""

    advice = "Buy a credit pack, or use only what the free plan allows."


class NotFoundError(APIStatusError):
    """404: there is nothing at this address (``context_expired``: the tool run is gone)."""

    advice = "Check base_url, to which the client adds /v1 and what follows, and the id."


class SessionExpiredError(APIStatusError):
    """410, or 404 on a session's message: the session is not there any more."""

    advice = "Create a new session and replay the conversation."


class RateLimitError(APIStatusError):
    """429: too many requests in this minute."""

    advice = "Wait a minute, or send fewer requests at once."
    retryable = True


class QuotaExceededError(RateLimitError):
    """429 ``quota_exceeded``: the period's quota is used up."""

    advice = "Wait for the next period or buy credits."
    retryable = False


class SessionLimitError(RateLimitError):
    """No session can be opened: the project's are all in use (429), or its plan allows none."""

    advice = "Wait until a session has been idle for 30 minutes, or let the turn run stateless."


class ServerError(APIStatusError, RuntimeError):
    """408, 409 or 5xx: the server failed, and may or may not have done the work.

    A `RuntimeError`, like `UnknownOutcomeError`, because frameworks that repeat what failed
    spare those: the turn may have been charged.
    """

    advice = (
        "The run may have been charged and was not repeated; the conversation goes on: "
        "send the turn again if you want its answer."
    )
    charged: Charged = "maybe"


class ComputeError(ServerError):
    """502 ``compute_error`` or ``compute_unavailable``: Stewrd refunds the credits."""

    advice = (
        "The credits are refunded and the run was not repeated; the conversation goes on: "
        "send the turn again."
    )
    charged: Charged = "no"
    retryable = True


class UnknownOutcomeError(StewrdError, RuntimeError):
    """The request may have been done and charged, but no complete answer came back."""

    advice = (
        "The run may have been charged and was not repeated; the conversation goes on: "
        "send the turn again if you want its answer."
    )
    sent = True
    charged: Charged = "maybe"


class TimedOutError(UnknownOutcomeError, TimeoutError):
    """No complete answer came within the time allowed."""


class InterruptedStreamError(UnknownOutcomeError):
    """A stream broke off, or ended without its ``done`` event."""

    charged: Charged = "likely"


class FailedStreamError(UnknownOutcomeError):
    """A stream reported an error of its own (an SSE ``error`` event)."""


class MalformedResponseError(UnknownOutcomeError):
    """The server answered 200 with something that is not of the documented shape."""

    charged: Charged = "likely"


class EmptyAnswerError(MalformedResponseError):
    """The server answered 200 with neither a message nor tool calls."""
