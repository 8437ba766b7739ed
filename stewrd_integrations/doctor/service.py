"""What the API says to the key: whether it is accepted, its plan, credits and capabilities.

Nothing tells of a key without a run but a request that is wrong: an empty message is refused
before any work, with 400 for a good key and 401 for a bad one (contract, *Errors*). Only once that
was seen are more of its kind sent. The one run asks for chat alone, which costs one credit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from ..api.responses import clean, whole
from ..types import CREDITS
from .asking import Answer, Line, Unreached
from .findings import Finding

AGENT = "/v1/agent"
PATIENCE = 60.0
"""Seconds that the one run may take at least."""

SKEW, WORST_SKEW = 30.0, 300.0
"""Seconds that clocks may differ: beyond the first it is told, beyond the second webhooks fail."""

SLOW = 5.0
LONGEST_PLAN = 60
STATUS_PAGE = "Try again in some minutes; if it stays, ask Stewrd's support."


class Service:
    """Asks in an order in which each answer allows the next question.

    Attributes:
        spent: Credits that were spent; None if the answer did not tell.
        ran: Whether a run was asked for, so that a credit may have been spent.
    """

    def __init__(self, line: Line, *, credit: bool, session: bool) -> None:
        self._line = line
        self._credit = credit
        self._session = session
        self.spent: float | None = 0.0
        self.ran = False

    def examine(self) -> Iterator[Finding]:
        """Ask, and tell what came of it."""
        try:
            answer = self._line.ask(AGENT, _empty("chat"))
        except Unreached as error:
            yield _not_reached(error)
            return
        yield from self._first(answer)
        yield _clock(answer)

    def _first(self, answer: Answer) -> Iterator[Finding]:
        finding = key_finding(answer)
        yield finding
        if answer.status == 200 and answer.data:
            # It took an empty message for a run: nothing more is asked that could cost.
            self.ran, self.spent = True, _spent(answer)
            yield _plan(answer)
        if answer.status != 400 or finding.grade == "problem":
            return
        yield from self._run()
        yield self._capabilities()
        if self._session:
            yield self._opened()

    # -- the one run -------------------------------------------------------------------

    def _run(self) -> Iterator[Finding]:
        if not self._credit:
            yield Finding("plan", "note", "not asked for: only a run tells it (--no-credit)")
            return
        self.ran, self.spent = True, None
        ask = {"message": "Answer with the one word OK.", "capabilities": ["chat"]}
        try:
            answer = self._line.ask(AGENT, ask, seconds=max(PATIENCE, self._line.seconds))
        except Unreached as error:
            why = "was not answered in time" if error.late else f"got no answer ({error.kind})"
            told = f"a run {why}; it may have cost a credit"
            yield Finding("run", "problem", told, STATUS_PAGE)
            return
        if answer.status == 200 and answer.data:
            self.spent = _spent(answer)
            yield Finding("run", "ok", f"the agent answered in {answer.seconds:.1f} seconds")
            yield _plan(answer)
            return
        self.spent = 0.0 if _is_free(answer) else None
        yield _refused_run(answer) if answer.data else replace(_not_the_api(answer), name="run")

    # -- more that costs nothing -------------------------------------------------------

    def _capabilities(self) -> Finding:
        off: dict[str, str] = {}
        for capability in [name for name in CREDITS if name != "chat"]:
            try:
                answer = self._line.ask(AGENT, _empty(capability))
            except Unreached:
                break
            if answer.status == 200:
                return self._taken(capability, answer)
            if answer.status == 403:
                off[capability] = answer.code or "refused"
        prices = ", ".join(f"{name} {cost}" for name, cost in CREDITS.items())
        if off:
            named = ", ".join(f"{name} ({code})" for name, code in off.items())
            advice = "Enable them in the project's settings or buy credits, or leave them out."
            return Finding("capabilities", "note", f"not to be had: {named}", advice)
        return Finding(
            "capabilities",
            "note",
            "which ones are enabled shows only when a run that names them is paid for "
            f"(credits: {prices})",
            "A turn that names one that is off gets 403 capability_not_enabled.",
        )

    def _taken(self, capability: str, answer: Answer) -> Finding:
        self.ran, cost = True, _spent(answer)
        self.spent = None if self.spent is None or cost is None else self.spent + cost
        told = f"an empty message was taken for a run of {capability}, and not refused"
        advice = f"By the price list it costs {CREDITS[capability]}. Nothing more was asked."
        return Finding("capabilities", "note", told, advice)

    def _opened(self) -> Finding:
        try:
            answer = self._line.ask("/v1/sessions", None)
        except Unreached as error:
            return Finding("session", "problem", f"none was opened ({error.kind})", STATUS_PAGE)
        if answer.status == 201 or (answer.status == 200 and answer.data):
            told = "one was opened; it takes one of the project's 10 slots for 30 minutes"
            return Finding("session", "ok", told)
        if answer.status == 403:
            return Finding("session", "note", f"the plan has none ({answer.told})", NO_SESSIONS)
        if answer.status == 429:
            told = f"no slot is free ({answer.told})"
            advice = "Wait until one has been idle for 30 minutes; turns are sent whole meanwhile."
            return Finding("session", "note", told, advice)
        return Finding("session", "problem", f"none was opened: {answer.told}", STATUS_PAGE)


NO_SESSIONS = "Each turn is then sent whole, without a session; a pack of credits allows them."


PASSWORD = (
    "the proxy asks for a name and a password",
    "Put them into https_proxy: http://name:password@host:port.",
)


def _empty(capability: str) -> dict[str, Any]:
    return {"message": "", "capabilities": [capability]}


def _spent(answer: Answer) -> float | None:
    usage = answer.data.get("usage")
    spent = usage.get("credits_this_request") if isinstance(usage, dict) else None
    return whole(spent)


def _is_free(answer: Answer) -> bool:
    """Whether a run that was not answered has cost nothing: it was refused, or is refunded."""
    if answer.status == 502:
        return bool(answer.data)
    return 400 <= answer.status < 500 and answer.status not in (408, 409)


def key_finding(answer: Answer) -> Finding:
    """What the answer to an empty message says of the key."""
    name, told, slow = "API", answer.told, ""
    if answer.seconds > SLOW:
        slow = f", after {answer.seconds:.1f} seconds"
    if not answer.data:
        return _not_the_api(answer)
    match answer.status:
        case 200:
            told = "the key is accepted, and so was an empty message, which the API should refuse"
            return Finding(name, "note", told)
        case 400:
            return Finding(name, "ok", f"the API knows the key ({told} to an empty message{slow})")
        case 401:
            advice = (
                "Copy it again from the project's settings; a new one made there revokes the old "
                "at once. An emulator takes the key that it printed at its start."
            )
            return Finding(name, "problem", f"the API does not know the key ({told})", advice)
        case 402:
            advice = "Buy a pack of credits, or wait for the next month's."
            return Finding(name, "problem", f"no credits are left ({told})", advice)
        case 403:
            advice = "Enable chat in the project's settings."
            return Finding(name, "problem", f"the project may not chat ({told})", advice)
        case 404 | 405:
            advice = "Check the address: it ends before /v1."
            return Finding(name, "problem", f"there is no agent at this address ({told})", advice)
        case 429:
            advice = "Wait a minute; if it is quota_exceeded, until the next month or buy credits."
            return Finding(name, "problem", f"too much was asked ({told})", advice)
        case _:
            return Finding(name, "problem", f"the service fails ({told})", STATUS_PAGE)


def _not_the_api(answer: Answer) -> Finding:
    status, kind = answer.status, answer.headers.get("content-type", "").partition(";")[0]
    if 300 <= status < 400:
        advice = "Write the address as https://..., without a page's path; is a login needed?"
        return Finding("API", "problem", f"it sends elsewhere (HTTP {status})", advice)
    if status == 407:
        return Finding("API", "problem", *PASSWORD)
    kind = "an HTML page" if "html" in kind else "something that is not the API's JSON"
    advice = "Something else is at this address, or in between: a proxy, a firewall, a login page."
    if status in (401, 403):
        advice += " It may be it that refuses, not the API."
    return Finding("API", "problem", f"{kind} answers (HTTP {status})", advice)


def _not_reached(error: Unreached) -> Finding:
    if error.settings:
        return Finding("proxy", "problem", *error.settings)
    if error.plain:
        advice = "If it is the emulator, begin the address with http://; else check the port."
        return Finding("TLS", "problem", "what listens there does not speak https", advice)
    if error.certificate:
        advice = "If a proxy looks into TLS, point SSL_CERT_FILE to its certificates."
        return Finding("TLS", "problem", "the server's certificate is not trusted", advice)
    if error.proxy:
        told = ("the proxy refuses to connect to the API", "Ask whoever looks after it.")
        return Finding("API", "problem", *(PASSWORD if error.password else told))
    if error.late:
        advice = "Try --timeout 60; if the network is well, the service is slow."
        return Finding("API", "problem", f"no answer in time ({error.kind})", advice)
    advice = "Check the address, the proxy's settings and https against http."
    return Finding("API", "problem", f"no answer ({error.kind})", advice)


def _plan(answer: Answer) -> Finding:
    meta, usage = (answer.data.get(key) for key in ("meta", "usage"))
    # What a server writes may hold the key, and be as long as it likes.
    plan = clean(meta.get("plan"), answer.veil) if isinstance(meta, dict) else None
    left = whole(usage.get("credits_remaining")) if isinstance(usage, dict) else None
    told = plan[:LONGEST_PLAN] if plan else "the answer names none"
    told += f"; {left} credits left" if isinstance(left, int) else "; credits left are not told"
    if plan == "free":
        return Finding("plan", "note", f"{told}; it has chat and data, no sessions", NO_SESSIONS)
    if isinstance(left, int) and left <= 0:
        return Finding("plan", "problem", told, "Buy a pack of credits.")
    advice = "Whether it allows sessions shows when one is opened: --session (takes a slot)."
    return Finding("plan", "ok", told, advice)


def _refused_run(answer: Answer) -> Finding:
    advice = {
        402: "Buy a pack of credits, or wait for the next month's.",
        403: "Enable chat in the project's settings.",
        429: "Wait a minute; if it is quota_exceeded, until the next month or buy credits.",
        502: "The credit is refunded. If it stays, check the model in the project's settings.",
    }.get(answer.status, STATUS_PAGE)
    return Finding("run", "problem", f"a chat was refused ({answer.told})", advice)


def _clock(answer: Answer) -> Finding:
    try:
        there = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return Finding("clock", "note", "the server does not tell the time")
    apart = answer.came - there - 0.5  # its time has whole seconds
    way = "ahead of" if apart > 0 else "behind"
    told = f"{abs(apart):.0f} seconds {way} the server's"
    if abs(apart) <= SKEW:
        return Finding("clock", "ok", f"within {max(1, round(abs(apart)))} s of the server's")
    advice = "Set the clock (NTP): webhooks and certificates are judged by it."
    return Finding("clock", "problem" if abs(apart) > WORST_SKEW else "note", told, advice)


def now_told() -> str:
    """The local time, for the head of the report."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
