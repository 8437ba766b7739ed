"""The runs that wait for the outputs of custom functions, and how they get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from . import rules, tools
from .errors import refuse
from .reading import Heard, ToolCall
from .records import Ask, Run, Session, ToolOutput
from .settings import Settings


@dataclass(frozen=True)
class Waiting:
    """A run that has asked for outputs, and all that its agent has heard.

    `since` is when it asked, in seconds; `round` is how often it was given outputs
    before. `unsaid` enters the log of its `session` when the run is complete.
    """

    id: str
    ask: Ask
    calls: tuple[ToolCall, ...]
    instance: str | None
    since: float
    round: int
    log: tuple[Heard, ...]
    session: Session | None
    unsaid: tuple[Heard, ...]
    outputs: tuple[ToolOutput, ...] = ()

    def heard(self) -> list[Heard]:
        """The outputs that it was given, as messages in the order of the calls."""
        texts = dict(self.outputs)
        return [
            Heard("tool", texts[call.id], tool_call_id=call.id, name=call.name)
            for call in self.calls
        ]


class Runs:
    """The runs that wait, by id. One that was answered, or has waited too long, is unknown."""

    def __init__(self, settings: Settings, make_id: Callable[[], str]) -> None:
        self._settings = settings
        self._make_id = make_id
        self._waiting: dict[str, Waiting] = {}

    def open(
        self,
        run: Run,
        ask: Ask,
        now: float,
        log: Sequence[Heard],
        *,
        session: Session | None,
        unsaid: Sequence[Heard],
        before: Waiting | None,
    ) -> Waiting:
        """Let a run wait, from now on; `before` is how it waited the last time."""
        instance = self._instance(before)
        told = tuple(log), session, tuple(unsaid)
        waiting = Waiting(run.id, ask, run.calls, instance, now, run.round, *told)
        self._waiting[run.id] = waiting
        return waiting

    def _instance(self, before: Waiting | None) -> str | None:
        if self._settings.compute_instance == "none":
            return None
        if self._settings.compute_instance == "same" and before is not None:
            return before.instance
        return f"instance_{self._make_id()}"

    def find(self, run_id: str | None, now: float) -> Waiting | None:
        """The run that waits under an id, if its time is not over."""
        run = self._waiting.get(run_id or "")
        return None if run is None or tools.is_late(self._settings, run.since, now) else run

    def ids(self, now: float) -> list[str]:
        """The runs that wait, those first that have waited longest."""
        return [run_id for run_id in self._waiting if self.find(run_id, now) is not None]

    def take(self, run_id: str | None, body: bytes, now: float) -> Waiting:
        """The run with the outputs that it was given; it waits no more.

        [assumed] Wrong outputs leave it as it was, so that right ones may follow.
        """
        run = self.find(run_id, now)
        if run is None:
            # [documented] the time is over, or nothing is known of such a run
            raise refuse("context_expired")
        submission = tools.parse_outputs(self._settings, body)
        tools.check_run_session(self._settings, run.session)
        tools.check_instance(self._settings, run.instance, submission.instance)
        tools.check_outputs(run.calls, submission.outputs)
        run = replace(run, outputs=submission.outputs)
        self._check_room(run)
        self.discard(run.id)
        tools.check_rounds(self._settings, run.round)
        return run

    def _check_room(self, run: Waiting) -> None:
        if run.session is None:
            return
        # [assumed] what the run adds to its session must find room, as a message must
        entering = run.heard() if self._settings.session_rounds == "all" else []
        log = [*run.session.log, *run.unsaid, *entering]
        rules.check_room(self._settings, rules.count(self._settings, log), 1)

    def discard(self, run_id: str | None) -> None:
        """Forget a run, if it is known."""
        self._waiting.pop(run_id or "", None)

    def expire(self, run_id: str | None, now: float) -> None:
        """Let the time of one run be over, or of all. An unknown id is a KeyError."""
        if run_id is not None and self.find(run_id, now) is None:
            raise KeyError(run_id)
        for each in self.ids(now) if run_id is None else [run_id]:
            self.discard(each)
