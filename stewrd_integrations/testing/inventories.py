"""The inventory: what a store may tell, beside the protocol, to people who look after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..stores import Inventory, Store
from .chapter import LONG, SHORT, Chapter, binding, let_lapse


class InventoryRules(Chapter):
    """`inventory()` tells all that is alive. It is optional, and has one colour."""

    @pytest.fixture
    def count(self, store: Store) -> Callable[[], Inventory]:
        """The store's `inventory`."""
        method: Callable[[], Inventory] | None = getattr(store, "inventory", None)
        if method is None:
            pytest.skip("The store has no inventory().")
        return method

    def test_an_empty_store_has_an_empty_inventory(self, count: Callable[[], Inventory]) -> None:
        """Nothing of other applications is in it."""
        found = count()
        assert (found.bindings, found.notes, found.transcripts) == ((), 0, ())
        assert not any(found.pools.values())

    def test_the_inventory_tells_live_bindings(
        self, store: Store, count: Callable[[], Inventory]
    ) -> None:
        """Each once, whatever number of keys it has, with the seconds that it has left."""
        store.put(binding("1", "k1", "k2"), LONG)
        store.put(binding("2", "k2"), SHORT)
        let_lapse()
        (kept,) = count().bindings
        assert (kept.name, kept.binding) == ("1", binding("1", "k1", "k2"))
        assert kept.left is not None
        assert LONG - 60 < kept.left <= LONG + 1

    def test_the_inventory_tells_live_slots(
        self, store: Store, count: Callable[[], Inventory]
    ) -> None:
        """They say why no session is opened."""
        store.occupy("p1", "a", 2, LONG)
        store.occupy("p1", "b", 2, SHORT)
        store.occupy("p2", "c", 2, LONG)
        let_lapse()
        alive = {pool: list(slots) for pool, slots in count().pools.items() if slots}
        assert alive == {"p1": ["a"], "p2": ["c"]}
        assert LONG - 60 < count().pools["p1"]["a"] <= LONG + 1

    def test_the_inventory_counts_notes(self, store: Store, count: Callable[[], Inventory]) -> None:
        """Those that were written, not those that somebody looked for."""
        store.note("n1", lambda _: {"a": 1})
        store.note("n2", lambda _: {"a": 1})
        store.note("n3")
        assert count().notes == 2

    def test_the_inventory_names_transcripts(
        self, store: Store, count: Callable[[], Inventory]
    ) -> None:
        """Under the names that they were given, with their length."""
        store.append("c1 ü", ["1", "2"])
        store.append("c2", ["1"])
        store.append("c3", ["1"])
        store.clear("c3")
        assert {kept.name: kept.lines for kept in count().transcripts} == {"c1 ü": 2, "c2": 1}
