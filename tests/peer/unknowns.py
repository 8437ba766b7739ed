"""What the contract leaves open, each as a named choice with every value it may have.

Two kinds stand here: what the vendor's sources do not say at all, and where they disagree. The
first value of each choice is the default. `every_other_value` and `combinations` make the rest,
so that a conversation can be held under all of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

Body = Literal[
    "a code of its own",
    "another documented code",
    "no code",
    "no error object",
    "unwrapped",
    "a bare text",
    "html",
    "empty",
    "broken json",
]
"""What the body of a refusal may be whose code is not documented."""


@dataclass(frozen=True)
class Unknowns:
    """One way in which the real service may behave, out of all that the contract allows."""

    # -- sessions --------------------------------------------------------------------------
    expired_body: Body = "a code of its own"
    expired_status: Literal["410", "404", "410 once, then 404"] = "410"
    idle_from: Literal["the answer", "the message"] = "the answer"
    limit_body: Body | Literal["rate_limited"] = "a code of its own"
    overflow: Literal["drop the oldest", "400", "409", "410", "413", "422", "429", "500"] = "400"
    refused_message: Literal["appended", "not appended"] = "appended"
    failed_message: Literal["appended", "not appended"] = "appended"
    cut_exchange: Literal["kept", "message kept", "not kept"] = "kept"
    cut_charge: Literal["charged", "refunded"] = "charged"
    idempotency: Literal["ignored", "honoured"] = "ignored"

    # -- custom tools ----------------------------------------------------------------------
    session_tools: Literal[
        "accepted",
        "accepted, without status",
        "accepted, outputs not found",
        "accepted, outputs fail",
        "invalid_tools",
        "invalid_body",
        "403",
        "404",
        "405",
        "409",
        "413",
        "422",
        "500",
        "501",
        "502",
        "503",
        "ignored",
        "neither message nor calls",
        "calls left out",
        "calls left out, null message",
        "empty message",
        "null message",
    ] = "accepted"
    outputs_enter: Literal["outputs and answer", "answer only", "outputs only", "neither"] = (
        "outputs and answer"
    )
    outputs_count: Literal["counted", "not counted"] = "counted"
    outputs_object: Literal["session.message", "agent.response"] = "session.message"
    run_id: Literal["kept", "new each round"] = "kept"
    call_ids: Literal["unique", "numbered in each answer", "numbered in each run"] = "unique"
    calling_message: Literal["absent", "null", "empty", "a text"] = "absent"
    compute_instance: Literal["given", "new each round", "absent", "null", "long"] = "given"
    after_ten_rounds: Literal[
        "calls, outputs refused", "calls, outputs not found", "compute_error", "no calls"
    ] = "calls, outputs refused"
    waiting_run: Literal["message and calls", "message", "nothing"] = "message and calls"
    outputs_keep_alive: Literal["no", "yes"] = "no"
    expired_session_run: Literal["answered", "410", "not found"] = "answered"
    tools_capabilities: Literal["chat charged", "all charged", "refused"] = "chat charged"
    kilobyte: Literal["1000", "1024"] = "1000"
    tools_with_stream: Literal["invalid_tools", "answered plainly"] = "invalid_tools"
    message_while_waiting: Literal["accepted", "409"] = "accepted"

    # -- charges and limits ----------------------------------------------------------------
    capabilities_left_out: Literal["used", "all charged"] = "used"
    short_balance: Literal["refused", "runs to zero"] = "refused"
    retry_after: Literal["none", "seconds", "date", "zero", "not a number"] = "none"
    rate_window: Literal["sliding", "fixed"] = "sliding"
    too_long: Literal["no limit", "400", "413"] = "no limit"
    binary_files: Literal["accepted", "refused"] = "accepted"

    # -- forms of answers ------------------------------------------------------------------
    status_field: Literal["given", "left out", "null"] = "given"
    usage_form: Literal["credits", "requests", "both", "left out", "null"] = "credits"
    meta_form: Literal["given", "left out", "null"] = "given"
    empties: Literal["lists", "left out", "null"] = "lists"
    unknown_fields: Literal["none", "everywhere"] = "none"
    json_style: Literal["utf-8", "escaped", "indented"] = "utf-8"
    content_type: Literal["plain", "with charset", "capitals"] = "plain"
    compression: Literal["none", "gzip"] = "none"
    framing: Literal["length", "chunked", "until closed"] = "length"
    keep_alive: Literal["kept", "closed each time"] = "kept"

    # -- forms of refusals -----------------------------------------------------------------
    error_form: Literal["wrapped", "wrapped with docs", "unwrapped"] = "wrapped"
    failure_form: Literal["json", "html", "empty", "text"] = "json"

    # -- streams ---------------------------------------------------------------------------
    token_field: Literal["text", "content", "both"] = "text"
    token_pieces: Literal["words", "characters", "one", "empty ones between", "none"] = "words"
    done_form: Literal["flat", "flat with usage", "nested", "nested, usage inside"] = "flat"
    done_message: Literal["the same", "trimmed", "shortened", "left out", "null"] = "the same"
    progress: Literal["with message", "without message", "null message", "none"] = "with message"
    stream_answer: Literal["events", "json"] = "events"
    newline: Literal["\n", "\r\n", "\r"] = "\n"
    sse_extras: Literal[
        "none",
        "comments",
        "ids",
        "retry",
        "byte order mark",
        "no space",
        "several data lines",
        "data first",
        "empty data",
        "unknown events",
        "unnamed events",
    ] = "none"
    sse_borders: Literal["events", "bytes", "one piece", "within characters"] = "events"
    sse_end: Literal["blank line", "line end", "nothing", "comments after", "[DONE] after"] = (
        "blank line"
    )


HINTS = get_type_hints(Unknowns)
DEFAULTS = Unknowns()


def _literals(hint: Any) -> tuple[str, ...]:
    found: list[str] = []
    for value in get_args(hint):
        found += [value] if isinstance(value, str) else _literals(value)
    return tuple(found)


def possible(name: str) -> tuple[str, ...]:
    """Every value that this choice may have."""
    return _literals(HINTS[name])


def every_other_value() -> Iterator[tuple[str, str]]:
    """Each choice with each of its values but the default."""
    for field in fields(Unknowns):
        for value in possible(field.name):
            if value != field.default:
                yield field.name, value


def one(name: str, value: str) -> Unknowns:
    """The default, but for one choice."""
    if value not in possible(name):
        raise ValueError(f"{name} can't be {value!r}")
    return replace(DEFAULTS, **{name: value})  # type: ignore[arg-type]  # a checked literal


def combination(seed: int) -> Unknowns:
    """A choice of everything by chance, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311  # variety, not secrecy
    chosen: dict[str, Any] = {
        field.name: chance.choice(possible(field.name)) for field in fields(Unknowns)
    }
    return Unknowns(**chosen)
