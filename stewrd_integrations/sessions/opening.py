"""Opening a session: a slot first, then the session, so that no create is refused for nothing.

No call deletes a session: every one opened holds one of the project's slots until it has been
idle for 30 minutes (contract, *Sessions*).
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import (
    PlanRestrictedError,
    ServerError,
    SessionLimitError,
    StewrdError,
    UnknownOutcomeError,
)
from ..types import Session
from ..values import dataclass
from . import notes
from .binding import Binding, leads_nowhere
from .call import Policy
from .digest import Covered
from .effects import (
    ChangeNote,
    Flow,
    NoteState,
    Now,
    Occupy,
    Open,
    Put,
    ReadNote,
    Sleep,
    Take,
    Vacate,
    Warn,
)
from .keys import Keys
from .soundness import FAILED, sound

MARGIN = 60.0
"""Seconds that a slot is held beyond the idle time, for clocks and slow answers."""

SHORT_WAIT = 0.5
PROVISIONAL_LIMIT = 2
"""Sessions that unnamed first turns may hold at once (R5)."""

TWICE = 2
UNHEARD_LIMIT = 3
"""Sessions whose first message was refused, and that nobody else may use, before a conversation
must have had an answer to get one: bad requests in a loop must not take all the slots."""


NO_PLAN = "the plan does not allow sessions"
BUY = "Buy a credit pack, which allows them, or let the turn run stateless."

_WHOLE = "until one can be had, turns are sent whole and answered without a session."
_NEXT = {
    NO_PLAN: f'{_WHOLE} A credit pack allows them; sessions="never" asks for none any more.',
}


@dataclass(frozen=True, slots=True)
class NoSeat:
    """No session can be had: the turn goes stateless.

    Attributes:
        reason: Why.
        told: The user was warned of it already.
    """

    reason: str
    told: bool = False


@dataclass(frozen=True, slots=True)
class Seat:
    """A live session that has heard nothing yet.

    Attributes:
        session_id: Its id.
        provisional: It was opened for the first turn of an unnamed list.
        spare: It was opened by an earlier call.
    """

    session_id: str
    provisional: bool
    spare: bool = False


def open_session(
    keys: Keys,
    policy: Policy,
    *,
    provisional: bool,
    serial: int,
    epoch: int = 0,
    answered: bool = True,
) -> Flow[Seat | NoSeat]:
    """Get a session and its slot; returns a `Seat` or `NoSeat`.

    Args:
        keys: Of the call.
        policy: The user's options.
        provisional: For the first turn of an unnamed list, which must leave room for others.
        serial: How often this call has opened already: its ghosts must not be taken for one.
        epoch: How often the conversation was forgotten.
        answered: Whether the conversation has had an answer.

    Raises:
        StewrdError: The server refused for a reason that the stateless road would meet too,
            or no session is to be had and ``on_session_limit="error"``.
    """
    now = yield Now()
    spare = yield from _spare(keys, policy, epoch, now)
    if spare:
        return Seat(spare, provisional=False, spare=True)
    slot = f"opening-{keys.call.ids.call}-{serial}"
    note = sound((yield ReadNote(keys.project_note)))
    wasted = max(UNHEARD_LIMIT, policy.max_active_sessions // 2 if answered else 0)
    if notes.hold_nothing(note, now) >= wasted:
        told = f"first messages on {wasted} new sessions were refused lately"
        seat: Seat | NoSeat = NoSeat(told)
    else:
        seat = yield from _open_new(keys, policy, note, provisional, slot, now)
    if isinstance(seat, NoSeat) and not provisional:
        if policy.on_session_limit == "error":
            advice = BUY if seat.reason == NO_PLAN else None
            told = f"No session can be opened: {seat.reason}."
            raise SessionLimitError(told, sent=False, advice=advice)
        if not seat.told:
            yield Warn("no session", f"{seat.reason}; {_NEXT.get(seat.reason, _WHOLE)}")
    return seat


def _spare(keys: Keys, policy: Policy, epoch: int, now: float) -> Flow[str | None]:
    while True:
        binding: Binding | None = yield Take((keys.own_spare, keys.tenant_spare, keys.spare))
        if binding is None or binding.session_id is None:
            return None
        if leads_nowhere(binding):
            continue  # it is dropped
        if is_idle(binding.sent_at, policy, now):
            yield Vacate(keys.project, binding.session_id)
        elif keys.own_spare not in binding.keys or binding.epoch == epoch:
            yield refresh(keys.project, binding.session_id, policy)
            return binding.session_id


def keep_spare(keys: Keys, session_id: str, policy: Policy, where: str, epoch: int) -> Flow[None]:
    """Leave a session that never heard a word for whoever needs one next.

    Args:
        keys: Of the call.
        session_id: The session.
        policy: The user's options.
        where: Who may have it: one of the keys' spares.
        epoch: How often the conversation was forgotten.
    """
    now = yield Now()
    spare = Binding(
        id=keys.call.ids.call,
        session_id=session_id,
        covered=Covered(),
        sent_at=now,
        keys=(where,),
        epoch=epoch,
    )
    yield Put(spare, policy.idle_timeout)


def is_idle(sent_at: float, policy: Policy, now: float) -> bool:
    """Whether the session has expired by our clock, or will before a message could arrive."""
    margin = min(10.0, policy.idle_timeout / 10)
    return now > sent_at + policy.idle_timeout - margin


def refresh(project: str, session_id: str, policy: Policy) -> Occupy:
    """Hold a session's slot for as long as the server may count it."""
    limit = policy.max_active_sessions + 1
    return Occupy(project, session_id, limit, policy.idle_timeout + MARGIN)


def _open_new(
    keys: Keys, policy: Policy, note: NoteState, provisional: bool, temporary: str, now: float
) -> Flow[Seat | NoSeat]:
    if note.get(FAILED):
        return NoSeat("the store failed", told=True)
    if notes.is_refused(note, "plan", now):
        return NoSeat(NO_PLAN)
    if notes.is_refused(note, "full", now):
        return NoSeat("the server said that no slot is free")
    if provisional:
        return (yield from _open_provisional(keys, policy, temporary, now))
    return (yield from _create(keys, policy, temporary, policy.max_active_sessions, now))


def _open_provisional(
    keys: Keys, policy: Policy, temporary: str, now: float
) -> Flow[Seat | NoSeat]:
    """A session for a first turn without a name; such may hold a share of the slots only."""
    pool, ttl = f"{keys.project}/provisional", policy.idle_timeout + MARGIN
    if not (yield from _occupied(Occupy(pool, temporary, PROVISIONAL_LIMIT, ttl))):
        share_of = f"{PROVISIONAL_LIMIT} of {PROVISIONAL_LIMIT}"
        return NoSeat(f"first turns without a name hold their share of the slots ({share_of})")
    limit = min(policy.max_active_sessions, policy.max_active_sessions // 2 + 1)
    try:
        seat = yield from _create(keys, policy, temporary, limit, now)
        if isinstance(seat, Seat):
            yield Occupy(pool, seat.session_id, PROVISIONAL_LIMIT + 1, ttl)
    except GeneratorExit:
        raise
    except BaseException:
        yield Vacate(pool, temporary)
        raise
    yield Vacate(pool, temporary)
    return replace(seat, provisional=True) if isinstance(seat, Seat) else seat


def _occupied(wish: Occupy) -> Flow[bool]:
    """Take a slot; one of a call that is cancelled meanwhile is given back."""
    try:
        return bool((yield wish))
    except GeneratorExit:
        raise
    except BaseException:
        yield Vacate(wish.pool, wish.slot)
        raise


def _create(keys: Keys, policy: Policy, slot: str, limit: int, now: float) -> Flow[Seat | NoSeat]:
    """Reserve a slot, create the session, and swap its id in."""
    ttl = policy.idle_timeout + MARGIN
    for attempt in range(TWICE):
        reserved = f"{slot}-{attempt}"
        if not (yield from _occupied(Occupy(keys.project, reserved, limit, ttl))):
            return NoSeat(_none_free(limit, policy.max_active_sessions))
        try:
            session: Session = yield Open()
        except StewrdError as error:
            refused = yield from _not_created(error, keys, reserved, now)
            if refused:
                return refused
            if attempt == 0 and isinstance(error, SessionLimitError):
                yield Sleep(SHORT_WAIT)
            continue
        if (yield refresh(keys.project, session.id, policy)):
            yield Vacate(keys.project, reserved)  # else it stays, and stands for the session
        return Seat(session.id, provisional=False)
    return (yield from _full(keys, now))


def _none_free(limit: int, most: int) -> str:
    if limit < most:
        return f"no free slot for a first turn without a name ({limit} of {most} slots are in use)"
    return f"no free slot ({limit} of {most} slots are in use)"


def _not_created(error: StewrdError, keys: Keys, reserved: str, now: float) -> Flow[NoSeat | None]:
    """What a failed create means: no seat at all, or None where it is worth one more try."""
    refused_by_the_api = isinstance(error, ServerError) and error.code is not None
    if isinstance(error, (ServerError, UnknownOutcomeError)) and not refused_by_the_api:
        return None  # the slot stays as a ghost: a session may be there that nobody knows
    yield Vacate(keys.project, reserved)
    match error:
        case PlanRestrictedError():
            until = now + notes.PLAN_REMEMBERED
            yield ChangeNote(keys.project_note, notes.refused("plan", until))
            return NoSeat(NO_PLAN)
        case ServerError(status=503):
            return (yield from _full(keys, now))
        case SessionLimitError() | ServerError():
            return None
        case _:
            raise error


def _full(keys: Keys, now: float) -> Flow[NoSeat]:
    yield ChangeNote(keys.project_note, notes.refused("full", now + notes.FULL_REMEMBERED))
    return NoSeat("the server would not open a session")
