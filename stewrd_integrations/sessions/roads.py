"""The roads that a turn can take, each to the end: on its session, on a new one, or on none.

Whatever goes wrong on the way, the session is kept only where nothing of the turn was heard
(the failure table), and a name that was held is released by whoever held it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import (
    BadRequestError,
    NotFoundError,
    RateLimitError,
    SessionExpiredError,
    StewrdError,
)
from ..types import AgentRequest
from . import notes, replay
from .align import Alignment
from .binding import Binding, Run
from .call import Outcome
from .digest import Covered, Digester
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
from .keys import Keys
from .learning import BESIDE, UNHEARD, Learning, Why
from .opening import NoSeat, Seat, keep_spare, open_session, refresh
from .soundness import Change
from .speaking import changes_instructions, everything, replaces_too_much, the_rest, why_replaced
from .speaking import decision as decision_of
from .tools import Outputs, legal_tools, told, was_one_too_many

REPLAYED: dict[str, Turn] = {"rollover": "rolled_over", "expired": "recreated", "gone": "recreated"}
GIVEN_BACK = "the run goes on with what its tools gave back"
BETWEEN = "an answer in between was heard by the session alone"
TOLD_LATER = "the next message tells it of the summary that was made meanwhile"


class Roads(Learning):
    """The roads of one turn."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys)
        self._handed_out = False
        self._opening: Change | None = None

    # -- the session goes on -----------------------------------------------------------

    def carry_on(
        self, binding: Binding, alignment: Alignment, now: float, *, between: bool = False
    ) -> Flow[Outcome]:
        """Say what is new to the session that has heard the rest.

        ``between`` says that it has just given an answer which nobody is shown.
        """
        speech, used = the_rest(self.keys, binding, alignment), binding.used + 2
        changed = changes_instructions(self.keys, binding)
        reason = alignment.reason + ("; the instructions changed" if changed else "")
        reason += f"; {BETWEEN}" if between else ""
        fresh = len(alignment.fresh)
        decision = decision_of("continued", reason, speech, binding.generation, used, fresh=fresh)
        yield refresh(self.keys.project, str(binding.session_id), self.policy)
        send = self._send(speech, binding.session_id, decision)
        answer = yield from self._attempt(send, binding, again=True)
        if isinstance(answer, Why):
            if answer.word in BESIDE:
                kept = binding if answer.word in UNHEARD else without_session(binding)
                return (yield from self.apart(answer.reason, kept, BESIDE[answer.word]))
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
        except GeneratorExit:
            raise
        except BaseException as error:
            why = yield from self._without_tools(send, error)
            if why is not None:
                gone = isinstance(error, SessionExpiredError)
                slot = Vacate(self.keys.project, session_id)
                yield slot if gone else self._still_held(session_id, longer=False)
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
                return Why("gone", "the session had expired, as the server says")
            if fate == "anew" and not again:
                fate = "drop"
            yield self._still_held(session_id, longer=fate == "drop")
            if fate == "anew":
                yield from self._wait_for(error)
                return Why("failed", "the server failed before it did the work")
            if fate == "keep":
                kept = binding and _unless_refused(binding, send, error, self.keys.digester)
                yield from self._keep(kept, session_id, error)
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
            yield from self._keep_opened(session_id, error)

    def _keep_opened(self, session_id: str, error: BaseException | None = None) -> Flow[None]:
        """Its first message was not taken, so a session that was just opened serves the next.

        Whoever needs one gets it if nothing was sent; the same tenant, if it came too fast; after
        any other refusal nobody but whoever was refused, as it might have heard it all the same.
        """
        sent = getattr(error, "sent", True)
        where = self.keys.own_spare
        if not sent:
            where = self.keys.spare
        elif isinstance(error, RateLimitError):
            where = self.keys.tenant_spare
        yield from keep_spare(self.keys, session_id, self.policy, where, self.epoch)
        yield Vacate(f"{self.keys.project}/provisional", session_id)
        if sent:
            now = yield Now()
            yield ChangeNote(self.keys.project_note, notes.unheard(session_id, now))
        if self._opening is not None:
            yield ChangeNote(self.keys.note, self._opening)

    def _shown(self) -> None:
        self._handed_out = True

    def _send(self, speech: replay.Speech, session_id: str | None, decision: Decision) -> Send:
        self.rounds, self.former = 0, None
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
            lately = f"{notes.CHURN_LIMIT} sessions in {notes.RECENT / 60:g} minutes"
            reason = f"{why.reason}; {lately} were opened for it in vain"
            yield Warn("churn", f"a conversation runs stateless for a while: {reason}")
            return (yield from self.stateless(reason, remember=True, binding=binding))
        try:
            speech = yield from everything(self.keys)  # a recap may take its time, or fail
            seat: Seat | NoSeat = yield from open_session(
                self.keys,
                self.policy,
                provisional=provisional,
                serial=0 if again else 1,
                epoch=self.epoch,
                answered=binding is not None,
            )
        except GeneratorExit:
            raise
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
            self._opening = notes.not_opened(why.word, now)
        generation = self._generation(binding) + 1
        fresh = self._all_but(speech)
        decision = decision_of(self._kind(why), why.reason, speech, generation, 2, fresh=fresh)
        send = self._send(speech, seat.session_id, decision)
        answer = yield from self._attempt(send, binding, again=again)
        if isinstance(answer, Why):
            unused = Binding("", seat.session_id, Covered(), generation=generation)
            unused = replace(unused, sent_at=self.began, opened=self._opened(why, binding, now))
            unused = replace(unused, provisional=seat.provisional)
            return (yield from self._not_even_there(answer, binding, unused, speech))
        if seat.spare:
            yield ChangeNote(self.keys.project_note, notes.heard(seat.session_id))
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

    def _not_even_there(
        self, why: Why, binding: Binding | None, unused: Binding, speech: replay.Speech
    ) -> Flow[Outcome]:
        """A session that was just opened could not answer."""
        if why.word == "failed":
            return (yield from self.anew(why, binding, again=False))
        if why.word in BESIDE:
            kept = unused if why.word in UNHEARD else binding
            return (yield from self.apart(why.reason, kept, BESIDE[why.word]))
        # It can't have been idle: something is wrong with sessions. Its slot stays taken.
        now = yield Now()
        full = notes.refused("full", now + notes.FULL_REMEMBERED)
        yield ChangeNote(self.keys.project_note, full)
        return (
            yield from self.stateless(why.reason, remember=True, binding=binding, speech=speech)
        )

    def _all_but(self, speech: replay.Speech) -> int:
        """How many messages a replay says."""
        return len(self.history.messages) - speech.omitted

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
            fresh = self._all_but(speech)
            decision = decision_of("stateless", self.call.alone or reason, speech, fresh=fresh)
            answer = yield from exchange(self._send(speech, None, decision), self.call, self._shown)
        except GeneratorExit:
            raise
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
        """Give a run on a session what it waits for, and then what was said since, if it was.

        The answer between the two is heard by the session and shown to nobody. So it is where
        other tools or instructions count by now: the run has none but its own.
        """
        if replaces_too_much(self.keys, binding):
            return (yield from self.anew(Why("instructions", why_replaced(self.keys)), binding))
        used, limit = binding.used + len(task.outputs) + 1, self.policy.session_message_limit
        if used + 2 * task.then > limit:
            room = f"{binding.used} of {limit} messages, and {len(task.outputs)} outputs to give"
            why = Why("rollover", f"the session is full ({room})")
            return (yield from self.anew(why, binding))
        told_later = bool(alignment.summaries) and not task.then
        reason = f"{GIVEN_BACK}; {TOLD_LATER}" if told_later else GIVEN_BACK
        reason += "; its answer is heard by the session alone, and more is said" * task.then
        decision = Decision("session", "continued", reason, 0, (), binding.generation, used)
        decision = replace(decision, fresh=len(task.outputs))
        yield refresh(self.keys.project, str(binding.session_id), self.policy)
        send = self._submit(run, task, binding.session_id, decision)
        answer = yield from self._attempt(send, binding, again=True, hidden=task.then)
        if not isinstance(answer, Why) and task.then and answer.reply.tool_calls:
            yield from self._outputs_taken()
            answer = Why("run", "the agent asked for more tools, and its run was over")
        if isinstance(answer, Why):
            if answer.word == "no outputs":
                return (yield from self.apart(answer.reason, without_session(binding)))
            return (yield from self._elsewhere(answer, binding))
        if run.rounds == 1:
            yield from self._outputs_taken()
        yield from self._came_back(binding)
        # No word says that outputs keep a session from being idle, so `sent_at` stays.
        # Nor does any word say what a session keeps of a run: nothing is put before its end.
        heard = replace(binding, used=used, run=None, provisional=False, held=0)
        given, unheard = len(task.outputs), alignment.unsummarised
        digests = [self.history.digests[fresh.index] for fresh in unheard[:given]]
        # A summary can't be said beside outputs. It is not covered, so the next message tells it.
        heard = replace(heard, covered=binding.covered.extended(self.keys.digester, digests))
        if not task.then:
            heard = replace(heard, plain=binding.plain and alignment.heard_no_more)
            return (yield from self.remember(heard, answer, decision))
        rest = replace(alignment, fresh=alignment.summaries + unheard[given:])
        heard = replace(heard, plain=False)
        return (yield from self.carry_on(heard, rest, now, between=True))

    def _submit(
        self, run: Run, task: Outputs, session_id: str | None, decision: Decision
    ) -> Submit:
        self.rounds, self.former = run.rounds, run
        return Submit(run.request_id, run.compute_instance, task.outputs, session_id, decision)

    def submit_apart(self, task: Outputs, run: Run, binding: Binding) -> Flow[Outcome]:
        """Give a run without a session what it waits for."""
        rest = replace(binding, run=None)
        decision = Decision("stateless", "stateless", GIVEN_BACK, fresh=len(task.outputs))
        try:
            answer = yield from exchange(
                self._submit(run, task, None, decision), self.call, self._shown
            )
        except GeneratorExit:
            raise
        except BaseException as error:
            fate = verdict(error, shown=self._handed_out, retry_on_compute_error=False)
            if fate != "gone" and not was_one_too_many(run.rounds, error):
                send = self._submit(run, task, None, decision)
                kept = _unless_refused(binding, send, error, self.keys.digester)
                yield put_back(self.keys, kept if fate == "keep" else rest)
                raise
        else:
            return (yield from self.remember_apart(rest, answer, decision))
        return (yield from self.apart("the run was gone before its tools had ended", rest))

    def apart(
        self,
        reason: str,
        binding: Binding | None,
        learnt: Callable[[float], Change] | None = None,
    ) -> Flow[Outcome]:
        """Ask the agent beside the session, which hears of it with the next message (R11).

        ``learnt`` is what to note if a session has just refused these tools and the agent takes
        them: then it is sessions that do not.
        """
        try:
            speech = yield from everything(self.keys)
            decision = decision_of("stateless", reason, speech, fresh=self._all_but(speech))
            answer = yield from exchange(self._send(speech, None, decision), self.call, self._shown)
        except GeneratorExit:
            raise
        except BaseException as error:
            if self.in_vain and isinstance(error, StewrdError) and error.charged == "no":
                error.charged = "likely"  # not for this attempt, but for the one before it
            if binding is not None and binding.keys:
                yield put_back(self.keys, binding)
            elif binding is not None and binding.session_id is not None:
                yield from self._keep_opened(binding.session_id)
            raise
        if learnt is not None:
            now = yield Now()
            yield ChangeNote(self.keys.project_note, learnt(now))
        return (yield from self.remember_apart(binding, answer, decision))


def _unless_refused(
    binding: Binding, send: Send | Submit, error: BaseException, digester: Digester
) -> Binding:
    """The binding as it may go back: the same outputs are not given to its run once more."""
    refused = isinstance(error, BadRequestError)
    if not refused or binding.run is None or not isinstance(send, Submit):
        return binding
    return replace(binding, run=replace(binding.run, refused=told(digester, send.outputs)))


def without_session(binding: Binding) -> Binding:
    """What is left of a binding whose session is gone or of unknown content."""
    return replace(binding, session_id=None, run=None)


def _lately(binding: Binding | None, now: float) -> tuple[float, ...]:
    opened = binding.opened if binding else ()
    return tuple(moment for moment in opened if moment > now - notes.RECENT)
