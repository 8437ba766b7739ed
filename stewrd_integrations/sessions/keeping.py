"""An answer is complete: what is kept of it, and under which keys.

Everything that a later call may go on with is written here, after the last byte of the answer
has come (R2): the binding, the run that waits for tools, and the note of the name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..types import Reply, Usage
from . import notes
from .binding import DAY, Binding, Run
from .call import Outcome
from .digest import Covered, Digester
from .effects import ChangeNote, Decision, Flow, Now, Put
from .exchange import Answer
from .keys import Keys
from .opening import refresh
from .tools import LIFE, demanded, offer

KEPT_KEYS = 12
"""Keys of a binding whose session stands aside while tools run."""

LONG = 20.0
"""Seconds of an answer after which its slot is refreshed once more."""


class Keeping:
    """What is kept of a turn's answer.

    Attributes:
        rounds: Rounds of tools that the run of this turn has had.
        in_vain: Credits of attempts of this turn that were charged and gave no answer.
        former: That run, as it waited.
        note: The note of the call's name, as it was when the turn began.
        began: When the turn began (seconds since the epoch): if its conversation is forgotten
            later than that, nothing that it leaves behind is to be found.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.call = keys.call
        self.history = keys.history
        self.policy = keys.policy
        self.rounds = 0
        self.in_vain = 0
        self.former: Run | None = None
        self.note: dict[str, Any] = {}
        self.began = 0.0

    @property
    def epoch(self) -> int:
        """How often the conversation had been forgotten when the turn began."""
        return notes.epoch_of(self.note)

    def remember(self, binding: Binding, answer: Answer, decision: Decision) -> Flow[Outcome]:
        """Put the binding back, now that the answer is complete, and release the name."""
        now = yield Now()
        session_id = binding.session_id
        if session_id and now > binding.sent_at + LONG:
            yield refresh(self.keys.project, session_id, self.policy)
        digester = self.keys.digester
        said = _digest_of(digester, answer)
        covered = binding.covered.extended(digester, [said])
        plain = binding.plain and _is_plain(answer.reply)
        run = self._waiting(answer, said, now, on_session=session_id is not None)
        kept = replace(
            binding,
            id=self.call.ids.call,
            covered=covered,
            plain=plain,
            tip_mark=self.keys.mark(self.call.ids.mark),
            answered_at=now,
            run=run,
            keys=self.keys.kept(covered, plain=plain),
            epoch=self.epoch,
        )
        if answer.cut or (answer.reply.tool_calls and run is None):
            # The session holds more than was shown, or waits for what can't be given to it.
            kept = replace(kept, session_id=None)
        yield Put(kept, DAY)
        yield from self._tell(said, kept)
        return self.outcome(answer, decision, session_id)

    def _tell(self, said: str, kept: Binding) -> Flow[None]:
        if self.call.name is not None and self.call.sessions != "never":
            yield self._noted(said, self._session_facts(kept))

    def _session_facts(self, binding: Binding) -> dict[str, Any]:
        if binding.session_id is None:
            return {}
        return {
            "id": binding.session_id,
            "used": binding.used,
            "limit": self.policy.session_message_limit,
            "deadline": binding.sent_at + self.policy.idle_timeout,
            "generation": binding.generation,
        }

    def outcome(self, answer: Answer, decision: Decision, session_id: str | None) -> Outcome:
        """The answer as the caller gets it."""
        reply, usage = answer.reply, self._usage(answer)
        if answer.text != reply.message or usage is not reply.usage:
            reply = replace(reply, message=answer.text, usage=usage)
        return Outcome(reply, self.call.ids.mark, decision, session_id, answer.cut)

    def _usage(self, answer: Answer) -> Usage:
        """What the turn cost: its answer, and the attempts before it."""
        usage = answer.reply.usage
        if not self.in_vain or usage.credits is None:
            return usage
        return replace(usage, credits=usage.credits + self.in_vain, estimated=True)

    def note_answer(self, outcome: Outcome, session: dict[str, Any] | None) -> Flow[None]:
        """Tell the name's note of an answer; ``session`` as `notes.answered` has it."""
        reply = outcome.reply
        yield self._noted(self.keys.digester.answer(reply.message, reply.tool_calls), session)

    def _noted(self, said: str, session: dict[str, Any] | None) -> ChangeNote:
        pair = self.keys.digester.roll(self.history.digests[-1], said)
        instructions = self.history.instructions_digest
        change = notes.answered(
            self.call.ids.call, instructions, pair, session, self.began, self.epoch
        )
        return ChangeNote(self.keys.note, change)

    def remember_stateless(
        self, binding: Binding | None, answer: Answer, decision: Decision
    ) -> Flow[Outcome]:
        """Keep that the conversation was answered without a session: it may come back."""
        kept = Binding(
            id="",
            session_id=None,
            covered=Covered.of(self.keys.digester, self.history.digests),
            sent_at=self.began,
            generation=binding.generation if binding else 0,
            opened=binding.opened if binding else (),
        )
        return (yield from self.remember(kept, answer, decision))

    def remember_apart(
        self, binding: Binding | None, answer: Answer, decision: Decision
    ) -> Flow[Outcome]:
        """Keep the session as it is, also under the keys of what was said beside it."""
        if binding is None or binding.session_id is None:
            return (yield from self.remember_stateless(binding, answer, decision))
        now = yield Now()
        digester = self.keys.digester
        said = _digest_of(digester, answer)
        heard = Covered.of(digester, [*self.history.digests, said])
        keys = dict.fromkeys((*self.keys.kept(heard, plain=binding.plain), *binding.keys))
        kept = replace(
            binding,
            id=self.call.ids.call,
            run=self._waiting(answer, said, now, on_session=False),
            keys=tuple(keys)[:KEPT_KEYS],
            epoch=self.epoch,
        )
        yield Put(kept, DAY)
        yield from self._tell(said, kept)
        return self.outcome(answer, decision, None)

    def _waiting(self, answer: Answer, said: str, now: float, *, on_session: bool) -> Run | None:
        """The run that the answer leaves behind, if it asked for tools; ``said`` is its digest."""
        reply, digester = answer.reply, self.keys.digester
        if not reply.tool_calls or reply.id is None or answer.cut or answer.unclear:
            return None
        instance = reply.compute_instance
        if instance is None and self.former is not None:
            instance = self.former.compute_instance  # the same run goes on
        return Run(
            request_id=reply.id,
            compute_instance=instance,
            deadline=now + LIFE,
            rounds=self.rounds + 1,
            calls=tuple(call.id for call in reply.tool_calls),
            offered=offer(digester, self.call, self.history),
            demanded=demanded(digester, self.call),
            rolled=digester.rolling([*self.history.digests, said])[-1],
            on_session=on_session,
        )


def _digest_of(digester: Digester, answer: Answer) -> str:
    return digester.answer(answer.text, answer.reply.tool_calls)


def _is_plain(reply: Reply) -> bool:
    """Whether the session knows no more than the answer's words: no file, no research."""
    return not reply.files and set(reply.capabilities_used) <= {"chat"}
