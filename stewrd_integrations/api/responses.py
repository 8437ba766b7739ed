"""What comes back: an HTTP answer becomes a ``Reply``, a ``Session`` or an error.

Pure. Errors are told apart by status and endpoint first, and by the API's code only where it is
documented: proxies answer HTML, and some codes are not known.
"""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Mapping
from dataclasses import field
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

from ..errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ComputeError,
    EmptyAnswerError,
    InsufficientCreditsError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    PlanRestrictedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    SessionExpiredError,
    SessionLimitError,
    StewrdError,
)
from ..types import File, Reply, Session, ToolCall, Usage
from ..values import dataclass
from .requests import Kind, is_safe_id
from .veils import Veil

MAX_RETRY_AFTER = 60.0
MAX_MESSAGE = 500
LONGEST_TOLD = 2**16
"""Characters of a server's text that are looked at for an error."""

MOST = 2**53
"""No count is greater: beyond it JSON's numbers are not exact."""

LONGEST_CUT = 4096
"""Characters, more than any key has in any of its forms."""

_SURROGATE = re.compile("[\ud800-\udfff]")
LONGEST_BODY = 64 * 2**20
"""Bytes, unpacked: a small body can be packed so that it fills the memory."""

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

BARE = Veil()
"""For what was answered to nobody's key."""

Live = TypeVar("Live")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Live]):
    """An HTTP answer; ``headers`` are in lower case.

    ``live`` is the driver's open response where an event stream is still to be read; ``body``
    is then empty. ``veil`` hides the key that the request had.
    """

    kind: Kind
    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    live: Live | None = None
    veil: Veil = field(default=BARE, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the server did what it was asked to."""
        return 200 <= self.status < 300

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        media_type = self.headers.get("content-type", "").partition(";")[0]
        return self.ok and media_type.strip().lower() == "text/event-stream"


@dataclass(frozen=True, slots=True)
class Details:
    """What an error's body tells, whatever its shape."""

    code: str | None = None
    message: str | None = None
    request_id: str | None = None


# Errors


def error_for(
    kind: Kind,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float | None = None,
    veil: Veil = BARE,
) -> StewrdError:
    """The error that an HTTP status means on this endpoint (contract, *Errors*).

    Args:
        now: Seconds since the epoch, to reckon a ``Retry-After`` date from.
        veil: Hides the key that the request had.
    """
    details = error_details(parse_json(body), veil)
    wait = retry_after(headers.get("retry-after"), time.time() if now is None else now)
    error = _class_for(kind, status, details.code)(
        _sentence(kind, status, details),
        status=status,
        code=details.code,
        request_id=details.request_id or clean(headers.get("x-request-id"), veil),
        retry_after=wait,
    )
    if 300 <= status < 400:
        error.advice = (
            "Redirects are never followed, as they could carry the key off: check base_url."
        )
    if kind is Kind.OUTPUTS and isinstance(error, NotFoundError):
        error.code = "context_expired"
        error.advice = "The run is gone: start a new one that holds the calls and their results."
    if status == 503 and details.code is not None and wait is not None:
        error.retryable = True
    return settled(kind, error)


def settled(kind: Kind, error: StewrdError) -> StewrdError:
    """The error with ``charged`` put right: creating is free, tool outputs are paid for."""
    if kind is Kind.CREATE:
        error.charged = "no"
    elif kind is Kind.OUTPUTS and (error.charged != "no" or error.code == "context_expired"):
        error.charged = "yes"
    return error


# The outputs of tools may belong to a run on a session, too.
_OF_SESSIONS = (Kind.MESSAGE, Kind.OUTPUTS)


def _class_for(kind: Kind, status: int, code: str | None) -> type[StewrdError]:
    if (kind is Kind.MESSAGE and status == 404) or (kind in _OF_SESSIONS and status == 410):
        return SessionExpiredError
    if status == 403:
        return PlanRestrictedError if code == "plan_restricted" else PermissionDeniedError
    if status == 429:
        return _class_for_429(kind, code)
    if status == 502 and code in ("compute_error", "compute_unavailable"):
        return ComputeError
    if status in (408, 409) or status >= 500:
        return ServerError
    return _BY_STATUS.get(status, APIStatusError)


def _class_for_429(kind: Kind, code: str | None) -> type[StewrdError]:
    if code == "quota_exceeded":
        return QuotaExceededError
    return SessionLimitError if kind is Kind.CREATE else RateLimitError


_BY_STATUS: Mapping[int, type[StewrdError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    404: NotFoundError,
}


def _sentence(kind: Kind, status: int, details: Details) -> str:
    code = f" ({details.code})" if details.code else ""
    said = f": {details.message}" if details.message else ""
    sentence = f"{kind.value} was answered with HTTP {status}{code}{said}"
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def error_details(data: object, veil: Veil = BARE) -> Details:
    """Code, message and request id of an error's JSON, wrapped in ``error`` or flat."""
    if not isinstance(data, dict):
        return Details()
    inner = data.get("error")
    source = inner if isinstance(inner, dict) else data
    message = source.get("message", inner if isinstance(inner, str) else None)
    ids = (place.get(name) for place in (data, source) for name in ("request_id", "id"))
    return Details(
        code=clean(source.get("code"), veil),
        message=clean(message, veil),
        request_id=next((told for told in (clean(each, veil) for each in ids) if told), None),
    )


def clean(value: object, veil: Veil = BARE) -> str | None:
    """Text of the server's that is fit for an error: one line, short, without the key.

    What is not to be seen goes too: it could rule a terminal, or turn a line of a log around.
    """
    if not isinstance(value, str):
        return None
    text = " ".join(value[:LONGEST_TOLD].split())
    if len(value) > LONGEST_TOLD:
        text = text[:-LONGEST_CUT]  # its end may be the first half of the key, which no veil knows
    line = "".join(each if each.isprintable() else "\ufffd" for each in text)
    return veil(line)[:MAX_MESSAGE] or None


def retry_after(value: str | None, now: float) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, at most 60."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(max(moment - now, 0.0), MAX_RETRY_AFTER)


# Answers


def read_session(answer: Answer[Live]) -> Session:
    """The session that was created.

    Raises:
        MalformedResponseError: The answer holds no id that fits into a path.
    """
    data = _object(answer)
    session_id = _text(data.get("id")) or ""
    if not is_safe_id(session_id) or answer.veil.covers(session_id):
        raise _malformed(answer, "has no valid session id")
    return Session(id=session_id, status=_text(data.get("status")) or "active")


def without_surrogates(text: str) -> str:
    """A text that UTF-8 can carry: pairs of surrogates are joined, single ones replaced."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def too_long(answer: Answer[Live], size: int) -> MalformedResponseError | None:
    """The error for a body of more bytes than any answer has."""
    if size <= LONGEST_BODY:
        return None
    return _malformed(answer, f"is longer than {LONGEST_BODY // 2**20} MiB")


PACKINGS = ("gzip", "deflate")
"""Both unpack to a thousand times their size at most; others, or several at once, to any."""


def oddly_packed(answer: Answer[Live]) -> MalformedResponseError | None:
    """The error for a body that is packed in a way that was not asked for."""
    packing = answer.headers.get("content-encoding", "").strip().lower()
    if packing in ("", "identity", *PACKINGS):
        return None
    return _malformed(answer, "is packed in a way that was not asked for")


NOTHING = "has neither a message nor tool calls"


def read_reply(answer: Answer[Live]) -> Reply:
    """The complete answer of the agent (contract, *AgentResponse*).

    Raises:
        MalformedResponseError: It is not a JSON object of the documented shape.
        EmptyAnswerError: It has neither a message nor tool calls.
    """
    reply, problem = reply_of(_object(answer), answer.veil)
    if reply is None:
        error = _malformed(answer, problem)
        if problem != NOTHING:
            raise error
        raise EmptyAnswerError(error.message, status=error.status, request_id=error.request_id)
    return reply


def reply_of(data: Mapping[str, Any], veil: Veil = BARE) -> tuple[Reply | None, str]:
    """A ``Reply`` of the API's JSON, or None and what is wrong with it.

    What the agent wrote is handed on as it is; what tells of the answer is not told if it holds
    the key, since that goes into metadata and stores.
    """
    calls = _tool_calls(data.get("tool_calls"))
    if calls is None:
        return None, "has a tool call without id, name or arguments"
    message = data.get("message")
    needs_outputs = _needs_outputs(data.get("status"), message, calls)
    if needs_outputs and not calls:
        return None, "requires tool outputs and names no tool call"
    files = _files(data.get("files"))
    if not needs_outputs and is_blank(message) and not files:
        return None, NOTHING
    meta = _mapping(data.get("meta"))
    request_id = _told(data.get("id"), veil) or _told(data.get("request_id"), veil)
    reply = Reply(
        # No outputs can be given to a run whose id its path can't carry.
        id=request_id if not needs_outputs or is_safe_id(request_id) else None,
        status="requires_tool_outputs" if needs_outputs else "completed",
        message=without_surrogates(_text(message) or ""),
        tool_calls=calls if needs_outputs else (),
        capabilities_used=_names(data.get("capabilities_used"), veil),
        files=files,
        usage=_usage(data),
        duration_ms=whole(meta.get("duration_ms", data.get("duration_ms"))),
        session_id=_told(data.get("session_id"), veil),
        project_id=_told(meta.get("project_id"), veil),
        plan=_told(meta.get("plan"), veil),
        compute_instance=_told(data.get("_compute_instance"), veil),
    )
    return reply, ""


def _needs_outputs(status: object, message: object, calls: tuple[ToolCall, ...]) -> bool:
    if status == "completed":
        return bool(calls) and is_blank(message)  # its calls are all that there is to it
    return status == "requires_tool_outputs" or bool(calls)


def is_blank(message: object) -> bool:
    """Whether a message says nothing."""
    return not isinstance(message, str) or not message.strip()


def _tool_calls(value: object) -> tuple[ToolCall, ...] | None:
    """None if any of them is broken: a call can't be left out, its output is waited for."""
    calls = [_tool_call(_mapping(item)) for item in value] if isinstance(value, list) else []
    return None if None in calls else tuple(call for call in calls if call)


def _tool_call(item: Mapping[str, Any]) -> ToolCall | None:
    call_id, name, arguments = item.get("id"), item.get("name"), item.get("arguments")
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    elif isinstance(arguments, str):
        arguments = parse_json(arguments)
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, dict)):
        return None
    return ToolCall(call_id, name, arguments)


def _usage(data: Mapping[str, Any]) -> Usage:
    usage = _mapping(data.get("usage"))
    return Usage(
        credits=whole(usage.get("credits_this_request")),
        credits_remaining=whole(usage.get("credits_remaining")),
        tokens=whole(usage.get("tokens_used", data.get("tokens_used"))),
    )


def _files(value: object) -> tuple[File, ...]:
    items = value if isinstance(value, list) else []
    return tuple(
        File(
            name=_text(item.get("name")) or "file",
            content=_text(item.get("content")),
            url=_text(item.get("url")),
        )
        for item in items
        if isinstance(item, dict)
    )


def parse_json(text: bytes | str) -> object:
    """The value of a JSON text, or None if it is not one.

    A value and no exception, as the exception would hold the whole body.
    """
    try:
        return json.loads(_decoded(text) if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        return None


def _decoded(body: bytes) -> str:
    # What "utf-8-sig" does, which is written in Python and takes three times as long.
    return body.removeprefix(codecs.BOM_UTF8).decode()


def _object(answer: Answer[Live]) -> dict[str, Any]:
    data = parse_json(answer.body)
    if isinstance(data, dict):
        return data
    del data  # a traceback that shows locals must not show it
    raise _malformed(answer, "is not a JSON object")


def _malformed(answer: Answer[Live], problem: str) -> MalformedResponseError:
    details = error_details(parse_json(answer.body), answer.veil)
    return MalformedResponseError(
        f"{answer.kind.value} was answered with HTTP {answer.status}, but the answer {problem}.",
        status=answer.status,
        request_id=details.request_id or clean(answer.headers.get("x-request-id"), answer.veil),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _told(value: object, veil: Veil) -> str | None:
    return value if isinstance(value, str) and not veil.covers(value) else None


def _names(value: object, veil: Veil) -> tuple[str, ...]:
    names = value if isinstance(value, list) else []
    return tuple(name for name in names if isinstance(name, str) and not veil.covers(name))


def whole(value: object) -> int | None:
    """A count as JSON may hold it; what none can be is as good as not told."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= MOST or value != int(value):  # NaN is not within any bounds
        return None
    return int(value)
