"""The slots of a project, as the memory store keeps them."""

from __future__ import annotations

import math


class Slots(dict[str, float]):
    """Slots, each with the time until which it is held; some may have lapsed."""

    def __init__(self) -> None:
        super().__init__()
        self._earliest = math.inf

    def occupy(self, slot: str, limit: int, now: float, ttl: float) -> bool:
        """Refresh a slot, or take it if fewer than ``limit`` are held."""
        if self.get(slot, -math.inf) <= now:
            # Only who takes one has to know how many there are; each turn refreshes one.
            self._drop_lapsed(now)
            if len(self) >= limit:
                return False
        self[slot] = now + ttl
        self._earliest = min(self._earliest, now + ttl)
        return True

    def left(self, now: float) -> dict[str, float]:
        """The slots that are held, each with the seconds until it lapses."""
        return {slot: until - now for slot, until in self.items() if until > now}

    def _drop_lapsed(self, now: float) -> None:
        # None lapses before this: it may be too early, as slots are refreshed, but never too late.
        if now < self._earliest:
            return
        for slot in [slot for slot, until in self.items() if until <= now]:
            del self[slot]
        self._earliest = min(self.values(), default=math.inf)
