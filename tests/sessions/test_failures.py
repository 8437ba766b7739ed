"""The failure table: what an error does to its session."""

from __future__ import annotations

import pytest

from stewrd_integrations import errors
from stewrd_integrations.sessions.failures import verdict

ROWS = [
    (errors.NeverSentError("x"), "keep"),
    (errors.InvalidInputError("x"), "keep"),
    (errors.ConfigurationError("x"), "keep"),
    (errors.BadRequestError("x", status=400), "keep"),
    (errors.AuthenticationError("x", status=401), "keep"),
    (errors.InsufficientCreditsError("x", status=402), "drop"),
    (errors.PermissionDeniedError("x", status=403), "drop"),
    (errors.PlanRestrictedError("x", status=403), "drop"),
    (errors.SessionExpiredError("x", status=404), "gone"),
    (errors.SessionExpiredError("x", status=410), "gone"),
    (errors.RateLimitError("x", status=429), "keep"),
    (errors.QuotaExceededError("x", status=429), "drop"),
    (errors.APIStatusError("x", status=413), "drop"),
    (errors.ServerError("x", status=500), "drop"),
    (errors.ServerError("x", status=503, code="service_unavailable"), "drop"),
    (errors.ServerError("x", status=503, retry_after=1.0), "drop"),
    (errors.ServerError("x", status=503, code="service_unavailable", retry_after=1.0), "anew"),
    (errors.ComputeError("x", status=502), "drop"),
    (errors.UnknownOutcomeError("x"), "drop"),
    (errors.TimedOutError("x"), "drop"),
    (errors.InterruptedStreamError("x"), "drop"),
    (errors.FailedStreamError("x"), "drop"),
    (errors.MalformedResponseError("x"), "drop"),
    (KeyboardInterrupt(), "drop"),
    (ValueError("x"), "drop"),
]


@pytest.mark.parametrize(("error", "fate"), ROWS, ids=[repr(error) for error, _ in ROWS])
def test_the_table(error: BaseException, fate: str) -> None:
    assert verdict(error, shown=False, retry_on_compute_error=False) == fate
    assert verdict(error, shown=True, retry_on_compute_error=True) == "drop"


def test_a_refunded_run_is_repeated_only_on_demand() -> None:
    error = errors.ComputeError("x", status=502)
    assert verdict(error, shown=False, retry_on_compute_error=True) == "anew"
