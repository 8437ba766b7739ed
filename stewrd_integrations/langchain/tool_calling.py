"""Binding custom tools: LangChain's forms of a tool, and what the API has no field for.

The API has no tool choice. What is asked of an answer is said in words beside the message, and
the answer is looked at: metadata and log tell where it was not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from ..api.requests import check_tools
from ..errors import InvalidInputError
from ..sessions.call import Outcome
from ..sessions.tools import legal_name, legal_tools
from ..types import Message, Tool

logger = logging.getLogger("stewrd_integrations")

Bindable: TypeAlias = "Mapping[str, Any] | type | Callable[..., Any] | BaseTool"
ToolChoice: TypeAlias = "str | bool | Mapping[str, Any] | None"
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
        if not self.demand or not messages or messages[-1].role != "tool":
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


def bound(
    tools: Sequence[Bindable],
    *,
    tool_choice: ToolChoice,
    strict: bool | None,
    parallel_tool_calls: bool | None,
) -> dict[str, Any]:
    """The keyword arguments that bind tools to a model, checked.

    Raises:
        InvalidInputError: A tool has no form that the API takes, or the choice names none.
    """
    given: dict[str, Any] = {"tools": _distinct([_formatted(tool, strict) for tool in tools])}
    if tool_choice is not None:
        given["tool_choice"] = tool_choice
    if parallel_tool_calls is not None:
        given["parallel_tool_calls"] = parallel_tool_calls
    check_tools(legal_tools(offer_of(given).tools))
    return given


def _formatted(tool: Bindable, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping) and not {"function", "name", "title"} & set(tool):
        raise _foreign(tool)
    try:
        formatted: dict[str, Any] = convert_to_openai_tool(tool, strict=strict)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            f"{tool!r} can't be made a tool: {error}",
            advice="Bind functions with a docstring, pydantic classes, tools or their schemas.",
        ) from error
    if not isinstance(formatted.get("function"), Mapping):
        raise _foreign(formatted)
    return formatted


def _foreign(tool: Mapping[str, Any]) -> InvalidInputError:
    return InvalidInputError(
        f"The tool {dict(tool)!r} is no function of yours: it is one that another provider runs.",
        advice="Stewrd's own abilities are capabilities: see StewrdToolkit.",
    )


def _distinct(formatted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools, each once: who binds the same one twice means one."""
    distinct: dict[Any, dict[str, Any]] = {}
    for tool in formatted:
        name = tool["function"].get("name")
        if _untitled(distinct.setdefault(name, tool)) != _untitled(tool):
            raise InvalidInputError(
                f"Two different tools have the name {name!r}.", advice="Rename one of them."
            )
    return list(distinct.values())


def _untitled(schema: Any) -> Any:
    """A schema without its titles, which say nothing; a property may have that name."""
    if isinstance(schema, Mapping):
        return {
            key: _untitled(value)
            for key, value in schema.items()
            if key != "title" or not isinstance(value, str)
        }
    return [_untitled(each) for each in schema] if isinstance(schema, list) else schema


def offer_of(given: Mapping[str, Any]) -> Offer:
    """The tools and the choice among the keyword arguments of a call.

    Raises:
        InvalidInputError: A tool is malformed, or the choice names none of them.
    """
    formatted, choice = given.get("tools"), _named(given.get("tool_choice"))
    if choice == "none" or not formatted:
        if formatted or choice in (None, "auto", "none", False):
            return Offer()
        raise InvalidInputError(f"tool_choice={choice!r} without tools.", advice="Bind tools too.")
    if isinstance(formatted, (str, Mapping)) or not isinstance(formatted, Sequence):
        raise InvalidInputError(
            f"tools={formatted!r} is not a list of tools.", advice="Bind tools with bind_tools()."
        )
    tools = tuple(_tool(one) for one in formatted)
    parallel = given.get("parallel_tool_calls")
    return Offer(tools, _choice(choice, tools), parallel is None or bool(parallel))


def _tool(formatted: object) -> Tool:
    function = formatted.get("function") if isinstance(formatted, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidInputError(
            f"The tool {formatted!r} has no function with a name.",
            advice="Bind tools with bind_tools(), which brings them into the right form.",
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
