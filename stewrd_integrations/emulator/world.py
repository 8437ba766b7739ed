"""The emulated Stewrd: a pure world with an injected clock, and no sockets.

A request goes in and a response comes out, with orders for the transport. What is
a rule stands in `rules`; here stands what the rules change: sessions and their
logs, credits, the record of all that happened. One lock guards the whole state.
The agent runs outside of it, so that a slow one holds up nobody else, and one that
looks at the world does not deadlock.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from . import replies, rules
from .agent import Agent, Answer, Context, default_agent
from .errors import Refusal, refuse
from .faults import Fault, Faults, Road
from .reading import Conversation, Heard, read
from .records import Ask, Exchange, Overlap, Run, Session, SessionRecord
from .settings import Settings
from .wire import Request, Response

_log = logging.getLogger("stewrd_integrations.emulator")


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass
class _Call:
    """A request on its way through the world."""

    number: int
    request: Request
    now: float
    road: Road | None
    session_id: str | None
    session: Session | None = None
    ask: Ask | None = None
    fault: Fault | None = None
    heard: Heard | None = None
    cost: int = 0


class World:
    """All that the server knows. Thread-safe.

    `clock` gives seconds, `make_id` ids for sessions and requests, `agent` answers;
    `on_answered` is told of each exchange as soon as its answer is made.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        api_key: str,
        clock: Callable[[], float],
        make_id: Callable[[], str] = _new_id,
        agent: Agent | None = None,
        on_answered: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.settings = settings
        self._api_key = api_key
        self._clock = clock
        self._make_id = make_id
        self._agent: Agent = agent or default_agent
        self._on_answered = on_answered
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}
        self._faults = Faults()
        self._arrivals: deque[float] = deque(maxlen=settings.rate_limit)
        self._exchanges: list[Exchange] = []
        self._runs: list[Run] = []
        self._overlaps: list[Overlap] = []
        self._credits = settings.credits
        self._charged_runs = 0
        self._over_limit = 0

    # -- the way of a request --------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer a request. Call `finished` when the response is delivered or lost."""
        with self._lock:
            call = self._receive(request)
            try:
                context = self._accept(call)
            except Refusal as refusal:
                return self._refused(call, refusal)
            if context is None:
                return self._create(call)
        try:
            answer = self._think(context)
        except Refusal as refusal:
            with self._lock:
                return self._refused(call, refusal)
        with self._lock:
            return self._answer(call, context, answer)

    def finished(self, response: Response) -> None:
        """The response was delivered, or its connection ended."""
        with self._lock:
            for session in self._sessions.values():
                session.busy.discard(response.number)

    def _receive(self, request: Request) -> _Call:
        now = self._clock()
        self._expire_idle(now)
        road, session_id = _route(request.path)
        call = _Call(len(self._exchanges), request, now, road, session_id)
        body = _readable(request.body)
        self._exchanges.append(
            Exchange(call.number, now, request.method, request.path, session_id, body)
        )
        session = self._sessions.get(session_id or "")
        if session is not None:
            for other in sorted(session.busy):
                self._overlaps.append(Overlap(session.id, other, call.number))
            session.busy.add(call.number)
        return call

    def _accept(self, call: _Call) -> Context | None:
        """Apply the rules in the order of the API; a create has no context."""
        rules.check_key(self._api_key, call.request.headers)
        if call.road is None:
            raise refuse("not_found", "No such path.")
        if call.request.method != "POST":
            raise refuse("method_not_allowed")
        rules.check_rate(self.settings, self._arrivals, call.now)
        self._arrivals.append(call.now)
        if call.road in ("agent", "message"):
            return self._accept_run(call)
        self._meet_fault(call)
        if call.road == "tool_outputs":
            # [documented] 404 for an unknown run; without tools there can be no other.
            raise refuse("context_expired")
        rules.check_plan(self.settings)
        rules.check_slots(self.settings, self._active())
        return None

    def _accept_run(self, call: _Call) -> Context:
        call.ask = ask = rules.parse_ask(self.settings, call.request.body)
        if call.road == "message":
            call.session = self._sessions.get(call.session_id or "")
            rules.check_alive(self.settings, call.session)
        self._meet_fault(call)
        rules.check_quota(self.settings, self._charged_runs)
        rules.check_capabilities(self.settings, ask.capabilities)
        if call.session is not None:
            rules.check_room(self.settings, len(call.session.log))
        cost = rules.price(ask.capabilities)
        rules.check_credits(self._credits, cost)
        self._charge(call, cost)
        return self._context(call, ask)

    def _meet_fault(self, call: _Call) -> None:
        """Take the fault that waits for this request; some strike at once."""
        assert call.road is not None
        stream = call.ask is not None and call.ask.stream
        call.fault = fault = self._faults.take(call.road, stream)
        if fault is None:
            return
        if fault.kind == "expire" and call.session is not None:
            call.session.expired = True
            rules.check_alive(self.settings, call.session)
        if fault.refuses and not fault.after:
            raise fault.refusal()

    def _charge(self, call: _Call, cost: int) -> None:
        # [documented] charged before the work
        self._credits -= cost
        self._charged_runs += 1
        call.cost = cost

    def _context(self, call: _Call, ask: Ask) -> Context:
        """Put the message into its log and show the agent what it has now heard."""
        session = call.session
        earlier = () if session is None else tuple(session.files)
        log = [Heard("user", ask.message)]
        if session is not None:
            # [documented] each message resets the idle timer
            if self.settings.idle_reset == "arrival":
                session.last_used = call.now
            call.heard = log[0]
            self._append(session, log[0])
            session.files.extend(ask.files)
            log = list(session.log)
        conversation = read(log)
        last = conversation.messages[-1] if conversation.messages else None
        return Context(
            conversation=conversation,
            message=last.text if last is not None and last.role == "user" else "",
            files=ask.files,
            earlier_files=earlier,
            capabilities=ask.capabilities,
            session_id=None if session is None else session.id,
            road="stateless" if session is None else "session",
        )

    def _think(self, context: Context) -> Answer:
        try:
            answer = self._agent(context)
        except Exception as broken:
            # The agent may be anybody's code, and must not take the server with it.
            _log.exception("the agent of the emulator failed")
            raise refuse("compute_error", f"The agent failed: {broken}") from broken
        return Answer(answer) if isinstance(answer, str) else answer

    def _answer(self, call: _Call, context: Context, answer: Answer) -> Response:
        assert call.ask is not None
        used = answer.capabilities_used or call.ask.capabilities or ("chat",)
        if not call.ask.capabilities:
            # [assumed] without a filter the agent chooses, and the rest is charged now
            rest = min(max(rules.price(used) - call.cost, 0), self._credits)
            self._credits -= rest
            call.cost += rest
        said = Heard("assistant", answer.text)
        if call.session is not None:
            self._append(call.session, said)
            if self.settings.idle_reset == "answer":
                call.session.last_used = self._clock()
        if call.fault is not None and call.fault.loses_answer:
            self._forget_failed(call, said)
        run = self._record(call, context, call.ask, answer)
        if call.fault is not None and call.fault.refuses:
            return self._refused(call, call.fault.refusal())
        body = replies.run_body(
            self.settings, run, replace(answer, capabilities_used=used), self._credits
        )
        body["meta"]["duration_ms"] = int((self._clock() - call.now) * 1000)
        response = replies.run_response(
            self.settings, call.number, body, call.ask.stream, call.fault
        )
        return self._log(call, response, None, self._note(call, run))

    def _create(self, call: _Call) -> Response:
        session = Session(self._make_id(), call.now, call.now)
        self._sessions[session.id] = session
        call.session_id = session.id
        if call.fault is not None and call.fault.refuses:
            return self._refused(call, call.fault.refusal())
        response = replies.created(self.settings, call.number, session.id, call.fault)
        note = f"session {self._active()}/{self.settings.max_sessions}"
        return self._log(call, response, None, note)

    def _refused(self, call: _Call, refusal: Refusal) -> Response:
        if call.cost and rules.is_refunded(refusal):
            self._credits += call.cost
            self._charged_runs -= 1
        self._leave_message(call, refusal)
        response = replies.refused(self.settings, call.number, refusal)
        note = "hung up" if refusal.form == "hang_up" else refusal.message
        return self._log(call, response, refusal, note)

    def _leave_message(self, call: _Call, refusal: Refusal) -> None:
        """What the log keeps of a message that got no answer."""
        answered = call.fault is not None and call.fault.after
        if call.session is None or call.ask is None or answered:
            return
        leaves = rules.leaves_message(self.settings, refusal)
        if call.heard is None and leaves and not call.session.expired:
            full = len(call.session.log) >= self.settings.history_limit
            if not (full and self.settings.over_limit == "error"):
                self._append(call.session, Heard("user", call.ask.message))
        elif call.heard is not None and not leaves:
            _remove(call.session, call.heard)

    def _forget_failed(self, call: _Call, said: Heard) -> None:
        if call.session is None or self.settings.failed_appended:
            return
        assert call.heard is not None
        _remove(call.session, call.heard)
        _remove(call.session, said)

    def _append(self, session: Session, heard: Heard) -> None:
        session.log.append(heard)
        while len(session.log) > self.settings.history_limit:
            # [assumed] whatever passes the cap pushes the oldest out, without a word
            del session.log[0]
            self._over_limit += 1

    def _record(self, call: _Call, context: Context, ask: Ask, answer: Answer) -> Run:
        run = Run(
            number=call.number,
            id=self._make_id(),
            road=context.road,
            session_id=context.session_id,
            message=ask.message,
            files=ask.files,
            capabilities=ask.capabilities,
            stream=ask.stream,
            tools=(),
            conversation=context.conversation,
            answer=answer.text,
            credits=call.cost,
            time=call.now,
        )
        self._runs.append(run)
        return run

    def _log(self, call: _Call, response: Response, refusal: Refusal | None, note: str) -> Response:
        exchange = replace(
            self._exchanges[call.number],
            session_id=call.session_id,
            status=response.status if response.delivery.answered else None,
            code=refusal.code if refusal is not None and refusal.form == "json" else None,
            fault=None if call.fault is None else call.fault.kind,
            note=note,
        )
        self._exchanges[call.number] = exchange
        if self._on_answered is not None:
            self._on_answered(exchange)
        return response

    def _note(self, call: _Call, run: Run) -> str:
        parts = ["stream"] if run.stream else []
        if call.session is not None:
            held = len(call.session.log)
            parts.append(f"{held}/{self.settings.history_limit} messages")
        parts.append(f"{run.credits} credit{'' if run.credits == 1 else 's'}")
        return " ".join(parts)

    # -- orders ------------------------------------------------------------------

    def fail(self, fault: Fault) -> None:
        """Order a fault for a request to come."""
        with self._lock:
            self._faults.add(fault)

    def expire(self, session_id: str | None = None) -> None:
        """Let one session die at once, or all. An unknown id is a KeyError."""
        with self._lock:
            ids = list(self._sessions) if session_id is None else [session_id]
            for session in [self._sessions[each] for each in ids]:
                session.expired = True

    def _expire_idle(self, now: float) -> None:
        for session in self._sessions.values():
            if rules.is_idle(self.settings, session, now):
                session.expired = True

    # -- what there is to see ------------------------------------------------------

    def heard(self, session_id: str) -> list[Heard]:
        """The raw log of a session. An unknown id is a KeyError."""
        with self._lock:
            return list(self._sessions[session_id].log)

    def context(self, session_id: str) -> Conversation:
        """A session's log as the agent reads it. An unknown id is a KeyError."""
        return read(self.heard(session_id))

    @property
    def sessions(self) -> dict[str, SessionRecord]:
        """Every session ever created, by id."""
        with self._lock:
            self._expire_idle(self._clock())
            return {
                each.id: SessionRecord(
                    each.id, each.created, each.last_used, len(each.log), each.expired
                )
                for each in self._sessions.values()
            }

    @property
    def active_sessions(self) -> int:
        """How many sessions take a slot."""
        with self._lock:
            self._expire_idle(self._clock())
            return self._active()

    def _active(self) -> int:
        return sum(not session.expired for session in self._sessions.values())

    @property
    def runs(self) -> list[Run]:
        """Every answer of the agent, in order."""
        with self._lock:
            return list(self._runs)

    @property
    def requests(self) -> list[Exchange]:
        """Every HTTP request, in order of arrival."""
        with self._lock:
            return list(self._exchanges)

    @property
    def refused(self) -> list[Exchange]:
        """The requests that got an error status which nobody had ordered."""
        return [each for each in self.requests if each.fault is None and (each.status or 0) >= 400]

    @property
    def overlaps(self) -> list[Overlap]:
        """Pairs of requests that were on one session at once."""
        with self._lock:
            return list(self._overlaps)

    @property
    def credits(self) -> int:
        """The balance."""
        with self._lock:
            return self._credits

    @property
    def over_limit(self) -> int:
        """How many messages were pushed out of full sessions."""
        with self._lock:
            return self._over_limit

    @property
    def pending_faults(self) -> int:
        """How many requests will still meet an ordered fault."""
        with self._lock:
            return self._faults.count()


def _route(path: str) -> tuple[Road | None, str | None]:
    match path.strip("/").split("/"):
        case ["v1", "agent"]:
            return "agent", None
        case ["v1", "agent", _, "tool-outputs"]:
            return "tool_outputs", None
        case ["v1", "sessions"]:
            return "create", None
        case ["v1", "sessions", session_id, "messages"]:
            return "message", session_id
        case _:
            return None, None


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _remove(session: Session, heard: Heard) -> None:
    """Take one message out of a log; an equal one, said at another time, stays."""
    session.log[:] = [each for each in session.log if each is not heard]
