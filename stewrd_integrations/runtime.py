"""From options to answers: what both framework adapters stand on.

A `Runtime` belongs to one model object. It checks the options once, makes clients when they
are first needed, and answers calls through the drivers. It knows no framework.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import asdict, fields
from hmac import compare_digest
from typing import Any

from .api import AsyncStewrdClient, StewrdClient
from .api.credentials import ApiKey
from .api.requests import check_tools
from .budget import Budget
from .drivers import NEW_SESSION, adrive, drive, rehearse
from .errors import ConfigurationError, InvalidInputError
from .options import PER_CALL, Options, checked_who
from .sessions.call import (
    GO_ON,
    WHY_ALONE,
    Call,
    Ids,
    Outcome,
    Policy,
    beyond_chat,
    ends_in_an_answer,
    price,
)
from .sessions.digest import Digester
from .sessions.effects import Flow, Road, Send, Submit, Turn
from .sessions.forgetting import at_rest, seal
from .sessions.tools import legal_tools, own_names
from .sessions.turn import turn
from .stores import Store, open_store
from .surroundings import Surroundings
from .turn_log import watched
from .types import Event, File, Message, Tool
from .values import dataclass

_POLICY_NAMES = tuple(one.name for one in fields(Policy))

LONGEST = 3_600.0
"""Seconds that a named call without a time-out may hold its name."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a call would do, had it been made.

    Attributes:
        road: On a session, or stateless.
        turn: The kind of turn.
        reason: One line that names the rule.
        session_id: The session; None on the stateless road, and for one yet to be opened.
        text: The exact text that would be sent, or what tools gave back.
        files: The files that would travel with it.
        credits: What it costs, if capabilities are named; else None.
        omitted_messages: Older messages that a replay would leave out.
        messages_used: Messages that the session would hold after the answer.
    """

    road: Road
    turn: Turn
    reason: str
    session_id: str | None
    text: str
    files: tuple[File, ...]
    credits: int | None
    omitted_messages: int
    messages_used: int


class Runtime:
    """Answers the calls of one model object.

    Args:
        options: The model's.
        former: What answered the calls of the same object before its options were changed.

    Attributes:
        store: Where is remembered which session heard what.
        budget: What the model may spend, and has spent.
        scope: Names the model object: what is known by its words alone is known within it.

    Raises:
        ConfigurationError: An option is wrong.
    """

    def __init__(self, options: Options, former: Runtime | None = None) -> None:
        self._options = options
        self._policy = Policy(**{name: getattr(options, name) for name in _POLICY_NAMES})
        if options.on_store_error not in ("stateless", "error"):
            raise ConfigurationError(
                f'on_store_error={options.on_store_error!r} is unknown: use "stateless" or "error".'
            )
        self.store = _store_of(options.store)
        self._key = ApiKey(options.api_key)
        self.scope: str = secrets.token_hex(16) if former is None else former.scope
        try:
            self._who = checked_who({name: getattr(options, name) for name in PER_CALL})
        except InvalidInputError as wrong:
            raise ConfigurationError(wrong.message, advice=wrong.advice) from None
        self._client: StewrdClient | None = self._new_client()  # it checks the rest
        self._async_client: AsyncStewrdClient | None = None
        limit = options.max_credits
        self.budget: Budget = Budget(limit) if former is None else former.budget.under(limit)

    @property
    def client(self) -> StewrdClient:
        """The sync client; it opens no connection before it is used."""
        if self._client is None:
            self._client = self._new_client()
        return self._client

    def _new_client(self) -> StewrdClient:
        return StewrdClient(http_client=self._options.http_client, **self._shared())

    @property
    def async_client(self) -> AsyncStewrdClient:
        """The async client; it opens no connection before it is used."""
        if self._async_client is None:
            http = self._options.http_async_client
            self._async_client = AsyncStewrdClient(http_async_client=http, **self._shared())
        return self._async_client

    def _shared(self) -> dict[str, Any]:
        names = ("base_url", "timeout", "stall_timeout", "max_retries", "default_headers")
        return {"api_key": self._key} | {name: getattr(self._options, name) for name in names}

    def call(
        self,
        messages: Sequence[Message],
        who: Mapping[str, Any],
        *,
        thread: str | None = None,
        one_shot: bool = False,
        stream: bool = False,
        stop: Sequence[str] | None = None,
        tools: Sequence[Tool] = (),
        demand: str = "",
    ) -> Call:
        """Make a call of messages; ``who`` overrides the model's options of `PER_CALL`.

        Args:
            messages: The whole list that the framework showed.
            who: Options of the call.
            thread: LangGraph's thread.
            one_shot: The call is known to stand alone.
            stream: Events are wanted as they come; with tools there is one piece only.
            stop: Texts at which the answer ends.
            tools: Custom functions that the agent may call.
            demand: What is asked of this very answer.

        Raises:
            InvalidInputError: An option of the call or a tool is wrong.
        """
        timeout = self._options.timeout
        who = {**self._who, **checked_who(who)}
        if tools:
            check_beside_tools(who["capabilities"])
            check_offered(tools)
        alone = ends_in_an_answer(messages)
        if alone:
            messages = [*messages, Message("user", GO_ON)]
        return Call(
            messages=tuple(messages),
            ids=_fresh_ids(),
            scope=self.scope,
            thread=thread,
            one_shot=one_shot or alone,
            alone=WHY_ALONE if alone else "",
            stream=stream,
            stop=tuple(stop or ()),
            tools=tuple(tools),
            demand=demand,
            allowance=LONGEST if timeout is None else timeout,
            **who,
        )

    def answer(self, call: Call) -> Outcome:
        """Answer a call."""
        with closing(self.stream(call)) as items:
            return _outcome(list(items)[-1])

    def stream(self, call: Call) -> Generator[Event | Outcome, None, None]:
        """Answer a call with events as they come; the outcome is the last item."""
        flow, around = self._turn(call, logged=True)
        return drive(flow, self.client, around)

    async def aanswer(self, call: Call) -> Outcome:
        """Answer a call on the event loop."""
        async with aclosing(self.astream(call)) as items:
            return _outcome([item async for item in items][-1])

    def astream(self, call: Call) -> AsyncGenerator[Event | Outcome, None]:
        """Answer a call on the event loop with events as they come."""
        flow, around = self._turn(call, logged=True)
        return adrive(flow, self.async_client, around)

    def explain(self, call: Call) -> Explanation:
        """Say what a call would do, without sending, taking or changing anything."""
        flow, around = self._turn(call)
        send = rehearse(flow, around)
        session_id = None if send.session_id == NEW_SESSION else send.session_id
        text, files, cost = _said(send)
        return Explanation(
            road=send.decision.road,
            turn=send.decision.turn,
            reason=send.decision.reason,
            session_id=session_id,
            text=text,
            files=files,
            credits=cost,
            omitted_messages=send.decision.omitted,
            messages_used=send.decision.messages_used,
        )

    def vouches(self, name: str, tenant: str | None, told: str) -> bool:
        """Whether a seal of this name and tenant was made with the project's key."""
        project, secret = self.client.identity()
        true = seal(at_rest(Digester(secret), project, name, tenant))
        return compare_digest(true.encode(), told.encode("utf-8", "surrogatepass"))

    def _turn(self, call: Call, *, logged: bool = False) -> tuple[Flow[Outcome], Surroundings]:
        project, secret = self.client.identity()
        recap = self._policy.recap
        around = Surroundings(
            store=self.store,
            project=project,
            recap=recap if callable(recap) else None,
            store_errors=self._options.on_store_error,
            clock=self._options.clock,
            budget=self.budget,
        )
        digester = Digester(secret)
        flow = turn(call, self._policy, digester, project)
        if logged:
            flow = watched(flow, call, digester, self._policy.session_message_limit)
        return flow, around

    def close(self) -> None:
        """Give the sync client's connections back."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aclose(self) -> None:
        """Give the connections of both clients back."""
        self.close()
        if self._async_client is not None:
            await self._async_client.aclose()
            self._async_client = None


def metadata(outcome: Outcome) -> dict[str, Any]:
    """What an answer tells about itself, as plain JSON values and without its mark.

    It stands flat, where users look for it, and whole under ``stewrd`` with the mark. The
    contents of files are long, so they are in the latter only.
    """
    told = _metadata(outcome)
    files = [{"name": file.name, "url": file.url} for file in outcome.reply.files]
    return {**told, "files": files, "stewrd": {"mark": outcome.mark, **told}}


def _metadata(outcome: Outcome) -> dict[str, Any]:
    reply, decision, usage = outcome.reply, outcome.decision, outcome.reply.usage
    return {
        "request_id": reply.id,
        "session_id": outcome.session_id,
        "road": decision.road,
        "turn": decision.turn,
        "reason": decision.reason,
        "omitted_messages": decision.omitted,
        "omitted_files": list(decision.omitted_files),
        "messages_used": decision.messages_used,
        "capabilities_used": list(reply.capabilities_used),
        "files": [asdict(file) for file in reply.files],
        "usage": {
            "credits": usage.credits,
            "credits_remaining": usage.credits_remaining,
            "tokens": usage.tokens,
            "estimated": usage.estimated,
        },
        "duration_ms": reply.duration_ms,
    }


def _fresh_ids() -> Ids:
    many = os.urandom(48).hex()  # asked once
    return Ids(many[:32], many[32:64], many[64:])


def _store_of(store: Store | str | None) -> Store:
    if store is None or isinstance(store, str):
        return open_store(store)
    if not isinstance(store, Store):
        raise ConfigurationError(
            f"store is a {type(store).__name__}, which does not do what a store does.",
            advice="Pass a store of stewrd_integrations.stores, one of its kind, or a URL.",
        )
    return store


def _said(send: Send | Submit) -> tuple[str, tuple[File, ...], int | None]:
    """What is sent: its text, its files and what it costs."""
    if isinstance(send, Submit):
        return "\n\n".join(output.output for output in send.outputs), (), 0
    request = send.request
    return (
        request.message,
        request.files,
        price(("chat",) if request.tools else request.capabilities),
    )


def _outcome(last: Event | Outcome) -> Outcome:
    assert isinstance(last, Outcome)
    return last


def check_offered(tools: Sequence[Tool]) -> None:
    """Refuse tools that the API would not take, whose names are mapped to legal ones.

    Raises:
        InvalidInputError: Names the tool as its user does.
    """
    try:
        check_tools(legal_tools(tools))
    except InvalidInputError as error:
        raise InvalidInputError(own_names(error.message, tools), advice=error.advice) from None


BESIDE_TOOLS = (
    'Use capabilities=None or ["chat"] where tools are bound, and offer the other capabilities as '
    "tools."
)


def check_beside_tools(capabilities: Sequence[str] | None, advice: str = BESIDE_TOOLS) -> None:
    """Refuse capabilities that the API would leave out where tools are bound.

    Raises:
        InvalidInputError: Names them, with the advice.
    """
    beside = beyond_chat(capabilities)
    if beside:
        raise InvalidInputError(
            f"With tools the API uses the chat capability only, not {', '.join(beside)}.",
            advice=advice,
        )
