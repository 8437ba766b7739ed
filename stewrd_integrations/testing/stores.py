"""The suite that every store must pass."""

from __future__ import annotations

from ..stores import Store
from .bindings import PeekRules, PuttingRules, TakingRules, UniqueRules
from .chapter import Chapter
from .concurrency import BlockingRules, CancellingRules, CopyingRules, TaskRules, ThreadRules
from .inventories import InventoryRules
from .notes import NoteRules
from .processes import ForkingRules, ProcessRules
from .slots import SlotRules
from .transcripts import TranscriptSuite


class ProtocolRules(Chapter):
    """What a store is made of."""

    def test_it_is_a_store(self, store: Store) -> None:
        """Models check what they are given by this protocol."""
        assert isinstance(store, Store)


class StoreSuite(
    ProtocolRules,
    TakingRules,
    UniqueRules,
    PeekRules,
    PuttingRules,
    SlotRules,
    NoteRules,
    TranscriptSuite,
    ThreadRules,
    TaskRules,
    BlockingRules,
    CancellingRules,
    CopyingRules,
    ProcessRules,
    ForkingRules,
    InventoryRules,
):
    """The contract of a store, as tests: subclass it to check a store of your own.

    ::

        import functools
        import pytest
        from stewrd_integrations.testing import StoreSuite

        class TestMyStore(StoreSuite):
            @pytest.fixture
            def store(self, tmp_path):  # a fresh, empty store for each test
                return MyStore(tmp_path / "store")

            @pytest.fixture
            def reopen(self, tmp_path):  # opens the same store in another process
                return functools.partial(MyStore, tmp_path / "store")

    pytest is all that it needs. Each rule runs by the sync and by the async methods, the latter
    each in an event loop of its own. Times are real and short, since servers have their own
    clocks: the machine that runs the tests and the store's need not agree on the time.

    Without `reopen` the store is one that lives in a single process, and what concerns several
    processes is skipped. `reopen` is pickled: what it calls must be importable by its name.
    """
