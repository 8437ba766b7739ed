"""Slots: a project may have only so many sessions, whoever of all processes opened them."""

from __future__ import annotations

from ..stores import Store
from .chapter import LONG, SHORT, Chapter, let_lapse


class SlotRules(Chapter):
    """`occupy` counts what is alive in a pool, and lets nobody pass the limit."""

    def test_a_pool_is_empty_at_first(self, calls: Store) -> None:
        """An unknown pool is one in which nobody is."""
        assert calls.slots("p") == {}

    def test_a_pool_takes_as_many_as_its_limit(self, calls: Store) -> None:
        """One more would be refused by the server, after time and money were spent."""
        assert [calls.occupy("p", slot, 3, LONG) for slot in "abcd"] == [True, True, True, False]
        assert set(calls.slots("p")) == {"a", "b", "c"}

    def test_a_pool_without_room_takes_nobody(self, calls: Store) -> None:
        """A limit of 0 is how an application has no sessions at all."""
        assert calls.occupy("p", "a", 0, LONG) is False
        assert calls.slots("p") == {}

    def test_a_refresh_needs_no_room(self, calls: Store) -> None:
        """A session that goes on is not a second one, also where the pool is full."""
        for slot in "ab":
            calls.occupy("p", slot, 2, LONG)
        assert calls.occupy("p", "a", 2, LONG) is True
        assert set(calls.slots("p")) == {"a", "b"}

    def test_a_refresh_goes_also_where_the_limit_was_lowered(self, calls: Store) -> None:
        """A pool that is over-full by a new limit loses nobody; only newcomers wait."""
        for slot in "abc":
            calls.occupy("p", slot, 3, LONG)
        assert calls.occupy("p", "a", 1, LONG) is True
        assert calls.occupy("p", "d", 1, LONG) is False
        assert set(calls.slots("p")) == {"a", "b", "c"}

    def test_a_higher_limit_lets_one_more_in(self, calls: Store) -> None:
        """The limit is the caller's: a session's id is swapped in beside its reservation."""
        calls.occupy("p", "opening", 1, LONG)
        assert calls.occupy("p", "session", 2, LONG) is True
        calls.vacate("p", "opening")
        assert set(calls.slots("p")) == {"session"}

    def test_a_slot_lapses(self, calls: Store) -> None:
        """A session that was forgotten may not lock everybody out for ever."""
        calls.occupy("p", "a", 1, SHORT)
        let_lapse()
        assert calls.slots("p") == {}
        assert calls.occupy("p", "b", 1, LONG) is True

    def test_only_the_old_slots_lapse(self, calls: Store) -> None:
        """Each slot has a time of its own, whoever else came into its pool."""
        calls.occupy("p", "a", 2, LONG)
        calls.occupy("p", "b", 2, SHORT)
        let_lapse()
        assert set(calls.slots("p")) == {"a"}
        assert calls.occupy("p", "c", 2, LONG) is True
        assert calls.occupy("p", "d", 2, LONG) is False

    def test_a_slot_that_lapsed_needs_room_again(self, calls: Store) -> None:
        """It was given to another: a refresh that comes too late is a newcomer."""
        calls.occupy("p", "a", 1, SHORT)
        let_lapse()
        calls.occupy("p", "b", 1, LONG)
        assert calls.occupy("p", "a", 1, LONG) is False

    def test_a_refresh_sets_the_time_anew(self, calls: Store) -> None:
        """A slot lapses so long after the last time that it was occupied."""
        calls.occupy("p", "a", 2, SHORT)
        calls.occupy("p", "b", 2, LONG)
        calls.occupy("p", "a", 2, LONG)
        calls.occupy("p", "b", 2, SHORT)
        let_lapse()
        assert set(calls.slots("p")) == {"a"}

    def test_a_refusal_changes_nothing(self, calls: Store) -> None:
        """Who was not let in holds no place, and no one's time is longer for it."""
        calls.occupy("p", "a", 1, SHORT)
        calls.occupy("p", "b", 1, LONG)
        let_lapse()
        assert calls.slots("p") == {}

    def test_slots_tell_the_seconds_left(self, calls: Store) -> None:
        """Seconds from now, not a time of the store's own clock, which may go otherwise."""
        calls.occupy("p", "a", 2, LONG)
        calls.occupy("p", "b", 2, 2 * LONG)
        left = calls.slots("p")
        assert LONG - 60 < left["a"] <= LONG + 1
        assert 2 * LONG - 60 < left["b"] <= 2 * LONG + 1

    def test_a_vacated_slot_is_free(self, calls: Store) -> None:
        """A session that the server has forgotten gives its place to another."""
        calls.occupy("p", "a", 1, LONG)
        calls.vacate("p", "a")
        assert calls.slots("p") == {}
        assert calls.occupy("p", "b", 1, LONG) is True

    def test_to_vacate_what_is_not_there_is_no_error(self, calls: Store) -> None:
        """It may have lapsed a moment ago, or another process may have been faster."""
        calls.vacate("unknown", "a")
        calls.occupy("p", "a", 1, LONG)
        calls.vacate("p", "b")
        assert set(calls.slots("p")) == {"a"}

    def test_pools_do_not_share(self, calls: Store) -> None:
        """Each project has slots of its own, and so has each kind of its conversations."""
        for pool in ("p", "p/provisional", "P", "ü"):
            assert calls.occupy(pool, "a", 1, LONG) is True
        calls.vacate("p", "a")
        assert calls.slots("p") == {}
        for pool in ("p/provisional", "P", "ü"):
            assert set(calls.slots(pool)) == {"a"}

    def test_slots_are_the_callers_own(self, calls: Store) -> None:
        """To change what was read changes nothing in the store."""
        calls.occupy("p", "a", 1, LONG)
        calls.slots("p").clear()
        assert set(calls.slots("p")) == {"a"}
