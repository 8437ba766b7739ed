"""The turn: which session has already heard exactly this, and what has it not heard yet?

A generator of effects. It knows neither a clock nor a socket nor a thread, so that the sync
and the async driver run the very same decisions. A binding is taken before anything is sent
and put back only after a complete answer (R2): whatever goes wrong in between, nobody ever
continues a session of unknown content.

::

    turn ── one-shot, "never" ─────────────────────────────┐
      ├─ named: hold the name ── held by another, side ────┤
      └─ find a binding ─┬─ it aligns ──── continue        ├── stateless
                         └─ it does not ── open, replay ───┘
"""

from __future__ import annotations

from dataclasses import replace

from . import notes, replay
from .align import Alignment
from .binding import Binding, Run
from .call import Call, History, Outcome, Policy
from .digest import Digester
from .effects import ChangeNote, Flow, Now, ReadNote, Vacate, Warn
from .finding import find, put_back
from .keys import Keys
from .learning import Why
from .opening import is_idle
from .roads import Roads, without_session
from .speaking import check_budget, replaces_too_much, why_replaced
from .tools import Outputs, demands_more, offer, outputs_for, told

NO_TOOLS = "sessions of this project take no tools"
BEGINS_ANEW = (
    "a list without an earlier message came under the name of a conversation that has some, so it "
    "is answered as if it were the first. To go on with a conversation, pass its whole list each "
    "time; to begin another, give it a name of its own (and to ask the first question once more is "
    "no mistake). This is told once in half an hour, of whichever conversation"
)
HOLD = 130.0
"""Seconds that a call holds its name at most: a stream that was left unread, or a worker that was
killed, must not cost the conversation its session for longer. A call that does take longer is
safe all the same; another of its name may then open a session of its own."""


def turn(call: Call, policy: Policy, digester: Digester, project: str) -> Flow[Outcome]:
    """Answer one call.

    Args:
        call: What the framework showed, and who is talking.
        policy: The user's options.
        digester: Keyed by a secret of the project.
        project: Names the project in the store.

    Raises:
        InvalidInputError: The call can't be answered as it is; nothing was done.
        StewrdError: As the server or the store reported it.
    """
    history = History.of(digester, call.messages)
    check_budget(history, policy, call.demand)
    keys = Keys(digester, project, call, history, policy)
    return (yield from _Turn(keys).run())


class _Turn:
    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.call = keys.call
        self.history = keys.history
        self.policy = keys.policy
        self.roads = Roads(keys)

    def run(self) -> Flow[Outcome]:
        if self.call.one_shot:
            return (yield from self.roads.stateless("a one-shot call"))
        self.roads.began = yield Now()
        if self.call.sessions == "never":
            return (yield from self._without_sessions())
        if self.call.name is None:
            return (yield from self._converse())
        return (yield from self._under_a_name())

    # -- who is talking ----------------------------------------------------------------

    def _under_a_name(self) -> Flow[Outcome]:
        arrival = self._arrival(self.roads.began)
        try:
            self.roads.note = yield ChangeNote(self.keys.note, notes.arrive(arrival))
        except GeneratorExit:
            raise
        except BaseException:  # it may have come about all the same
            yield ChangeNote(self.keys.note, notes.released(self.call.ids.call, dropped=False))
            raise
        if not notes.holds(self.roads.note, arrival):
            side = notes.is_side_call(self.roads.note, arrival.instructions)
            outcome = yield from self.roads.stateless(
                "these instructions belong to calls beside the conversation"
                if side
                else notes.why_not_held(self.roads.note)
            )
            yield from self.roads.note_answer(outcome, None)
            return outcome
        try:
            return (yield from self._converse())
        except GeneratorExit:
            raise
        except BaseException:
            released = notes.released(self.call.ids.call, dropped=self.roads.dropped)
            yield ChangeNote(self.keys.note, released)
            raise

    def _arrival(self, now: float) -> notes.Arrival:
        digests, shown = self.history.digests, self.history.shown
        return notes.Arrival(
            call=self.call.ids.call,
            instructions=self.history.instructions_digest,
            pairs=notes.Pairs(digests, shown, self.keys.digester.roll),
            now=now,
            until=now + min(self.call.allowance, HOLD),
        )

    # -- which session has heard this --------------------------------------------------

    def _converse(self) -> Flow[Outcome]:
        now = self.roads.began
        binding, alignment = yield from self._found()
        if binding is None:
            if (yield from self._sessions_take_no_tools(now)):
                return (yield from self.roads.apart(NO_TOOLS, None))
            return (yield from self._begin(alignment.reason, now))
        if binding.run is not None:
            task = self._task(binding.run, alignment, now)
            if isinstance(task, Outputs) and binding.run.on_session:
                submitted = self.roads.submit(task, binding.run, binding, alignment, now)
                return (yield from submitted)
            if isinstance(task, Outputs) and not task.then:
                return (yield from self.roads.submit_apart(task, binding.run, binding))
            if binding.run.on_session:
                passed_over = Why("run", str(task))
                return (yield from self.roads.anew(passed_over, without_session(binding)))
            binding = replace(binding, run=None)
        if (yield from self._sessions_take_no_tools(now)):
            return (yield from self.roads.apart(NO_TOOLS, binding))
        why = self._hindrance(binding, alignment, now)
        if why is None:
            return (yield from self.roads.carry_on(binding, alignment, now))
        if why.word == "expired" and now > binding.answered_at + self.policy.idle_timeout:
            yield Vacate(self.keys.project, str(binding.session_id))
        return (yield from self.roads.anew(why, binding))

    def _found(self) -> Flow[tuple[Binding | None, Alignment]]:
        """The binding that aligns, unless it was in flight when the conversation was forgotten."""
        binding, alignment = yield from find(self.keys)
        if binding is None or not (binding.session_id or binding.run):
            return binding, alignment
        if notes.is_forgotten(self.roads.note, binding.epoch, binding.sent_at):
            return None, Alignment("refused", "the conversation was cleared since")
        return binding, alignment

    def _hindrance(self, binding: Binding, alignment: Alignment, now: float) -> Why | None:
        """What keeps a binding that aligns from being continued."""
        policy = self.policy
        if binding.session_id is None:
            if binding.generation:
                return Why("stopped", "it came back, and its last session was given up")
            return Why("returned", "it came back, and had no session yet")
        if is_idle(binding.sent_at, policy, now):
            idle = f"{now - binding.sent_at:.0f} of {policy.idle_timeout:g} seconds"
            return Why("expired", f"the session was idle for too long ({idle})")
        limit = policy.session_message_limit
        reserve = min(policy.tool_reserve, (limit - 2) // 2) if self.call.tools else 0
        if binding.used + 2 + reserve > limit:
            kept = f", {reserve} kept for tools" if reserve else ""
            room = f"{binding.used} of {limit} messages{kept}"
            return Why("rollover", f"the session is full ({room})")
        if replaces_too_much(self.keys, binding):
            return Why("instructions", why_replaced(self.keys))
        unheard = alignment.fresh[:-1] if self.history.current else alignment.fresh
        messages = self.history.messages
        added = sum(replay.cost(messages[fresh.index]) for fresh in unheard)
        if added > policy.replay_budget:
            more = f"{added:,} characters, replay_budget={policy.replay_budget:,}"
            return Why("misaligned", f"more was added than is told between messages ({more})")
        if binding.held < binding.covered.count and any(
            fresh.before is not None and fresh.before >= binding.held and not fresh.summary
            for fresh in alignment.fresh
        ):
            return Why("misaligned", "something was added to what the replay had left out")
        return None

    # -- tools -------------------------------------------------------------------------

    def _task(self, run: Run, alignment: Alignment, now: float) -> Outputs | str:
        """What to give to a run that waits, or why it can't be given."""
        if demands_more(run, self.call, self.keys.digester):
            return "more is demanded than when the run began"
        offered = offer(self.keys.digester, self.call, self.history)
        task = outputs_for(run, self.history, alignment, offered, now)
        if isinstance(task, Outputs) and run.refused == told(self.keys.digester, task.outputs):
            return "the run has refused these outputs"
        return task

    def _sessions_take_no_tools(self, now: float) -> Flow[bool]:
        if not self.call.tools:
            return False
        note = yield ReadNote(self.keys.project_note)
        return notes.takes_no_tools(note, now)

    def _without_sessions(self) -> Flow[Outcome]:
        """Stateless as the user wishes; a run of tools goes on all the same."""
        reason = 'sessions="never"'
        if not self.call.tools:
            return (yield from self.roads.stateless(reason))
        now = self.roads.began
        if self.call.name is not None:
            self.roads.note = yield ReadNote(self.keys.note)
        binding, alignment = yield from self._found()
        if binding is not None and binding.session_id is not None:
            yield put_back(self.keys, binding)
            binding = None
        if binding is not None and binding.run is not None:
            task = self._task(binding.run, alignment, now)
            if isinstance(task, Outputs) and not task.then:
                return (yield from self.roads.submit_apart(task, binding.run, binding))
            binding = replace(binding, run=None)
        return (yield from self.roads.apart(reason, binding))

    # -- no session knows it -----------------------------------------------------------

    def _begin(self, refusal: str, now: float) -> Flow[Outcome]:
        """No binding: a new conversation, or one that nobody recognises."""
        named, shown = self.call.name is not None, self.history.shown
        always = self.call.sessions == "always"
        if not shown and named and not always and notes.was_opened(self.roads.note, now):
            # A title writer or a summariser under the same name, or a new start: it tells when
            # it comes back, and until then it shall not take a slot.
            # None after a conversation was cleared; and what has other instructions is beside it.
            ours = self.history.instructions_digest
            if any(ours == others for others, _ in self.roads.note.get("answers", ())):
                yield Warn("anew", BEGINS_ANEW)
            return (yield from self.roads.stateless(self._why_later(), remember=True))
        if not shown:
            why = Why("first", "a new conversation")
        elif refusal:
            why = Why("misaligned", refusal)
        elif self.roads.note.get("dropped"):
            why = Why("aborted", "the last call of this conversation did not end well")
        else:
            why = Why("lost", self._change() or "no session is known for this history")
        if always or named:
            return (yield from self.roads.anew(why, None))
        if shown:
            reason = f"{why.reason}; an unnamed history gets its session when it comes back"
            return (yield from self.roads.stateless(reason, remember=True))
        if not (yield from self._first_of_its_thread()):
            reason = "a further conversation of this thread gets its session when it comes back"
            return (yield from self.roads.stateless(reason, remember=True))
        return (yield from self.roads.anew(why, None, provisional=True))

    def _why_later(self) -> str:
        """Why a list without answers gets no session yet, though its name is known."""
        if self.roads.note.get("dropped"):
            return "the last call of this name did not end well: it gets its session with the next"
        return "a further conversation of this name gets its session when it comes back"

    def _change(self) -> str:
        """Where the history leaves what was answered under its name, "" if that is not known.

        Of an answer that is gone the note knows no more than that there was one.
        """
        digests, roll = self.history.digests, self.keys.digester.roll
        ours = self.history.instructions_digest
        heard = [pair for under, pair in self.roads.note.get("answers", ()) if under == ours]
        shown = [
            (place, roll(digests[place - 1], digests[place]) in heard)
            for place in range(1, self.history.shown)
            if digests[place][0] == "a"
        ]
        known = [place for place, is_known in shown if is_known]
        if not known:
            return ""
        other = next(
            (place for place, is_known in shown if place > known[0] and not is_known), None
        )
        if other is not None:
            return f"edited: message {other} or {other + 1} differs"
        last = roll(digests[known[-1] - 1], digests[known[-1]])
        if last == heard[-1]:
            return ""
        return f"edited: message {self.history.shown + 1} differs, or was answered already"

    def _first_of_its_thread(self) -> Flow[bool]:
        if self.call.thread is None:
            return True
        call = self.call.ids.call
        note = yield ChangeNote(self.keys.thread_note, notes.seen_thread(call))
        return bool(note.get("first") == call)
