"""The rules of custom tools, each a pure function with its source, as in `rules`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .agent import Call, Context, Tool
from .errors import refuse, refuse_oddly
from .reading import ToolCall
from .records import Ask, Session, Submission, ToolOutput
from .settings import Settings

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_LONGEST_DESCRIPTION = 1024


def parse_tools(settings: Settings, value: Any) -> tuple[Tool, ...]:
    """[documented] At most 20 tools. [assumed] No two of one name; an empty list is none."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise refuse("invalid_tools", "The field 'tools' must be a list.")
    if len(value) > settings.max_tools:
        message = f"A request takes at most {settings.max_tools} tools, not {len(value)}."
        raise refuse("invalid_tools", message)
    tools = tuple(_tool(each) for each in value)
    if len({tool.name for tool in tools}) < len(tools):
        raise refuse("invalid_tools", "Two tools have the same name.")
    return tools


def _tool(value: Any) -> Tool:
    """[documented] Name, description and JSON Schema. [assumed] None of them may be missing."""
    if not isinstance(value, dict):
        raise refuse("invalid_tools", "A tool must be an object.")
    name, description = value.get("name"), value.get("description")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        words = "letters, digits and underscores, 64 at most"
        raise refuse("invalid_tools", f"The name of a tool must be {words}, not {name!r}.")
    if not isinstance(description, str) or len(description) > _LONGEST_DESCRIPTION:
        words = f"a text of {_LONGEST_DESCRIPTION} characters at most"
        raise refuse("invalid_tools", f"The description of the tool {name!r} must be {words}.")
    parameters = value.get("parameters")
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        words = 'a JSON Schema with "type": "object"'
        raise refuse("invalid_tools", f"The parameters of the tool {name!r} must be {words}.")
    return Tool(name, description, parameters)


def streams(settings: Settings, tools: Sequence[Tool], stream: bool) -> bool:
    """[documented] Tools exclude streaming. [assumed] What becomes of a request with both."""
    if tools and stream and settings.tools_stream == "refused":
        raise refuse("invalid_tools", "Streaming is not supported together with tools.")
    return stream and not tools


def in_session(settings: Settings, ask: Ask) -> Ask:
    """[assumed] A session may refuse the tools of a message, or not look at them."""
    if ask.tools and settings.session_tools == "refused":
        raise refuse("invalid_tools", "Tools are not supported in sessions.")
    return replace(ask, tools=()) if settings.session_tools == "ignored" else ask


def capabilities(settings: Settings, ask: Ask) -> tuple[str, ...]:
    """[documented] With tools only chat is used. [assumed] What other capabilities then cost."""
    if not ask.tools:
        return ask.capabilities
    others = [name for name in ask.capabilities if name != "chat"]
    if others and settings.tools_capabilities == "refused":
        raise refuse("invalid_capabilities", f"Not together with tools: {', '.join(others)}.")
    if others and settings.tools_capabilities == "charged":
        return ask.capabilities
    return ("chat",)


def parse_outputs(settings: Settings, body: bytes) -> Submission:
    """[documented] A list of ids and texts of 100 KB at most, and the compute instance."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise refuse("invalid_body", "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise refuse("invalid_body", "The body is not a JSON object.")
    instance = value.get("_compute_instance")
    if instance is not None and not isinstance(instance, str):
        raise refuse("invalid_body", "The field '_compute_instance' must be a string.")
    listed = value.get("tool_outputs")
    if not isinstance(listed, list) or not listed:
        raise refuse("invalid_tool_outputs", "The field 'tool_outputs' must be a list of outputs.")
    return Submission(tuple(_output(settings, each) for each in listed), instance)


def _output(settings: Settings, value: Any) -> ToolOutput:
    """[documented] Two strings. [documented] The output is 100 KB at most."""
    known = value if isinstance(value, dict) else {}
    call_id, output = known.get("tool_call_id"), known.get("output")
    if not isinstance(call_id, str) or not isinstance(output, str):
        message = "Each of 'tool_outputs' must hold a 'tool_call_id' and an 'output', both strings."
        raise refuse("invalid_tool_outputs", message)
    size = len(output.encode("utf-8", "surrogatepass"))
    if size > settings.max_output:
        message = f"The output for {call_id!r} has {size} bytes, more than {settings.max_output}."
        raise refuse("tool_output_too_large", message)
    return ToolOutput(call_id, output)


def check_outputs(asked: Sequence[ToolCall], outputs: Sequence[ToolOutput]) -> None:
    """[assumed] Each call that was asked for is answered, once, and no other."""
    given = [output.tool_call_id for output in outputs]
    wanted = [call.id for call in asked]
    for call_id in given:
        if call_id not in wanted:
            raise refuse("invalid_tool_outputs", f"No call has the id {call_id!r}.")
    if len(set(given)) < len(given):
        raise refuse("invalid_tool_outputs", "Two outputs are for the same call.")
    missing = [call_id for call_id in wanted if call_id not in given]
    if missing:
        raise refuse("invalid_tool_outputs", f"No output for {', '.join(missing)}.")


def check_instance(settings: Settings, wanted: str | None, given: str | None) -> None:
    """[documented] The compute instance is passed back unchanged. [assumed] Else: 404."""
    if wanted not in (None, given) and settings.wrong_instance == "context_expired":
        raise refuse("context_expired", "The run is not known to this compute instance.")


def check_run_session(settings: Settings, session: Session | None) -> None:
    """[assumed] A run does not outlive its session, and may be refused as a message is."""
    if session is None or not session.expired or settings.expired_session_run == "answered":
        return
    if settings.expired_session_run == "context_expired":
        raise refuse("context_expired")
    raise refuse_oddly(410, settings.expired_code, "The session has expired.")


def check_calls(settings: Settings, context: Context, calls: Sequence[Call]) -> None:
    """[assumed] An agent that may not call, or not any more, has failed if it does."""
    if calls and not context.tools:
        raise refuse("compute_error", "The agent called a tool, but was offered none.")
    ids = [call.id for call in calls if call.id is not None]
    if len(set(ids)) < len(ids):
        raise refuse("compute_error", "The agent gave two calls the same id.")
    if calls and is_over(settings, context.round) and settings.over_rounds == "compute_error":
        raise refuse("compute_error", f"The agent needs more than {context.round} rounds.")


def is_over(settings: Settings, rounds: int) -> bool:
    """[documented] A run is given outputs 10 times at most."""
    return rounds >= settings.max_rounds


def check_rounds(settings: Settings, rounds: int) -> None:
    """[assumed] The outputs of one round too many are refused, and the run is over."""
    if is_over(settings, rounds):
        late = settings.over_rounds == "context_expired"
        code = "context_expired" if late else "invalid_tool_outputs"
        raise refuse(code, f"The run has had {rounds} rounds, and there are no more.")


def is_late(settings: Settings, since: float, now: float) -> bool:
    """[documented] Outputs come within 5 minutes."""
    return now - since >= settings.tool_timeout
