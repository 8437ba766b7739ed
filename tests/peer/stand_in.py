"""The peer with the handles of the emulator, so that one test runs on either.

Nothing of the emulator's behaviour is used here: its records and the arguments of its agents
are the form in which tests are told what the peer has heard.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from stewrd_integrations import emulator as theirs

from .orders import ordered
from .reading import Conversation, Spoken, conversation
from .records import Agent, Answer, Answered, Call, Context, Entry, File, Logged
from .server import Peer
from .translated import rules_of, unknowns_of
from .world import World


class StandIn:
    """The peer in the place of an `Emulator`; see there for what each handle is.

    Args:
        settings: The emulator's, of which those are heeded that the peer has too.
        agent: A function that answers, as the emulator takes it.
        changes: Settings by name.
    """

    def __init__(
        self,
        settings: theirs.Settings | None = None,
        *,
        agent: theirs.Agent | None = None,
        **changes: Any,
    ) -> None:
        self._settings = replace(settings or theirs.Settings(), **changes)
        self.api_key = self._settings.api_key or f"sk-stw_peer_{secrets.token_hex(12)}"
        self.peer_world = World(
            unknowns_of(self._settings),
            rules_of(self._settings, self.api_key),
            adapted(agent or theirs.default_agent),
            latency=self._settings.latency,
            pause=self._settings.chunk_delay,
        )
        self._peer = Peer(self.peer_world)
        self._runs: list[theirs.Run] = []

    # -- the server --------------------------------------------------------------------------

    def __enter__(self) -> StandIn:
        self._peer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._peer.__exit__(kind, error, traceback)

    def start(self) -> StandIn:
        """Serve."""
        return self.__enter__()

    def stop(self) -> None:
        """Close the socket and all connections."""
        self.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._peer.url

    @property
    def settings(self) -> theirs.Settings:
        """How it behaves; may be set to others while it runs."""
        return self._settings

    @settings.setter
    def settings(self, settings: theirs.Settings) -> None:
        self._settings = settings
        self.peer_world.unknowns = unknowns_of(settings)

    @property
    def world(self) -> StandIn:
        """What has the settings."""
        return self

    # -- time and trouble --------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.peer_world.moved += seconds

    def expire(self, session_id: str | None = None) -> None:
        """Let one session die, or all."""
        held = self.peer_world.sessions
        for session in [held[session_id]] if session_id is not None else held.values():
            session.gone = True

    def expire_run(self, request_id: str | None = None) -> None:
        """Let one waiting run die, or all."""
        waiting = self.waiting_runs
        for run in [waiting[waiting.index(request_id)]] if request_id is not None else waiting:
            self.peer_world.runs[run].dead = True

    def fail_next(self, kind: str, **details: Any) -> None:
        """Let the next request of a kind fail."""
        self.peer_world.faults += ordered(kind, **details)

    # -- what there is to see ----------------------------------------------------------------

    def heard(self, session_id: str) -> list[theirs.Heard]:
        """What a session's log holds."""
        history = tuple(self.peer_world.sessions[session_id].history)
        return [_heard(entry, history) for entry in history]

    def context(self, session_id: str) -> theirs.Conversation:
        """A session's log as an agent reads it."""
        return _conversation(tuple(self.peer_world.sessions[session_id].history))

    @property
    def runs(self) -> list[theirs.Run]:
        """Every answer of the agent."""
        world = self.peer_world
        numbers = {id(logged): place for place, logged in enumerate(world.log)}
        for done in world.answered[len(self._runs) :]:
            self._runs.append(_run(done, numbers[id(done.logged)]))
        return list(self._runs)

    @property
    def waiting_runs(self) -> list[str]:
        """The ids of the runs that wait for tool outputs."""
        world = self.peer_world
        waiting = [run for run in world.runs.values() if run.waiting and not run.dead]
        live = [run for run in waiting if run.deadline > world.now]
        return [run.id for run in sorted(live, key=lambda run: run.deadline)]

    @property
    def requests(self) -> list[theirs.Exchange]:
        """Every request."""
        return [_exchange(number, logged) for number, logged in enumerate(self.peer_world.log)]

    @property
    def refused(self) -> list[theirs.Exchange]:
        """The requests that were refused without an order."""
        return [
            told
            for told in self.requests
            if told.status is not None and told.status >= 400 and not told.fault
        ]

    @property
    def overlaps(self) -> list[str]:
        """Sessions that two requests were on at once."""
        return self.peer_world.overlaps

    @property
    def sessions(self) -> dict[str, theirs.SessionRecord]:
        """Every session ever created."""
        world = self.peer_world
        live = {session.id for session in world.active()}
        return {
            one.id: theirs.SessionRecord(
                one.id, one.created, one.used, one.count(), one.id not in live
            )
            for one in world.sessions.values()
        }

    @property
    def active_sessions(self) -> int:
        """How many sessions take a slot."""
        return len(self.peer_world.active())

    @property
    def credits(self) -> int:
        """The balance."""
        return self.peer_world.credits

    @property
    def over_limit(self) -> int:
        """How many messages were pushed out of full sessions."""
        return self.peer_world.over_limit

    @property
    def pending_faults(self) -> int:
        """How many requests will still fail as ordered."""
        return len(self.peer_world.faults)


# -- the records of the one as those of the other --------------------------------------------


def adapted(agent: Callable[[theirs.Context], str | theirs.Answer]) -> Agent:
    """An agent that was written for the emulator, for the peer."""

    def answering(context: Context) -> Answer | str:
        given = agent(_context(context))
        if isinstance(given, str):
            return given
        calls = tuple((call.name, call.arguments) for call in given.calls)
        files = tuple(File(file.name, file.content, file.url) for file in given.files)
        ids = tuple(call.id for call in given.calls)
        return Answer(given.text, calls, files, given.capabilities_used or None, ids)

    return answering


def _context(context: Context) -> theirs.Context:
    known = _conversation(context.entries)
    last = known.messages[-1] if known.messages else None
    earlier = [file for entry in context.entries[:-1] for file in entry.files]
    if context.round:
        earlier = [*earlier, *context.ask.files]
    return theirs.Context(
        known,
        last.text if last is not None and last.role == "user" else "",
        _files(context.ask.files),
        _files(tuple(earlier)),
        context.ask.capabilities or (),
        context.session,
        context.road,
        _tools(context),
        context.round,
    )


def _tools(context: Context) -> tuple[theirs.Tool, ...]:
    return tuple(
        theirs.Tool(tool.name, tool.description, tool.parameters) for tool in context.ask.tools
    )


def _files(files: tuple[File, ...]) -> tuple[theirs.File, ...]:
    return tuple(theirs.File(file.name, file.content, file.url) for file in files)


def _calls(calls: tuple[Call, ...]) -> tuple[theirs.ToolCall, ...]:
    return tuple(theirs.ToolCall(call.id, call.name, dict(call.arguments)) for call in calls)


def _conversation(entries: tuple[Entry, ...]) -> theirs.Conversation:
    known: Conversation = conversation(entries)
    names = {call.id: call.name for entry in entries for call in entry.calls}
    return theirs.Conversation(
        known.instructions,
        tuple(_said(said, names) for said in known.messages),
        known.omitted,
        known.omitted_files,
        known.summary or None,
        known.summarised,
        known.demand,
    )


def _said(said: Spoken, names: dict[str, str]) -> theirs.Said:
    name = said.name or names.get(said.call_id) if said.role == "tool" else said.name
    return theirs.Said(
        said.role,
        said.text,
        name or None,
        said.files,
        _calls(said.calls),
        said.call_id or None,
        said.error,
        said.summary,
    )


def _heard(entry: Entry, log: tuple[Entry, ...]) -> theirs.Heard:
    names = {call.id: call.name for said in log for call in said.calls}
    return theirs.Heard(
        entry.role,
        entry.text,
        tool_calls=_calls(entry.calls),
        tool_call_id=entry.call_id or None,
        name=names.get(entry.call_id),
    )


def _run(done: Answered, number: int) -> theirs.Run:
    context, ask = done.context, done.context.ask
    outputs: list[theirs.ToolOutput] = []
    for entry in reversed(context.entries):
        if entry.role != "tool":
            break
        outputs.insert(0, theirs.ToolOutput(entry.call_id, entry.text))
    return theirs.Run(
        number,
        done.request_id,
        context.road,
        context.session,
        "" if context.round else ask.message,
        _files(ask.files),
        ask.capabilities or (),
        ask.stream,
        _tools(context),
        _conversation(context.entries),
        done.answer.message,
        done.credits,
        done.logged.at,
        context.round,
        tuple(outputs) if context.round else (),
        _calls(done.calls),
    )


def _exchange(number: int, logged: Logged) -> theirs.Exchange:
    body: Any = logged.request.body.decode("utf-8", "replace")
    with suppress(ValueError):
        body = json.loads(body)
    found = re.fullmatch(r"/v1/sessions/([^/]+)/messages", logged.request.path)
    return theirs.Exchange(
        number,
        logged.at,
        logged.request.method,
        logged.request.path,
        found[1] if found else None,
        body,
        logged.status or None,
        logged.code or None,
        logged.fault or None,
        "",
        logged.run,
    )
