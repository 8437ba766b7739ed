"""A user who talks to a model and keeps the list that a framework would keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stewrd_integrations.runtime import Explanation, Runtime
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.types import File, Message
from tests.worlds import Stage


@dataclass
class Talk:
    """One conversation; ``who`` are the options of each call."""

    model: Runtime
    name: str | None = None
    system: str = ""
    marks: bool = True
    who: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    last: Outcome | None = None

    def list_with(self, text: str, files: Sequence[File] = ()) -> list[Message]:
        """The list of a call that says this."""
        system = [Message("system", self.system)] if self.system else []
        return [*system, *self.messages, Message("user", text, files=tuple(files))]

    def _call(self, text: str, files: Sequence[File] = (), **options: Any) -> Any:
        who = {"conversation_id": self.name, **self.who}
        return self.model.call(self.list_with(text, files), who, **{**self.call, **options})

    def say(self, text: str, files: Sequence[File] = (), **options: Any) -> Outcome:
        """Say something, and keep both messages."""
        outcome = self.model.answer(self._call(text, files, **options))
        return self._keep(text, files, outcome)

    async def asay(self, text: str, **options: Any) -> Outcome:
        """`say` on the event loop."""
        return self._keep(text, (), await self.model.aanswer(self._call(text, **options)))

    def stream(self, text: str) -> Outcome:
        """`say`, streamed."""
        *_, outcome = self.model.stream(self._call(text, stream=True))
        assert isinstance(outcome, Outcome)
        return self._keep(text, (), outcome)

    async def astream(self, text: str) -> Outcome:
        """`stream` on the event loop."""
        items = [item async for item in self.model.astream(self._call(text, stream=True))]
        assert isinstance(items[-1], Outcome)
        return self._keep(text, (), items[-1])

    def explain(self, text: str, **who: Any) -> Explanation:
        """What saying it would do."""
        call = self.model.call(self.list_with(text), {"conversation_id": self.name, **who})
        return self.model.explain(call)

    def _keep(self, text: str, files: Sequence[File], outcome: Outcome) -> Outcome:
        self.last = outcome
        mark = outcome.mark if self.marks else None
        self.messages += [
            Message("user", text, files=tuple(files)),
            Message("assistant", outcome.reply.message, mark=mark),
        ]
        return outcome

    def way(self) -> tuple[str, str | None]:
        """How the last turn travelled."""
        assert self.last is not None
        return self.last.decision.turn, self.last.session_id


def grown(stage: Stage, turns: int = 3, **options: Any) -> Talk:
    """A named conversation that has some turns behind it."""
    talk = Talk(stage.model(**options), "ada")
    for turn in range(turns):
        talk.say(f"text {turn}")
    return talk


def heard(stage: Stage) -> list[tuple[str, str]]:
    """The conversation as the agent read it at its last answer."""
    return [(said.role, said.text) for said in stage.runs[-1].conversation.messages]
