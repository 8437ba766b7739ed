"""A stream's bytes become events; the last of them is ``Done`` with the whole reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from ..errors import (
    EmptyAnswerError,
    FailedStreamError,
    InterruptedStreamError,
    MalformedResponseError,
    StewrdError,
)
from ..types import Done, Event, Token, ToolEnd, ToolStart
from .responses import (
    NOTHING,
    Answer,
    Live,
    clean,
    error_details,
    is_blank,
    parse_json,
    read_reply,
    reply_of,
    without_surrogates,
)
from .sse import EventParser


class EventDecoder:
    """Decodes one stream (contract, *Streaming*).

    ``finished`` turns true at the ``done`` event; :meth:`end` then gives it, so that a driver
    can close the connection before it hands the end out.
    """

    def __init__(self, answer: Answer[Live]) -> None:
        self._parser = EventParser()
        self._text = StringIO()
        self._half = ""
        self._done: Done | None = None
        self._status = answer.status
        self._veil = answer.veil
        self._request_id = clean(answer.headers.get("x-request-id"), answer.veil)

    @property
    def finished(self) -> bool:
        """Whether the ``done`` event was read."""
        return self._done is not None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that this chunk completes, without the last one.

        Lazy, so that what came before an error is handed out before it is raised.

        Raises:
            FailedStreamError: The server reported an error.
            MalformedResponseError: The stream is not of the documented shape.
        """
        name = data = ""
        event: Event | None = None
        try:
            for name, data in self._parser.feed(chunk):
                event = self._decode(name, data)
                if event is not None:
                    yield event
                elif self._done is not None:
                    return
        except StewrdError as error:
            failure = error.with_traceback(None)
        else:
            return
        # Without the frames that read it: their locals, and this one's, hold what was sent.
        del chunk, name, data, event
        raise failure

    def end(self, failure: StewrdError | None = None) -> Done:
        """The last event, once the input has ended.

        Args:
            failure: What broke the stream off, if something did.

        Raises:
            InterruptedStreamError: There was no ``done`` (or ``failure``, if it is given).
        """
        if self._done is None:
            failure = self._read_rest() or failure
        if self._done is None:
            raise failure or InterruptedStreamError(
                "The stream ended without its done event.",
                status=self._status,
                request_id=self._request_id,
            )
        return self._done

    def _read_rest(self) -> StewrdError | None:
        """Read what the input ended with, and give back what is wrong with a ``done`` there."""
        # Some servers end the input right after the last event, without its blank line.
        name, data = self._parser.rest()
        if name == "done" and isinstance(parse_json(data), dict):
            try:
                self._done = self._read_done(data)
            except StewrdError as error:
                return error.with_traceback(None)
        return None

    def _decode(self, name: str, data: str) -> Event | None:
        """What is handed out of an event of the stream; nothing of ``done`` and the unknown."""
        if name == "token":
            text = self._token(self._object(name, data))
            return Token(text) if text else None
        if name == "done":
            self._done = self._read_done(data)
        elif name == "error":
            raise self._failed(data)
        elif name in ("tool_start", "tool_end"):
            return self._tool(name, self._object(name, data))
        return None

    def _token(self, data: Mapping[str, Any]) -> str:
        text = data.get("content")
        if not isinstance(text, str):
            text = data.get("text")
        if not isinstance(text, str) or not text:
            return ""
        if self._half or not text.isascii():  # quickly over where no surrogate can be
            text = self._half + text
            # A server that counts in UTF-16 may part a character in the middle.
            self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
            text = without_surrogates(text[: len(text) - len(self._half)])
        self._text.write(text)
        return text

    def _read_done(self, data: str) -> Done:
        fields = dict(self._object("done", data))
        nested = fields.get("response")
        if isinstance(nested, dict):
            fields = {**fields, **nested}
        if is_blank(fields.get("message")) and self._text.tell():
            fields["message"] = self._text.getvalue()
        reply, problem = reply_of(fields, self._veil)
        if reply is None:
            kind = EmptyAnswerError if problem == NOTHING else MalformedResponseError
            raise self._malformed(f"The stream's done event {problem}.", kind)
        return Done(reply)

    def _tool(self, name: str, data: Mapping[str, Any]) -> ToolStart | ToolEnd | None:
        tool, message = data.get("tool"), data.get("message")
        if not isinstance(tool, str) or self._veil.covers(tool):
            return None
        if name == "tool_end":
            return ToolEnd(tool)
        told = isinstance(message, str) and not self._veil.covers(message)
        return ToolStart(tool, message if told else None)

    def _object(self, name: str, data: str) -> Mapping[str, Any]:
        value = parse_json(data)
        if not isinstance(value, dict):
            raise self._malformed(f"The data of the stream's {name} event is not a JSON object.")
        return value

    def _malformed(
        self, message: str, kind: type[MalformedResponseError] = MalformedResponseError
    ) -> MalformedResponseError:
        return kind(message, status=self._status, request_id=self._request_id)

    def _failed(self, data: str) -> FailedStreamError:
        details = error_details(parse_json(data), self._veil)
        code = f" ({details.code})" if details.code else ""
        said = f": {details.message}" if details.message else "."
        return FailedStreamError(
            f"The stream reported an error{code}{said}",
            status=self._status,
            code=details.code,
            request_id=details.request_id or self._request_id,
        )


def whole_as_events(answer: Answer[Live]) -> list[Event]:
    """The events of a request to stream that was answered with one piece of JSON.

    Raises:
        MalformedResponseError: It is not a JSON object, or has neither text nor tool calls.
    """
    reply = read_reply(answer)
    tokens: list[Event] = [Token(reply.message)] if reply.message else []
    return [*tokens, Done(reply)]
