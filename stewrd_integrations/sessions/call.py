"""One call as the core sees it: who is talking, what is shown, and what the options say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from ..errors import ConfigurationError, InvalidInputError
from ..types import CREDITS, Message, Reply, Tool
from ..values import dataclass
from .digest import Digester
from .effects import Decision

SessionsPolicy: TypeAlias = Literal["auto", "always", "never"]
Recap: TypeAlias = "Literal['window'] | Callable[[Sequence[Message]], str]"

GO_ON = "Go on from here: answer the last message above, or continue the work that it began."
"""What is said where a list ends in an assistant's message, as between agents that work on one
list: the API answers user messages only. It stands in no list, so nobody is shown it again, and
nothing may be remembered of the call: the next turn would miss this message."""

WHY_ALONE = "the list ends in an assistant's message, so the call stands alone"


@dataclass(frozen=True, slots=True)
class Policy:
    """The options that decide about sessions; see `ChatStewrd` and `StewrdLLM`."""

    max_active_sessions: int = 10
    session_message_limit: int = 50
    idle_timeout: float = 1_800.0
    recap: Recap = "window"
    replay_budget: int = 100_000
    on_trim: Literal["continue", "replay"] = "continue"
    on_instructions_change: Literal["continue", "replay"] = "continue"
    on_session_limit: Literal["stateless", "error"] = "stateless"
    match_by_content: bool = True
    retry_on_compute_error: bool = False
    tool_reserve: int = 6

    def __post_init__(self) -> None:
        """Refuse values that could never work."""
        _at_least("max_active_sessions", self.max_active_sessions, 0)
        _at_least("session_message_limit", self.session_message_limit, 2)
        _at_least("idle_timeout", self.idle_timeout, 0)
        _at_least("replay_budget", self.replay_budget, 1)
        _at_least("tool_reserve", self.tool_reserve, 0)
        _one_of("on_trim", self.on_trim, ("continue", "replay"))
        _one_of("on_instructions_change", self.on_instructions_change, ("continue", "replay"))
        _one_of("on_session_limit", self.on_session_limit, ("stateless", "error"))
        if not callable(self.recap):
            _one_of("recap", self.recap, ("window",))


def _at_least(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{name} is a {type(value).__name__}, not a number.")
    if value < least:
        raise ConfigurationError(f"{name}={value!r} is too small: {least} is the least.")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        choices = " or ".join(repr(choice) for choice in known)
        raise ConfigurationError(f"{name}={value!r} is unknown: use {choices}.")


@dataclass(frozen=True, slots=True)
class Ids:
    """Fresh random tokens of a call: 32 hex digits each."""

    mark: str
    call: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model.

    Attributes:
        messages: The whole list that the framework showed, instructions included.
        ids: Fresh random tokens.
        scope: Token of the model object; content matches only within it.
        name: The conversation's name, if it has one.
        thread: LangGraph's thread, which is no key (R3).
        tenant: Whose conversation it is.
        sessions: When to open a session.
        one_shot: Known to stand alone: no slot, no binding, no name.
        alone: Why it does, where there is more to say than that.
        capabilities: Filter for this request.
        stream: Whether the answer is streamed.
        stop: Texts at which the answer ends for the caller.
        tools: Custom functions that the agent may call, by the framework's names.
        demand: What is asked of this very answer, beside the instructions.
        allowance: Seconds after which the call has ended one way or another.
    """

    messages: tuple[Message, ...]
    ids: Ids
    scope: str
    name: str | None = None
    thread: str | None = None
    tenant: str | None = None
    sessions: SessionsPolicy = "auto"
    one_shot: bool = False
    alone: str = ""
    capabilities: tuple[str, ...] | None = None
    stream: bool = False
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    demand: str = ""
    allowance: float = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A complete answer, and how it travelled.

    Attributes:
        reply: The answer; its message is the text as the caller was shown it.
        mark: The token that the answer shall carry.
        decision: The road, the kind of turn, and why.
        session_id: The session that answered, or None.
        cut: Whether the caller was not shown all of it: a stop text ended it.
    """

    reply: Reply
    mark: str
    decision: Decision
    session_id: str | None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """The conversation of a call, digested once.

    Attributes:
        messages: All but the instructions.
        digests: Their digests.
        shown: How many of them are the history up to the last assistant message.
        rolled: The rolling digest of the shown.
        instructions: The system messages' text.
        instructions_digest: Its digest, "" for none.
    """

    messages: tuple[Message, ...]
    digests: tuple[str, ...]
    shown: int
    rolled: str
    instructions: str
    instructions_digest: str

    @classmethod
    def of(cls, digester: Digester, messages: Sequence[Message]) -> History:
        """Part the instructions from the rest, check the rest, and digest it.

        Raises:
            InvalidInputError: There is nothing to answer.
        """
        spoken = tuple([message for message in messages if message.role != "system"])
        system = [message.text for message in messages if message.role == "system"]
        if not spoken and any(text.strip() for text in system):
            # A prompt of instructions alone: they are what there is to answer.
            spoken, system = (Message("user", _joined(system)),), []
        _check(spoken)
        digests = tuple(map(digester.message, spoken))
        places = range(len(spoken), 0, -1)
        shown = next((place for place in places if spoken[place - 1].role == "assistant"), 0)
        instructions = _joined(system)
        return cls(
            messages=spoken,
            digests=digests,
            shown=shown,
            rolled=digester.prefix(digests, shown),
            instructions=instructions,
            instructions_digest=digester.key("instructions", instructions) if instructions else "",
        )

    @property
    def current(self) -> Message | None:
        """The user message to answer; None where the list ends in tool outputs."""
        last = self.messages[-1]
        return last if last.role == "user" else None

    @property
    def outputs(self) -> tuple[Message, ...]:
        """The tool outputs that the list ends in, with the calls before them; else nothing."""
        return () if self.current else self.messages[max(self.shown - 1, 0) :]

    @property
    def before(self) -> tuple[Message, ...]:
        """Everything before the current message."""
        return self.messages[:-1] if self.current else self.messages


def _joined(texts: Sequence[str]) -> str:
    return "\n\n".join(text for text in texts if text.strip())


def _check(spoken: Sequence[Message]) -> None:
    if not spoken:
        raise InvalidInputError(
            "There is no message to answer.", advice="Pass at least one user message."
        )
    last = spoken[-1]
    if last.role == "assistant" and last.tool_calls:
        raise InvalidInputError(
            f"The last message (number {len(spoken)}) asks for tools, and no tool has answered, "
            "so there is nothing to answer.",
            advice="Run the tools and add what they gave back, or add a user message.",
        )
    if last.role == "assistant":
        raise InvalidInputError(
            f"The last message (number {len(spoken)}) is from the assistant, so there is "
            "nothing to answer.",
            advice="End the list with a user message.",
        )
    if last.role == "user" and not last.text.strip():
        raise InvalidInputError(
            f"The last message (number {len(spoken)}) has no text.",
            advice="The API needs some text, also beside files: say what to do with them.",
        )


def ends_in_an_answer(messages: Sequence[Message]) -> bool:
    """Whether no word of a user or a tool follows the last answer, be there instructions."""
    last = next((message for message in reversed(messages) if message.role != "system"), None)
    return last is not None and last.role == "assistant" and not last.tool_calls


def beyond_chat(capabilities: Sequence[str] | None) -> list[str]:
    """The capabilities that the API does not use beside tools (contract, *AgentRequest*)."""
    return sorted(set(capabilities or ()) - {"chat"})


def price(capabilities: Sequence[str] | None) -> int | None:
    """Credits that a request costs; None if it names no capabilities (contract, *Credits*)."""
    if not capabilities:
        return None
    return sum(CREDITS[capability] for capability in dict.fromkeys(capabilities))
