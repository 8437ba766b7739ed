"""What a call asks for beside its messages: tools, and which of them are to be called.

The API has no tool choice. What is asked of an answer is said in words beside the message, and
the answer is looked at: metadata and log tell where it was not followed. Frameworks write tools
and choices in OpenAI's form, which is the one read here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from .errors import InvalidInputError
from .sessions.call import Outcome
from .sessions.tools import legal_name
from .types import Message, Tool
from .values import dataclass

logger = logging.getLogger("stewrd_integrations")

ToolChoice: TypeAlias = str | bool | Mapping[str, Any] | None
CHOICES = ("tools", "tool_choice", "parallel_tool_calls")
"""Keyword arguments of a call that `offer_of` reads."""

AFTER_OUTPUTS = "Of the answer to this the application demands the following."
NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a call, and what is asked of its answer.

    Attributes:
        tools: What the agent may call.
        choice: The tool that it must call, True for any, None if it is free.
        parallel: Whether it may call several at once.
    """

    tools: tuple[Tool, ...] = ()
    choice: str | Literal[True] | None = None
    parallel: bool = True

    @property
    def demand(self) -> str:
        """The words for what the API has no field for."""
        words = []
        if self.choice is True:
            words.append("You must call at least one of the tools.")
        elif self.choice is not None:
            words.append(f'You must call the tool "{legal_name(self.choice)}".')
        if self.tools and not self.parallel:
            words.append("Call at most one tool at a time.")
        return " ".join(words)

    def insist(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages; where they end in an output, with the words in it.

        Outputs go to the run that waits for them, and nothing can be said beside them. What
        the framework shows later on is the output alone, so that is what is remembered.
        """
        if not messages or messages[-1].role != "tool" or not self.demand:
            return messages
        last = messages[-1]
        text = f"{last.text}\n\n{AFTER_OUTPUTS} {self.demand}"
        return (*messages[:-1], replace(last, text=text, remembered=last.text))

    def honoured(self, outcome: Outcome) -> bool:
        """Whether the answer did what was asked of it."""
        called = [call.name for call in outcome.reply.tool_calls]
        if not self.parallel and len(called) > 1:
            return False
        if self.choice is True:
            return bool(called)
        return self.choice is None or self.choice in called

    def look_at(self, outcome: Outcome) -> dict[str, bool]:
        """What the metadata say of it, and a warning if it was not followed."""
        if not self.demand:
            return {}
        followed = self.honoured(outcome)
        if not followed:
            logger.warning(
                "Stewrd: the agent did not follow tool_choice or parallel_tool_calls, which the "
                "API can't enforce."
            )
        return {"tool_choice_honoured": followed}


_NOTHING = Offer()


def offer_of(given: Mapping[str, Any]) -> Offer:
    """The tools and the choice among the keyword arguments of a call.

    Raises:
        InvalidInputError: A tool is malformed, or the choice names none of them.
    """
    formatted, choice = given.get("tools"), _named(given.get("tool_choice"))
    if choice == "none" or not formatted:
        if formatted or choice in (None, "auto", "none", False):
            return _NOTHING
        raise InvalidInputError(f"tool_choice={choice!r} without tools.", advice="Give tools too.")
    if isinstance(formatted, (str, Mapping)) or not isinstance(formatted, Sequence):
        raise InvalidInputError(
            f"tools={formatted!r} is not a list of tools.",
            advice="Give tools by bind_tools() or chat_with_tools().",
        )
    tools = tuple(_tool(one) for one in formatted)
    parallel = given.get("parallel_tool_calls")
    return Offer(tools, _choice(choice, tools), parallel is None or bool(parallel))


def _tool(formatted: object) -> Tool:
    function = formatted.get("function") if isinstance(formatted, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidInputError(
            f"The tool {formatted!r} has no function with a name.",
            advice="Give tools by bind_tools() or chat_with_tools(), which bring them into the "
            "right form.",
        )
    return Tool(
        function["name"],
        function.get("description") or "",
        function.get("parameters") or NO_ARGUMENTS,
    )


def _named(choice: ToolChoice) -> Any:
    """The choice as a word, also where a provider's form of it was given."""
    if not isinstance(choice, Mapping):
        return choice
    inner = choice.get("function")
    named = inner if isinstance(inner, Mapping) else choice
    return named.get("name") or choice.get("type")


def _choice(choice: Any, tools: Sequence[Tool]) -> str | Literal[True] | None:
    if choice in (None, False, "auto"):
        return None
    names = [tool.name for tool in tools]
    if choice in names:
        return str(choice)
    if choice in ("any", "required", True):
        return names[0] if len(names) == 1 else True
    raise InvalidInputError(
        f"tool_choice names {choice!r}, which is not among the tools {', '.join(names)}.",
        advice='Use a tool\'s name, "any", "auto" or "none".',
    )
