"""Webhooks: what Stewrd signed is believed, and nothing else is (contract, *Webhooks*)."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import threading
import traceback
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stewrd_integrations
from stewrd_integrations.api import verify_webhook
from stewrd_integrations.api.webhooks import LONGEST_HEADER, MOST_SECRETS
from stewrd_integrations.errors import (
    ConfigurationError,
    InvalidInputError,
    StewrdError,
    WebhookError,
)

SECRET = "whsec_" + "hunter2" * 4
NOW = 1_800_000_000
EVENT = {"event": "agent.completed", "id": "req-1", "message": "Hello.", "session_id": "s-1"}
BODY = json.dumps(EVENT).encode()


def digest(body: bytes = BODY, t: object = NOW, secret: str = SECRET) -> str:
    """The signature as the contract describes it, written apart from what is tested."""
    return hmac.new(secret.encode(), f"{t}.".encode() + body, hashlib.sha256).hexdigest()


def signed(header: str, name: str = "X-Stewrd-Signature") -> dict[str, str]:
    return {"Content-Type": "application/json", name: header}


GOOD = f"t={NOW},v1={digest()}"


def verified(body: Any = BODY, header: str = GOOD, secret: Any = SECRET, **more: Any) -> Any:
    return verify_webhook(body, signed(header), secret, **{"now": NOW, **more})


def test_what_was_signed_is_given_back() -> None:
    assert verified() == EVENT
    assert stewrd_integrations.verify_webhook is verify_webhook


@pytest.mark.parametrize("name", ["x-stewrd-signature", "X-STEWRD-SIGNATURE"])
def test_the_case_of_a_header_does_not_matter(name: str) -> None:
    assert verify_webhook(BODY, signed(GOOD, name), SECRET, now=NOW) == EVENT
    assert verify_webhook(BODY, httpx.Headers(signed(GOOD, name)), SECRET, now=NOW) == EVENT


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW}, v1={digest()}",
        f"v1={digest()},t={NOW}",
        f"t={NOW},v1={digest().upper()}",
        f"t={NOW},v1={'0' * 64},v1={digest()},v1={'f' * 64}",
        f"t={NOW},v0=x,v1={digest()},v2=,,scheme",
        f"t={NOW},v1=short,v1={digest()}",
    ],
)
def test_any_of_several_signatures_will_do(header: str) -> None:
    assert verified(header=header) == EVENT


@pytest.mark.parametrize("secret", [(SECRET,), ["old", SECRET], [SECRET, "new"]])
def test_any_of_several_secrets_will_do(secret: Any) -> None:
    assert verified(secret=secret) == EVENT


@pytest.mark.parametrize("off", [-300, -299.5, 0, 300])
def test_five_minutes_either_way_are_in_time(off: float) -> None:
    assert verified(now=NOW + off) == EVENT


@pytest.mark.parametrize("off", [-301, -300.01, 300.01, 1e9, float("nan")])
def test_more_are_not(off: float) -> None:
    with pytest.raises(WebhookError, match="too long ago"):
        verified(now=NOW + off)
    if not math.isnan(off):
        assert verified(now=NOW + off, tolerance=abs(off) + 1) == EVENT


def test_the_clock_is_asked_by_default() -> None:
    with pytest.raises(WebhookError, match="too long ago"):
        verified(now=None)


ARABIC = "".join(chr(0x660 + int(figure)) for figure in str(NOW))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        f"t={NOW}",
        f"v1={digest()}",
        f"t={NOW},t={NOW},v1={digest()}",
        f"t={NOW},v1={digest()},t=1",
        f"t={ARABIC},v1={digest(t=ARABIC)}",
        f"t= {NOW},v1={digest(t=f' {NOW}')}",
        f"t=+{NOW},v1={digest(t=f'+{NOW}')}",
        f"t=-1,v1={digest(t=-1)}",
        f"t={NOW}.0,v1={digest(t=f'{NOW}.0')}",
        f"t=1_800_000_000,v1={digest(t='1_800_000_000')}",
        f"t={'9' * 5000},v1={digest(t='9' * 5000)}",
        f"T={NOW},V1={digest()}",
        f"t={NOW},v1={digest()[:-2]}",
        f"t={NOW},v1={digest()}00",
        f"t={NOW},v1={digest()}" + "," * LONGEST_HEADER,
        f"t={NOW};v1={digest()}",
    ],
)
def test_a_malformed_signature_is_refused(header: str) -> None:
    with pytest.raises(WebhookError, match="malformed"):
        verified(header=header)


@pytest.mark.parametrize(
    "other",
    [
        {"body": BODY + b" "},
        {"body": BODY[:-1]},
        {"body": b""},
        {"header": f"t={NOW + 1},v1={digest()}"},
        {"header": f"t={NOW},v1={digest(secret='another')}"},
        {"header": f"t={NOW},v1={hashlib.sha256(BODY).hexdigest()}"},
        {"header": f"t={NOW},v1={'0' * 64}"},
        {"header": f"t={NOW},v1={digest()[:-1]}{'1' if digest()[-1] == '0' else '0'}"},
        {"header": f"t={NOW},v1={'1' if digest()[0] == '0' else '0'}{digest()[1:]}"},
        {"secret": "another"},
        {"secret": SECRET.upper()},
        {"secret": ["one", "two"]},
    ],
)
def test_what_was_not_signed_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(WebhookError, match="not signed with this secret"):
        verified(**other)


@pytest.mark.parametrize("given", [{}, {"X-Stewrd-Webhook-Id": "1"}])
def test_without_a_signature_it_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(WebhookError, match="has no X-Stewrd-Signature"):
        verify_webhook(BODY, given, SECRET, now=NOW)


def test_two_headers_are_not_chosen_from() -> None:
    given = {**signed(GOOD), "x-stewrd-signature": "t=1,v1=00"}
    with pytest.raises(WebhookError, match="malformed"):
        verify_webhook(BODY, given, SECRET, now=NOW)
    merged = httpx.Headers([("X-Stewrd-Signature", GOOD)] * 2)
    with pytest.raises(WebhookError, match="malformed"):
        verify_webhook(BODY, merged, SECRET, now=NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'"event"', b"{}", b'{"event": 1}'])
def test_what_is_signed_must_be_an_event(body: bytes) -> None:
    with pytest.raises(WebhookError, match="not a JSON object with an event"):
        verified(body, f"t={NOW},v1={digest(body)}")


@pytest.mark.parametrize("body", [BODY.decode(), bytearray(BODY), EVENT, None])
def test_only_bytes_can_be_verified(body: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"raw body.*request\.body"):
        verified(body)


@pytest.mark.parametrize(
    "secret",
    ["", "  ", [], [SECRET, ""], None, [None], b"x", [b"x"], f"{SECRET}\n", "\ud800", ["x"] * 17],
)
def test_an_empty_or_odd_secret_is_refused(secret: Any) -> None:
    assert MOST_SECRETS == 16
    with pytest.raises(ConfigurationError, match="webhook's secret"):
        verified(secret=secret)
    # An attacker can sign with an empty secret, too.
    forged = f"t={NOW},v1={digest(secret='')}"
    with pytest.raises(ConfigurationError):
        verified(header=forged, secret="")


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf"), None, "300", True])
def test_an_odd_tolerance_is_refused(tolerance: Any) -> None:
    with pytest.raises(InvalidInputError, match="tolerance"):
        verified(tolerance=tolerance)


def test_a_body_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stewrd_integrations.api.webhooks.LONGEST_BODY", 10)
    with pytest.raises(WebhookError, match="longer than"):
        verified()


FAULTS: list[dict[str, Any]] = [
    {"header": f"t={NOW},v1={digest(secret='another')}"},
    {"header": f"t={NOW};v1={digest()}"},
    {"now": NOW + 400},
    {"body": BODY.decode()},
    {"secret": [SECRET, ""]},
    {"tolerance": -1},
    {"body": b"[]", "header": f"t={NOW},v1={digest(b'[]')}"},
]


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_holds_neither_body_nor_secret_nor_signature(fault: dict[str, Any]) -> None:
    with pytest.raises(StewrdError) as caught:
        verified(**fault)
    error = caught.value
    assert error.__cause__ is None and error.__context__ is None
    assert (error.sent, error.charged) == (False, "no")
    ours = [frame for frame in traceback.walk_tb(error.__traceback__) if _is_ours(frame[0])]
    shown = repr([frame.f_locals for frame, _ in ours]) + repr((str(error), vars(error)))
    for hidden in ("hunter2", "Hello.", digest()[:16], digest(secret="another")[:16]):
        assert hidden not in shown
    assert ours


def _is_ours(frame: Any) -> bool:
    return bool(frame.f_globals["__name__"].startswith("stewrd_integrations"))


@given(st.binary(max_size=64), st.text(max_size=80))
def test_anything_else_is_refused_and_nothing_else_is_raised(body: bytes, header: str) -> None:
    with pytest.raises(WebhookError):
        verified(body, header)


@given(st.binary(max_size=200), st.integers(0, 10**12 - 1), st.text(min_size=1, max_size=20))
def test_any_bit_that_is_turned_is_noticed(rest: bytes, t: int, secret: str) -> None:
    secret = f"a{secret.encode('ascii', 'ignore').hex()}"
    body = b'{"event": "e"}' + b" " * len(rest)
    header = f"t={t},v1={digest(body, t, secret)}"
    assert verified(body, header, secret, now=t) == {"event": "e"}
    place = len(rest) % len(body)
    turned = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    with pytest.raises(WebhookError, match="not signed"):
        verified(turned, header, secret, now=t)


# -- on a socket -----------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    """What a user writes: it answers 200 to what Stewrd signed, and 400 to the rest."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            verify_webhook(body, dict(self.headers), SECRET, now=NOW)
            self.send_response(200)
        except WebhookError:
            self.send_response(400)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_as_it_comes_from_a_socket(address: str) -> None:
    for header, status in ((GOOD, 200), (GOOD[:-1] + "x", 400)):
        with httpx.Client() as http:
            assert http.post(address, content=BODY, headers=signed(header)).status_code == status
    request = urllib.request.Request(address, BODY, signed(GOOD))  # noqa: S310 - our own address
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - likewise
        assert answer.status == 200
