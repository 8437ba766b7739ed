"""The roads that a turn can take, each to the end: on its session, on a new one, or on none.

Whatever goes wrong on the way, the session is kept only where nothing of the turn was heard
(the failure table), and a name that was held is released by whoever held it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import BadRequestError, EmptyAnswerError, NotFoundError
from ..types import AgentRequest
from . import notes, replay
from .align import Alignment
from .binding import Binding, Run
from .call import Outcome
from .digest import Covered
from .effects import (
    ChangeNote,
    Decision,
    Flow,
    Now,
    Occupy,
    Send,
    Sleep,
    Submit,
    Turn,
    Vacate,
    Warn,
)
from .exchange import Answer, exchange
from .failures import verdict
from .finding import put_back
from .keeping import Keeping
from .keys import Keys
from .opening import NoSeat, Seat, keep_spare, open_session, refresh
from .speaking import changes_instructions, everything, the_rest
from .speaking import decision as decision_of
from .tools import Outputs, legal_tools, was_one_too_many

REPLAYED: dict[str, Turn] = {"rollover": "rolled_over", "expired": "recreated", "gone": "recreated"}
GIVEN_BACK = "the run goes on with what its tools gave back"
TOLD_LATER = "the next message tells it of the summary that was made meanwhile"


@dataclass(frozen=True, slots=True)
class Why:
    """Why a turn does not simply continue: a word for the note, and a line for the reader."""

    word: str
    reason: str


class Roads(Keeping):
    """The roads of one turn.

    Attributes:
        note: The note of its name, as it was when the turn began.
        dropped: A session was given up on the way.
    """

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys)
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
        send = self._send(speech, binding.session_id, decision)
        answer = yield from self._attempt(send, binding, again=True)
        if isinstance(answer, Why):
            if answer.word in ("no tools", "no answer"):
                refused = answer.word == "no tools"
                kept = binding if refused else without_session(binding)
                return (yield from self.apart(answer.reason, kept, refused=refused))
            return (yield from self._elsewhere(answer, binding))
        yield from self._came_back(binding)
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
        return (yield from self.remember(kept, answer, decision))

    def _elsewhere(self, why: Why, binding: Binding) -> Flow[Outcome]:
        """The session could not go on, so another one does."""
        if why.word == "gone":
            yield Vacate(self.keys.project, str(binding.session_id))
        return (yield from self.anew(why, without_session(binding), again=False))

    def _came_back(self, binding: Binding) -> Flow[None]:
        """Its conversation goes on, so a first turn's session no longer counts as one."""
        if binding.provisional:
            yield Vacate(f"{self.keys.project}/provisional", str(binding.session_id))

    def _attempt(
        self, send: Send | Submit, binding: Binding | None, *, again: bool, hidden: bool = False
    ) -> Flow[Answer | Why]:
        """Send once on a session: an `Answer`, or why the turn must go another way.

        ``again`` is whether a turn that the server failed at may be sent once more, ``hidden``
        whether the answer is for nobody to see.
        """
        session_id = str(send.session_id)
        try:
            return (yield from exchange(send, self.call, self._shown, hidden=hidden))
        except BaseException as error:
            why = yield from self._without_tools(send, error)
            if why is not None:
                yield self._still_held(session_id, longer=False)
                return why
            if isinstance(send, Submit) and was_one_too_many(self.rounds, error):
                return Why("run", "the run has had its rounds of tools")
            fate = verdict(
                error,
                shown=self._handed_out,
                retry_on_compute_error=self.policy.retry_on_compute_error,
            )
            if fate == "gone":
                if isinstance(error, NotFoundError):
                    return Why("run", "the run was gone before its tools had ended")
                return Why("gone", "the session had expired")
            if fate == "anew" and not again:
                fate = "drop"
            yield self._still_held(session_id, longer=fate == "drop")
            if fate == "anew":
                yield from self._wait_for(error)
                return Why("failed", "the server failed before it did the work")
            if fate == "keep":
                yield from self._keep(binding, session_id, error)
            self.dropped = self.dropped or fate == "drop"
            raise

    def _without_tools(self, send: Send | Submit, error: BaseException) -> Flow[Why | None]:
        """Whether an error shows that sessions take no tools, which nobody documents (R11).

        An empty answer of one that was seen to take them is a failure like any other.
        """
        if not self.call.tools or isinstance(send, Submit):
            return None
        if isinstance(error, BadRequestError) and error.code == "invalid_tools":
            return Why("no tools", "sessions of this project take no tools")
        if not isinstance(error, EmptyAnswerError):
            return None
        self.dropped = True
        now = yield Now()
        note = yield ChangeNote(self.keys.project_note, notes.tools_doubted(now))
        if notes.takes_tools(note, now):
            return None
        return Why("no answer", "the session did not answer a turn with tools")

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
        self.rounds = 0
        tools = legal_tools(self.call.tools)
        request = AgentRequest(speech.text, self.call.capabilities, speech.files, tools)
        return Send(request, session_id, self.call.stream and not tools, decision)

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
        send = self._send(speech, seat.session_id, decision)
        answer = yield from self._attempt(send, binding, again=again)
        if isinstance(answer, Why):
            if answer.word == "failed":
                return (yield from self.anew(answer, binding, again=False))
            if answer.word == "no tools":
                unused = Binding("", seat.session_id, Covered(), generation=generation)
                unused = replace(unused, sent_at=self.began, opened=self._opened(why, binding, now))
                unused = replace(unused, provisional=seat.provisional)
                return (yield from self.apart(answer.reason, unused, refused=True))
            if answer.word == "no answer":
                return (yield from self.apart(answer.reason, binding))
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
            sent_at=self.began,
            instructions=self.history.instructions_digest,
            instructions_size=len(self.history.instructions),
            generation=generation,
            opened=self._opened(why, binding, now),
            provisional=seat.provisional,
        )
        return (yield from self.remember(kept, answer, decision))

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
            return self.outcome(answer, decision, None)
        return (yield from self.remember_stateless(binding, answer, decision))

    # -- tools -------------------------------------------------------------------------

    def submit(
        self, task: Outputs, run: Run, binding: Binding, alignment: Alignment, now: float
    ) -> Flow[Outcome]:
        """Give a run on a session what it waits for, and then the user's message, if there is one.

        The answer between the two is heard by the session and shown to nobody.
        """
        used, limit = binding.used + len(task.outputs) + 1, self.policy.session_message_limit
        if used + 2 * task.then > limit:
            why = Why("rollover", f"the session is full ({binding.used} of {limit} messages)")
            return (yield from self.anew(why, binding))
        reason = f"{GIVEN_BACK}; {TOLD_LATER}" if alignment.summaries else GIVEN_BACK
        decision = Decision("session", "continued", reason, 0, (), binding.generation, used)
        yield refresh(self.keys.project, str(binding.session_id), self.policy)
        send = self._submit(run, task, binding.session_id, decision)
        answer = yield from self._attempt(send, binding, again=True, hidden=task.then)
        if not isinstance(answer, Why) and task.then and answer.reply.tool_calls:
            answer = Why("run", "the agent asked for more tools, and the user has spoken")
        if isinstance(answer, Why):
            return (yield from self._elsewhere(answer, binding))
        yield from self._came_back(binding)
        # No word says that outputs keep a session from being idle, so `sent_at` stays.
        # Nor does any word say what a session keeps of a run: nothing is put before its end.
        heard = replace(binding, used=used, run=None, provisional=False, held=0)
        told, unheard = len(task.outputs), alignment.unsummarised
        digests = [self.history.digests[fresh.index] for fresh in unheard[:told]]
        # A summary can't be said beside outputs. It is not covered, so the next message tells it.
        heard = replace(heard, covered=binding.covered.extended(self.keys.digester, digests))
        if not task.then:
            heard = replace(heard, plain=binding.plain and alignment.heard_no_more)
            return (yield from self.remember(heard, answer, decision))
        rest = replace(alignment, fresh=alignment.summaries + unheard[told:])
        return (yield from self.carry_on(replace(heard, plain=False), rest, now))

    def _submit(
        self, run: Run, task: Outputs, session_id: str | None, decision: Decision
    ) -> Submit:
        self.rounds = run.rounds
        return Submit(run.request_id, run.compute_instance, task.outputs, session_id, decision)

    def submit_apart(self, task: Outputs, run: Run, binding: Binding) -> Flow[Outcome]:
        """Give a run without a session what it waits for."""
        rest = replace(binding, run=None)
        decision = Decision("stateless", "stateless", GIVEN_BACK)
        try:
            answer = yield from exchange(
                self._submit(run, task, None, decision), self.call, self._shown
            )
        except BaseException as error:
            fate = verdict(error, shown=self._handed_out, retry_on_compute_error=False)
            if fate != "gone" and not was_one_too_many(run.rounds, error):
                yield put_back(self.keys, binding if fate == "keep" else rest)
                raise
        else:
            return (yield from self.remember_apart(rest, answer, decision))
        return (yield from self.apart("the run was gone before its tools had ended", rest))

    def apart(
        self, reason: str, binding: Binding | None, *, refused: bool = False
    ) -> Flow[Outcome]:
        """Ask the agent beside the session, which hears of it with the next message (R11).

        ``refused`` says that a session has just refused these tools: if the agent takes them,
        it is sessions that do not.
        """
        try:
            speech = yield from everything(self.keys)
            decision = decision_of("stateless", reason, speech)
            answer = yield from exchange(self._send(speech, None, decision), self.call, self._shown)
        except BaseException:
            if binding is not None and binding.keys:
                yield put_back(self.keys, binding)
            raise
        if refused:
            now = yield Now()
            yield ChangeNote(self.keys.project_note, notes.tools_refused(now))
        return (yield from self.remember_apart(binding, answer, decision))


def without_session(binding: Binding) -> Binding:
    """What is left of a binding whose session is gone or of unknown content."""
    return replace(binding, session_id=None, run=None)


def _lately(binding: Binding | None, now: float) -> tuple[float, ...]:
    opened = binding.opened if binding else ()
    return tuple(moment for moment in opened if moment > now - notes.RECENT)
