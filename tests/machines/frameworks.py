"""The machine of the frameworks: real models of both on one emulated server and one store.

Everything is real but for the sockets: the models, their messages and serialisers, the stores.
Each model has a store object of its own, as if it stood in a process of its own.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from stewrd_integrations.langchain import StewrdChatMessageHistory
from stewrd_integrations.llama_index import StewrdMemory
from stewrd_integrations.sessions import opening
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.types import Message
from tests.worlds import ADDRESS, KEY, Stage, WorldTransport

from .faults import BEHAVIOURS, CREATE_FAULTS, FAULTS
from .judge import (
    Case,
    Judge,
    check_budget,
    check_files,
    check_recap,
    is_replay,
    line_costs,
    parts_of,
    texts_are_known,
)
from .lists import ANY
from .shelves import SHELVES
from .speaking import Speaking, check_answer
from .stepped import METHODS, Stumble
from .talks import Answered, Asked, Failed, Outcome, Talk
from .variants import (
    ALL,
    CAP,
    CREDITS,
    RECAPS,
    SLOTS,
    SMALL,
    SPARING,
    VARIANTS,
    Key,
    asked_of,
    foreseen,
    model_of,
    wound,
)
from .voices import VOICES


class FrameworksMachine(Speaking):
    """The rules that all stores and both answer profiles share."""

    shelf_kind = "memory"
    variants = ALL

    def __init__(self) -> None:
        super().__init__()
        opening.SHORT_WAIT = 0.0
        self.made: dict[Key, Any] = {}
        self.spent: Counter[Key] = Counter()
        self.unsure: Counter[Key] = Counter()
        self.stumble = Stumble()

    @initialize(
        behaviour=st.fixed_dictionaries({k: st.sampled_from(v) for k, v in BEHAVIOURS.items()}),
        rate_limit=st.sampled_from([None, None, None, None, 30]),
    )
    def the_server_behaves(self, behaviour: dict[str, Any], rate_limit: int | None) -> None:
        self.rate_limit = rate_limit
        self.judge = Judge(behaviour)
        self.stage = Stage.make(
            self.agent,
            max_sessions=SLOTS,
            history_limit=CAP,
            rate_limit=rate_limit,
            credits=1_000_000,
            **behaviour,
        )
        self.shelf = SHELVES[self.shelf_kind](self.stage.clock)
        for at, framework in zip((0, 2), self.frameworks, strict=False):
            self.begins(framework, "name", "a", at, None, f"{framework} 1", "", "usual")
            self.begins(framework, "mark", "a", at + 1, None, "", "", "usual")

    def teardown(self) -> None:
        for key, model in self.made.items():
            self.loop.run_until_complete(model.aclose())
            self.shelf.reopen(self.stores[key], self.loop)
        self.shelf.close()
        super().teardown()

    # -- models --------------------------------------------------------------------------

    @property
    def stores(self) -> dict[Key, Any]:
        """The store object of each model."""
        return {key: model.store for key, model in self.made.items()}

    def key(self, talk: Talk) -> Key:
        return (talk.framework, talk.app, talk.variant)

    def model(self, talk: Talk) -> Any:
        """The conversation's model; it is made when it is first needed."""
        key = self.key(talk)
        if key not in self.made:
            store = self.shelf.open(talk.app)
            store.hook = self.stumble
            self.made[key] = self.new_model(key, store, VARIANTS[talk.variant])
        return self.made[key]

    def new_model(self, key: Key, store: Any, options: Any) -> Any:
        """A model on the stage, by its clock."""
        transport = WorldTransport(self.stage)
        on_stage = {
            "api_key": KEY,
            "base_url": ADDRESS,
            "store": store,
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }
        return wound(model_of(key, {**options, **on_stage}), self.stage.clock)

    @precondition(lambda self: self.made)
    @rule(which=ANY, what=st.sampled_from(["copied", "reopened", "reopened"]))
    def a_model_or_its_store_is_made_anew(self, which: int, what: str) -> None:
        """A copy knows nothing by content; a store that was closed knows all that it did."""
        key = list(self.made)[which % len(self.made)]
        if what == "reopened":
            self.shelf.reopen(self.stores[key], self.loop)
        elif key[2] != SPARING:  # a copy has a budget of its own
            self.made[key] = wound(copy.deepcopy(self.made[key]), self.stage.clock)

    # -- the world moves -------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 61.0, 250.0, 301.0, 1_000.0, 1_795.0, 1_900.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.clock.now += seconds
        self.shelf.advance(seconds)

    @rule(what=st.sampled_from(["sessions", "runs"]))
    def something_expires(self, what: str) -> None:
        if what == "sessions":
            self.stage.world.expire()
        else:
            self.judge.runs_expired = True
            self.stage.world.expire_run()

    @rule(
        fault=st.sampled_from(FAULTS),
        on=st.sampled_from(["send", "message", "message", "tool_outputs"]),
    )
    def something_will_fail(self, fault: tuple[str, dict[str, Any]], on: str) -> None:
        kind, details = fault
        if kind == "expire" and on == "send":
            on = "message"
        self.stage.fail_next(kind, on=on, **details)

    @rule(fault=st.sampled_from(CREATE_FAULTS))
    def a_create_will_fail(self, fault: tuple[str, dict[str, Any]]) -> None:
        self.stage.fail_next(fault[0], on="create", **fault[1])

    @rule(requests=st.integers(1, 2))
    def nobody_will_be_reached(self, requests: int) -> None:
        self.stage.away = requests

    @rule(method=st.sampled_from(METHODS), when=st.sampled_from(["before", "after"]))
    def the_store_will_fail(self, method: str, when: Any) -> None:
        self.stumble.at = (method, when)

    @property
    def healthy(self) -> bool:
        """Whether nothing is about to go wrong."""
        waiting = self.stage.world.pending_faults or self.stage.away or self.stumble.at
        return not waiting and self.rate_limit is None

    # -- our own histories -------------------------------------------------------------------

    @precondition(lambda self: any(talk.kind == "name" and talk.messages for talk in self.talks))
    @rule(which=ANY)
    def goes_through_our_own_history(self, which: int) -> None:
        """Its messages then say by themselves which conversation they are of."""
        named = [talk for talk in self.talks if talk.kind == "name" and talk.messages]
        talk = named[which % len(named)]
        self.stumble.at = None
        store = self.model(talk).store
        through = {"langchain": through_a_history, "llama_index": through_a_memory}
        talk.held = tuple(through[talk.framework](talk, store))
        talk.stamped = True

    # -- a call ------------------------------------------------------------------------------

    def ask(self, talk: Talk, asked: Asked) -> Outcome:
        expected = self.foreseen(talk, talk.held, self.who(talk, asked)) if self.healthy else None
        healthy, key, balance = self.healthy, self.key(talk), self.stage.world.credits
        runs, requests = len(self.stage.runs), len(self.stage.requests)
        outcome = self.call(talk, asked)
        new_runs, new = self.stage.runs[runs:], self.stage.requests[requests:]
        answered = isinstance(outcome, Answered)
        failed = outcome if isinstance(outcome, Failed) else Failed(gives_up=False)
        case = Case(talk, answered, failed.gives_up, failed.sent, talk.tools != "none")
        self.judge.check(case, new_runs, new)
        self.spent[key] += balance - self.stage.world.credits
        self.unsure[key] += len(new) if not answered else 0
        for run in new_runs:
            self.check_run(talk, run)
        if isinstance(outcome, Answered):
            check_answer(outcome, new_runs[-1], new)
            self.check_counts(talk, asked, outcome)
            straight = len(new_runs) == 1 and all(one.status in (200, 201) for one in new)
            if expected is not None and straight:
                self.check_expected(expected, outcome)
        else:
            self.check_failed(key, outcome, healthy=healthy)
        return outcome

    def call(self, talk: Talk, asked: Asked) -> Outcome:
        model, voice = self.model(talk), VOICES[talk.framework]
        return asked_of(
            self.loop,
            voice,
            model,
            talk.system,
            talk.held,
            self.who(talk, asked),
            talk.tools,
            asked,
        )

    def outlook(self, talk: Talk) -> Any:
        """What the conversation's model would do if the user went on."""
        next_ = self.outputs(talk) if talk.waits else [Message("user", "what now?")]
        held = [*talk.held, *map(VOICES[talk.framework].held, next_)]
        return self.foreseen(talk, held, self.who(talk, Asked()))

    def foreseen(self, talk: Talk, held: Sequence[Any], who: dict[str, Any]) -> Any:
        """What the model says that it would do with a list."""
        if self.stumble.at is not None:
            return None
        return foreseen(
            VOICES[talk.framework], self.model(talk), talk.system, held, who, talk.tools
        )

    # -- what must hold ----------------------------------------------------------------------

    def check_run(self, talk: Talk, run: Any) -> None:
        options = VARIANTS[talk.variant]
        roomy = "replay_budget" not in options
        check_files(talk, run, talk.contents, roomy=roomy, unique=not self.colliding)
        if not self.colliding:
            self.judge.check_delivered(talk, run)
        check_budget(run, options.get("replay_budget", 100_000), talk.messages)
        assert texts_are_known(run.conversation.messages, talk.texts | self.judge.hidden)
        if options.get("capabilities") and not run.tools:
            assert list(run.capabilities) == options["capabilities"]
        if talk.variant == RECAPS and is_replay(run):
            check_recap(run.conversation)

    def check_counts(self, talk: Talk, asked: Asked, outcome: Answered) -> None:
        """Neither a session nor the project holds more than the model's options say."""
        options, world = VARIANTS[talk.variant], self.stage.world
        if outcome.session_id is None:
            return
        held = world.sessions[outcome.session_id].messages
        assert held <= options.get("session_message_limit", CAP)
        assert held <= outcome.told["messages_used"]
        opens = asked.sessions or options.get("sessions")
        assert opens != "never" or outcome.told["turn"] == "continued"

    def check_expected(self, expected: Any, outcome: Answered) -> None:
        """What was foretold came true."""
        assert isinstance(expected, tuple), expected
        road, turn, session_id, omitted, _ = expected
        told = outcome.told
        assert (told["road"], told["turn"]) == (road, turn)
        assert told["omitted_messages"] == omitted
        assert session_id in (None, told["session_id"])

    def check_failed(self, key: Key, failed: Failed, *, healthy: bool) -> None:
        if failed.name == "CreditLimitError":
            assert key[2] == SPARING
            assert self.spent[key] + self.unsure[key] >= CREDITS, "it stopped too early"
        elif failed.name == "InvalidInputError":
            assert key[2] in SMALL, failed
        elif failed.name != "left":
            assert not healthy, failed

    @precondition(lambda self: self.talks)
    @invariant()
    def the_server_was_never_asked_too_much(self) -> None:
        self.judge.check_server(self.stage.world, rate_limited=self.rate_limit is not None)
        sparing = [spent for key, spent in self.spent.items() if key[2] == SPARING]
        assert max(sparing, default=0) <= CREDITS

    @precondition(lambda self: self.talks and self.count % 11 == 0)
    @invariant()
    def the_store_tells_nothing(self) -> None:
        # It is looked into from outside: no turn meets the failure that may be ordered.
        ordered, self.stumble.at = self.stumble.at, None
        kept = self.shelf.text()
        self.stumble.at = ordered
        assert "sk-stw_" not in kept
        if not self.colliding and not any(talk.stamped for talk in self.talks):
            assert not [word for word in ("answer ", "hello", "content ") if word in kept]

    @precondition(lambda self: any(talk.messages for talk in self.talks))
    @rule(which=ANY)
    def a_budget_is_met_to_the_character(self, which: int) -> None:
        """With room for exactly all of it nothing is left out, and with one less something is."""
        talk = self.pick(which)
        if not talk.messages or talk.messages[-1].role != "assistant" or talk.waits:
            return
        if any(message.files for message in talk.messages):
            return  # they take of the room, and their names may get numbers
        user = VOICES[talk.framework].held(Message("user", "what now?"))
        told = self.foretold(talk, user, 100_000)
        parts = parts_of(told.text)
        fixed = len(parts.get("instructions", "")) + len(parts["message"])
        exactly = fixed + sum(line_costs(told.text))
        assert self.foretold(talk, user, exactly).omitted_messages == 0
        assert self.foretold(talk, user, exactly - 1).omitted_messages == 1

    def foretold(self, talk: Talk, user: Any, budget: int) -> Any:
        """What a model that knows of nothing would say."""
        store = MemoryStore(self.stage.clock)
        model = self.new_model(self.key(talk), store, {"replay_budget": budget})
        held = [*talk.held, user]
        who = {"tenant": talk.tenant}
        told = VOICES[talk.framework].explain(model, talk.system, held, who, "none")
        self.loop.run_until_complete(model.aclose())
        return told


def through_a_history(talk: Talk, store: Any) -> list[Any]:
    """`StewrdChatMessageHistory`, which may hold an earlier state of the list."""
    history = StewrdChatMessageHistory(
        talk.name or "", tenant=talk.tenant, store=store, api_key=KEY, base_url=ADDRESS
    )
    history.clear()
    history.add_messages(list(talk.held))
    return list(history.messages)


def through_a_memory(talk: Talk, store: Any) -> list[Any]:
    """`StewrdMemory`, and its JSON."""
    memory = StewrdMemory(talk.name, tenant=talk.tenant, store=store, api_key=KEY, base_url=ADDRESS)
    memory.set(list(talk.held))
    again = StewrdMemory.model_validate_json(memory.model_dump_json())
    return again.get_all()
