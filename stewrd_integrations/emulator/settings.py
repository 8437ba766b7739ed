"""Every knob of the emulator, in one frozen record.

Each field carries a tag: `[documented]` by the vendor, `[observed]` in what the
official SDK accepts, or `[assumed]`. What is assumed can be set to each possible
behaviour; its default is the one that is hardest on a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CAPABILITIES = ("chat", "research", "documents", "code", "data", "files")


@dataclass(frozen=True)
class Settings:
    """How the emulated project and its server behave."""

    # [documented] keys are per project and begin with sk-stw_; None makes a fresh one
    api_key: str | None = None
    # [documented] a session dies after 30 idle minutes (seconds)
    idle_timeout: float = 1800.0
    # [documented] a project has at most 10 active sessions
    max_sessions: int = 10
    # [documented] a session holds at most 50 messages
    history_limit: int = 50
    # [documented] 60 requests a minute; None switches the limit off
    rate_limit: int | None = None
    # [documented] runs in a period before 429 quota_exceeded; None is no quota
    quota: int | None = None
    # [assumed] whether a 429 by rate carries Retry-After, and in which of its two forms
    retry_after: Literal["seconds", "date"] | None = None
    # [documented] "free" has no sessions and only chat and data; any other name has all
    plan: str = "scale"
    # [documented] the balance at the start
    credits: int = 1000
    # [documented] what the project has enabled
    capabilities: tuple[str, ...] = CAPABILITIES
    # [assumed] the id that `meta` shows
    project_id: str = "emulator"
    # [assumed] characters that one message may have; None is no limit
    max_message: int | None = None

    # [assumed] seconds before the head of every answer
    latency: float = 0.0
    # [assumed] seconds between two events of a stream
    chunk_delay: float = 0.0

    # [observed] the SDK accepts the error's fields without the wrapper
    error_shape: Literal["wrapped", "flat"] = "wrapped"
    # [assumed] the code in a 410; None is a body without one, "html" an HTML body
    expired_code: str | None = "not_found"
    # [assumed] the code in the 429 of a create at the session limit; None and "html" as above
    limit_code: str | None = "rate_limited"
    # [assumed] what becomes of the message that would pass `history_limit`
    over_limit: Literal["drop_oldest", "error"] = "drop_oldest"
    # [assumed] the status of that error
    over_limit_status: int = 400
    # [assumed] the code of that error; None and "html" as above
    over_limit_code: str | None = "invalid_body"
    # [assumed] a message refused with 402, 403 or for quota stays in the session's log
    refused_appended: bool = True
    # [assumed] what was said in a request that failed on the server stays in the log
    failed_appended: bool = True
    # [assumed] when a message resets the idle timer
    idle_reset: Literal["arrival", "answer"] = "arrival"

    # [documented] custom functions in one request
    max_tools: int = 20
    # [documented] times that one run may be given outputs
    max_rounds: int = 10
    # [documented] 100 KB for one output; [assumed] that is 1,000 bytes of UTF-8 each
    max_output: int = 100_000
    # [documented] seconds between requires_tool_outputs and its outputs
    tool_timeout: float = 300.0
    # [assumed] what a session's message with tools gets when the agent calls one: "accepted" is
    # the answer that a stateless run gets, "refused" 400 invalid_tools, "ignored" an answer
    # without calls, "empty" 200 with neither message nor calls. The default follows both
    # documents to the letter, the request that has tools and the answer that has no calls.
    session_tools: Literal["accepted", "refused", "ignored", "empty"] = "empty"
    # [assumed] what a complete run with tools leaves in its session: "all" of it, the user's
    # message and the "answer", or the "message" alone. More fills the session sooner, and less
    # than the answer would deny that the agent sees the whole history.
    session_rounds: Literal["all", "answer", "message"] = "all"
    # [assumed] whether the calls and outputs in a session's log count towards `history_limit`
    count_rounds: bool = True
    # [assumed] what a run leaves in its session while it waits for outputs, and for ever if none
    # come: the user's "message", "calls" too (if session_rounds is "all"), or "nothing"
    waiting_run: Literal["message", "calls", "nothing"] = "message"
    # [assumed] whether tool outputs reset the session's idle timer, as messages do
    outputs_reset_idle: bool = False
    # [assumed] what outputs for a run of an expired session get: 410 as a message does, 404
    # context_expired, or their answer
    expired_session_run: Literal["expired", "context_expired", "answered"] = "expired"
    # [assumed] what becomes of round `max_rounds` + 1: its outputs are refused with one of two
    # codes, or the answer that would ask for it is 502 compute_error, or one without calls
    over_rounds: Literal[
        "invalid_tool_outputs", "context_expired", "compute_error", "completed"
    ] = "invalid_tool_outputs"
    # [documented] with tools, only chat is used; [assumed] what it means for other capabilities:
    # they are "charged" all the same, "ignored", or "refused" with 400
    tools_capabilities: Literal["charged", "ignored", "refused"] = "charged"
    # [documented] no stream with tools; [assumed] 400, or "whole": the stream is not streamed
    tools_stream: Literal["refused", "whole"] = "refused"
    # [documented] the answer names its compute instance; [assumed] a new one in each answer
    compute_instance: Literal["fresh", "same", "none"] = "fresh"
    # [assumed] outputs that name another instance, or none, are 404 context_expired
    wrong_instance: Literal["context_expired", "accepted"] = "context_expired"
    # [assumed] the `message` of an answer that asks for outputs; "text" is what the agent said
    calls_message: Literal["absent", "null", "empty", "text"] = "absent"

    # [observed] "current", the "legacy" one with requests_used, or no usage at all
    usage: Literal["current", "legacy", "none"] = "current"
    # [observed] older answers leave `status` out
    omit_status: bool = False
    # [assumed] unknown fields and an unknown stream event, which clients must ignore
    extra_fields: bool = True

    # [observed] tokens come as {"text"}; [documented] as {"content"}
    token_key: Literal["text", "content"] = "text"
    # [observed] "live" and "nested"; [documented] flat with a `usage` object
    done: Literal["live", "documented", "nested"] = "live"
    # [assumed] any line ending that the standard for event streams allows
    newline: Literal["\n", "\r\n", "\r"] = "\n"
    # [assumed] comment lines between events
    keep_alive: bool = False
    # [assumed] how an answer is cut into tokens
    token_split: Literal["words", "characters", "whole"] = "words"
    # [assumed] False: the last event ends without its blank line
    final_blank_line: bool = True
    # [assumed] cut the stream's bytes anew into pieces of this size, across characters
    chunk_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        unknown = sorted(set(self.capabilities) - set(CAPABILITIES))
        if unknown:
            raise ValueError(f"capabilities that Stewrd does not have: {', '.join(unknown)}")
        if self.plan != "free" and self.plan.strip().lower() == "free":
            raise ValueError(f'plan must be "free", or another name; not {self.plan!r}')
        for name in _AMOUNTS:
            amount = getattr(self, name)
            if amount is None and name in _MAY_BE_NONE:
                continue
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
                raise ValueError(f"{name} must be a number of 0 or more, not {amount!r}")
        if self.api_key is not None and not self.api_key.startswith("sk-stw_"):
            raise ValueError("api_key must begin with sk-stw_")


_AMOUNTS = (
    *("idle_timeout", "max_sessions", "history_limit", "rate_limit", "quota", "credits"),
    *("max_message", "latency", "chunk_delay", "max_tools", "max_rounds", "max_output"),
    *("tool_timeout", "chunk_bytes"),
)
_MAY_BE_NONE = frozenset({"rate_limit", "quota", "max_message", "chunk_bytes"})

_CHOICES: dict[str, tuple[str | None, ...]] = {
    "retry_after": (None, "seconds", "date"),
    "error_shape": ("wrapped", "flat"),
    "over_limit": ("drop_oldest", "error"),
    "idle_reset": ("arrival", "answer"),
    "session_tools": ("accepted", "refused", "ignored", "empty"),
    "session_rounds": ("all", "answer", "message"),
    "waiting_run": ("message", "calls", "nothing"),
    "expired_session_run": ("expired", "context_expired", "answered"),
    "over_rounds": ("invalid_tool_outputs", "context_expired", "compute_error", "completed"),
    "tools_capabilities": ("charged", "ignored", "refused"),
    "tools_stream": ("refused", "whole"),
    "compute_instance": ("fresh", "same", "none"),
    "wrong_instance": ("context_expired", "accepted"),
    "calls_message": ("absent", "null", "empty", "text"),
    "usage": ("current", "legacy", "none"),
    "token_key": ("text", "content"),
    "done": ("live", "documented", "nested"),
    "newline": ("\n", "\r\n", "\r"),
    "token_split": ("words", "characters", "whole"),
}
