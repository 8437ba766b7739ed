"""The emulated Stewrd: a pure world with an injected clock, and no sockets.

A request goes in and a response comes out, with orders for the transport. What is
a rule stands in `rules` and `tools`; here stands the way of a request, and what it
changes: sessions, waiting runs, credits, the journal. One lock guards the whole state.
The agent runs outside of it, so that a slow one holds up nobody else, and one that
looks at the world does not deadlock.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from . import replies, rules, tools
from .accounts import Account
from .agent import Agent, Answer, Context, File
from .builtin import default_agent
from .errors import Refusal, refuse
from .faults import Fault, Faults, Road
from .journal import Journal, note
from .reading import Conversation, Heard, ToolCall, read
from .records import Ask, Exchange, Overlap, Run, Session, SessionRecord, ToolOutput
from .runs import Runs, Waiting
from .sessions import Sessions, Turn
from .settings import Settings
from .wire import Request, Response

_log = logging.getLogger("stewrd_integrations.emulator")


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass
class _Call:
    """A request on its way through the world.

    `run` is the one that it gives `outputs` to; `log` is what its agent is shown.
    """

    number: int
    request: Request
    now: float
    road: Road | None
    session_id: str | None
    run_id: str | None
    session: Session | None
    ask: Ask | None = None
    fault: Fault | None = None
    turn: Turn | None = None
    run: Waiting | None = None
    outputs: tuple[ToolOutput, ...] = ()
    log: list[Heard] = field(default_factory=list)
    cost: int = 0

    @property
    def round(self) -> int:
        """How often the run was given outputs, this request included."""
        return 0 if self.run is None else self.run.round + 1


class World:
    """All that the server knows. Thread-safe.

    `clock` gives seconds, `make_id` ids for sessions, runs and calls, `agent` answers;
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
        self._lock = threading.RLock()
        self._sessions = Sessions(settings)
        self._waiting = Runs(settings, make_id)
        self._faults = Faults()
        self._journal = Journal(on_answered)
        self._arrivals: deque[float] = deque(maxlen=settings.rate_limit)
        self._account = Account(settings)

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
            self._sessions.leave(response.number)

    def _receive(self, request: Request) -> _Call:
        now = self._clock()
        self._sessions.expire_idle(now)
        road, session_id, run_id = _route(request.path)
        session = self._sessions.find(session_id)
        run = self._waiting.find(run_id, now)
        if run is not None and run.session is not None:
            session, session_id = run.session, run.session.id
        number = self._journal.open(request, now, session_id)
        if session is not None:
            self._sessions.enter(session, number)
        return _Call(number, request, now, road, session_id, run_id, session)

    def _accept(self, call: _Call) -> Context | None:
        """Apply the rules in the order of the API; a create has no context."""
        rules.check_key(self._api_key, call.request.headers)
        if call.road is None:
            raise refuse("not_found", "No such path.")
        if call.request.method != "POST":
            raise refuse("method_not_allowed")
        rules.check_rate(self.settings, self._arrivals, call.now)
        self._arrivals.append(call.now)
        if call.road == "agent":
            return self._accept_run(call, rules.parse_ask(self.settings, call.request.body))
        if call.road == "message":
            return self._accept_message(call)
        self._meet_fault(call)
        if call.road == "tool_outputs":
            return self._accept_outputs(call)
        rules.check_plan(self.settings)
        rules.check_slots(self.settings, self._sessions.active())
        return None

    def _accept_message(self, call: _Call) -> Context:
        ask = rules.parse_ask(self.settings, call.request.body)
        ask = tools.in_session(self.settings, ask)
        call.session = rules.check_alive(self.settings, call.session)
        call.turn = Turn(self._sessions, call.session)
        return self._accept_run(call, ask)

    def _accept_run(self, call: _Call, ask: Ask) -> Context:
        call.ask = ask
        self._meet_fault(call)
        self._account.check_quota()
        priced = tools.capabilities(self.settings, ask)
        rules.check_capabilities(self.settings, priced)
        if call.session is not None:
            rules.check_room(self.settings, self._sessions.held(call.session))
        call.cost = self._account.charge(rules.price(priced))
        return self._hear(call, ask)

    def _accept_outputs(self, call: _Call) -> Context:
        """[documented] Outputs are free. [assumed] Wrong ones leave the run as it was."""
        call.run = run = self._waiting.take(call.run_id, call.request.body, call.now)
        call.ask, call.outputs = run.ask, run.outputs
        heard = run.heard()
        call.log = [*run.log, *heard]
        files = run.ask.files
        if run.session is not None:
            files = tuple(run.session.files)
            call.turn = Turn(self._sessions, run.session, run.unsaid)
            call.turn.hear_outputs(heard)
            if self.settings.outputs_reset_idle:
                run.session.last_used = call.now
        return self._context(call, run.ask, (), files)

    def _meet_fault(self, call: _Call) -> None:
        """Take the fault that waits for this request; some strike at once."""
        assert call.road is not None
        stream = call.ask is not None and call.ask.stream
        call.fault = fault = self._faults.take(call.road, stream)
        if fault is None:
            return
        if fault.kind == "expire" and call.road == "tool_outputs":
            self._waiting.discard(call.run_id)
        elif fault.kind == "expire" and call.session is not None:
            call.session.expired = True
            rules.check_alive(self.settings, call.session)
        if fault.refuses and not fault.after:
            raise fault.refusal()

    def _hear(self, call: _Call, ask: Ask) -> Context:
        """Put the message into its log and show the agent what it has now heard."""
        message = Heard("user", ask.message)
        if call.turn is None:
            call.log = [message]
            return self._context(call, ask, ask.files, ())
        session = call.turn.session
        # [documented] each message resets the idle timer
        if self.settings.idle_reset == "arrival":
            session.last_used = call.now
        call.turn.hear(message)
        earlier = tuple(session.files)
        session.files.extend(ask.files)
        call.log = list(session.log)
        return self._context(call, ask, ask.files, earlier)

    def _context(
        self, call: _Call, ask: Ask, files: tuple[File, ...], earlier: tuple[File, ...]
    ) -> Context:
        conversation = read(call.log)
        last = conversation.messages[-1] if conversation.messages else None
        return Context(
            conversation=conversation,
            message=last.text if last is not None and last.role == "user" else "",
            files=files,
            earlier_files=earlier,
            capabilities=("chat",) if ask.tools else ask.capabilities,
            session_id=call.session_id,
            road="stateless" if call.session is None else "session",
            tools=ask.tools,
            round=call.round,
        )

    def _think(self, context: Context) -> Answer:
        try:
            answer = self._agent(context)
        except Exception as broken:
            # The agent may be anybody's code, and must not take the server with it.
            _log.exception("the agent of the emulator failed")
            raise refuse("compute_error", f"The agent failed: {broken}") from broken
        if isinstance(answer, str):
            return Answer(answer)
        tools.check_calls(self.settings, context, answer.calls)
        last = tools.is_over(self.settings, context.round)
        if answer.calls and last and self.settings.over_rounds == "completed":
            return self._think(replace(context, tools=()))
        return answer

    def _answer(self, call: _Call, context: Context, answer: Answer) -> Response:
        assert call.ask is not None
        used = self._charge_rest(call, call.ask, answer)
        if call.session is not None and self.settings.idle_reset == "answer" and call.round == 0:
            call.session.last_used = self._clock()
        run = self._record(call, context, call.ask, answer)
        said = Heard("assistant", run.answer, tool_calls=run.calls)
        if call.turn is not None:
            call.turn.say(said)
        lost = call.fault is not None and call.fault.loses_answer
        if call.turn is not None and lost and not self.settings.failed_appended:
            call.turn.take_back()
        waiting = self._wait(call, call.ask, run, [*call.log, said])
        if call.fault is not None and call.fault.refuses:
            return self._refused(call, call.fault.refusal())
        body = replies.run_body(self.settings, run, answer.files, used, self._account.credits)
        body["meta"]["duration_ms"] = int((self._clock() - call.now) * 1000)
        if run.calls:
            body = replies.asking(self.settings, body, run, waiting)
        response = replies.run_response(
            self.settings, call.number, body, call.ask.stream, call.fault
        )
        held = None if call.session is None else self._sessions.held(call.session)
        return self._close(call, response, None, note(self.settings, run, held))

    def _charge_rest(self, call: _Call, ask: Ask, answer: Answer) -> tuple[str, ...]:
        """What the agent used; [assumed] without a filter it chooses, and is charged now."""
        if ask.tools:
            # [documented] with tools only chat is used
            return ("chat",)
        used = answer.capabilities_used or ask.capabilities or ("chat",)
        if not ask.capabilities:
            call.cost += self._account.charge_rest(rules.price(used), call.cost)
        return used

    def _wait(self, call: _Call, ask: Ask, run: Run, log: list[Heard]) -> Waiting | None:
        """Let a run wait for the outputs that it asks for, if its answer can say so."""
        if not run.calls or (call.turn is not None and self.settings.session_tools == "empty"):
            return None
        unsaid = [] if call.turn is None else call.turn.unsaid
        now = self._clock()
        return self._waiting.open(
            run, ask, now, log, session=call.session, unsaid=unsaid, before=call.run
        )

    def _create(self, call: _Call) -> Response:
        session = self._sessions.create(self._make_id(), call.now)
        call.session_id = session.id
        if call.fault is not None and call.fault.refuses:
            return self._refused(call, call.fault.refusal())
        response = replies.created(self.settings, call.number, session.id, call.fault)
        told = f"session {self._sessions.active()}/{self.settings.max_sessions}"
        return self._close(call, response, None, told)

    def _refused(self, call: _Call, refusal: Refusal) -> Response:
        self._account.settle(call.cost, refusal)
        answered = call.fault is not None and call.fault.after
        if call.turn is not None and call.ask is not None and not answered:
            call.turn.fail(refusal, call.ask.message)
        response = replies.refused(self.settings, call.number, refusal)
        told = "hung up" if refusal.form == "hang_up" else refusal.message
        return self._close(call, response, refusal, told)

    def _record(self, call: _Call, context: Context, ask: Ask, answer: Answer) -> Run:
        run_id = self._make_id() if call.run is None else call.run.id
        call.run_id = run_id
        calls = tuple(
            ToolCall(each.id or f"call_{self._make_id()}", each.name, dict(each.arguments))
            for each in answer.calls
        )
        run = Run(
            number=call.number,
            id=run_id,
            road=context.road,
            session_id=context.session_id,
            message=ask.message if call.run is None else "",
            files=ask.files if call.run is None else (),
            capabilities=ask.capabilities,
            stream=ask.stream,
            tools=ask.tools,
            conversation=context.conversation,
            answer=answer.text,
            credits=call.cost,
            time=call.now,
            round=call.round,
            outputs=call.outputs,
            calls=calls,
        )
        self._journal.runs.append(run)
        return run

    def _close(
        self, call: _Call, response: Response, refusal: Refusal | None, told: str
    ) -> Response:
        fault = None if call.fault is None else call.fault.kind
        ids = {"session_id": call.session_id, "run_id": call.run_id}
        return self._journal.close(response, refusal, fault=fault, note=told, **ids)

    # -- orders ------------------------------------------------------------------

    def fail(self, fault: Fault) -> None:
        """Order a fault for a request to come."""
        with self._lock:
            self._faults.add(fault)

    def expire(self, session_id: str | None = None) -> None:
        """Let one session die at once, or all. An unknown id is a KeyError."""
        with self._lock:
            self._sessions.expire(session_id)

    def expire_run(self, run_id: str | None = None) -> None:
        """Let the time of one waiting run be over, or of all. An unknown id is a KeyError."""
        with self._lock:
            self._waiting.expire(run_id, self._clock())

    # -- what there is to see ------------------------------------------------------

    def heard(self, session_id: str) -> list[Heard]:
        """The raw log of a session. An unknown id is a KeyError."""
        with self._lock:
            return self._sessions.log(session_id)

    def context(self, session_id: str) -> Conversation:
        """A session's log as the agent reads it. An unknown id is a KeyError."""
        return read(self.heard(session_id))

    @property
    def sessions(self) -> dict[str, SessionRecord]:
        """Every session ever created, by id."""
        with self._lock:
            self._sessions.expire_idle(self._clock())
            return self._sessions.records()

    @property
    def active_sessions(self) -> int:
        """How many sessions take a slot."""
        with self._lock:
            self._sessions.expire_idle(self._clock())
            return self._sessions.active()

    @property
    def waiting_runs(self) -> list[str]:
        """The ids of the runs that wait for tool outputs, oldest first."""
        with self._lock:
            return self._waiting.ids(self._clock())

    @property
    def runs(self) -> list[Run]:
        """Every answer of the agent, in order."""
        with self._lock:
            return list(self._journal.runs)

    @property
    def requests(self) -> list[Exchange]:
        """Every HTTP request, in order of arrival."""
        with self._lock:
            return list(self._journal.exchanges)

    @property
    def refused(self) -> list[Exchange]:
        """The requests that got an error status which nobody had ordered."""
        with self._lock:
            return self._journal.refused

    @property
    def overlaps(self) -> list[Overlap]:
        """Pairs of requests that were on one session at once."""
        with self._lock:
            return list(self._sessions.overlaps)

    @property
    def credits(self) -> int:
        """The balance."""
        with self._lock:
            return self._account.credits

    @property
    def over_limit(self) -> int:
        """How many messages were pushed out of full sessions."""
        with self._lock:
            return self._sessions.over_limit

    @property
    def pending_faults(self) -> int:
        """How many requests will still meet an ordered fault."""
        with self._lock:
            return self._faults.count()


def _route(path: str) -> tuple[Road | None, str | None, str | None]:
    """The road of a path, and the session or the run that it names."""
    match path.strip("/").split("/"):
        case ["v1", "agent"]:
            return "agent", None, None
        case ["v1", "agent", run_id, "tool-outputs"]:
            return "tool_outputs", None, run_id
        case ["v1", "sessions"]:
            return "create", None, None
        case ["v1", "sessions", session_id, "messages"]:
            return "message", session_id, None
        case _:
            return None, None, None
