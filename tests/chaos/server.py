"""The server of a run: emulated projects, their troubles, and the desk where workers call.

The desk hands out turns to take, and keeps the conversations: an answer counts, and goes into
its conversation's list, only once it was reported here, so that a worker may die at any moment.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Listener
from typing import Any

from stewrd_integrations.api import StewrdClient
from stewrd_integrations.emulator import Context, Emulator
from stewrd_integrations.emulator.records import Exchange, Run

from .desk import Address, Desk, Turn
from .faults import any_trouble
from .judge import Told, fault_of, pairs, plain
from .plan import Plan, Report
from .stores import open_for
from .talks import Talk

SMALL_LIMIT = 8
"""Messages that a session of some projects holds, so that many are filled."""

SHORT, TOO_LONG = 1.5, 2.0
"""Seconds after which sessions die, and what models are told of it: some then end with 410."""

LONG = 1_800.0
TIGHT, ROOMY = 10, 100
"""Slots. A slot is held for a minute longer than its session lives, which no option shortens:
where sessions die young there must be many. The others have as many as Stewrd gives."""

SLOW = 0.4
"""Seconds that the agent thinks now and then."""


class Project:
    """One emulated project, with the most adverse settings, or some that differ."""

    def __init__(self, number: int, plan: Plan) -> None:
        chance = random.Random(f"{plan.seed}/{number}")  # noqa: S311
        self.chance = chance
        self.tight = number % 8 == 0
        self.surly = number == 1
        self.trouble = plan.trouble / 4 if number % 4 == 2 else plan.trouble
        self.limit = chance.choice((50, SMALL_LIMIT))
        self.slots = TIGHT if self.tight else ROOMY
        self.emulator = Emulator(
            agent=self.answer,
            on_answered=self.answered,
            credits=10_000_000,
            max_sessions=self.slots,
            idle_timeout=LONG if self.tight else SHORT,
            history_limit=self.limit,
            limit_code=chance.choice(("rate_limited", "too_many", None, "html")),
            over_limit=chance.choice(("drop_oldest", "error")),
            refused_appended=chance.random() < 0.7,
            failed_appended=chance.random() < 0.7,
            error_shape=chance.choice(("wrapped", "flat")),
            token_key=chance.choice(("text", "content")),
            done=chance.choice(("live", "documented", "nested")),
            newline=chance.choice(("\n", "\r\n", "\r")),
            keep_alive=chance.random() < 0.5,
            chunk_bytes=chance.choice((None, None, 7)),
        )
        self.emulator.start()
        self._answers = itertools.count(1)
        self._runs: dict[str, Run] = {}
        self._seen = 0

    @property
    def address(self) -> Address:
        """What a model is told of it."""
        url, key = self.emulator.url, self.emulator.api_key
        return Address(url, key, self.limit, self.slots, LONG if self.tight else TOO_LONG)

    def answer(self, context: Context) -> str:
        """The agent: two answers in all for those who say little, else never the same twice."""
        draw = self.chance.random()
        if draw < 0.1:
            time.sleep(SLOW if draw < 0.02 else 2 * draw)
        if len(context.message) <= 1:
            return "ok" if context.message == "a" else "Yes."
        return f"This is answer number {next(self._answers)} to {context.message[:40]}"

    def answered(self, exchange: Exchange) -> None:
        """Order trouble for a request to come; a session may die at any time."""
        if exchange.status == 404 and exchange.session_id is not None:
            # A server that says so has no such session.
            self.emulator.expire(exchange.session_id)
        if self.chance.random() >= self.trouble or self.emulator.pending_faults > 2:
            return
        on_session = exchange.session_id is not None and exchange.path.endswith("/messages")
        if on_session and self.chance.random() < 0.3:
            self.emulator.expire(exchange.session_id)
            return
        kind, details = any_trouble(self.chance, surly=self.surly)
        self.emulator.fail_next(kind, **details)  # type: ignore[arg-type]  # of our own table

    def run(self, request_id: str) -> Run | None:
        """The run of an answer."""
        runs = self.emulator.runs
        for run in runs[self._seen :]:
            self._runs[run.id] = run
        self._seen = len(runs)
        return self._runs.get(request_id)

    def story(self, session_id: str | None) -> list[str]:
        """All that was asked of a session."""
        return [
            f"  #{one.number} {one.status} fault={one.fault} {_short(one.body)}"
            for one in self.emulator.requests
            if session_id is not None and one.session_id == session_id
        ]

    def audit(self, report: Report) -> None:
        """Count what the server saw."""
        world = self.emulator
        sessions = world.sessions.values()
        most = max((record.messages for record in sessions), default=0)
        report.sessions += len(sessions)
        report.fullest = max(report.fullest, most)
        report.overfull += world.over_limit + sum(one.messages > self.limit for one in sessions)
        report.overlaps += len(world.overlaps)
        report.requests += len(world.requests)
        report.faults += sum(one.fault is not None for one in world.requests)
        report.expired += sum(one.status == 410 for one in world.requests)
        for one in world.refused:
            if one.path == "/v1/sessions" and one.status == 429:
                report.refused_creates += 1
            elif one.status != 410:
                report.other_refusals += 1
                report.broken.append(f"refused: {one.path} {one.status} {one.code} {one.note}")

    def check_slots(self, plan: Plan, report: Report) -> None:
        """Look for live sessions that neither have a slot in the store nor a ghost of one."""
        client = StewrdClient(api_key=self.emulator.api_key, base_url=self.emulator.url)
        pool, _ = client.identity()
        client.close()
        live = [one.id for one in self.emulator.sessions.values() if not one.expired]
        slots = open_for(plan.store).slots(pool)
        ghosts = sum(slot.startswith("opening-") for slot in slots)
        unknown = [one for one in live if one not in slots]
        if len(unknown) > ghosts:
            report.uncounted_sessions += len(unknown) - ghosts
            for one in unknown:
                report.broken += [f"no slot and {ghosts} ghosts: {one}", *self.story(one)]


def _short(body: Any) -> str:
    text = body.get("message", "") if isinstance(body, dict) else ""
    return json.dumps(text)[:1_500]


@dataclass(frozen=True)
class _Answered:
    turn: Turn
    talk: Talk
    told: Told


class Server:
    """Judges every answer at the moment it is reported."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.projects = [Project(number, plan) for number in range(plan.projects)]
        self.desk = Desk(plan, [project.address for project in self.projects])
        self.report = Report()
        self.lock = threading.RLock()
        self.scopes: dict[str, tuple[object, ...]] = {}
        self.begin = 0.0
        self.stopped = False

    # -- what workers and the run ask ----------------------------------------------------

    def pick(self, worker: int) -> Turn | None:
        """A turn to take; None is the end."""
        return None if self.is_done() else self.desk.turn(worker)

    def answered(self, number: int, told: Told) -> None:
        """A turn was answered."""
        turn, talk = self.desk.end(number)
        case = _Answered(turn, talk, told)
        talk.trail.append(f"{turn.change} by {told.mode}: {told.turn} on {told.session_id}")
        problem = self._problem(case)
        if problem is not None:
            self.report.wrong.append(self._evidence(case, problem))
        self.report.turns += 1
        self.report.ways[f"{told.road}/{told.turn}"] += 1
        if told.road == "stateless":
            self.report.reasons[told.reason] += 1
        self.report.kinds[f"{talk.framework}/{talk.kind}"] += 1
        self.report.modes[told.mode] += 1
        self.report.changes[turn.change] += 1
        self.desk.keep(turn, talk, told.line)

    def unanswered(self, number: int, mode: str, why: str) -> None:
        """A turn got no answer."""
        turn, talk = self.desk.end(number)
        talk.trail.append(f"{turn.change} by {mode}: {why}")
        self.report.unanswered[why] += 1
        self.desk.leave(turn, talk)

    def crashed(self, trace: str) -> None:
        """Something came up that no user should see."""
        self.report.crashes.append(trace)

    def turns(self) -> int:
        """How many were answered."""
        return self.report.turns

    def is_done(self) -> bool:
        """Whether the run is at its end."""
        self.begin = self.begin or time.monotonic()
        passed = time.monotonic() - self.begin
        enough = self.report.turns >= self.plan.turns and passed >= self.plan.seconds
        seen = self.plan.until_wrong and (self.report.wrong or self._refused())
        if enough or seen or passed >= self.plan.limit:
            self.stop()
        return self.stopped

    def stop(self) -> None:
        """Hand out no more turns."""
        if not self.stopped:
            self.stopped = True
            self.report.seconds = time.monotonic() - self.begin

    def _refused(self) -> bool:
        return any(
            one.path == "/v1/sessions" and one.status == 429
            for project in self.projects
            for one in project.emulator.refused
        )

    def finish(self) -> Report:
        """All that was seen."""
        for project in self.projects:
            project.audit(self.report)
            if self.plan.slots_last:
                project.check_slots(self.plan, self.report)
        return self.report

    # -- judging -------------------------------------------------------------------------

    def _problem(self, case: _Answered) -> str | None:
        turn, told = case.turn, case.told
        run = self.projects[turn.project].run(told.request_id)
        if run is None:
            return "the server has given no such answer"
        if run.session_id != told.session_id:
            return f"the answer came from session {run.session_id}"
        if plain(run.answer) != plain(told.line.text):
            return f"the server's answer was {run.answer!r}"
        scope = case.talk.scope
        if run.session_id and self.scopes.setdefault(run.session_id, scope) != scope:
            return f"the session belongs to {self.scopes[run.session_id]}"
        fault = fault_of(run.conversation, turn.shown, turn.gone, turn.system)
        if fault is None and told.turn not in ("continued",):
            missing = len(turn.shown) - len(run.conversation.messages)
            fault = None if missing == told.omitted else f"{told.omitted} are said to be left out"
        return fault

    def _evidence(self, case: _Answered, problem: str) -> str:
        turn, talk, told = case.turn, case.talk, case.told
        project = self.projects[turn.project]
        run = project.run(told.request_id)
        read = [(one.role, one.text) for one in run.conversation.messages] if run else []
        return "\n".join(
            [
                f"WRONG CONTEXT: {problem}",
                f"conversation {talk.id}: {talk.framework}, scope {talk.scope}",
                f"answer: {replace(told, line=told.line._replace(raw=None))}",
                f"instructions shown: {turn.system!r}",
                f"trimmed before: {pairs(turn.gone)}",
                f"list shown:     {pairs(turn.shown)}",
                f"server knew:    {read}",
                "what happened to the conversation:",
                *(f"  {line}" for line in talk.trail[-25:]),
                f"what happened on the session (project {turn.project}):",
                *project.story(told.session_id)[-25:],
            ]
        )


def serve(plan: Plan) -> None:
    """Serve until the process is killed."""
    # asyncio logs each piece that a client who has left does not take.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    server = Server(plan)
    with Listener(plan.address, "AF_UNIX", backlog=64) as listener:
        while True:
            line = listener.accept()
            threading.Thread(target=_talk, args=(server, line), daemon=True).start()


def _talk(server: Server, line: Connection) -> None:
    """Answer one caller until it hangs up or is killed; its turns then end unanswered."""
    taken: set[int] = set()
    try:
        while True:
            method, arguments = line.recv()
            with server.lock:
                answer = getattr(server, method)(*arguments)
                if isinstance(answer, Turn):
                    taken.add(answer.number)
                if method in ("answered", "unanswered"):
                    taken.discard(arguments[0])
            line.send(answer)
    except (EOFError, OSError):
        with server.lock:
            for number in taken:
                server.unanswered(number, "?", "killed")


class Caller:
    """The other end: calls the server's methods."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def __call__(self, method: str, *arguments: Any) -> Any:
        self._line.send((method, arguments))
        return self._line.recv()
