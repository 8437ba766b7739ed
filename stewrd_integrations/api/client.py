"""The sync client: does with httpx what :mod:`.calls` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

import httpx

from ..errors import ConfigurationError, StewrdError
from ..types import AgentRequest, Event, File, Reply, Session, Tool, ToolOutput
from .calls import STALL, Deadline, Exchange, Outcome, attempts
from .connections import Connections, ThroughClient, shared
from .credentials import ApiKey, KeySource
from .events import EventDecoder, whole_as_events
from .requests import HttpRequest, agent_request, post_message, post_session, post_tool_outputs
from .responses import Answer, oddly_packed, read_reply, read_session, too_long
from .settings import Identified, Settings
from .transport import (
    TRANSPORT_ERRORS,
    KeyAuth,
    answer_of,
    broken_stream,
    build,
    chunks_of,
    failed_to_read,
    failed_to_send,
    read_end,
)

T = TypeVar("T")


class EventStream(Iterator[Event]):
    """The events of one stream; the request goes out at the first ``next()``.

    Close it, or use it in a ``with`` block, to end the request before its ``Done``.
    """

    def __init__(self, events: Generator[Event, None, None]) -> None:
        self._events = events

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def close(self) -> None:
        """End the request at once; no more events come."""
        self._events.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class StewrdClient(Identified):
    """A client of the Stewrd API.

    Args:
        api_key: The project's key: text, a ``SecretStr``, or a callable that returns either and
            is asked at each request. None takes the environment variable ``STEWRD_API_KEY``.
        base_url: The API's address. None takes ``STEWRD_BASE_URL``, or the public API's.
        timeout: Seconds for a whole call with its retries; None for no limit. It is looked at
            whenever bytes arrive, so a server that falls silent late can exceed it by as much.
        stall_timeout: Seconds that a stream may say nothing, the wait for its first event
            included; None for no limit but ``timeout``. Comments that keep the connection alive
            are nothing said: among them, the silence may last twice as long.
        max_retries: How often a request that was certainly not worked on is sent again.
        http_client: An ``httpx.Client`` to use instead of the shared one; it is never closed.
        default_headers: Headers to send with every request.

    Every call raises errors of :mod:`stewrd_integrations.errors`; what a callable ``api_key``
    raises goes through as it is.

    Raises:
        ConfigurationError: An option is wrong, or there is no key.
    """

    def __init__(
        self,
        *,
        api_key: KeySource = None,
        base_url: str | None = None,
        timeout: float | None = 600.0,
        stall_timeout: float | None = STALL,
        max_retries: int = 2,
        http_client: httpx.Client | None = None,
        default_headers: Mapping[str, str] | None = None,
    ) -> None:
        key = ApiKey(api_key)
        del api_key  # a traceback that shows locals must not show it
        self._settings = Settings(
            key,
            base_url=base_url,
            timeout=timeout,
            stall_timeout=stall_timeout,
            max_retries=max_retries,
            default_headers=default_headers,
        )
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigurationError("http_client must be an httpx.Client.")
        self._own = None if http_client is None else ThroughClient(http_client)
        self._closed = False

    def run_agent(
        self,
        message: str,
        *,
        capabilities: Sequence[str] | None = None,
        files: Iterable[File] = (),
        tools: Iterable[Tool] = (),
    ) -> Reply:
        """Run the agent once, without a session (contract, *Endpoints*)."""
        return self.perform(agent_request(message, capabilities, files, tools))

    def stream_agent(
        self,
        message: str,
        *,
        capabilities: Sequence[str] | None = None,
        files: Iterable[File] = (),
    ) -> EventStream:
        """Run the agent once and hand its events out as they come."""
        return self.stream(agent_request(message, capabilities, files))

    def create_session(self) -> Session:
        """Create a session; ``SessionLimitError`` if all of the project's are in use."""
        return self._call(post_session(), read_session)

    def send_message(
        self,
        session_id: str,
        message: str,
        *,
        capabilities: Sequence[str] | None = None,
        files: Iterable[File] = (),
        tools: Iterable[Tool] = (),
    ) -> Reply:
        """Send a message to a session; ``SessionExpiredError`` if it is not there any more."""
        request = agent_request(message, capabilities, files, tools)
        return self.perform(request, session_id=session_id)

    def stream_message(
        self,
        session_id: str,
        message: str,
        *,
        capabilities: Sequence[str] | None = None,
        files: Iterable[File] = (),
    ) -> EventStream:
        """Send a message to a session and hand the events out as they come."""
        return self.stream(agent_request(message, capabilities, files), session_id=session_id)

    def submit_tool_outputs(
        self,
        request_id: str,
        outputs: Sequence[ToolOutput],
        *,
        compute_instance: str | None = None,
    ) -> Reply:
        """Give a run the outputs it asked for (contract, *Custom tools*).

        Args:
            request_id: The ``id`` of the reply that asked.
            compute_instance: That reply's ``compute_instance``, unchanged.

        Raises:
            NotFoundError: The run is gone (``context_expired``), after five minutes.
        """
        request = post_tool_outputs(request_id, outputs, compute_instance=compute_instance)
        return self._call(request, read_reply)

    def perform(self, request: AgentRequest, *, session_id: str | None = None) -> Reply:
        """Send a request to the agent, or to a session, and wait for the whole reply."""
        return self._call(post_message(request, session_id=session_id), read_reply)

    def stream(self, request: AgentRequest, *, session_id: str | None = None) -> EventStream:
        """Send a request to the agent, or to a session, and hand out its events.

        A wrong request is refused here and now; it is sent at the first ``next()``.
        """
        return EventStream(self._events(post_message(request, session_id=session_id, stream=True)))

    def close(self) -> None:
        """Give the connections back; the client can't be used any more."""
        self._closed = True
        if self._own is None:
            shared().release(self)

    def __enter__(self) -> StewrdClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(
        self,
        request: HttpRequest,
        read: Callable[[Answer[httpx.Response]], T],
        deadline: Deadline | None = None,
    ) -> T:
        patience = self._settings.patience
        call = attempts(request, patience, deadline or patience.deadline(), read)
        outcome: Outcome[httpx.Response] = None
        while True:
            try:
                step = call.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(step, Exchange):
                outcome = self._exchange(step)
            else:
                time.sleep(step.seconds)
                outcome = None

    def _events(self, request: HttpRequest) -> Generator[Event, None, None]:
        patience = self._settings.patience
        deadline = patience.deadline()
        answer = self._call(request, lambda answer: answer, deadline)
        if answer.live is None:
            yield from whole_as_events(answer)
            return
        decoder, silence = EventDecoder(answer), patience.silence()
        failure: StewrdError | None = None
        try:
            chunks = chunks_of(answer)
            for chunk in chunks:
                yield from decoder.feed(chunk)
                failure = deadline.exceeded(request.kind, streaming=True)
                failure = failure or silence.exceeded(chunk)
                if decoder.finished or failure:
                    break
            if decoder.finished:
                read_end(answer, chunks)
        except TRANSPORT_ERRORS as error:
            failure = broken_stream(error, answer)
        finally:
            chunk = b""  # a traceback that shows locals must not show what was sent
            answer.live.close()
        yield decoder.end(failure)

    def _exchange(self, step: Exchange) -> Answer[httpx.Response] | StewrdError:
        request, connections = step.request, self._connections()
        auth = KeyAuth(self._settings.key)
        try:
            built = build(connections, self._settings, step)
            auth.sign(built)
            response = connections.send(built)
        except TRANSPORT_ERRORS as error:
            return failed_to_send(error, request, self.base_url, auth.veil)
        answer = answer_of(request.kind, response, auth.veil)
        if request.stream and answer.is_event_stream and not oddly_packed(answer):
            return answer
        try:
            return _whole(answer, step.deadline)
        except TRANSPORT_ERRORS as error:
            return failed_to_read(error, answer)
        finally:
            response.close()

    def _connections(self) -> Connections:
        if self._closed:
            raise ConfigurationError("This client is closed.", advice="Make a new one.")
        connections = self._own or shared().lease(self)
        if connections.is_closed:
            raise ConfigurationError(
                "The http_client that was passed is closed.", advice="Pass one that is open."
            )
        return connections


def _whole(
    answer: Answer[httpx.Response], deadline: Deadline
) -> Answer[httpx.Response] | StewrdError:
    if odd := oddly_packed(answer):
        return odd if answer.ok else replace(answer, live=None)
    body = bytearray()
    for chunk in chunks_of(answer):
        body += chunk
        late = deadline.exceeded(answer.kind) or too_long(answer, len(body))
        if late is not None:
            return late
    return replace(answer, body=bytes(body), live=None)
