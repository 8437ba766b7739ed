"""The roads that a turn can take, each to the end: on its session, on a new one, or on none.

Whatever goes wrong on the way, the session is kept only where nothing of the turn was heard
(the failure table), and a name that was held is released by whoever held it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..types import AgentRequest, Message, Reply
from . import notes, replay
from .align import Alignment
from .binding import DAY, Binding
from .call import Outcome
from .digest import Covered, Digester
from .effects import (
    ChangeNote,
    Decision,
    Flow,
    Now,
    Occupy,
    Put,
    Send,
    Sleep,
    Turn,
    Vacate,
    Warn,
)
from .exchange import Answer, exchange
from .failures import verdict
from .finding import put_back
from .keys import Keys
from .opening import NoSeat, Seat, keep_spare, open_session, refresh
from .speaking import changes_instructions, everything, the_rest
from .speaking import decision as decision_of

REPLAYED: dict[str, Turn] = {"rollover": "rolled_over", "expired": "recreated", "gone": "recreated"}
LONG = 20.0
"""Seconds of an answer after which its slot is refreshed once more."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a turn does not simply continue: a word for the note, and a line for the reader."""

    word: str
    reason: str


class Roads:
    """The roads of one turn.

    Attributes:
        note: The note of its name, as it was when the turn began.
        dropped: A session was given up on the way.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.call = keys.call
        self.history = keys.history
        self.policy = keys.policy
        self.note: dict[str, Any] = {}
        self.dropped = False
        self._handed_out = False

    # -- the session goes on -----------------------------------------------------------

    def carry_on(self, binding: Binding, alignment: Alignment, now: float) -> Flow[Outcome]:
        """Say what is new to the session that has heard the rest."""
        speech, used = the_rest(self.keys, binding, alignment), binding.used + 2
        changed = changes_instructions(self.keys, binding)
        reason = alignment.reason + ("; the instructions changed" if changed else "")
        decision = decision_of("continued", reason, speech, binding.generation, used)
        yield refresh(self.keys.project, str(binding.session_id), self.policy)
        answer = yield from self._attempt(speech, binding.session_id, decision, binding, again=True)
        if isinstance(answer, Why):
            if answer.word == "gone":
                yield Vacate(self.keys.project, str(binding.session_id))
            return (yield from self.anew(answer, _without_session(binding), again=False))
        if binding.provisional:
            yield Vacate(f"{self.keys.project}/provisional", str(binding.session_id))
        replaced = binding.instructions_size if changed else 0
        kept = replace(
            binding,
            covered=alignment.covered,
            used=used,
            held=binding.held + len(alignment.fresh) + 1,
            sent_at=now,
            instructions=self.history.instructions_digest,
            instructions_size=len(self.history.instructions),
            superseded=binding.superseded + replaced,
            provisional=False,
            plain=binding.plain and not changed and alignment.heard_no_more,
        )
        return (yield from self._remember(kept, answer, decision))

    def _attempt(
        self,
        speech: replay.Speech,
        session_id: str | None,
        decision: Decision,
        binding: Binding | None,
        *,
        again: bool,
    ) -> Flow[Answer | Why]:
        """Send once on a session: an `Answer`, or why the turn must go to a new session.

        ``again`` is whether a turn that the server failed at may be sent once more.
        """
        send = self._send(speech, session_id, decision)
        try:
            return (yield from exchange(send, self.call, self._shown))
        except BaseException as error:
            fate = verdict(
                error,
                shown=self._handed_out,
                retry_on_compute_error=self.policy.retry_on_compute_error,
            )
            if fate == "gone":
                return Why("gone", "the session had expired")
            if fate == "anew" and not again:
                fate = "drop"
            yield self._still_held(str(session_id), longer=fate == "drop")
            if fate == "anew":
                yield from self._wait_for(error)
                return Why("failed", "the server failed before it did the work")
            if fate == "keep":
                yield from self._keep(binding, str(session_id), error)
            self.dropped = self.dropped or fate == "drop"
            raise

    def _still_held(self, session_id: str, *, longer: bool) -> Occupy:
        """The server may be at work on it yet: its idle time begins when that ends."""
        held = refresh(self.keys.project, session_id, self.policy)
        return replace(held, ttl=held.ttl + self.call.allowance) if longer else held

    def _wait_for(self, error: BaseException) -> Flow[None]:
        seconds = getattr(error, "retry_after", None)
        if seconds:
            yield Sleep(min(float(seconds), 60.0))

    def _keep(self, binding: Binding | None, session_id: str, error: BaseException) -> Flow[None]:
        """Nothing was heard: everything is as it was before the call."""
        if binding is not None:
            yield put_back(self.keys, binding)
        if binding is None or binding.session_id != session_id:
            self.dropped = binding is None
            # Whoever needs a session next gets it, so it must have heard nothing for sure.
            if not getattr(error, "sent", True):
                yield from keep_spare(self.keys, self.policy, session_id)

    def _shown(self) -> None:
        self._handed_out = True

    def _send(self, speech: replay.Speech, session_id: str | None, decision: Decision) -> Send:
        request = AgentRequest(speech.text, self.call.capabilities, speech.files)
        return Send(request, session_id, self.call.stream, decision)

    # -- a new session, or none --------------------------------------------------------

    def anew(
        self, why: Why, binding: Binding | None, *, provisional: bool = False, again: bool = True
    ) -> Flow[Outcome]:
        """Open a session and say everything to it; where none is to be had, go stateless."""
        now = yield Now()
        if self._churns(why, binding, now):
            reason = f"{why.reason}; {notes.CHURN_LIMIT} sessions were opened lately in vain"
            yield Warn("churn", f"a conversation runs stateless for a while: {reason}")
            return (yield from self.stateless(reason, remember=True, binding=binding))
        try:
            speech = yield from everything(self.keys)  # a recap may take its time, or fail
            seat: Seat | NoSeat = yield from open_session(
                self.keys, self.policy, provisional=provisional, serial=0 if again else 1
            )
        except BaseException:
            if binding is not None:
                yield put_back(self.keys, binding)
            raise
        if isinstance(seat, NoSeat):
            reason = f"{why.reason}; {seat.reason}"
            return (
                yield from self.stateless(reason, remember=True, binding=binding, speech=speech)
            )
        if self.call.name is not None:
            yield ChangeNote(self.keys.note, notes.opened(why.word, now))
        generation = self._generation(binding) + 1
        decision = decision_of(self._kind(why), why.reason, speech, generation, 2)
        sent_at = yield Now()
        answer = yield from self._attempt(speech, seat.session_id, decision, binding, again=again)
        if isinstance(answer, Why):
            if answer.word == "failed":
                return (yield from self.anew(answer, binding, again=False))
            # It can't have been idle: something is wrong with sessions. Its slot stays taken.
            full = notes.refused("full", now + notes.FULL_REMEMBERED)
            yield ChangeNote(self.keys.project_note, full)
            return (
                yield from self.stateless(
                    answer.reason, remember=True, binding=binding, speech=speech
                )
            )
        kept = Binding(
            id="",
            session_id=seat.session_id,
            covered=Covered.of(self.keys.digester, self.history.digests),
            used=2,
            held=len(self.history.messages) - speech.omitted + 1,
            sent_at=sent_at,
            instructions=self.history.instructions_digest,
            instructions_size=len(self.history.instructions),
            generation=generation,
            opened=self._opened(why, binding, now),
            provisional=seat.provisional,
        )
        return (yield from self._remember(kept, answer, decision))

    def _generation(self, binding: Binding | None) -> int:
        before = binding.generation if binding else 0
        return max(before, int(self.note.get("generation", 0)))

    def _churns(self, why: Why, binding: Binding | None, now: float) -> bool:
        if why.word not in notes.COUNTED and why.word != "returned":
            return False
        if self.call.name is not None:
            return notes.churns(self.note, now)
        return len(_lately(binding, now)) >= notes.CHURN_LIMIT

    def _opened(self, why: Why, binding: Binding | None, now: float) -> tuple[float, ...]:
        counted = (now,) if why.word in notes.COUNTED else ()
        return _lately(binding, now) + counted

    def _kind(self, why: Why) -> Turn:
        return REPLAYED.get(why.word, "replayed" if self.history.shown else "opened")

    def stateless(
        self,
        reason: str,
        *,
        remember: bool = False,
        binding: Binding | None = None,
        speech: replay.Speech | None = None,
    ) -> Flow[Outcome]:
        """Say everything to the agent at once, without a session (R6)."""
        try:
            speech = speech or (yield from everything(self.keys))
            decision = decision_of("stateless", reason, speech)
            answer = yield from exchange(self._send(speech, None, decision), self.call, self._shown)
        except BaseException:
            if binding is not None and binding.session_id is None:
                # It ties no session, so nothing can be wrong with it.
                yield put_back(self.keys, binding)
            raise
        if not remember:
            return self._outcome(answer, decision, None)
        kept = Binding(
            id="",
            session_id=None,
            covered=Covered.of(self.keys.digester, self.history.digests),
            generation=binding.generation if binding else 0,
            opened=binding.opened if binding else (),
        )
        return (yield from self._remember(kept, answer, decision))

    # -- the answer is complete --------------------------------------------------------

    def _remember(self, binding: Binding, answer: Answer, decision: Decision) -> Flow[Outcome]:
        """Put the binding back, now that the answer is complete, and release the name."""
        now = yield Now()
        session_id = binding.session_id
        if session_id and now > binding.sent_at + LONG:
            yield refresh(self.keys.project, session_id, self.policy)
        digester = self.keys.digester
        covered = binding.covered.extended(digester, [_digest_of(digester, answer.text)])
        plain = binding.plain and _is_plain(answer.reply)
        kept = replace(
            binding,
            id=self.call.ids.call,
            covered=covered,
            plain=plain,
            tip_mark=self.keys.mark(self.call.ids.mark),
            answered_at=now,
            keys=self.keys.kept(covered, plain=plain),
        )
        if answer.cut:
            # The session holds more than was shown: it can't be continued.
            kept = replace(kept, session_id=None)
        yield Put(kept, DAY)
        outcome = self._outcome(answer, decision, session_id)
        if self.call.name is not None:
            yield from self.note_answer(outcome, self._session_facts(kept))
        return outcome

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

    def _outcome(self, answer: Answer, decision: Decision, session_id: str | None) -> Outcome:
        reply: Reply = replace(answer.reply, message=answer.text)
        return Outcome(reply, self.call.ids.mark, decision, session_id, answer.cut)

    def note_answer(self, outcome: Outcome, session: dict[str, Any] | None) -> Flow[None]:
        """Tell the name's note of an answer; ``session`` as `notes.answered` has it."""
        digester = self.keys.digester
        pair = digester.roll(self.history.digests[-1], _digest_of(digester, outcome.reply.message))
        instructions = self.history.instructions_digest
        change = notes.answered(self.call.ids.call, instructions, pair, session)
        yield ChangeNote(self.keys.note, change)


def _digest_of(digester: Digester, answer: str) -> str:
    return digester.message(Message("assistant", answer))


def _without_session(binding: Binding) -> Binding:
    """What is left of a binding whose session is gone or of unknown content."""
    return replace(binding, session_id=None)


def _lately(binding: Binding | None, now: float) -> tuple[float, ...]:
    opened = binding.opened if binding else ()
    return tuple(moment for moment in opened if moment > now - notes.RECENT)


def _is_plain(reply: Reply) -> bool:
    """Whether the session knows no more than the answer's words: no file, no research."""
    return not reply.files and set(reply.capabilities_used) <= {"chat"}
