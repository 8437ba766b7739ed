"""Our errors as members of LangChain's family too.

LangChain's middleware and users catch `ModelError` and ask ``is_retryable``. Every error that
leaves the chat model is of our class and of theirs, and says that a retry helps only where
nothing was charged: a framework that repeats a turn of unknown outcome would pay twice.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from langchain_core.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from .. import errors
from ..errors import StewrdError

_FAMILY: tuple[tuple[type[StewrdError], type[ModelError]], ...] = (
    (errors.InvalidInputError, ModelInvalidRequestError),
    (errors.NeverSentError, ModelConnectionError),
    (errors.UnknownOutcomeError, ModelTimeoutError),
    (errors.BadRequestError, ModelInvalidRequestError),
    (errors.AuthenticationError, ModelAuthenticationError),
    (errors.PermissionDeniedError, ModelPermissionDeniedError),
    (errors.NotFoundError, ModelNotFoundError),
    (errors.SessionExpiredError, ModelNotFoundError),
    (errors.RateLimitError, ModelRateLimitError),
    (errors.ServerError, ModelAPIError),
    (StewrdError, ModelError),
)


@contextmanager
def both_families() -> Generator[None, None, None]:
    """Raise what is raised inside as a member of both families."""
    try:
        yield
    except StewrdError as error:
        told = in_both_families(error)
        raise told.with_traceback(error.__traceback__) from error.__cause__


def in_both_families(error: StewrdError) -> StewrdError:
    """The same error, also as LangChain's."""
    if isinstance(error, ModelError):
        return error
    kind: Any = type(error)  # mypy takes no class of exceptions for hashable
    told = _both(kind)(error.message)
    told.__dict__.update(error.__dict__)
    told.__dict__["is_retryable"] = error.retryable and error.charged == "no"
    return told


@cache
def _both(ours: Any) -> type[StewrdError]:
    theirs = next(theirs for kind, theirs in _FAMILY if issubclass(ours, kind))
    described = {"__module__": ours.__module__, "__doc__": ours.__doc__, "__reduce__": _reduced}
    both: type[StewrdError] = type(ours.__name__, (ours, theirs), described)
    return both


def _reduced(error: StewrdError) -> tuple[Any, ...]:
    # The class is made here and found under no name, so it is made again where it arrives.
    ours = type(error).__mro__[1]
    return _again, (ours, error.message, dict(error.__dict__))


def _again(ours: Any, message: str, state: dict[str, Any]) -> StewrdError:
    told = _both(ours)(message)
    told.__dict__.update(state)
    return told
