"""Stop texts, which the API does not know: the answer is cut on our side."""

from __future__ import annotations

from collections.abc import Sequence


class Stop:
    """Lets an answer through up to the first stop text.

    A stop text may be split over several pieces, so as much of the end is held back as could
    become one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(text for text in texts if text)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Take a piece of the answer; give back what may be shown."""
        if self.hit or not self._texts:
            return "" if self.hit else text
        text = self._held + text
        # The first to be complete counts, as where an answer is really ended while it is written:
        # one that begins earlier and ends later would depend on how the answer is cut up.
        ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in self._texts]
        met = [(end, place) for end, place in ends if place >= 0]
        if met:
            self.hit, self._held = True, ""
            return text[: min(met)[1]]
        held = self._could_begin(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """The answer is complete: what was held back may be shown."""
        held, self._held = self._held, ""
        return held

    def _could_begin(self, text: str) -> int:
        longest = max(len(stop) for stop in self._texts) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._texts):
                return size
        return 0
