"""Telling whoever listens to a tool what the agent behind it is at.

Handlers of LlamaIndex's instrumentation get a `StewrdProgressEvent`; whoever reads the stream of
a workflow, of which the tool's call is a part, gets a `StewrdProgress`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from llama_index.core.instrumentation import (  # type: ignore[attr-defined]  # its public names, though it does not mark them so
    Dispatcher,
    NullEventHandler,
    get_dispatcher,
)
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.workflow import Context, Event, WorkflowRuntimeError

from ..asking import progress
from ..sessions.call import Outcome
from ..types import Event as Item

DISPATCHER = get_dispatcher(__name__)


class StewrdProgressEvent(BaseEvent):
    """A capability began or ended its work for a tool, in the span of the tool's call.

    Attributes:
        type: "tool_start" or "tool_end".
        tool: The capability, as Stewrd names it.
        message: What it is at, if that is told.
        by: The name of the tool that was called.
    """

    type: Literal["tool_start", "tool_end"]
    tool: str
    message: str | None = None
    by: str

    @classmethod
    def class_name(cls) -> str:
        """The name under which handlers know it."""
        return "StewrdProgressEvent"


class StewrdProgress(Event):
    """The same in the stream of a workflow, which an agent is.

    Attributes:
        type: "tool_start" or "tool_end".
        tool: The capability, as Stewrd names it.
        message: What it is at, if that is told.
        by: The name of the tool that was called.
    """

    type: Literal["tool_start", "tool_end"]
    tool: str
    message: str | None = None
    by: str


class Progress:
    """The listeners to one call of a tool.

    Args:
        by: The tool's name.
    """

    def __init__(self, by: str) -> None:
        self._by = by
        self._heard = _is_heard(DISPATCHER)
        self._workflow = _workflow_at_work()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return self._heard or self._workflow is not None

    def tell(self, item: Item | Outcome) -> None:
        """Pass it on if it tells of progress."""
        told = progress(item, self._by)
        if told is None:
            return
        if self._heard:
            DISPATCHER.event(StewrdProgressEvent(**told))
        if self._workflow is not None:
            self._workflow.write_event_to_stream(StewrdProgress(**told))

    async def atell(self, item: Item | Outcome) -> None:
        """`tell` for the event loop, on which LlamaIndex calls its handlers too."""
        self.tell(item)


def _is_heard(dispatcher: Dispatcher) -> bool:
    """Whether it has a handler, or one of those that it passes events on to."""
    if any(not isinstance(handler, NullEventHandler) for handler in dispatcher.event_handlers):
        return True
    return dispatcher.propagate and _is_heard(dispatcher.parent)


def _workflow_at_work() -> Context[Any] | None:
    """The workflow whose step makes this call, if one does.

    Older workflows don't tell. A thread that a step started is no place to write from.
    """
    step_context = getattr(Context, "get_step_context", None)
    if step_context is None:
        return None
    try:
        asyncio.get_running_loop()
        workflow: Context[Any] = step_context()
    except (RuntimeError, WorkflowRuntimeError):
        return None
    return workflow
