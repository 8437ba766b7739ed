"""A model of conversations with tools: the lists, the runs and everything that can come between.

In the spirit of `machine`: the application keeps the lists, and what the server read at each
answer is held against them. Here an agent asks for tools, and its runs wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stewrd_integrations import errors
from stewrd_integrations.emulator.agent import Answer, Context
from stewrd_integrations.emulator.records import Exchange, Run
from stewrd_integrations.sessions import opening
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.types import Message, Tool
from tests.machines.faults import BEHAVIOURS, CREATE_FAULTS, FAULTS
from tests.machines.judge import Case, Judge
from tests.machines.runtimes import run_here, run_on_loop
from tests.machines.talks import GIVEN_UP
from tests.sessions.tooling import TOOLS, due, tool
from tests.worlds import Stage

SLOTS = 5
CAP = 14
SCRIPTS = ("do add", "do add, mul", "do add; mul", "do add; mul; sub, add", "hello", "thanks")
OTHER_TOOLS = (tool("add", "Another one."), *TOOLS[1:])
COMING_BACK = (
    *["all"] * 4,
    "reversed",
    "partial",
    "unknown",
    "orphan",
    "user",
    "user",
    "application",
)


class Flaky(MemoryStore):
    """A store that fails once for each method that it is told to fail at."""

    failing: set[str]

    def _fail(self, method: str) -> None:
        if method in self.failing:
            self.failing.discard(method)
            raise OSError("away for a moment")

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Any:
        self._fail("take")
        return super().take(keys, unique)

    def put(self, binding: Any, ttl: float) -> None:
        self._fail("put")
        super().put(binding, ttl)

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        self._fail("occupy")
        return super().occupy(pool, slot, limit, ttl)

    def note(self, key: str, change: Any = None) -> Any:
        self._fail("note")
        return super().note(key, change)


@dataclass
class Conversation:
    """What the application holds of one conversation."""

    root: int
    kind: str
    model: int
    name: str | None
    system: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = TOOLS
    trimmed: bool = False

    @property
    def scope(self) -> tuple[object, ...]:
        """Who may share a session with it."""
        return (self.kind == "name", self.name if self.kind == "name" else self.root)

    def shown(self) -> list[Message]:
        """The list as the framework passes it."""
        system = [Message("system", self.system)] if self.system else []
        if self.kind == "content":
            return system + [replace(message, mark=None) for message in self.messages]
        return system + list(self.messages)

    @property
    def waits(self) -> bool:
        """Whether the list ends in calls."""
        return bool(self.messages and self.messages[-1].tool_calls)


class ToolsMachine(RuleBasedStateMachine):
    """The rules that both answer profiles share."""

    colliding = False

    def __init__(self) -> None:
        super().__init__()
        opening.SHORT_WAIT = 0.0
        self.loop = asyncio.new_event_loop()
        self.count = 0
        self.answers = 0
        self.conversations: list[Conversation] = []

    @initialize(
        behaviour=st.fixed_dictionaries({k: st.sampled_from(v) for k, v in BEHAVIOURS.items()})
    )
    def the_server_behaves(self, behaviour: dict[str, Any]) -> None:
        self.judge = Judge(behaviour)
        stage = Stage.make(
            self.agent, max_sessions=SLOTS, history_limit=CAP, rate_limit=None, **behaviour
        )
        stage.store = store = Flaky(stage.clock)
        store.failing = set()
        self.stage, self.store = stage, store
        shared: dict[str, Any] = {"max_active_sessions": SLOTS, "session_message_limit": CAP}
        self.models = [
            stage.model(**shared),
            stage.model(**shared, replay_budget=1_500, tool_reserve=0),
            stage.model(**shared, on_trim="replay", on_instructions_change="replay"),
            stage.model(**shared, sessions="never"),
        ]
        self.begins("name", 0, "n1", "")

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def agent(self, context: Context) -> str | Answer:
        """Colliding: the same words and the same ids of calls; unique: never the same twice."""
        self.answers += 1
        calls = due(context)
        if calls and self.colliding:
            return Answer(calls=[replace(c, id=f"call_{i}") for i, c in enumerate(calls)])
        if calls:
            return Answer(calls=calls)
        return "ok" if self.colliding else f"answer {self.answers}"

    def text(self, script: str) -> str:
        self.count += 1
        return script if self.colliding else f"{script} | {self.count}"

    # -- the world moves ---------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 61.0, 250.0, 301.0, 1_000.0, 1_795.0, 1_900.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.clock.now += seconds

    @rule(what=st.sampled_from(["sessions", "runs"]))
    def something_expires(self, what: str) -> None:
        if what == "sessions":
            self.stage.world.expire()
        else:
            self.judge.runs_expired = True
            self.stage.world.expire_run()

    @rule(
        fault=st.sampled_from(FAULTS),
        on=st.sampled_from(["send", "message", "tool_outputs", "tool_outputs"]),
    )
    def something_will_fail(self, fault: tuple[str, dict[str, Any]], on: str) -> None:
        kind, details = fault
        if kind == "expire" and on == "send":
            on = "message"
        self.stage.fail_next(kind, on=on, **details)

    @rule(requests=st.integers(1, 2))
    def nobody_will_be_reached(self, requests: int) -> None:
        self.stage.away = requests

    @rule(fault=st.sampled_from(CREATE_FAULTS))
    def a_create_will_fail(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.stage.fail_next(fault[0], on="create", **fault[1])

    @rule(method=st.sampled_from(["take", "put", "note", "occupy"]))
    def the_store_will_fail(self, method: str) -> None:
        self.store.failing = {method}

    # -- conversations begin -----------------------------------------------------------

    @precondition(lambda self: len(self.conversations) < 4)
    @rule(
        kind=st.sampled_from(["name", "mark", "content"]),
        model=st.integers(0, 3),
        name=st.sampled_from(["n1", "n2"]),
        system=st.sampled_from(["", "be brief"]),
    )
    def begins(self, kind: str, model: int, name: str, system: str) -> None:
        self.count += 1
        named = name if kind == "name" else None
        self.conversations.append(Conversation(self.count, kind, model, named, system))

    def pick(self, which: int) -> Conversation:
        return self.conversations[which % len(self.conversations)]

    @precondition(lambda self: len(self.conversations) < 6)
    @rule(which=st.integers(0, 50))
    def forks(self, which: int) -> None:
        self.conversations.append(replace(self.pick(which)))

    @rule(which=st.integers(0, 50), model=st.integers(0, 3))
    def moves_to_another_process(self, which: int, model: int) -> None:
        if self.pick(which).kind != "content":
            self.pick(which).model = model

    # -- lists change ------------------------------------------------------------------

    @rule(which=st.integers(0, 50), turns=st.integers(1, 3))
    def is_rewound(self, which: int, turns: int) -> None:
        talk = self.pick(which)
        ends = [i + 1 for i, m in enumerate(talk.messages) if m.role == "assistant"]
        talk.messages = talk.messages[: ends[-turns - 1] if len(ends) > turns else 0]

    @rule(which=st.integers(0, 50), front=st.integers(1, 4))
    def is_trimmed(self, which: int, front: int) -> None:
        talk = self.pick(which)
        if len(talk.messages) > front:
            talk.messages = talk.messages[front:]
            talk.trimmed = True

    @rule(
        which=st.integers(0, 50),
        place=st.integers(0, 20),
        how=st.sampled_from(["edited", "dropped", "user", "assistant"]),
    )
    def a_message_changes(self, which: int, place: int, how: Any) -> None:
        talk = self.pick(which)
        if not talk.messages:
            return
        messages = list(talk.messages)
        place %= len(messages)
        if how == "edited":
            messages[place] = replace(messages[place], text=self.text("thanks"))
        elif how == "dropped":
            del messages[place]
            talk.trimmed |= place == 0  # to lose the front is to be trimmed
        else:
            messages.insert(place, Message(how, self.text("thanks")))
        talk.messages = tuple(messages)

    @rule(which=st.integers(0, 50), system=st.sampled_from(["", "be brief", "be kind"]))
    def instructions_change(self, which: int, system: str) -> None:
        self.pick(which).system = system

    @rule(which=st.integers(0, 50), tools=st.sampled_from([TOOLS, TOOLS, OTHER_TOOLS, ()]))
    def tools_change(self, which: int, tools: tuple[Tool, ...]) -> None:
        self.pick(which).tools = tools

    # -- somebody says something, or tools come back -----------------------------------

    def outputs(self, calls: Any) -> list[Message]:
        self.count += 1
        text = "5" if self.colliding else f"output {self.count}"
        return [Message("tool", text, name=c.name, tool_call_id=c.id) for c in calls]

    def come_back(self, talk: Conversation, how: str, script: str) -> tuple[Message, ...]:
        """What the application adds to a list that ends in calls."""
        calls = talk.messages[-1].tool_calls
        outputs = self.outputs(calls)
        user = Message("user", self.text(script))
        match how:
            case "orphan":
                return (user,)
            case "reversed":
                return tuple(reversed(outputs))
            case "partial":
                return tuple(outputs[1:]) or (user,)
            case "unknown":
                return (replace(outputs[0], tool_call_id="unknown"), *outputs[1:])
            case "user":
                return (*outputs, user)
            case "application":
                return (*outputs, Message("assistant", self.text("thanks")), user)
            case _:
                return tuple(outputs)

    @rule(
        which=st.integers(0, 50),
        script=st.sampled_from(SCRIPTS),
        how=st.sampled_from(COMING_BACK),
        stream=st.booleans(),
        on_loop=st.booleans(),
        abandon=st.sampled_from([None, None, None, None, 0, 1]),
        dangling=st.booleans(),
        one_shot=st.sampled_from([False, False, False, False, False, True]),
    )
    def goes_on(
        self,
        which: int,
        script: str,
        how: str,
        stream: bool,
        on_loop: bool,
        abandon: int | None,
        dangling: bool,
        one_shot: bool,
    ) -> None:
        talk = self.pick(which)
        before = talk.messages
        if talk.waits:
            talk.messages += self.come_back(talk, how, script)
        else:
            talk.messages += (Message("user", self.text(script)),)
        call = self.models[talk.model].call(
            talk.shown(),
            {"conversation_id": talk.name},
            stream=stream,
            tools=talk.tools,
            one_shot=one_shot and talk.kind != "content",
        )
        runs, requests = len(self.stage.runs), len(self.stage.requests)
        healthy = not (self.stage.world.pending_faults or self.stage.away)
        outcome: Outcome | None = None
        error: Exception | None = None
        try:
            leaves, model = abandon if stream else None, self.models[talk.model]
            if on_loop:
                outcome = self.loop.run_until_complete(run_on_loop(model, call, leaves))
            else:
                outcome = run_here(model, call, leaves)
        except errors.StewrdError as failed:
            error = failed
        self.check(talk, outcome, error, self.stage.runs[runs:], self.stage.requests[requests:])
        assert error is None or not healthy, repr(error)
        if outcome is not None:
            reply = outcome.reply
            said = Message(
                "assistant", reply.message, tool_calls=reply.tool_calls, mark=outcome.mark
            )
            talk.messages += (said,)
        elif not dangling:
            talk.messages = before

    @precondition(lambda self: any(talk.waits for talk in self.conversations))
    @rule(
        which=st.integers(0, 50),
        script=st.sampled_from(SCRIPTS),
        how=st.sampled_from(COMING_BACK),
        stream=st.booleans(),
        on_loop=st.booleans(),
    )
    def tools_have_run(
        self, which: int, script: str, how: str, stream: bool, on_loop: bool
    ) -> None:
        waiting = [at for at, talk in enumerate(self.conversations) if talk.waits]
        which = waiting[which % len(waiting)]
        self.goes_on(which, script, how, stream, on_loop, None, False, False)

    @rule(which=st.integers(0, 50), script=st.sampled_from(SCRIPTS), on_loop=st.booleans())
    def somebody_asks(self, which: int, script: str, on_loop: bool) -> None:
        self.goes_on(which, script, "all", False, on_loop, None, False, False)

    @rule(which=st.integers(0, 50), turns=st.integers(1, 3), script=st.sampled_from(SCRIPTS))
    def goes_on_for_a_while(self, which: int, turns: int, script: str) -> None:
        for _ in range(turns):
            self.goes_on(which, script, "all", False, False, None, False, False)
            for _ in range(4):
                if self.pick(which).waits:
                    self.goes_on(which, script, "all", False, True, None, False, False)

    # -- what must hold ----------------------------------------------------------------

    def check(
        self,
        talk: Conversation,
        outcome: Outcome | None,
        error: Exception | None,
        runs: list[Run],
        requests: list[Exchange],
    ) -> None:
        gives_up = error is None or isinstance(error, GIVEN_UP)
        sent = error.sent if isinstance(error, errors.StewrdError) else True
        case = Case(talk, outcome is not None, gives_up, sent, bool(talk.tools))
        self.judge.check(case, runs, requests)
        if outcome is not None:
            assert outcome.session_id == runs[-1].session_id
            assert outcome.reply.message == runs[-1].answer
            names = [(call.id, call.name) for call in runs[-1].calls]
            assert [(call.id, call.name) for call in outcome.reply.tool_calls] == names

    @invariant()
    def the_server_was_never_asked_too_much(self) -> None:
        if not self.conversations:
            return
        self.judge.check_server(self.stage.world)


class Colliding(ToolsMachine):
    """Everybody says the same few words, and calls have the same few ids."""

    colliding = True
