"""Notes: what is remembered of a name, a thread or a project beside its bindings.

Each function here changes one note; a store applies it atomically. Notes are plain JSON
values and hold digests, times and counts only. `soundness` knows what each may be.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from ..values import dataclass
from .effects import NoteState
from .soundness import FAILED, Change, Pure, sound

RECENT = 1_800.0
"""Seconds in which sessions opened for a conversation count as churn (R6)."""

CHURN_LIMIT = 3
PLAN_REMEMBERED = 300.0
LONGEST_HOLD = 300.0
"""Seconds, more than any call holds its name: what says more was written by a wrong clock."""

FULL_REMEMBERED = 30.0
SKEW = 60.0
"""Seconds that the clocks of two machines may differ."""

DOUBTED = 600.0
"""Seconds that one empty answer keeps tools off sessions: it may have been a slip (R11)."""

TOOLS_REMEMBERED = 86_400.0
"""Seconds that it is remembered for sure whether sessions take tools."""

KEPT_ANSWERS = 8
KEPT_OPENINGS = 16
COUNTED = frozenset({"lost", "misaligned", "instructions", "stopped", "run"})
"""Why a session was opened, where it counts as churn; the others could not be helped."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a named call looks like to the note of its name.

    ``pairs`` are the digests of each shown assistant message and of the message before it:
    by them an answer is recognised in its place.
    """

    call: str
    instructions: str
    pairs: Container[str]
    now: float
    until: float


def arrive(arrival: Arrival) -> Change:
    """A named call begins: learn side calls, and hold the name unless another call does."""

    @Pure
    def change(note: NoteState) -> NoteState:
        note = _learn(dict(note), arrival)
        if is_side_call(note, arrival.instructions) or _in_flight(note, arrival):
            return note
        return {**note, "call": arrival.call, "until": arrival.until}

    return change


def holds(note: NoteState, arrival: Arrival) -> bool:
    """Whether the name is held by this very call."""
    return note.get("call") == arrival.call


def is_side_call(note: NoteState, instructions: str) -> bool:
    """Whether these instructions are known to belong to calls beside the conversation."""
    return instructions in note.get("side", ())


def why_not_held(note: NoteState) -> str:
    """Why a call does not hold its name, though it is no side call."""
    if note.get(FAILED):
        return "the store failed"
    return "another call of this conversation is in flight"


def _in_flight(note: NoteState, arrival: Arrival) -> bool:
    held = note.get("call", "")
    until = note.get("until", 0.0)
    # Beyond what any call may hold, it was written by a clock that is wrong.
    believed = arrival.now < until <= arrival.now + LONGEST_HOLD
    return bool(held) and held != arrival.call and believed


def _learn(note: NoteState, arrival: Arrival) -> NoteState:
    """Answers that never came back, while later ones under other instructions did (R5)."""
    answers: list[list[Any]] = note.get("answers", [])
    side = list(note.get("side", ()))
    for place, (instructions, pair) in enumerate(answers):
        if pair in arrival.pairs:
            side = [known for known in side if known != instructions]
            continue
        passed_over = any(
            later != instructions and later_pair in arrival.pairs
            for later, later_pair in answers[place + 1 :]
        )
        if passed_over and instructions not in side:
            side.append(instructions)
    return {**note, "side": side[-KEPT_ANSWERS:]}


def answered(
    call: str,
    instructions: str,
    pair: str,
    session: NoteState | None,
    began: float,
    epoch: int = 0,
) -> Change:
    """A call ended well: remember its answer, release the name, tell of its session.

    ``session`` is None for calls that stay beside the conversation and leave that untouched. One
    whose call came before the conversation was forgotten, in another ``epoch``, is not told of.
    """

    @Pure
    def change(note: NoteState) -> NoteState:
        answers = [*note.get("answers", []), [instructions, pair]]
        note = {**note, "answers": answers[-KEPT_ANSWERS:]}
        if session is None:
            return note
        told = {} if is_forgotten(note, epoch, began) else session
        return {**_released(note, call), "session": told, "dropped": False}

    return change


def released(call: str, *, dropped: bool) -> Change:
    """A call ended without an answer; ``dropped`` if its session was given up."""

    @Pure
    def change(note: NoteState) -> NoteState:
        note = _released(note, call)
        if dropped:
            note = {**note, "dropped": True, "session": {}}
        return note

    return change


def epoch_of(note: NoteState) -> int:
    """How often the conversation was forgotten."""
    return int(note.get("epoch", 0))


def forgotten(now: float) -> Change:
    """The conversation is forgotten: what was begun before this is not gone on with.

    Counted, as the clocks of two machines do not agree.
    """

    @Pure
    def change(note: NoteState) -> NoteState:
        # Sessions opened lately hold their slots still. A call in flight loses its hold of the
        # name, and what it will keep is of the epoch before this one.
        kept = {"opened": note["opened"]} if "opened" in note else {}
        return {**kept, "forgotten": now, "epoch": epoch_of(note) + 1}

    return change


def is_forgotten(note: NoteState, epoch: int, moment: float) -> bool:
    """Whether what was begun in this epoch, at this moment, was forgotten since."""
    if "epoch" in note or epoch:
        return epoch != epoch_of(note)
    return bool(moment < note.get("forgotten", 0.0))  # a note that knows no epochs yet


def _released(note: NoteState, call: str) -> NoteState:
    if note.get("call") != call:
        return note
    return {**note, "call": "", "until": 0.0}


def opened(why: str, now: float) -> Change:
    """A session was opened for the conversation."""

    @Pure
    def change(note: NoteState) -> NoteState:
        lately = [*_lately(note, now), [now, why]]
        generation = note.get("generation", 0) + 1
        return {
            **note,
            "opened": lately[-KEPT_OPENINGS:],
            "generation": generation,
            "dropped": False,
        }

    return change


def not_opened(why: str, now: float) -> Change:
    """The session that was opened then has heard nothing, and is kept for the next call."""

    @Pure
    def change(note: NoteState) -> NoteState:
        lately = [entry for entry in note.get("opened", []) if entry != [now, why]]
        if len(lately) == len(note.get("opened", [])):
            return note
        return {**note, "opened": lately, "generation": max(note.get("generation", 1) - 1, 0)}

    return change


def unheard(session: str, now: float) -> Change:
    """The first message on a new session was refused, so that it holds its slot for nothing."""

    @Pure
    def change(note: NoteState) -> NoteState:
        waiting = {**_unheard(note, now), session: now}
        return {**note, "unheard": dict(list(waiting.items())[-KEPT_OPENINGS:])}

    return change


def heard(session: str) -> Change:
    """A session whose first message had been refused has got one."""

    @Pure
    def change(note: NoteState) -> NoteState:
        waiting = {key: at for key, at in note.get("unheard", {}).items() if key != session}
        return {**note, "unheard": waiting}

    return change


def hold_nothing(note: NoteState, now: float) -> int:
    """How many sessions hold a slot for nothing, as their first messages were refused."""
    return len(_unheard(sound(note), now))


def _unheard(note: NoteState, now: float) -> NoteState:
    waiting = note.get("unheard", {})
    return {session: at for session, at in waiting.items() if at > now - RECENT}


def _lately(note: NoteState, now: float) -> list[list[Any]]:
    return [entry for entry in note.get("opened", []) if entry[0] > now - RECENT]


def was_opened(note: NoteState, now: float) -> bool:
    """Whether the conversation has had a session lately."""
    return bool(_lately(note, now))


def churns(note: NoteState, now: float) -> bool:
    """Whether so many sessions were opened lately that another would only waste a slot."""
    return sum(why in COUNTED for _, why in _lately(note, now)) >= CHURN_LIMIT


def seen_thread(call: str) -> Change:
    """A thread's conversation begins: the first one to come is remembered."""

    @Pure
    def change(note: NoteState) -> NoteState:
        return {**note, "first": note.get("first", call)}

    return change


def refused(kind: str, until: float) -> Change:
    """The project is refused something for a while: "plan" or "full"."""

    @Pure
    def change(note: NoteState) -> NoteState:
        return {**note, kind: until}

    return change


def is_refused(note: NoteState, kind: str, now: float) -> bool:
    """Whether the project is refused this still: "plan" or "full"."""
    longest = PLAN_REMEMBERED if kind == "plan" else FULL_REMEMBERED
    return _holds(sound(note), kind, now, now + longest)


def _holds(note: NoteState, name: str, now: float, latest: float) -> bool:
    """Whether it is so until later than now; what says beyond the latest had a wrong clock."""
    return bool(now < note.get(name, 0.0) <= latest + SKEW)


def takes_tools(note: NoteState, now: float, lead: float = 0.0) -> bool:
    """Whether a session of the project was seen to take tools, as known ``lead`` seconds hence."""
    return _holds(sound(note), "tools_ok", now + lead, now + TOOLS_REMEMBERED)


def takes_no_tools(note: NoteState, now: float) -> bool:
    """Whether tools are kept off the sessions of the project."""
    return _holds(sound(note), "tools", now, now + TOOLS_REMEMBERED)


def tools_taken(now: float) -> Change:
    """A session has taken the outputs of tools: whatever was thought before was wrong."""

    @Pure
    def change(note: NoteState) -> NoteState:
        return {**_untold_of_tools(note), "tools_ok": now + TOOLS_REMEMBERED}

    return change


def tools_refused(now: float) -> Change:
    """The API has said that a session takes no tools."""

    @Pure
    def change(note: NoteState) -> NoteState:
        return {**_untold_of_tools(note), "tools": now + TOOLS_REMEMBERED}

    return change


def tools_doubted(now: float) -> Change:
    """A session did not take a turn with tools, or the first outputs, and did not say why.

    The first time is a doubt of minutes, the next time one of a day. Where sessions were seen to
    take tools it says nothing of them, and of several calls at once only one counts.
    """

    @Pure
    def change(note: NoteState) -> NoteState:
        if takes_tools(note, now) or takes_no_tools(note, now):
            return note
        doubts = note.get("doubts", 0)
        until = now + (TOOLS_REMEMBERED if doubts else DOUBTED)
        return {**note, "tools": until, "doubts": doubts + 1}

    return change


def tools_failed(now: float) -> Change:
    """A session's turn with tools failed, perhaps for these: a doubt of minutes.

    It may as well have failed at something else, so it makes no later doubt any longer.
    """

    @Pure
    def change(note: NoteState) -> NoteState:
        if takes_tools(note, now) or takes_no_tools(note, now):
            return note
        return {**note, "tools": now + DOUBTED}

    return change


def _untold_of_tools(note: NoteState) -> NoteState:
    return {key: note[key] for key in note if key not in ("tools", "tools_ok", "doubts")}


class Pairs:
    """The places of all shown assistant messages, as `Arrival` wants them.

    They are joined as they are asked for, the last ones first: there are as many as the history
    is long, and the few answers that a note knows mostly stand near its end.
    """

    def __init__(self, digests: Sequence[str], shown: int, join: Callable[[str, str], str]) -> None:
        self._joined: set[str] = set()
        self._others = (
            join(digests[i - 1] if i else "", digests[i])
            for i in range(shown - 1, -1, -1)
            if digests[i][0] == "a"
        )

    def __contains__(self, pair: object) -> bool:
        if pair in self._joined:
            return True
        for other in self._others:
            self._joined.add(other)
            if other == pair:
                return True
        return False
