"""Takes requests in: who may ask, for what, how often; and what becomes of each."""

from __future__ import annotations

import re
import time
from dataclasses import replace

from .faults import Fault, Response
from .records import Logged, Request
from .refusals import Refusal, retry_after, written
from .working import OUTPUTS, Work
from .world import World

MESSAGE = re.compile(r"/v1/sessions/([^/]+)/messages")


class Service:
    """The whole service but the sockets.

    Args:
        world: What it knows and how it behaves.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._times: list[float] = []
        self._remembered: dict[str, Response] = {}

    def handle(self, request: Request) -> Response:
        """Answer a request; whoever sends the answer tells its ``settle`` how that went."""
        logged = Logged(request, self.world.now)
        with self.world.lock:
            self.world.log.append(logged)
            self._look_for_the_key(request)
        try:
            response = self._serve(request, logged)
        except Refusal as refusal:
            response = self._refused(refusal)
        logged.status, logged.code = response.status, response.code
        inner = response.settle

        def settle(delivered: bool) -> None:
            logged.delivered = delivered
            inner(delivered)

        response.settle = settle
        return response

    def _serve(self, request: Request, logged: Logged) -> Response:
        with self.world.lock:
            self._admit(request)
            endpoint = self._endpoint(request)
            fault = self._fault(endpoint, request)
            logged.fault = fault.kind if fault is not None else ""
        if found := MESSAGE.fullmatch(request.path):
            logged.session = found[1]
        key = request.header("idempotency-key")
        if self.world.unknowns.idempotency == "honoured" and key in self._remembered:
            return replace(self._remembered[key], settle=lambda delivered: None)
        response = Work(self.world, logged, fault).done(endpoint, found[1] if found else "")
        if key:
            self._remembered[key] = response
        return response

    def _admit(self, request: Request) -> None:
        if request.header("authorization") != f"Bearer {self.world.key}":
            raise Refusal("invalid_api_key")
        if not self.world.available:
            raise Refusal("service_unavailable")
        if (
            self.world.rules.per_minute is not None
            and self._recent() >= self.world.rules.per_minute
        ):
            raise Refusal("rate_limited")
        self._times.append(self.world.now)
        if (
            self.world.unknowns.too_long != "no limit"
            and len(request.body) > self.world.rules.longest
        ):
            too_long = Refusal("payload_too_large", status=413, body="html")
            raise too_long if self.world.unknowns.too_long == "413" else Refusal("invalid_body")

    def _recent(self) -> int:
        start = self.world.now - 60
        if self.world.unknowns.rate_window == "fixed":
            start = self.world.now // 60 * 60
        self._times = [each for each in self._times if each > start]
        return len(self._times)

    @staticmethod
    def _endpoint(request: Request) -> str:
        known = {"/v1/agent": "agent", "/v1/sessions": "create"}
        endpoint = known.get(request.path, "")
        if MESSAGE.fullmatch(request.path):
            endpoint = "message"
        elif OUTPUTS.fullmatch(request.path):
            endpoint = "outputs"
        if not endpoint:
            raise Refusal("not_found", status=404)
        if request.method != "POST":
            raise Refusal("method_not_allowed", status=405)
        return endpoint

    def _fault(self, endpoint: str, request: Request) -> Fault | None:
        for fault in self.world.faults:
            if fault.fits(endpoint, b'"stream"' in request.body):
                self.world.faults.remove(fault)
                return fault
        return None

    def _refused(self, refusal: Refusal) -> Response:
        content_type, body = written(refusal, self.world.unknowns)
        headers = refusal.headers or retry_after(refusal, self.world.unknowns, time.time())
        pieces = [body] if body else []
        return Response(refusal.status, content_type, pieces, headers, code=refusal.code)

    def _look_for_the_key(self, request: Request) -> None:
        others = [value for name, value in request.headers if name.lower() != "authorization"]
        found = self.world.key in request.path or self.world.key.encode() in request.body
        if found or any(self.world.key in value for value in others):
            self.world.complaints.append("the key stands elsewhere than in its header")
