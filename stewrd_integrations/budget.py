"""A limit on the credits that a model may spend."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from .errors import ConfigurationError, CreditLimitError, StewrdError
from .sessions.call import price
from .types import CREDITS, AgentRequest, Reply

DEAREST = sum(CREDITS.values())
"""What a request costs at most, where it does not say which capabilities it may use."""


class Budget:
    """Counts what is spent, and stops before the request that could pass the limit.

    A request is counted with what it may cost until its answer tells, and for good if its
    outcome is unknown.

    Args:
        limit: Credits; None for no limit.

    Raises:
        ConfigurationError: The limit is no number of credits.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = _checked(limit)
        self._lock = threading.Lock()
        self._spent = 0.0

    def under(self, limit: float | None) -> Budget:
        """This very budget, with another limit; what was spent stays spent."""
        self._limit = _checked(limit)
        return self

    @property
    def spent(self) -> float:
        """Credits spent, and those of requests that are under way."""
        return self._spent

    def reserve(self, request: AgentRequest) -> Spending:
        """Count a request before it is sent.

        Raises:
            CreditLimitError: It could pass the limit; it was not sent.
        """
        cost = cost_of(request)
        with self._lock:
            if self._limit is not None and self._spent + cost > self._limit:
                raise CreditLimitError(
                    f"The request may cost {cost} credit{'' if cost == 1 else 's'}, and "
                    f"{self._spent:g} of max_credits={self._limit:g} are spent."
                )
            self._spent += cost
        return Spending(self, cost)

    def correct(self, difference: float) -> None:
        """Count more or less than was reserved."""
        with self._lock:
            self._spent += difference


def _checked(limit: float | None) -> float | None:
    number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    if limit is not None and (not number or not limit >= 0):
        raise ConfigurationError(
            f"max_credits={limit!r} is not a number of credits.",
            advice="Use 0 or more, or None for no limit.",
        )
    return limit


class Spending:
    """A request that is under way, counted with what it may cost."""

    def __init__(self, budget: Budget, cost: float) -> None:
        self._budget = budget
        self._cost = cost

    def __enter__(self) -> None:
        """Something is asked of the server."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nothing was charged for sure? Whatever else goes wrong may have cost the whole.
        if isinstance(error, StewrdError) and error.charged == "no":
            self._settle(0.0)

    def told(self, reply: Reply) -> Reply:
        """Count what the answer says that it cost, if it says so; gives it back."""
        if reply.usage.credits is not None:
            self._settle(reply.usage.credits)
        return reply

    def _settle(self, cost: float) -> None:
        if cost != self._cost:
            self._budget.correct(cost - self._cost)
            self._cost = cost


def cost_of(request: AgentRequest) -> int:
    """What a request may cost (contract, *Credits*); with tools only chat is used."""
    capabilities: Sequence[str] | None = ("chat",) if request.tools else request.capabilities
    told = price(capabilities)
    return DEAREST if told is None else told
