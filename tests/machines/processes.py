"""The machine of the processes: workers on one store and one server, one step at a time.

Conversations wander between three processes, each with its own models and stores. One may be
killed while the agent thinks, or at any step of its store; two may speak at once. What the server
heard must be right all the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.emulator.records import Exchange, Run
from stewrd_integrations.types import Message

from .agents import Gate
from .faults import BEHAVIOURS, CREATE_FAULTS, FAULTS
from .judge import Case, Judge, check_budget, check_files, messages_on_sessions, texts_are_known
from .lists import ANY
from .pool import PATIENCE, WORKERS, Killed, workers
from .shelves import SHELVES
from .speaking import Speaking, check_answer
from .stepped import METHODS, When
from .talks import MODES, Answered, Asked, Failed, Mode, Outcome, Talk
from .variants import ALL, CAP, SLOTS, SMALL, SPARING, VARIANTS
from .voices import VOICES
from .worker import Begin, Reopen, Speak

KILLED = Failed("killed", sent=True, gives_up=False)
ON_SOCKETS = tuple(fault for fault in FAULTS if fault[0] != "slow")
"""Faults that need no patience."""


class ProcessesMachine(Speaking):
    """The rules that both stores and both answer profiles share."""

    shelf_kind = "sqlite"
    variants = ALL

    @initialize(
        behaviour=st.fixed_dictionaries({k: st.sampled_from(v) for k, v in BEHAVIOURS.items()}),
    )
    def the_server_behaves(self, behaviour: dict[str, Any]) -> None:
        self.judge = Judge(behaviour)
        self.gate = Gate(self.agent)
        behaviour = {**behaviour, "max_sessions": SLOTS, "history_limit": CAP}
        self.server = Emulator(agent=self.gate, credits=1_000_000, **behaviour).start()
        self.ahead = 0.0
        self.shelf = SHELVES[self.shelf_kind](self.server.now)
        for process in workers():
            process.begin(Begin(self.shelf.place, self.server.url, self.server.api_key))
        for at, framework in zip((0, 2), self.frameworks, strict=False):
            self.begins(framework, "name", "a", at, None, f"{framework} 1", "", "usual")
            self.begins(framework, "mark", "a", at + 1, None, "", "", "usual")

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.server.stop()
            self.shelf.close()
        super().teardown()

    # -- the world moves -------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 61.0, 301.0, 1_795.0, 1_900.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.ahead += seconds
        self.server.advance(seconds)
        self.shelf.advance(seconds)

    @rule(what=st.sampled_from(["sessions", "runs"]))
    def something_expires(self, what: str) -> None:
        if what == "sessions":
            self.server.expire()
        else:
            self.judge.runs_expired = True
            self.server.expire_run()

    @rule(
        fault=st.sampled_from(ON_SOCKETS),
        on=st.sampled_from(["send", "message", "tool_outputs"]),
    )
    def something_will_fail(self, fault: tuple[str, dict[str, Any]], on: Any) -> None:
        kind, details = fault
        if kind == "expire" and on == "send":
            on = "message"
        self.server.fail_next(kind, on=on, **details)  # type: ignore[arg-type]  # of our own table

    @rule(fault=st.sampled_from(CREATE_FAULTS))
    def a_create_will_fail(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.server.fail_next(fault[0], on="create", **fault[1])  # type: ignore[arg-type]  # as above

    @rule(number=ANY)
    def a_worker_dies_in_its_sleep(self, number: int) -> None:
        workers()[number % WORKERS].kill()

    @rule(number=ANY)
    def a_workers_stores_are_closed(self, number: int) -> None:
        workers()[number % WORKERS].do(Reopen())

    # -- calls -----------------------------------------------------------------------------

    def ask(self, talk: Talk, asked: Asked) -> Outcome:
        """By any worker; what is known by its words alone stays with one."""
        number = talk.root if talk.kind == "content" else self.count
        return self.ask_at(talk, asked, number)

    def ask_at(self, talk: Talk, asked: Asked, number: int, dies: Any = None) -> Outcome:
        """By this worker, which may die of it."""
        runs, requests = len(self.server.runs), len(self.server.requests)
        healthy = not self.server.pending_faults
        try:
            outcome: Outcome = workers()[number % WORKERS].do(self.told(talk, asked, dies))
        except Killed:
            outcome = KILLED
        self.judge_alone(talk, outcome, runs, requests)
        known = isinstance(outcome, Answered) or outcome.name in ("left", "killed")
        assert known or not healthy or self.is_sparing(talk, outcome), outcome
        return outcome

    def is_sparing(self, talk: Talk, outcome: Outcome) -> bool:
        """Whether the model had not the means for it."""
        name = outcome.name if isinstance(outcome, Failed) else ""
        if name == "InvalidInputError":
            return talk.variant in SMALL
        return name == "CreditLimitError" and talk.variant == SPARING

    def told(self, talk: Talk, asked: Asked | None, dies: Any = None) -> Speak:
        who = self.who(talk, asked or Asked())
        key = (talk.framework, talk.app, talk.variant)
        return Speak(key, talk.system, talk.held, who, talk.tools, asked, self.ahead, dies)

    @precondition(lambda self: self.talks)
    @rule(
        which=ANY,
        script=st.sampled_from(["hello", "draw", "do add", "do add; mul"]),
        mode=st.sampled_from(MODES),
        number=ANY,
        method=st.sampled_from(METHODS),
        when=st.sampled_from(["before", "after"]),
        nth=st.integers(1, 3),
    )
    def dies_at_a_step_of_its_store(
        self, which: int, script: str, mode: Mode, number: int, method: str, when: When, nth: int
    ) -> None:
        """The application asks again, of somebody else."""
        talk = self.pick(which)
        before = (talk.messages, talk.held)
        self.add(talk, *self.said(talk, script, "all", []))
        outcome = self.ask_at(talk, Asked(mode), number, (method, when, nth))
        if outcome is KILLED:
            outcome = self.ask_at(talk, Asked(mode), number + 1)
        self.keep(talk, outcome, before, dangling=False)

    @precondition(lambda self: self.talks)
    @rule(
        which=ANY,
        script=st.sampled_from(["hello", "draw", "do add; mul"]),
        mode=st.sampled_from(MODES),
        number=ANY,
        again=st.booleans(),
    )
    def dies_while_the_agent_thinks(
        self, which: int, script: str, mode: Mode, number: int, again: bool
    ) -> None:
        """Somebody else may be asked again while it still thinks."""
        talk, process = self.pick(which), workers()[number % WORKERS]
        before = (talk.messages, talk.held)
        self.add(talk, *self.said(talk, script, "all", []))
        runs, requests = len(self.server.runs), len(self.server.requests)
        self.gate.shut()
        process.send(self.told(talk, Asked(mode)))
        self.gate.wait_for(1, [process.pipe])
        outcome: Outcome = KILLED
        if self.gate.entered:
            process.kill()
            self.give_up_what_is_under_way(requests)
        self.gate.open()
        if not self.gate.entered:
            outcome = process.answer()
        self.wait_for_the_server()
        self.judge_alone(talk, outcome, runs, requests)
        if outcome is KILLED and again:
            outcome = self.ask_at(talk, Asked(mode), number + 1)
        self.keep(talk, outcome, before, dangling=False)

    def give_up_what_is_under_way(self, requests: int) -> None:
        """Nobody will hear the answer, so nobody can go on there."""
        under_way = [one for one in self.server.requests[requests:] if one.status is None]
        left = messages_on_sessions(under_way)
        self.left_by_the_dead = {str(one.session_id) for one in left}

    def wait_for_the_server(self) -> None:
        until = time.monotonic() + PATIENCE
        while any(one.status is None and one.fault is None for one in self.server.requests):
            assert time.monotonic() < until, "the server hangs"
            time.sleep(0.001)

    @precondition(lambda self: self.talks)
    @rule(
        first=ANY,
        second=ANY,
        modes=st.tuples(st.sampled_from(MODES), st.sampled_from(MODES)),
        number=ANY,
        further=st.integers(1, WORKERS - 1),
    )
    def two_speak_at_once(
        self, first: int, second: int, modes: tuple[Mode, Mode], number: int, further: int
    ) -> None:
        self.together(self.pick(first), self.pick(second), modes, (number, number + further))

    @precondition(lambda self: any(talk.messages for talk in self.talks))
    @rule(
        which=ANY,
        modes=st.tuples(st.sampled_from(MODES), st.sampled_from(MODES)),
        number=ANY,
        further=st.integers(1, WORKERS - 1),
    )
    def one_is_continued_twice_at_once(
        self, which: int, modes: tuple[Mode, Mode], number: int, further: int
    ) -> None:
        """Two of its session's takers, and one session."""
        begun = [talk for talk in self.talks if talk.messages]
        talk = begun[which % len(begun)]
        self.together(talk, replace(talk), modes, (number, number + further))

    def together(
        self, one: Talk, other: Talk, modes: tuple[Mode, Mode], numbers: tuple[int, int]
    ) -> None:
        """Two conversations, or one and its fork, in two processes."""
        picked = [one, replace(other) if other is one else other]
        if any(talk.waits for talk in picked):
            return
        processes = [workers()[number % WORKERS] for number in numbers]
        before = [(talk.messages, talk.held) for talk in picked]
        runs, requests = len(self.server.runs), len(self.server.requests)
        self.gate.shut()
        for talk, process, mode in zip(picked, processes, modes, strict=True):
            self.add(talk, Message("user", self.text("hello")))
            process.send(self.told(talk, Asked(mode)))
        self.gate.wait_for(2, [process.pipe for process in processes])
        self.gate.open()
        outcomes: list[Outcome] = [process.answer() for process in processes]
        self.wait_for_the_server()
        self.judge_both(picked, outcomes, runs, requests)
        for talk, outcome, old in zip(picked, outcomes, before, strict=True):
            self.keep(talk, outcome, old, dangling=False)

    # -- what must hold ----------------------------------------------------------------------

    left_by_the_dead: frozenset[str] | set[str] = frozenset()

    def judge_alone(self, talk: Talk, outcome: Outcome, runs: int, requests: int) -> None:
        self.wait_for_the_server()
        self.judge_case(talk, outcome, self.server.runs[runs:], self.server.requests[requests:])
        self.judge.given_up |= self.left_by_the_dead
        self.left_by_the_dead = frozenset()

    def judge_case(
        self, talk: Talk, outcome: Outcome, runs: Sequence[Run], requests: Sequence[Exchange]
    ) -> None:
        answered = isinstance(outcome, Answered)
        failed = outcome if isinstance(outcome, Failed) else Failed(gives_up=False)
        case = Case(talk, answered, failed.gives_up, failed.sent, talk.tools != "none")
        self.judge.check(case, runs, requests)
        options = VARIANTS[talk.variant]
        for run in runs:
            roomy = "replay_budget" not in options
            check_files(talk, run, talk.contents, roomy=roomy, unique=not self.colliding)
            if not self.colliding:
                self.judge.check_delivered(talk, run)
            check_budget(run, options.get("replay_budget", 100_000), talk.messages)
            known = talk.texts | self.judge.hidden
            assert texts_are_known(run.conversation.messages, known)
        if isinstance(outcome, Answered):
            check_answer(outcome, runs[-1], requests)

    def judge_both(
        self, talks: Sequence[Talk], outcomes: Sequence[Outcome], runs: int, requests: int
    ) -> None:
        """Each for itself, by what was said; two answers are told apart by their ids."""
        new = self.server.requests[requests:]
        for talk, outcome in zip(talks, outcomes, strict=True):
            mine = self.runs_of(talk, outcome, self.server.runs[runs:])
            ids = {run.id for run in mine}
            self.judge_case(talk, outcome, mine, [one for one in new if one.run_id in ids])
        assert len(self.server.runs) - runs <= 2, "more was asked than two"

    def runs_of(self, talk: Talk, outcome: Outcome, runs: Sequence[Run]) -> list[Run]:
        if isinstance(outcome, Answered):
            return [run for run in runs if run.id == outcome.told["request_id"]]
        return []

    @precondition(lambda self: self.talks)
    @invariant()
    def the_server_was_never_asked_too_much(self) -> None:
        self.judge.check_server(self.server.world)

    def outlook(self, talk: Talk) -> Any:
        """What one of the workers would do if the user went on."""
        return self.outlook_of(self.goes_on_with(talk), talk.root)

    def goes_on_with(self, talk: Talk) -> Speak:
        next_ = self.outputs(talk) if talk.waits else [Message("user", "what now?")]
        held = [*talk.held, *map(VOICES[talk.framework].held, next_)]
        command = self.told(talk, None)
        return Speak(**{**vars(command), "held": tuple(held)})

    def outlook_of(self, command: Speak, number: int) -> Any:
        return workers()[number % WORKERS].do(command)

    @precondition(lambda self: any(talk.messages for talk in self.talks))
    @rule(which=ANY)
    def all_workers_foresee_the_same(self, which: int) -> None:
        """Whoever is asked next: what is known of a conversation is known to all."""
        talk = self.pick(which)
        if talk.kind == "content":
            return
        command = self.goes_on_with(talk)
        outlooks = [self.outlook_of(command, number) for number in range(WORKERS)]
        assert outlooks[1:] == outlooks[:-1]
