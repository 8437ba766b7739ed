"""A model of many conversations over several model objects and one store.

The machine plays the application: it keeps the lists that a framework would show, changes
them in every way that frameworks and users do, and holds what the server read at each answer
against them. The reader of what the server heard shares no code with the writer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stewrd_integrations import errors
from stewrd_integrations.emulator.agent import Context
from stewrd_integrations.emulator.records import Exchange, Run
from stewrd_integrations.sessions import opening
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.sessions.digest import normalise
from stewrd_integrations.types import Message
from tests.machines.faults import CREATE_FAULTS, FAULTS
from tests.machines.runtimes import run_here, run_on_loop
from tests.machines.talks import GIVEN_UP
from tests.worlds import KEY, Stage, stored_text

SLOTS = 4
CAP = 8


@dataclass
class Conversation:
    """What the application holds of one conversation."""

    root: int
    kind: str
    model: int
    tenant: str | None
    name: str | None
    system: str = ""
    messages: tuple[Message, ...] = ()
    trimmed: bool = False
    texts: frozenset[str] = frozenset()

    @property
    def scope(self) -> tuple[object, ...]:
        """Who may share a session with it."""
        own = self.name if self.kind == "name" else self.root
        return (self.kind == "name", self.tenant, own)

    def shown(self) -> list[Message]:
        """The list as the framework passes it."""
        system = [Message("system", self.system)] if self.system else []
        if self.kind == "content":
            return system + [replace(message, mark=None) for message in self.messages]
        return system + list(self.messages)


class Machine(RuleBasedStateMachine):
    """The rules that both answer profiles share."""

    colliding = False

    def __init__(self) -> None:
        super().__init__()
        opening.SHORT_WAIT = 0.0
        self.loop = asyncio.new_event_loop()
        self.stage = Stage.make(self.agent, max_sessions=SLOTS, history_limit=CAP, chunk_bytes=None)
        shared: dict[str, Any] = {"max_active_sessions": SLOTS, "session_message_limit": CAP}
        self.models = [
            self.stage.model(**shared),
            self.stage.model(**shared, replay_budget=700),
            self.stage.model(**shared, on_trim="replay", on_instructions_change="replay"),
        ]
        self.conversations: list[Conversation] = []
        self.count = 0
        self.answers = 0
        self.given_up: set[str] = set()
        self.scopes: dict[str, tuple[object, ...]] = {}

    def teardown(self) -> None:
        # httpx leaves its own inner generators to the loop when a stream is left early.
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def agent(self, context: Context) -> str:
        """Colliding: two answers in all; unique: never the same twice."""
        self.answers += 1
        if self.colliding:
            return "Yes." if len(context.message) % 2 else "ok"
        return f"answer {self.answers}"

    def text(self, seed: int) -> str:
        """What somebody writes."""
        self.count += 1
        return "ab"[seed % 2] if self.colliding else f"text {self.count}"

    # -- the world moves ---------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 61.0, 1_000.0, 1_795.0, 1_900.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.clock.now += seconds

    @rule()
    def sessions_expire(self) -> None:
        self.stage.world.expire()

    @rule(fault=st.sampled_from(FAULTS), on=st.sampled_from(["send", "message"]))
    def something_will_fail(self, fault: tuple[str, dict[str, Any]], on: str) -> None:
        kind, details = fault
        self.stage.fail_next(kind, on="message" if kind == "expire" else on, **details)

    @rule(requests=st.integers(1, 2))
    def nobody_will_be_reached(self, requests: int) -> None:
        self.stage.away = requests

    @rule(fault=st.sampled_from(CREATE_FAULTS))
    def a_create_will_fail(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.stage.fail_next(fault[0], on="create", **fault[1])

    # -- conversations begin -----------------------------------------------------------

    @initialize()
    def one_conversation(self) -> None:
        self.begins("name", 0, None, "n1", "")

    @precondition(lambda self: len(self.conversations) < 4)
    @rule(
        kind=st.sampled_from(["name", "mark", "content"]),
        model=st.integers(0, 2),
        tenant=st.sampled_from([None, "t1", "t2"]),
        name=st.sampled_from(["n1", "n2", "n3"]),
        system=st.sampled_from(["", "be brief"]),
    )
    def begins(self, kind: str, model: int, tenant: str | None, name: str, system: str) -> None:
        self.count += 1
        named = name if kind == "name" else None
        self.conversations.append(Conversation(self.count, kind, model, tenant, named, system))

    def pick(self, which: int) -> Conversation:
        return self.conversations[which % len(self.conversations)]

    @precondition(lambda self: len(self.conversations) < 7)
    @rule(which=st.integers(0, 50))
    def forks(self, which: int) -> None:
        self.conversations.append(replace(self.pick(which)))

    @precondition(lambda self: len(self.conversations) < 7)
    @rule(which=st.integers(0, 50), name=st.sampled_from(["n4", "n5"]))
    def is_copied_under_another_name(self, which: int, name: str) -> None:
        self.count += 1
        copied = replace(self.pick(which), root=self.count, kind="name", name=f"{name}{self.count}")
        self.conversations.append(copied)

    @precondition(lambda self: len(self.conversations) < 7)
    @rule(which=st.integers(0, 50), tenant=st.sampled_from(["t3", "t4"]))
    def is_copied_to_another_tenant(self, which: int, tenant: str) -> None:
        self.count += 1
        copied = replace(self.pick(which), root=self.count, tenant=f"{tenant}{self.count}")
        self.conversations.append(copied)

    @precondition(lambda self: len(self.conversations) < 7)
    @rule(which=st.integers(0, 50))
    def loses_its_name(self, which: int) -> None:
        old = self.pick(which)
        self.count += 1
        root = self.count if old.kind == "name" else old.root
        self.conversations.append(replace(old, root=root, kind="mark", name=None))

    # -- lists change ------------------------------------------------------------------

    @rule(which=st.integers(0, 50), place=st.integers(0, 20), seed=st.integers(0, 1))
    def a_message_is_edited(self, which: int, place: int, seed: int) -> None:
        talk = self.pick(which)
        if talk.messages:
            messages = list(talk.messages)
            place %= len(messages)
            messages[place] = replace(messages[place], text=self.text(seed))
            self.change(talk, messages)

    @rule(which=st.integers(0, 50), turns=st.integers(1, 3))
    def is_rewound(self, which: int, turns: int) -> None:
        talk = self.pick(which)
        ends = [i + 1 for i, m in enumerate(talk.messages) if m.role == "assistant"]
        self.change(talk, talk.messages[: ends[-turns - 1] if len(ends) > turns else 0])

    @rule(which=st.integers(0, 50), front=st.integers(1, 4))
    def is_trimmed(self, which: int, front: int) -> None:
        talk = self.pick(which)
        if len(talk.messages) > front:
            self.change(talk, talk.messages[front:])
            talk.trimmed = True

    @rule(which=st.integers(0, 50), front=st.integers(2, 5))
    def is_summarised(self, which: int, front: int) -> None:
        talk = self.pick(which)
        if len(talk.messages) > front:
            summary = Message("user", f"summary: {self.text(0)}")
            self.change(talk, (summary, *talk.messages[front:]))
            talk.trimmed = True

    @rule(which=st.integers(0, 50), place=st.integers(0, 20))
    def a_message_is_dropped(self, which: int, place: int) -> None:
        talk = self.pick(which)
        if talk.messages:
            messages = list(talk.messages)
            place %= len(messages)
            del messages[place]
            self.change(talk, messages)
            talk.trimmed |= place == 0  # to lose the front is to be trimmed

    @rule(
        which=st.integers(0, 50),
        place=st.integers(0, 20),
        role=st.sampled_from(["user", "assistant"]),
        seed=st.integers(0, 1),
    )
    def a_foreign_message_is_put_in(self, which: int, place: int, role: Any, seed: int) -> None:
        talk = self.pick(which)
        messages = list(talk.messages)
        messages.insert(place % (len(messages) + 1), Message(role, self.text(seed)))
        self.change(talk, messages)

    @rule(which=st.integers(0, 50), seed=st.integers(0, 1))
    def the_application_answers_itself(self, which: int, seed: int) -> None:
        talk = self.pick(which)
        said = (Message("user", self.text(seed)), Message("assistant", self.text(seed + 1)))
        self.change(talk, (*talk.messages, *said))

    @rule(which=st.integers(0, 50), system=st.sampled_from(["", "be brief", "be kind"]))
    def instructions_change(self, which: int, system: str) -> None:
        self.pick(which).system = system

    def change(self, talk: Conversation, messages: Any) -> None:
        talk.messages = tuple(messages)
        talk.texts |= {normalise(message.text) for message in messages}

    # -- somebody says something -------------------------------------------------------

    @rule(
        which=st.integers(0, 50),
        seed=st.integers(0, 1),
        stream=st.booleans(),
        on_loop=st.booleans(),
        abandon=st.sampled_from([None, None, None, 0, 1, 2]),
        dangling=st.booleans(),
        one_shot=st.sampled_from([False, False, False, False, True]),
    )
    def somebody_speaks(
        self,
        which: int,
        seed: int,
        stream: bool,
        on_loop: bool,
        abandon: int | None,
        dangling: bool,
        one_shot: bool,
    ) -> None:
        talk = self.pick(which)
        before = talk.messages
        self.change(talk, (*before, Message("user", self.text(seed))))
        runs, requests = len(self.stage.runs), len(self.stage.requests)
        healthy = not self.stage.world.pending_faults and not self.stage.away
        outcome: Outcome | None = None
        error: Exception | None = None
        walked_away = stream and abandon is not None
        call = self.models[talk.model].call(
            talk.shown(),
            {"conversation_id": talk.name, "tenant": talk.tenant},
            stream=stream,
            one_shot=one_shot and talk.kind != "content",
        )
        try:
            leaves, model = abandon if walked_away else None, self.models[talk.model]
            if on_loop:
                outcome = self.loop.run_until_complete(run_on_loop(model, call, leaves))
            else:
                outcome = run_here(model, call, leaves)
        except errors.StewrdError as failed:
            error = failed
        self.check(talk, outcome, error, runs, requests)
        assert error is None or not healthy, repr(error)
        if outcome is not None:
            answer = Message("assistant", outcome.reply.message, mark=outcome.mark)
            self.change(talk, (*talk.messages, answer))
        elif not dangling:
            talk.messages = before

    @rule(which=st.integers(0, 50), turns=st.integers(2, 6), stream=st.booleans())
    def somebody_goes_on(self, which: int, turns: int, stream: bool) -> None:
        for turn in range(turns):
            self.somebody_speaks(which, turn, stream, False, None, False, False)

    # -- what must hold ----------------------------------------------------------------

    def check(
        self,
        talk: Conversation,
        outcome: Outcome | None,
        error: Exception | None,
        runs: int,
        requests: int,
    ) -> None:
        new_runs, new = self.stage.runs[runs:], self.stage.requests[requests:]
        messages = [one for one in new if one.path.endswith("/messages")]
        for exchange in messages:
            assert exchange.session_id not in self.given_up, "a session given up was used again"
        self.check_scopes(talk, messages)
        gave_up = outcome is None and (error is None or isinstance(error, GIVEN_UP))
        if gave_up:
            self.given_up.update(str(one.session_id) for one in messages[-1:])
        appended = [one for one in messages if one.status not in (400, 401, 404, 410, 429)]
        retried = [one for one in appended if one.status == 503]
        assert len(appended) - len(retried) + len([r for r in new_runs if not r.session_id]) <= 1
        if isinstance(error, errors.StewrdError) and not error.sent:
            assert not new_runs
        for run in new_runs:
            self.check_context(talk, run)
        if outcome is not None:
            assert len(new_runs) == 1, "an answer without a run, or of several"
            assert outcome.session_id == new_runs[0].session_id
            assert normalise(outcome.reply.message) == normalise(new_runs[0].answer)

    def check_scopes(self, talk: Conversation, messages: list[Exchange]) -> None:
        for exchange in messages:
            if exchange.status in (400, 401, 404, 410, 429):
                continue  # nothing was heard
            session = str(exchange.session_id)
            assert self.scopes.setdefault(session, talk.scope) == talk.scope, "two scopes"

    def check_context(self, talk: Conversation, run: Run) -> None:
        read = [(m.role, normalise(m.text)) for m in run.conversation.messages]
        shown = [(m.role, normalise(m.text)) for m in talk.messages]
        assert run.conversation.instructions == talk.system
        extra = len(read) - len(shown)
        if extra <= 0:
            assert read == shown[-extra:], f"read {read}\nshown {shown}"
            assert run.conversation.omitted >= -extra, "messages are missing"
        else:
            assert talk.trimmed, f"more than was shown\nread {read}\nshown {shown}"
            assert read[extra:] == shown, f"read {read}\nshown {shown}"
            assert {text for _, text in read} <= talk.texts, "somebody else's words"

    @invariant()
    def the_server_was_never_asked_too_much(self) -> None:
        world = self.stage.world
        assert world.over_limit == 0
        assert world.overlaps == []
        refused = [one for one in world.refused if one.status != 410]
        assert refused == [], "the emulator's own limits were met"

    @precondition(lambda self: self.count % 7 == 0)
    @invariant()
    def the_store_tells_nothing(self) -> None:
        kept = stored_text(self.stage.store)  # type: ignore[arg-type]
        assert "sk-stw_" not in kept
        assert KEY not in kept
        if not self.colliding:
            assert "text " not in kept
            assert "answer " not in kept


class Colliding(Machine):
    """Everybody says the same few words."""

    colliding = True
