"""The line to the server: every request goes through it, is counted, and kept within limits."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from .seen import KEPT, Seen
from .targets import Target

PRICES = {"chat": 1, "data": 1, "files": 2, "research": 3, "code": 3, "documents": 5}
LARGEST = 2**22
"""Bytes of an answer that are read."""
_MINUTE, _PER_MINUTE = 60.0, 50
_READ = 180.0


class Stop(Exception):
    """The run is over; the message says why, and what to do."""


class WrongKey(Stop):
    """The key was refused."""


class Line:
    """Sends, counts, and stops before a limit is passed.

    Attributes:
        requests: How many were sent.
        credits: How many were spent, as the API says, or as its price list does.
        balance: What the API last said is left, or None.
        cost: What the last request cost.
        seen: Every exchange.
    """

    def __init__(self, target: Target, *, max_requests: int, max_credits: int) -> None:
        self.target = target
        self.max_requests = max_requests
        self.max_credits = max_credits
        self.requests = 0
        self.credits = 0
        self.cost = 0
        self.balance: int | None = None
        self.seen: list[Seen] = []
        self._paced = True
        self._begun = 0.0
        self._sent_at: deque[float] = deque(maxlen=_PER_MINUTE)
        self.http = httpx.Client(
            timeout=httpx.Timeout(10.0, read=_READ),
            event_hooks={"request": [self._count]},
            mounts={"http://": None},  # this machine alone: no proxy
        )

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    @contextmanager
    def unpaced(self) -> Iterator[None]:
        """A block whose requests may be as many a minute as they like."""
        self._paced = False
        try:
            yield
        finally:
            self._paced = True

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
        leave: bool = False,
    ) -> Seen:
        """Send one request, and read what comes.

        Args:
            body: JSON, or None for no body.
            patience: Seconds after which an answer that has not begun is given up.
            leave: Leave as soon as the first bytes of the body are there.
        """
        self.afford(price(path, body))
        request = self._request(path, body, headers, patience)
        seen = self._exchange(request, path, body, leave)
        self._book(seen)
        self.seen.append(seen)
        if seen.status == 401:
            raise WrongKey(
                f"The API refuses the key ({seen.refusal}). Check STEWRD_API_KEY: it must be the "
                "whole key of one project, and a regenerated key revokes the old one at once."
            )
        return seen

    def spend(self, credits: int) -> None:
        """Note what somebody else has spent on this line's account."""
        self.credits += credits
        self.cost = credits

    def afford(self, cost: int) -> None:
        """Stop before the limit of credits is passed."""
        if self.credits + cost > self.max_credits:
            raise Stop(f"The limit of {self.max_credits} credits is reached.")

    def _count(self, request: httpx.Request) -> None:
        if self.requests >= self.max_requests:
            raise Stop(f"The limit of {self.max_requests} requests is reached.")
        self._pace()
        self.requests += 1
        self._begun = time.monotonic()

    def _pace(self) -> None:
        """Stay below 60 requests a minute."""
        now = self.target.now()
        if self._paced and len(self._sent_at) == _PER_MINUTE:
            self.target.wait(max(0.0, self._sent_at[0] + _MINUTE - now))
        self._sent_at.append(self.target.now())

    def _request(
        self, path: str, body: Any, headers: Mapping[str, str] | None, patience: float | None
    ) -> httpx.Request:
        given = {"Authorization": f"Bearer {self.target.key}", "Accept-Encoding": "identity"}
        content = None
        if body is not None:
            content, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        read = _READ if patience is None else patience
        return self.http.build_request(
            "POST",
            self.target.address + path,
            content=content,
            headers={**given, **(headers or {})},
            timeout=httpx.Timeout(10.0, read=read),
        )

    def _exchange(self, request: httpx.Request, path: str, body: Any, leave: bool) -> Seen:
        status, headers, raw, failure, first = None, {}, bytearray(), None, None
        try:
            response = self.http.send(request, stream=True)
            try:
                status, told = response.status_code, response.headers
                headers = {name: told[name] for name in KEPT if name in told}
                for chunk in response.iter_bytes():
                    first = first or time.monotonic() - self._begun
                    raw += chunk
                    if leave or len(raw) > LARGEST:
                        break
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            failure = type(error).__name__
        if len(raw) > LARGEST:
            failure = f"more than {LARGEST} bytes"
        seconds = time.monotonic() - self._begun
        return Seen(path, body, status, headers, bytes(raw), failure, first, seconds)

    def _book(self, seen: Seen) -> None:
        told = seen.number_of("usage", "credits_this_request")
        usual = price(seen.path, seen.sent) if seen.ok or seen.status is None else 0
        self.cost = told if told is not None and told >= 0 else usual
        self.credits += self.cost
        left = seen.number_of("usage", "credits_remaining")
        self.balance = self.balance if left is None else left


def price(path: str, body: Any) -> int:
    """What a request may cost: nothing, if it is no run."""
    if not isinstance(body, dict) or "tool_outputs" in body or not body:
        return 0
    named = body.get("capabilities") or ["chat"]
    return sum(PRICES.get(name, 1) for name in named)
