"""Stores with a call that is wrong, whoever else is there."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace

from stewrd_integrations.errors import StoreError
from stewrd_integrations.sessions.binding import Binding
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.shelves import Shelves
from tests.testing.breaking import AGE, Change, caught_by

# -- taking ------------------------------------------------------------------------------


@caught_by("test_take_pops")
class TakeKeeps(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        return next(iter(self.peek(keys, unique)), None)


@caught_by("test_take_pops_under_every_key")
class TakeLeavesOtherKeys(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        found = super().take(keys, unique)
        if found is not None:
            self.put(replace(found, keys=tuple(set(found.keys) - set(keys))), AGE)
        return found


@caught_by("test_the_newest_of_a_key_comes_first")
class OldestFirst(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self._bindings = BackToFront()


class BackToFront(Shelves):
    def live(self, key: str, now: float) -> list[str]:
        return super().live(key, now)[::-1]


@caught_by("test_the_first_key_that_hits_decides")
class LastKeyFirst(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        return super().take(keys[::-1], unique)


@caught_by("test_no_keys_find_nothing")
class NoKeysFindAll(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        return super().take(keys or tuple(self._bindings.keys()), unique)


@caught_by("test_a_binding_comes_back_whole")
class RunForgotten(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        super().put(replace(binding, run=None), ttl)


@caught_by("test_ids_and_keys_may_be_any_text")
class AsciiKeys(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        super().put(replace(binding, id=binding.id.encode("ascii", "replace").decode()), ttl)


# -- unique, peek ------------------------------------------------------------------------


@caught_by("test_a_key_of_two_bindings_does_not_hit")
class UniqueIgnored(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        return super().take(keys)


@caught_by("test_one_that_has_expired_does_not_count")
class UniqueCountsExpired(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        sole = tuple(key for key in keys if len(self._bindings.live(key, 0.0)) == 1)
        return super().take(sole if unique else keys)


@caught_by("test_a_later_key_may_hit")
class UniqueGivesUp(MemoryStore):
    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        return super().take(keys[:1] if unique else keys, unique)


@caught_by("test_peek_pops_nothing")
class PeekPops(MemoryStore):
    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        found = self.take(keys, unique)
        return [] if found is None else [found]


@caught_by("test_peek_shows_what_unique_takes_would_pop")
class PeekAsksEachKeyOnce(MemoryStore):
    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        ask = super().peek
        found = [each for key in keys for each in ask((key,), unique)]
        return [each for place, each in enumerate(found) if each not in found[:place]]


@caught_by("test_peek_shows_each_binding_once")
class PeekRepeats(MemoryStore):
    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        return [found for key in keys for found in super(PeekRepeats, self).peek((key,), unique)]


@caught_by("test_peek_shows_what_takes_would_pop_in_their_order")
class PeekSorts(MemoryStore):
    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        return sorted(super().peek(keys, unique), key=lambda found: found.id)


# -- putting -----------------------------------------------------------------------------


@caught_by("test_a_put_under_other_keys_leaves_the_former_ones")
class FormerKeysStay(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        former = self._bindings[binding.id].keys if binding.id in self._bindings else ()
        keys = tuple(dict.fromkeys((*former, *binding.keys)))
        super().put(replace(binding, keys=keys), ttl)


@caught_by("test_a_put_replaces_what_has_the_same_id")
class FirstPutStays(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        if binding.id not in self._bindings:
            super().put(binding, ttl)


@caught_by("test_a_binding_ages_out")
class NothingAges(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        super().put(binding, AGE)


@caught_by("test_one_ages_out_and_another_of_its_key_stays")
class WholeSeconds(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        super().put(binding, math.ceil(ttl))


@caught_by("test_a_ttl_below_a_second_is_not_nothing")
class SecondsRoundedDown(MemoryStore):
    def put(self, binding: Binding, ttl: float) -> None:
        super().put(binding, int(ttl))


# -- slots -------------------------------------------------------------------------------


@caught_by("test_a_pool_takes_as_many_as_its_limit")
class OneTooMany(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        return super().occupy(pool, slot, limit + 1, ttl)


@caught_by("test_a_refresh_needs_no_room")
class RefreshNeedsRoom(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        return len(self.slots(pool)) < limit and super().occupy(pool, slot, limit, ttl)


@caught_by("test_a_refresh_goes_also_where_the_limit_was_lowered")
class OverfullRefusesAll(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        return len(self.slots(pool)) <= limit and super().occupy(pool, slot, limit, ttl)


@caught_by("test_a_refresh_sets_the_time_anew")
class RefreshKeepsTheTime(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        return slot in self.slots(pool) or super().occupy(pool, slot, limit, ttl)


@caught_by("test_a_slot_lapses")
class SlotsStay(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        return super().occupy(pool, slot, limit, AGE)


@caught_by("test_pools_do_not_share")
class OnePool(MemoryStore):
    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        return super().occupy(pool.lower(), slot, limit, ttl)


@caught_by("test_a_vacated_slot_is_free")
class VacatesNothing(MemoryStore):
    def vacate(self, pool: str, slot: str) -> None:
        pass


@caught_by("test_to_vacate_what_is_not_there_is_no_error")
class VacatesStrictly(MemoryStore):
    def vacate(self, pool: str, slot: str) -> None:
        del self._pools[pool][slot]


@caught_by("test_slots_tell_the_seconds_left")
class SlotsTellTheClock(MemoryStore):
    def slots(self, pool: str) -> dict[str, float]:
        return {slot: time.time() + left for slot, left in super().slots(pool).items()}


# -- notes -------------------------------------------------------------------------------


@caught_by("test_a_change_is_kept_and_returned")
class NoteReturnsFormer(MemoryStore):
    def note(self, key: str, change: Change | None = None) -> NoteState:
        before = super().note(key)
        super().note(key, change)
        return before


@caught_by("test_a_change_may_take_away")
class NoteMerges(MemoryStore):
    def note(self, key: str, change: Change | None = None) -> NoteState:
        if change is None:
            return super().note(key)
        return super().note(key, lambda note: {**note, **change(copy.deepcopy(note))})


@caught_by("test_a_change_that_raises_leaves_the_note")
class NoteWrapsErrors(MemoryStore):
    def note(self, key: str, change: Change | None = None) -> NoteState:
        try:
            return super().note(key, change)
        except LookupError as error:
            raise StoreError("The note can't be changed.") from error


@caught_by("test_a_change_that_raised_holds_nobody_up")
class NoteStaysLocked(MemoryStore):
    busy = False

    def note(self, key: str, change: Change | None = None) -> NoteState:
        if self.busy:
            raise StoreError("The note is locked.")
        self.busy = True
        note = super().note(key, change)
        self.busy = False
        return note


@caught_by("test_a_note_that_was_read_is_the_callers_own")
class NoteIsShared(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, NoteState] = {}

    def note(self, key: str, change: Change | None = None) -> NoteState:
        if change is not None:
            self.shared[key] = change(self.shared.get(key, {}))
        return self.shared.get(key, {})


@caught_by("test_a_note_holds_any_json")
class NoteRoundsNumbers(MemoryStore):
    def note(self, key: str, change: Change | None = None) -> NoteState:
        text = json.dumps(super().note(key, change))
        note: NoteState = json.loads(text, parse_float=lambda number: int(float(number)))
        return note


@caught_by("test_what_is_kept_is_what_was_returned")
class NoteAsksTwice(MemoryStore):
    def note(self, key: str, change: Change | None = None) -> NoteState:
        if change is None:
            return super().note(key)
        result = change(super().note(key))
        super().note(key, change)
        return result


# -- transcripts -------------------------------------------------------------------------


@caught_by("test_replace_puts_lines_in_the_place_of_all")
class ReplaceAppends(MemoryStore):
    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        super().append(conversation, lines)


@caught_by("test_replace_by_nothing_empties")
class ReplaceByNothingDoesNothing(MemoryStore):
    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        if lines:
            super().append(conversation, lines, replace)


@caught_by("test_a_transcript_that_was_read_is_the_callers_own")
class LoadsTheInnerList(MemoryStore):
    def load(self, conversation: str) -> list[str]:
        return self._lines(conversation)


@caught_by("test_lines_that_were_appended_stay_the_callers_own")
class KeepsTheCallersList(MemoryStore):
    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        super().append(conversation, lines, replace)
        if replace and isinstance(lines, list):
            self._transcripts[conversation] = (lines, math.inf)


@caught_by("test_a_line_may_be_any_text")
class SplitsLines(MemoryStore):
    def load(self, conversation: str) -> list[str]:
        return "\n".join(super().load(conversation)).splitlines()


@caught_by("test_names_may_be_any_text")
class FoldsNames(MemoryStore):
    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        super().append(conversation.strip(), lines, replace)

    def load(self, conversation: str) -> list[str]:
        return super().load(conversation.strip())


@caught_by("test_equal_lines_are_all_kept")
class KeepsASet(MemoryStore):
    def load(self, conversation: str) -> list[str]:
        return list(dict.fromkeys(super().load(conversation)))


@caught_by("test_a_transcript_may_have_many_lines")
class LoadsAPage(MemoryStore):
    def load(self, conversation: str) -> list[str]:
        return super().load(conversation)[:1_000]


@caught_by("test_clear_forgets")
class ClearsNothing(MemoryStore):
    def clear(self, conversation: str) -> None:
        pass
