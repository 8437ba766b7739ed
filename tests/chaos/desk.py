"""Which turn is taken next, and what becomes of a conversation by it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .plan import Plan
from .talks import SYSTEMS, Framework, Kind, Line, Talk, Writer, begun, branched, changed

HOT = 6
"""So many conversations are talked to by several workers at once."""


class Address(NamedTuple):
    """A project, and what the options of a model say of it: the names are theirs."""

    base_url: str
    api_key: str
    session_message_limit: int
    max_active_sessions: int
    idle_timeout: float


@dataclass(frozen=True)
class Turn:
    """What a worker needs to take a turn."""

    number: int
    talk: int
    root: int
    version: int
    project: int
    address: Address
    framework: Framework
    kind: Kind
    name: str | None
    tenant: str | None
    change: str
    system: str
    shown: tuple[Line, ...]
    gone: tuple[Line, ...]


class Desk:
    """The conversations of a run, and the turns that are being taken."""

    def __init__(self, plan: Plan, addresses: Sequence[Address]) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)  # noqa: S311
        self.writer = Writer(self.chance)
        self.addresses = addresses
        self.talks: dict[int, Talk] = {}
        self.turns: dict[int, tuple[Turn, Talk]] = {}
        self._numbers = 0
        while len(self.talks) < plan.talks:
            self._begin()

    def turn(self, worker: int) -> Turn:
        """The next turn for a worker."""
        talk = self._choose(worker)
        if self.chance.random() < 0.02 and talk.said and not talk.steady:
            talk = self._branch(talk)
        change, changed_list = changed(talk, self.writer)
        system = talk.system
        if self.chance.random() < 0.02:
            system = self.chance.choice(SYSTEMS)
        text = changed_list.again or self.writer.text(talk)
        turn = Turn(
            number=self._number(),
            talk=talk.id,
            root=talk.root,
            version=talk.version,
            project=talk.project,
            address=self.addresses[talk.project],
            framework=talk.framework,
            kind=talk.kind,
            name=talk.name,
            tenant=talk.tenant,
            change=change,
            system=system,
            shown=(*changed_list.said, Line("user", text)),
            gone=changed_list.gone,
        )
        self.turns[turn.number] = (turn, talk)
        return turn

    def end(self, number: int) -> tuple[Turn, Talk]:
        """A turn is at its end."""
        return self.turns.pop(number)

    def keep(self, turn: Turn, talk: Talk, answer: Line) -> None:
        """Put an answer into the conversation's list, unless another turn came before."""
        if talk.version != turn.version:
            if self.chance.random() < 0.5:
                return
            talk = self._branch(talk, fork=True)
        if turn.kind == "content":
            answer = Line(answer.role, answer.text)
        talk.said, talk.gone = (*turn.shown, answer), turn.gone
        talk.system = turn.system
        talk.version += 1
        talk.left -= 1
        if talk.left <= 0 or len(self.talks) > 2 * self.plan.talks:
            self.talks.pop(talk.id, None)
        while len(self.talks) < self.plan.talks:
            self._begin()

    def leave(self, turn: Turn, talk: Talk) -> None:
        """No answer came; some applications keep the question in their list all the same."""
        if talk.version == turn.version and self.chance.random() < 0.3:
            talk.said, talk.gone, talk.system = turn.shown, turn.gone, turn.system
            talk.version += 1

    def _choose(self, worker: int) -> Talk:
        talks = list(self.talks.values())
        if self.chance.random() < 0.06:
            return self.chance.choice(talks[:HOT])
        steady = [talk for talk in talks if talk.steady]
        if steady and self.chance.random() < 0.12:
            return self.chance.choice(steady)
        while True:
            talk = self.chance.choice(talks)
            if talk.sleepy and self.chance.random() < 0.9:
                continue
            # What is known by its words alone is so only to the model that answered before.
            mine = talk.root % self.plan.workers == worker
            if talk.kind != "content" or mine or self.chance.random() < 0.05:
                return talk

    def _begin(self) -> None:
        number = self._number()
        project = self.chance.randrange(len(self.addresses))
        self.talks[number] = begun(number, project, self.chance)

    def _branch(self, talk: Talk, *, fork: bool = False) -> Talk:
        number = self._number()
        copy = branched(talk, number, self.chance, fork=fork)
        self.talks[number] = copy
        return copy

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers
