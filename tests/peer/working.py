"""One request at work: what it may do, what the agent answers, what is kept of it."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from . import asked, forms
from .faults import Fault, Response
from .records import Answer, Answered, Ask, Call, Context, Entry, Logged, Road, Run, Session
from .refusals import Refusal
from .world import World

OUTPUTS = re.compile(r"/v1/agent/([^/]+)/tool-outputs")
PROJECT = "5b3f4a8e-5c0e-4d59-a1c1-0c4d5c1f2e3d"
CONTENT_TYPES = {
    "plain": ("application/json", "text/event-stream"),
    "with charset": ("application/json; charset=utf-8", "text/event-stream; charset=utf-8"),
    "capitals": ("Application/JSON", "Text/Event-Stream"),
}


class Work:
    """The way of one request through the service."""

    def __init__(self, world: World, logged: Logged, fault: Fault | None) -> None:
        self.world, self.unknowns = world, world.unknowns
        self.logged, self.request, self.fault = logged, logged.request, fault
        self.session: Session | None = None
        self.kept: list[Entry] = []
        self.taken = 0
        self.released = False
        self.run: Run | None = None

    def done(self, endpoint: str, session: str) -> Response:
        """The answer, with what goes wrong on its way."""
        try:
            match endpoint:
                case "create":
                    return self._create()
                case "outputs":
                    return self._outputs()
                case _:
                    return self._message(session)
        except Refusal as refusal:
            self._left_in_doubt(refusal)
            raise

    # -- the three kinds of requests ---------------------------------------------------------

    def _create(self) -> Response:
        with self.world.lock:
            self._refuse_as_ordered()
            if self._idle():
                return self._told({"id": "none"})
            session = self.world.create()
        return self._told({"id": session.id, "object": "session", "status": "active"}, 201)

    def _message(self, session: str) -> Response:
        world = self.world
        with world.lock:
            ask = asked.agent_request(self.request.body)
            self._check(ask)
            if session:
                self._expire_as_ordered(session)
                self._enter(world.session(session))
            self._refuse_as_ordered(ask)
            if self._idle():
                return self._told({"id": "none"})
            ask = self._tools_of(ask)
            world.allow(ask)
            if self.session is not None:
                world.make_room(self.session, 2)
            self._charge(ask)
            run = self._begin(ask)
        return self._run(run)

    def _outputs(self) -> Response:
        world = self.world
        with world.lock:
            kilobyte = int(self.unknowns.kilobyte)
            failing = self.unknowns.session_tools == "accepted, outputs fail"
            outputs, instance = asked.tool_outputs(self.request.body, kilobyte)
            found = OUTPUTS.fullmatch(self.request.path)
            run = world.runs.get(found[1] if found else "")
            self.logged.run = run.id if run is not None else None
            if run is not None and self.fault is not None and self.fault.kind == "expire":
                run.dead = True
            self._refuse_as_ordered()
            if run is not None and run.session and failing:
                raise Refusal("compute_error")
            if run is None or not self._waits(run, instance):
                raise Refusal("context_expired")
            if run.rounds >= world.rules.rounds:
                late = self.unknowns.after_ten_rounds == "calls, outputs not found"
                raise Refusal("context_expired" if late else "invalid_tool_outputs")
            if set(outputs) != {call.id for call in run.waiting}:
                raise Refusal("invalid_tool_outputs")
            if run.session is not None:
                self._still_there(run.session)
                self._enter(run.session)
            if self._idle():
                return self._told({"id": run.id})
            self._take_outputs(run, outputs)
        return self._run(run)

    def _check(self, ask: Ask) -> None:
        more = set(ask.capabilities or ()) - {"chat"}
        if ask.tools and more and self.unknowns.tools_capabilities == "refused":
            raise Refusal("invalid_tools", "With tools there is only chat.")
        if ask.stream and ask.tools and self.unknowns.tools_with_stream == "invalid_tools":
            raise Refusal("invalid_tools", "Tools can't be streamed.")
        if self.unknowns.binary_files == "refused":
            for file in ask.files:
                if "\x00" in (file.content or ""):
                    raise Refusal("invalid_body", "A file is not text.")

    # -- what goes wrong on purpose ----------------------------------------------------------

    def _refuse_as_ordered(self, ask: Ask | None = None) -> None:
        fault = self.fault
        if fault is None or fault.kind != "refuse" or fault.refusal is None:
            return
        status = fault.refusal.status
        form = self.unknowns.failed_message if status >= 500 else self.unknowns.refused_message
        spoilt = status >= 500 or status in {402, 403}
        if self.session is not None and ask is not None and spoilt and form == "appended":
            self.session.history.append(Entry("user", ask.message, ask.files))
        fault.refusal.headers = fault.headers
        raise fault.refusal

    def _expire_as_ordered(self, session: str) -> None:
        found = self.world.sessions.get(session)
        if found is not None and self.fault is not None and self.fault.kind == "expire":
            found.gone = True

    def _idle(self) -> bool:
        """Whether the request is lost before any work."""
        return self.fault is not None and not self.fault.worked

    def _left_in_doubt(self, refusal: Refusal) -> None:
        self._release()
        spoilt = refusal.status in {402, 403, 408, 409, 410} or refusal.status >= 500
        if self.session is not None and (spoilt or refusal.code == "quota_exceeded"):
            self.session.doubtful = True

    # -- sessions ----------------------------------------------------------------------------

    def _enter(self, session: Session) -> None:
        if session.busy:
            self.world.overlaps.append(session.id)
        self.session = session
        session.busy += 1
        if self.unknowns.message_while_waiting == "409" and self._somebody_waits(session):
            raise Refusal("run_in_progress", status=409, body="a code of its own")

    def _still_there(self, session: Session) -> None:
        if session not in self.world.active():
            match self.unknowns.expired_session_run:
                case "410":
                    self.world.session(session.id)
                case "not found":
                    raise Refusal("context_expired")

    def _somebody_waits(self, session: Session) -> bool:
        waiting = [run for run in self.world.runs.values() if run.session is session]
        return not OUTPUTS.fullmatch(self.request.path) and any(
            self._waits(run, None) for run in waiting
        )

    def _tools_of(self, ask: Ask) -> Ask:
        if self.session is None or not ask.tools:
            return ask
        match self.unknowns.session_tools:
            case "invalid_tools" | "invalid_body" as code:
                raise Refusal(code)
            case "502":
                raise Refusal("compute_error")
            case "503":
                raise Refusal("service_unavailable")
            case status if status.isdigit():
                raise Refusal("tools_in_session", status=int(status), body="a code of its own")
            case "ignored":
                return replace(ask, tools=())
            case _:
                return ask

    def _charge(self, ask: Ask) -> None:
        try:
            self.taken = self.world.charge(self.world.price(ask))
        except Refusal:
            if self.session is not None and self.unknowns.refused_message == "appended":
                self.session.history.append(Entry("user", ask.message, ask.files))
            raise

    # -- runs --------------------------------------------------------------------------------

    def _begin(self, ask: Ask) -> Run:
        said = Entry("user", ask.message, ask.files)
        before = self.session.history if self.session is not None else []
        run = Run(str(uuid.uuid4()), self.session, ask, [*before, said])
        match self.unknowns.compute_instance:
            case "given" | "new each round":
                run.instance = f"instance-{run.id[:8]}"
            case "long":
                run.instance = "fra/9=+" * 30 + run.id
        self._keep(run, said)
        if not ask.tools:
            self._flush(run)
        self.world.runs[run.id] = run
        return run

    def _keep(self, run: Run, *entries: Entry, enter: bool = True) -> None:
        """Write down what was said, and what of it is to enter the history."""
        if self.session is None:
            return
        self.session.told += entries
        self._touch(run)
        if enter:
            run.held += entries

    def _touch(self, run: Run) -> None:
        """Messages reset the idle timer; tool outputs perhaps."""
        if self.session is not None and (
            not run.rounds or self.unknowns.outputs_keep_alive == "yes"
        ):
            self.session.used = max(self.session.used, self.world.now)

    def _flush(self, run: Run) -> None:
        """Put into the history what has its place there by now."""
        if self.session is None:
            return
        form = self.unknowns.waiting_run if run.waiting else "message and calls"
        users = [entry for entry in run.held if entry.role == "user"]
        entering = {"message and calls": run.held, "message": users, "nothing": []}[form]
        run.held = [entry for entry in run.held if entry not in entering]
        self.kept += entering
        self.world.add(self.session, *entering)

    def _waits(self, run: Run, instance: str | None) -> bool:
        found = self.unknowns.session_tools != "accepted, outputs not found"
        same = instance is None or instance == run.instance
        here = run.session is None or found
        return (
            bool(run.waiting) and not run.dead and self.world.now < run.deadline and same and here
        )

    def _take_outputs(self, run: Run, outputs: dict[str, str]) -> None:
        counts = self.unknowns.outputs_count == "counted"
        enter = self.unknowns.outputs_enter in {"outputs and answer", "outputs only"}
        said = [
            Entry("tool", outputs[call.id], call_id=call.id, counts=counts) for call in run.waiting
        ]
        if run.session is not None and enter and counts:
            self.world.make_room(run.session, len(said))
        run.waiting, run.rounds = (), run.rounds + 1
        run.entries += said
        self._keep(run, *said, enter=enter)

    def _run(self, run: Run) -> Response:
        self.run = run
        road: Road = "stateless" if run.session is None else "session"
        session = run.session.id if run.session is not None else None
        self.logged.run = run.id
        context = Context(tuple(run.entries), run.ask, road, session, run.rounds)
        told = tuple(run.session.told) if run.session is not None else tuple(run.entries)
        given = self.world.agent(context)
        answer = Answer(given) if isinstance(given, str) else given
        with self.world.lock:
            if self._answers_nothing(run, answer):
                answer, run.silent = Answer(), True
            asked_under = run.id
            response = self._finish(run, answer)
            charged = 0 if run.rounds else self.taken
            done = Answered(context, answer, asked_under, self.logged, run.waiting, charged, told)
            self.world.answered.append(done)
            return response

    def _answers_nothing(self, run: Run, answer: Answer) -> bool:
        if run.session is None or not run.ask.tools:
            return False
        form = self.unknowns.session_tools
        if form in {"calls left out", "calls left out, null message"}:
            return bool(answer.calls)
        return form in {"neither message nor calls", "empty message", "null message"}

    def _finish(self, run: Run, answer: Answer) -> Response:
        calls = self._calls(run, answer)
        message = answer.message or ("" if calls or not answer.calls else "No more rounds.")
        if calls:
            run.waiting, run.deadline = calls, self.world.now + self.world.rules.wait_for_outputs
            counts = self.unknowns.outputs_count == "counted"
            enter = self.unknowns.outputs_enter in {"outputs and answer", "outputs only"}
            shown = self._calling_message(message)
            text = shown if isinstance(shown, str) else ""
            said = Entry("assistant", text, calls=calls, counts=counts)
        else:
            enter = run.rounds == 0 or self.unknowns.outputs_enter in {
                "outputs and answer",
                "answer only",
            }
            said = Entry("assistant", message, answer.files)
        run.entries.append(said)
        self._keep(run, said, enter=enter)
        self._flush(run)
        return self._delivered(run, answer, self._object(run, answer, message))

    def _calls(self, run: Run, answer: Answer) -> tuple[Call, ...]:
        if not run.ask.tools:
            return ()
        if answer.calls and run.rounds >= self.world.rules.rounds:
            if self.unknowns.after_ten_rounds == "compute_error":
                raise Refusal("compute_error")
            if self.unknowns.after_ten_rounds == "no calls":
                return ()
        found = []
        for place, (name, arguments) in enumerate(answer.calls):
            run.numbered += 1
            ids = {
                "unique": f"call_{uuid.uuid4().hex[:12]}",
                "numbered in each answer": f"call_{place}",
                "numbered in each run": f"call_{run.numbered}",
            }
            own = answer.ids[place] if place < len(answer.ids) else None
            found.append(Call(own or ids[self.unknowns.call_ids], name, arguments))
        return tuple(found)

    # -- the answer --------------------------------------------------------------------------

    def _object(self, run: Run, answer: Answer, message: str) -> dict[str, Any]:
        if run.rounds and self.unknowns.run_id == "new each round":
            self.world.runs.pop(run.id)
            run.id = str(uuid.uuid4())
            self.world.runs[run.id] = run
        told: dict[str, Any] = {"id": run.id, "object": "agent.response"}
        if run.session is not None:
            after = run.rounds and self.unknowns.outputs_object == "agent.response"
            told["object"] = "agent.response" if after else "session.message"
            told["session_id"] = ... if after else run.session.id
        used = self._used(run, answer)
        told |= {"status": self._status(run), "message": message, "capabilities_used": list(used)}
        told |= {"tool_calls": self._shown_calls(run), "files": [f.shown() for f in answer.files]}
        told |= {"usage": self._usage(run, used, message)}
        meta = {"duration_ms": 5, "project_id": PROJECT, "plan": self.world.rules.plan}
        told["meta"] = forms.optional(self.unknowns.meta_form, meta)
        if run.waiting:
            if self.unknowns.compute_instance == "new each round":
                run.instance = f"instance-{uuid.uuid4()}"
            told |= {"message": self._calling_message(message), "_compute_instance": run.instance}
            if self.unknowns.compute_instance == "absent":
                told["_compute_instance"] = ...
        elif run.silent:
            empty = {
                "empty message": "",
                "null message": None,
                "calls left out, null message": None,
            }
            told["message"] = empty.get(self.unknowns.session_tools, ...)
        return told

    def _shown_calls(self, run: Run) -> Any:
        if run.waiting:
            return [call.shown() for call in run.waiting]
        return [] if self.unknowns.empties != "lists" else ...

    def _status(self, run: Run) -> Any:
        if run.waiting:
            bare = self.unknowns.session_tools == "accepted, without status" and run.session
            return ... if bare else "requires_tool_outputs"
        if run.silent:
            return ...
        return forms.optional(self.unknowns.status_field, "completed")

    def _calling_message(self, message: str) -> Any:
        forms_of_it: dict[str, Any] = {"absent": message or ..., "null": message or None}
        if self.unknowns.calling_message == "a text":
            return message or "Let me look."
        return forms_of_it.get(self.unknowns.calling_message, message)

    def _used(self, run: Run, answer: Answer) -> tuple[str, ...]:
        if run.ask.tools:
            return ("chat",)
        used = answer.capabilities_used or run.ask.capabilities or ("chat",)
        if run.ask.capabilities is None and self.unknowns.capabilities_left_out == "used":
            with suppress(Refusal):
                more = sum(asked.PRICES[name] for name in used) - self.taken
                self.taken += self.world.charge(more) if more > 0 else 0
        return used

    def _usage(self, run: Run, used: tuple[str, ...], message: str) -> Any:
        tokens = sum(len(entry.text) for entry in run.entries) // 4 + len(message) // 4
        return forms.usage(self.unknowns, self.taken, self.world.credits, tokens)

    # -- the delivery ------------------------------------------------------------------------

    def _delivered(self, run: Run, answer: Answer, told: dict[str, Any]) -> Response:
        wants_events = run.ask.stream and not run.rounds and not run.ask.tools
        plain = self.fault is not None and self.fault.kind == "json"
        if not wants_events or plain or self.unknowns.stream_answer == "json":
            return self._told(told)
        events = forms.events(forms.stripped(told, self.unknowns), self.unknowns)
        if self.fault is not None:
            events = self._spoilt(events)
        blocks = forms.stream(events, self.unknowns, whole=events[-1][0] == "done")
        pieces = forms.cut_up(blocks, self.unknowns)
        kind = CONTENT_TYPES[self.unknowns.content_type][1]
        response = Response(200, kind, pieces, chunked=True, pause=self.world.pause)
        response.conclude_at = self._before_done(pieces)
        return self._ordered(response)

    def _spoilt(self, events: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        fault = self.fault
        if fault is None or fault.kind not in {"error event", "no done"}:
            return events
        if self.session is not None:
            self.session.doubtful = True
        if fault.kind == "no done":
            return events[:-1] or [("tool_end", {"tool": "chat"})]
        code = fault.refusal.code if fault.refusal is not None else "compute_error"
        first = events[: min(fault.after, len(events) - 1)]
        return [*first, ("error", {"code": code, "message": "The run failed."})]

    @staticmethod
    def _before_done(pieces: list[bytes]) -> int:
        """How many pieces come for sure before the last event can be read."""
        done = b"".join(pieces).rfind(b"event:")
        passed = 0
        for place, piece in enumerate(pieces):
            passed += len(piece)
            if passed > done:
                return place
        return 0

    def _told(self, told: dict[str, Any], status: int = 200) -> Response:
        body = forms.dumped(
            forms.with_future(forms.stripped(told, self.unknowns), self.unknowns), self.unknowns
        )
        kind = CONTENT_TYPES[self.unknowns.content_type][0]
        response = Response(status, kind, [body], chunked=self.unknowns.framing == "chunked")
        return self._ordered(response)

    def _ordered(self, response: Response) -> Response:
        response.latency = self.world.latency
        if self.fault is not None and self.fault.kind == "body":
            response.status, response.pieces = self.fault.status, [self.fault.body]
            response.headers |= self.fault.headers
            if response.status < 400:  # a body of an answer, else of whatever it is
                response.content_type = "application/json"
            if self.session is not None:
                self.session.doubtful = True
        elif self.fault is not None:
            response.break_off(self.fault)
        response.settle = self._settled
        return response

    def _release(self) -> None:
        if self.session is not None and not self.released:
            self.released = True
            self.session.busy -= 1

    def _settled(self, delivered: bool) -> None:
        with self.world.lock:
            self._release()
            if self.run is not None and self.unknowns.idle_from == "the answer":
                self._touch(self.run)
            if not delivered:
                self._undone()

    def _undone(self) -> None:
        """The client went away, or was left, before it had its answer."""
        if self.unknowns.cut_charge == "refunded":
            self.world.credits += self.taken
            self.taken = 0
        if self.session is None:
            return
        self.session.doubtful = True
        drop = {"kept": 0, "message kept": 1, "not kept": 2}[self.unknowns.cut_exchange]
        for entry in self.kept[::-1][:drop]:
            with suppress(ValueError):
                self.session.history.remove(entry)
        self.kept = []
