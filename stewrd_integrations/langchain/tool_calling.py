"""Binding custom tools: LangChain's forms of a tool in the form that is offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from ..errors import InvalidInputError
from ..offers import ToolChoice, offer_of
from ..runtime import check_offered

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    Bindable: TypeAlias = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
else:
    # Annotations are evaluated, also by core, and tools are runnables. A chat model that binds
    # none needs no class of them: theirs take as long to import as a tenth of the model.
    Bindable = Mapping[str, Any] | type | Callable[..., Any] | Runnable


def bound(
    tools: Sequence[Bindable],
    *,
    tool_choice: ToolChoice,
    strict: bool | None,
    parallel_tool_calls: bool | None = None,
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
    check_offered(offer_of(given).tools)
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
