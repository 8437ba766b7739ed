"""The options that the models of both frameworks share, and what is said of wrong ones."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args

from .api.calls import STALL
from .api.credentials import KeySource
from .errors import InvalidInputError, StewrdError
from .sessions.call import Recap, SessionsPolicy
from .stores import Store
from .types import CAPABILITIES
from .values import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Every option that the models of both frameworks share; their docs say what each means."""

    api_key: KeySource = field(default=None, repr=False)
    base_url: str | None = None
    capabilities: Sequence[str] | None = None
    conversation_id: str | None = None
    tenant: str | None = None
    sessions: SessionsPolicy = "auto"
    store: Store | str | None = field(default=None, repr=False)  # a URL may hold a password
    match_by_content: bool = True
    on_trim: Literal["continue", "replay"] = "continue"
    on_instructions_change: Literal["continue", "replay"] = "continue"
    on_session_limit: Literal["stateless", "error"] = "stateless"
    on_store_error: Literal["stateless", "error"] = "stateless"
    max_active_sessions: int = 10
    session_message_limit: int = 50
    idle_timeout: float = 1_800.0
    recap: Recap = "window"
    replay_budget: int = 100_000
    max_credits: float | None = None
    retry_on_compute_error: bool = False
    tool_reserve: int = 6
    timeout: float | None = 600.0
    stall_timeout: float | None = STALL
    max_retries: int = 2
    http_client: Any = None
    http_async_client: Any = None
    default_headers: Mapping[str, str] | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time


OPTION_NAMES = tuple(one.name for one in fields(Options) if one.name != "clock")
_SESSIONS = get_args(SessionsPolicy)
PER_CALL = ("capabilities", "conversation_id", "tenant", "sessions")
"""Options that a call may set for itself."""

_OF_CALLS = (*PER_CALL, "stop", "tools", "tool_choice", "parallel_tool_calls")
_FORMS = frozenset({"response_format", "json_schema", "json_mode"})
_NO_SLIPS = ("verbosity",)  # settings of models, however like an option they look
_ALIASES = {
    **dict.fromkeys(("key", "token", "stewrd_api_key", "openai_api_key"), "api_key"),
    **dict.fromkeys(("url", "host", "endpoint", "api_base"), "base_url"),
    **dict.fromkeys(("request_timeout", "timeout_seconds"), "timeout"),
    **dict.fromkeys(("retries", "num_retries"), "max_retries"),
    **dict.fromkeys(("session_id", "thread_id", "chat_id"), "conversation_id"),
    **dict.fromkeys(("user", "user_id"), "tenant"),
    **dict.fromkeys(("headers", "extra_headers"), "default_headers"),
    **dict.fromkeys(("client", "async_client"), "http_client"),
    **dict.fromkeys(("stop_sequences", "stop_words"), "stop"),
}


def checked_who(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a call; gives them back under the names that `Call` has.

    Raises:
        InvalidInputError: One of them is wrong.
    """
    who: dict[str, Any] = {}
    for option, value in given.items():
        match option:
            case "conversation_id":
                who["name"] = _label(option, value)
            case "tenant":
                who["tenant"] = _label(option, value)
            case "capabilities":
                who["capabilities"] = _capabilities(value)
            case "sessions":
                if value not in _SESSIONS:
                    raise InvalidInputError(
                        f"sessions={value!r} is unknown.", advice='Use "auto", "always" or "never".'
                    )
                who["sessions"] = value
            case _:
                raise _unknown(option)
    return who


def refuse_unknown(given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that nothing would come of, unless they are None.

    Raises:
        InvalidInputError: Names the argument.
    """
    for option, value in given.items():
        if value is not None:
            raise _unknown(option)


def _unknown(option: str) -> StewrdError:
    advice = advice_on(option, {*OPTION_NAMES, *_OF_CALLS})
    if option in OPTION_NAMES:
        advice = "It is an option of the model: give it to the constructor."
    return InvalidInputError(f"Stewrd's API has no place for {option!r}.", advice=advice)


def advice_on(option: str, known: Collection[str]) -> str:
    """What to do about an option that is not among the known: a slip, or another provider's."""
    if option in _FORMS:
        return (
            "No form can be forced upon an answer: use with_structured_output() or "
            "structured_predict(), and response_format=ToolStrategy(...) in create_agent()."
        )
    alias = _ALIASES.get(option.lower())
    near = get_close_matches(option.lower(), sorted(known), n=1, cutoff=0.75)
    meant = alias if alias in known else next(iter(near), None)
    if meant and option not in _NO_SLIPS:
        return f"Did you mean {meant!r}?"
    return "Leave it out: the model and its parameters are set in the project's settings."


def _label(option: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, uuid.UUID)):
        raise InvalidInputError(
            f"{option} is a {type(value).__name__}.", advice="Pass a string that names it."
        )
    if not str(value).strip():
        raise InvalidInputError(
            f"{option} is empty.", advice="Pass a string that names it, or None for no name."
        )
    return str(value)


def _capabilities(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    known = ", ".join(CAPABILITIES)
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InvalidInputError(
            f"capabilities={value!r} is not a list of capabilities.",
            advice=f"Pass a list of some of {known}, or None for all that the project allows.",
        )
    wrong = [capability for capability in value if capability not in CAPABILITIES]
    if wrong:
        raise InvalidInputError(
            f"capabilities has unknown entries: {wrong!r}.", advice=f"The API knows {known}."
        )
    return tuple(value)


_WANTED = {
    "api_key": "text, a SecretStr or a callable",
    "capabilities": 'a list, as in capabilities=["chat"]',
}


def wrong_options(details: Sequence[Mapping[str, Any]]) -> str:
    """Wrong options of a model, as its user is told of them: without what was passed.

    Args:
        details: As pydantic's `ValidationError.errors` gives them.
    """
    found: dict[str, dict[str, None]] = {}
    for detail in details:
        name = str(detail["loc"][0]) if detail["loc"] else "options"
        found.setdefault(name, {})[detail["msg"]] = None
    return " ".join(
        f"{name} must be {_WANTED[name]}." if name in _WANTED else f"{name}: {' or '.join(told)}."
        for name, told in found.items()
    )
