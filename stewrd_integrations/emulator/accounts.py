"""The account of the project: its credits, and the runs of this period."""

from __future__ import annotations

from . import rules
from .errors import Refusal
from .settings import Settings


class Account:
    """What is left to spend. `credits` is the balance."""

    def __init__(self, settings: Settings) -> None:
        self.credits = settings.credits
        self._settings = settings
        self._runs = 0

    def check_quota(self) -> None:
        """Refuse a run beyond the quota."""
        rules.check_quota(self._settings, self._runs)

    def charge(self, cost: int) -> int:
        """Take what a run costs. [documented] It is charged before the work."""
        rules.check_credits(self.credits, cost)
        self.credits -= cost
        self._runs += 1
        return cost

    def charge_rest(self, cost: int, paid: int) -> int:
        """Take what a run has cost beyond what was paid for it, as far as it is there."""
        rest = min(max(cost - paid, 0), self.credits)
        self.credits -= rest
        return rest

    def settle(self, paid: int, refusal: Refusal) -> None:
        """Give back what a run has paid that then failed, if the rules say so."""
        if paid and rules.is_refunded(refusal):
            self.credits += paid
            self._runs -= 1
