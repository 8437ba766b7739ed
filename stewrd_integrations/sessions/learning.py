"""What answers teach of sessions and tools, which nobody documents (R11)."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import APIStatusError, BadRequestError, EmptyAnswerError
from ..values import dataclass
from . import notes
from .effects import ChangeNote, Flow, Now, ReadNote, Send, Submit
from .exchange import cost_in_vain
from .keeping import Keeping
from .keys import Keys
from .soundness import Change

BESIDE: dict[str, Callable[[float], Change] | None] = {
    "no tools": notes.tools_refused,
    "refused": notes.tools_doubted,
    "unclear": notes.tools_doubted,
    "no answer": None,
}
"""Why a turn with tools goes beside its session, and what is learnt if the agent then takes it."""

UNHEARD = ("no tools", "refused")
"""Where the session has heard nothing of it."""

REFUSING = (400, 422)
NOT_OF_TOOLS = (401, 402, 404, 410, 429)
"""Statuses that speak of the key, the balance, the session or the pace."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a turn does not simply continue: a word for the note, and a line for the reader."""

    word: str
    reason: str


class Learning(Keeping):
    """What a turn learns on its way.

    Attributes:
        dropped: A session was given up on the way.
    """

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys)
        self.dropped = False

    def _without_tools(self, send: Send | Submit, error: BaseException) -> Flow[Why | None]:
        """Whether an error shows that sessions take no tools, which nobody documents (R11).

        On one that was seen to take them it is a failure like any other, unless it says so.
        """
        if isinstance(send, Submit):
            return (yield from self._without_outputs(error))
        if not self.call.tools:
            return None
        if isinstance(error, BadRequestError) and error.code == "invalid_tools":
            return Why("no tools", "sessions of this project take no tools")
        yield from self._doubt_tools(error)
        empty = isinstance(error, EmptyAnswerError)
        self.dropped = self.dropped or empty
        if not empty and getattr(error, "status", None) not in REFUSING:
            return None
        now = yield Now()
        note = yield ReadNote(self.keys.project_note)
        if notes.takes_tools(note, now):
            return None
        self.in_vain += cost_in_vain(error, self.call)
        if isinstance(error, BadRequestError):
            return Why("refused", "the session refused a turn with tools")
        self.dropped = True
        if not empty:
            return Why("unclear", "the session refused a turn with tools")
        yield ChangeNote(self.keys.project_note, notes.tools_doubted(now))
        return Why("no answer", "the session did not answer a turn with tools")

    def _doubt_tools(self, error: BaseException) -> Flow[None]:
        """A failure is raised, but the next turn need not meet it too if it was of the tools."""
        if isinstance(error, APIStatusError) and error.status not in (*REFUSING, *NOT_OF_TOOLS):
            now = yield Now()
            yield ChangeNote(self.keys.project_note, notes.tools_failed(now))

    def _without_outputs(self, error: BaseException) -> Flow[Why | None]:
        """Whether an error shows that outputs can't be given to what a session asks for.

        Only the first outputs can show it, and only where no session is known to take any.
        """
        if self.rounds != 1:
            return None
        if getattr(error, "status", None) not in (400, 404, 410):
            yield from self._doubt_tools(error)
            return None
        now = yield Now()
        note = yield ChangeNote(self.keys.project_note, notes.tools_doubted(now))
        if notes.takes_tools(note, now):
            return None
        return Why("no outputs", "the session did not take the outputs of tools")

    def _outputs_taken(self) -> Flow[None]:
        now = yield Now()
        note = yield ReadNote(self.keys.project_note)
        if not notes.takes_tools(note, now, notes.TOOLS_REMEMBERED / 2):
            yield ChangeNote(self.keys.project_note, notes.tools_taken(now))
