"""Bindings: popped by whoever takes them, found by any of their keys, gone when they are old."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ..sessions.binding import Binding
from ..sessions.digest import Covered
from ..stores import Store
from .chapter import LONG, SHORT, Chapter, binding, drain, ids, let_lapse


class TakingRules(Chapter):
    """`take` is the fence that keeps two calls off one session."""

    def test_nothing_is_taken_from_an_empty_store(self, calls: Store) -> None:
        """An unknown key is no error: the conversation is new, or its binding has aged out."""
        assert calls.take(("unknown",)) is None
        assert calls.peek(("unknown",)) == []

    def test_no_keys_find_nothing(self, calls: Store) -> None:
        """A conversation without an answer has no keys yet, and is none of those kept."""
        calls.put(binding("1", "k"), LONG)
        assert calls.take(()) is None
        assert calls.peek(()) == []

    def test_a_binding_comes_back_whole(self, calls: Store) -> None:
        """Every field counts: a count or a time that is lost is a wrong turn later."""
        calls.put(binding("1", "k1", "k2"), LONG)
        assert calls.take(("k1",)) == binding("1", "k1", "k2")

    def test_a_binding_with_little_in_it_comes_back_whole(self, calls: Store) -> None:
        """None, nothing and empty differ: no session is another thing than one without a name."""
        bare = Binding(id="1", session_id=None, covered=Covered(), keys=("k",))
        calls.put(bare, LONG)
        assert calls.take(("k",)) == bare

    def test_a_binding_holds_the_whole_window(self, calls: Store) -> None:
        """64 digests and more: that is what a long conversation's binding has."""
        digests = tuple(f"{number:032x}" for number in range(Covered.KEPT))
        long = replace(binding("1", "k"), covered=Covered("b", 10**9, digests, "f"))
        calls.put(long, LONG)
        assert calls.take(("k",)) == long

    def test_ids_and_keys_may_be_any_text(self, calls: Store) -> None:
        """The store reads nothing into them: neither separators nor patterns nor an alphabet."""
        odd = [binding(f"id {text}", f"key {text}") for text in ODD]
        for each in odd:
            calls.put(each, LONG)
        assert [calls.take((f"key {text}",)) for text in ODD] == odd

    def test_take_pops(self, calls: Store) -> None:
        """Whoever took a binding is the only one who has it."""
        calls.put(binding("1", "k"), LONG)
        assert calls.take(("k",)) == binding("1", "k")
        assert calls.take(("k",)) is None

    def test_take_pops_under_every_key(self, calls: Store) -> None:
        """A binding that were left under another key would be taken twice."""
        calls.put(binding("1", "k1", "k2", "k3"), LONG)
        calls.take(("k2",))
        assert drain(calls, "k1", "k2", "k3") == []
        assert calls.peek(("k1", "k2", "k3")) == []

    def test_the_first_key_that_hits_decides(self, calls: Store) -> None:
        """Keys come surest first, so a later one may not win."""
        calls.put(binding("1", "k1"), LONG)
        calls.put(binding("2", "k2"), LONG)
        assert calls.take(("k0", "k1", "k2")) == binding("1", "k1")
        assert calls.take(("k0", "k1", "k2")) == binding("2", "k2")

    def test_one_take_takes_one(self, calls: Store) -> None:
        """What it did not return is still there for others."""
        calls.put(binding("1", "k", "k1"), LONG)
        calls.put(binding("2", "k", "k2"), LONG)
        calls.take(("k", "k1", "k2"))
        assert ids(calls.peek(("k", "k1", "k2"))) == ["1"]

    def test_the_newest_of_a_key_comes_first(self, calls: Store) -> None:
        """Short answers occur twice: the latest is the likeliest, and no earlier one is lost."""
        for number in range(10):
            calls.put(binding(f"{number}", "k", f"k{number}"), LONG)
        assert ids(drain(calls, "k")) == [f"{number}" for number in reversed(range(10))]

    def test_a_binding_may_be_put_back(self, calls: Store) -> None:
        """One that was taken and does not align goes back as it was."""
        calls.put(binding("1", "k1", "k2"), LONG)
        found = calls.take(("k1",))
        assert found is not None
        calls.put(found, LONG)
        assert calls.take(("k2",)) == found

    def test_the_colours_see_the_same(self, store: Store, calls: Store) -> None:
        """An application may ask by both: what one colour took, the other may not find."""
        calls.put(binding("1", "k"), LONG)
        assert store.peek(("k",)) == [binding("1", "k")]
        assert calls.take(("k",)) == binding("1", "k")
        assert store.take(("k",)) is None


class UniqueRules(Chapter):
    """With ``unique`` a key hits only if a single live binding has it."""

    def test_a_key_of_one_binding_hits(self, calls: Store) -> None:
        """By content alone a conversation is found only if it is the only one of its kind."""
        calls.put(binding("1", "k"), LONG)
        assert calls.peek(("k",), True) == [binding("1", "k")]
        assert calls.take(("k",), unique=True) == binding("1", "k")
        assert calls.take(("k",), unique=True) is None

    def test_a_key_of_two_bindings_does_not_hit(self, calls: Store) -> None:
        """Two people may have said the same: neither may get the other's session."""
        calls.put(binding("1", "k"), LONG)
        calls.put(binding("2", "k"), LONG)
        assert calls.take(("k",), True) is None
        assert calls.peek(("k",), unique=True) == []
        assert ids(calls.peek(("k",))) == ["2", "1"], "and both are still there"

    def test_a_later_key_may_hit(self, calls: Store) -> None:
        """A key that two have is passed over like one that nobody has."""
        calls.put(binding("1", "k"), LONG)
        calls.put(binding("2", "k", "k2"), LONG)
        calls.put(binding("3", "k"), LONG)
        assert ids(calls.peek(("k", "k2"), unique=True)) == ["2"]
        assert calls.take(("k", "k2"), unique=True) == binding("2", "k", "k2")

    def test_one_that_was_taken_does_not_count(self, calls: Store) -> None:
        """It is nobody's any more, by whatever key it was taken."""
        calls.put(binding("1", "k"), LONG)
        calls.put(binding("2", "k", "k2"), LONG)
        calls.take(("k2",))
        assert calls.peek(("k",), unique=True) == [binding("1", "k")]
        assert calls.take(("k",), unique=True) == binding("1", "k")

    @pytest.mark.parametrize("expired", ["older", "newer"])
    def test_one_that_has_expired_does_not_count(self, calls: Store, expired: str) -> None:
        """Only live bindings make a key ambiguous."""
        calls.put(binding("1", "k"), SHORT if expired == "older" else LONG)
        calls.put(binding("2", "k"), SHORT if expired == "newer" else LONG)
        let_lapse()
        alive = "2" if expired == "older" else "1"
        assert ids(calls.peek(("k",), unique=True)) == [alive]
        assert calls.take(("k",), unique=True) == binding(alive, "k")

    def test_the_same_binding_put_twice_is_one(self, calls: Store) -> None:
        """A put replaces: the second does not make the first a stranger."""
        calls.put(binding("1", "k"), LONG)
        calls.put(binding("1", "k"), LONG)
        assert calls.take(("k",), unique=True) == binding("1", "k")


class PeekRules(Chapter):
    """`peek` shows what repeated takes would pop, and pops nothing."""

    def test_peek_pops_nothing(self, calls: Store) -> None:
        """`explain` looks at the store: a look may not cost a conversation its session."""
        calls.put(binding("1", "k"), LONG)
        assert calls.peek(("k",)) == [binding("1", "k")]
        assert calls.peek(("k",)) == [binding("1", "k")]
        assert calls.take(("k",)) == binding("1", "k")

    def test_peek_shows_what_takes_would_pop_in_their_order(self, calls: Store) -> None:
        """An explanation that differs from what then happens is worse than none."""
        calls.put(binding("1", "a", "c"), LONG)
        calls.put(binding("2", "b"), LONG)
        calls.put(binding("3", "a", "b"), LONG)
        calls.put(binding("4", "other"), LONG)
        calls.put(binding("5", "c"), LONG)
        shown = calls.peek(("b", "a", "c"))
        assert ids(shown) == ["3", "2", "1", "5"]
        assert drain(calls, "b", "a", "c") == shown

    def test_peek_shows_each_binding_once(self, calls: Store) -> None:
        """Whatever number of its keys are asked for, it can be taken once."""
        calls.put(binding("1", "a", "b", "c"), LONG)
        assert calls.peek(("c", "b", "a", "c")) == [binding("1", "a", "b", "c")]

    def test_peek_shows_what_unique_takes_would_pop(self, calls: Store) -> None:
        """Whoever was taken by a later key no longer makes an earlier one ambiguous."""
        calls.put(binding("1", "a"), LONG)
        calls.put(binding("2", "a", "b"), LONG)
        calls.put(binding("3", "c"), LONG)
        calls.put(binding("4", "c"), LONG)
        shown = calls.peek(("a", "b", "c"), unique=True)
        assert ids(shown) == ["2", "1"]
        keys = ("a", "b", "c")
        assert [calls.take(keys, unique=True) for _ in range(3)] == [*shown, None]


class PuttingRules(Chapter):
    """`put` keeps a binding for a time, in the place of one with the same id."""

    def test_a_put_replaces_what_has_the_same_id(self, calls: Store) -> None:
        """Two states of one conversation may not live side by side."""
        calls.put(binding("1", "k"), LONG)
        newer = replace(binding("1", "k"), used=6)
        calls.put(newer, LONG)
        assert drain(calls, "k") == [newer]

    def test_a_put_under_other_keys_leaves_the_former_ones(self, calls: Store) -> None:
        """By a key that it no longer has, a binding is not found."""
        calls.put(binding("1", "k1", "shared"), LONG)
        calls.put(binding("1", "k2", "shared"), LONG)
        assert calls.peek(("k1",)) == []
        assert calls.peek(("k1", "k2", "shared")) == [binding("1", "k2", "shared")]

    def test_the_last_put_is_the_newest(self, calls: Store) -> None:
        """One that was put again stands before those that were put since its first time."""
        for id_ in ("1", "2", "1"):
            calls.put(binding(id_, "k"), LONG)
        assert ids(calls.peek(("k",))) == ["1", "2"]

    def test_a_binding_without_keys_disturbs_nothing(self, calls: Store) -> None:
        """Nobody can find it, and nobody stumbles over it."""
        calls.put(binding("1"), LONG)
        calls.put(binding("2", "k"), LONG)
        assert drain(calls, "k") == [binding("2", "k")]

    def test_a_binding_ages_out(self, calls: Store) -> None:
        """After its ttl it is as if it had never been, under each of its keys."""
        calls.put(binding("1", "k1", "k2"), SHORT)
        let_lapse()
        assert calls.peek(("k1", "k2")) == []
        assert calls.take(("k1",)) is None
        assert calls.take(("k2",)) is None

    def test_one_ages_out_and_another_of_its_key_stays(self, calls: Store) -> None:
        """A ttl belongs to a binding, not to its key."""
        calls.put(binding("1", "k"), LONG)
        calls.put(binding("2", "k"), SHORT)
        let_lapse()
        assert calls.peek(("k",)) == [binding("1", "k")]
        assert calls.take(("k",)) == binding("1", "k")

    def test_an_older_one_that_aged_out_is_not_taken(self, calls: Store) -> None:
        """Neither does a younger binding under the same key keep an older one alive."""
        calls.put(binding("1", "k"), SHORT)
        calls.put(binding("2", "k"), LONG)
        let_lapse()
        assert ids(drain(calls, "k")) == ["2"]

    def test_the_last_put_sets_the_ttl(self, calls: Store) -> None:
        """A binding that is put again lives for as long as the new put says."""
        calls.put(binding("longer", "k1"), SHORT)
        calls.put(binding("longer", "k1"), LONG)
        calls.put(binding("shorter", "k2"), LONG)
        calls.put(binding("shorter", "k2"), SHORT)
        let_lapse()
        assert ids(calls.peek(("k1", "k2"))) == ["longer"]

    def test_a_ttl_below_a_second_is_not_nothing(self, calls: Store) -> None:
        """Times are in seconds and have fractions: none is rounded to zero."""
        ttl, seen = 0.8, False
        for _ in range(5):  # a slow machine may sleep for longer than that, but not each time
            began = time.monotonic()
            calls.put(binding("1", "k"), ttl)
            seen = bool(calls.peek(("k",))) or seen
            if seen or time.monotonic() < began + ttl / 2:
                break
        assert seen


ODD = (
    "plain",
    "ünïcödé 漢字 🦜",
    "a:b/c\\d",
    "* ? [a-z] %s _ {tag} $1",
    "'; DROP TABLE bindings; --",
    '"quoted" and "again"',
    "new\nline\r\n\ttab",
    "zero\0byte",
    " padded ",
    "x" * 3_000,
)
"""Texts that have broken stores."""
