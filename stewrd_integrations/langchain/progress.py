"""Telling whoever listens to a tool's run what the agent behind it is at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForToolRun,
    CallbackManager,
    CallbackManagerForToolRun,
)

from ..asking import progress
from ..sessions.call import Outcome
from ..types import Event

PROGRESS: Final = "stewrd_progress"
"""The name of the custom events."""


class Progress:
    """The listeners of one run: callback handlers, and the graph that it is a part of.

    Args:
        by: The tool's name.
        run: Its run; None if it was called outside of one, where nobody can listen.
    """

    def __init__(
        self, by: str, run: CallbackManagerForToolRun | AsyncCallbackManagerForToolRun | None
    ) -> None:
        self._by = by
        self._run_id = None if run is None else run.run_id
        manager = None if run is None else run.get_child()
        if manager is not None and all(one.ignore_custom_event for one in manager.handlers):
            manager = None
        self._manager = manager
        self._graph = None if run is None else _writer_of_the_graph()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return self._manager is not None or self._graph is not None

    def tell(self, item: Event | Outcome) -> None:
        """Pass it on if it tells of progress."""
        told = self._told(item)
        if told and self._manager:
            cast("CallbackManager", self._manager).on_custom_event(PROGRESS, told, self._run_id)

    async def atell(self, item: Event | Outcome) -> None:
        """`tell` for the event loop."""
        told = self._told(item)
        if told and self._manager:
            manager = cast("AsyncCallbackManager", self._manager)
            await manager.on_custom_event(PROGRESS, told, self._run_id)

    def _told(self, item: Event | Outcome) -> dict[str, Any] | None:
        told = progress(item, self._by)
        if told and self._graph:
            self._graph({PROGRESS: told})
        return told


def _writer_of_the_graph() -> Callable[[Any], None] | None:
    """What writes into a graph's stream of the mode "custom", if a graph is at work.

    Async tools on Python 3.10 don't find it: LangGraph can't look it up there.
    """
    graphs = sys.modules.get("langgraph.config")  # not imported: then there is no graph
    if graphs is None:
        return None
    try:
        writer: Callable[[Any], None] = graphs.get_stream_writer()
    except (RuntimeError, KeyError):
        return None
    return writer
