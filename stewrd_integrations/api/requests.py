"""What is sent: every request of the API as a plain value, checked before it goes out.

Pure: nothing here touches a socket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from enum import Enum
from typing import Any

from ..errors import InvalidInputError
from ..types import CAPABILITIES, AgentRequest, File, Tool, ToolOutput
from ..values import dataclass

MAX_TOOLS = 20
MAX_TOOL_DESCRIPTION = 1024
MAX_TOOL_OUTPUT = 100_000

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class Kind(Enum):
    """Which of the four calls it is; the meaning of a status depends on it."""

    RUN = "The agent run"
    CREATE = "Creating a session"
    MESSAGE = "The session's message"
    OUTPUTS = "Submitting the tool outputs"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request; ``path`` begins with a slash, ``body`` is JSON in UTF-8."""

    kind: Kind
    path: str
    body: bytes | None = field(default=None, repr=False)
    stream: bool = False


def agent_request(
    message: str,
    capabilities: Sequence[str] | None,
    files: Iterable[File],
    tools: Iterable[Tool] = (),
) -> AgentRequest:
    """An ``AgentRequest`` of what a user passed, with tuples for sequences."""
    if isinstance(capabilities, str):
        raise InvalidInputError(f"capabilities is a sequence of names, not {capabilities!r}.")
    return AgentRequest(
        message=message,
        capabilities=None if capabilities is None else tuple(capabilities),
        files=tuple(files),
        tools=tuple(tools),
    )


def post_message(
    request: AgentRequest, *, session_id: str | None = None, stream: bool = False
) -> HttpRequest:
    """``POST /v1/agent``, or a message to the session ``session_id``.

    Raises:
        InvalidInputError: The message, a capability, a file, a tool or the id is wrong.
    """
    body = _encoded(_agent_body(request, stream))
    if session_id is None:
        return HttpRequest(Kind.RUN, "/v1/agent", body, stream)
    path = f"/v1/sessions/{_checked_id('session_id', session_id)}/messages"
    return HttpRequest(Kind.MESSAGE, path, body, stream)


def post_session() -> HttpRequest:
    """``POST /v1/sessions``."""
    return HttpRequest(Kind.CREATE, "/v1/sessions")


def post_tool_outputs(
    request_id: str, outputs: Sequence[ToolOutput], *, compute_instance: str | None = None
) -> HttpRequest:
    """``POST /v1/agent/{request_id}/tool-outputs``.

    Raises:
        InvalidInputError: The id is wrong, there are no outputs, or one is not text or too long.
    """
    if not outputs:
        raise InvalidInputError("There are no tool outputs to submit.")
    body: dict[str, Any] = {"tool_outputs": [_output_body(output) for output in outputs]}
    if compute_instance is not None:
        body["_compute_instance"] = compute_instance
    path = f"/v1/agent/{_checked_id('request_id', request_id)}/tool-outputs"
    return HttpRequest(Kind.OUTPUTS, path, _encoded(body))


def is_safe_id(value: object) -> bool:
    """Whether an id can go into a path as it is."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _agent_body(request: AgentRequest, stream: bool) -> dict[str, Any]:
    if not isinstance(request.message, str) or not request.message:
        raise InvalidInputError("message must be text with at least one character.")
    if stream and request.tools:
        raise InvalidInputError("The API can't stream a request with tools.")
    body: dict[str, Any] = {"message": request.message}
    if request.capabilities is not None:
        body["capabilities"] = _checked_capabilities(request.capabilities)
    if request.files:
        body["files"] = [_file_body(file) for file in request.files]
    if request.tools:
        body["tools"] = _tools_body(request.tools)
    if stream:
        body["stream"] = True
    return body


def _checked_capabilities(names: Sequence[str]) -> list[str]:
    known = ", ".join(CAPABILITIES)
    wrong = [name for name in names if name not in CAPABILITIES]
    if wrong:
        raise InvalidInputError(
            f"Unknown capabilities: {', '.join(map(repr, wrong))}. The API knows {known}."
        )
    if not names:
        raise InvalidInputError(f"capabilities is empty: name some of {known}, or pass None.")
    return list(names)


def _file_body(file: File) -> dict[str, Any]:
    if not isinstance(file.name, str) or not file.name:
        raise InvalidInputError("A file needs a name, with its extension.")
    if not isinstance(file.content, str):
        raise InvalidInputError(f"The content of the file {file.name!r} is not text.")
    return {"name": file.name, "content": file.content}


def check_tools(tools: Sequence[Tool]) -> None:
    """Refuse tools that the API would not take (contract, *Custom tools*).

    Raises:
        InvalidInputError: Names the tool.
    """
    _tools_body(tools)


def check_output(output: ToolOutput) -> None:
    """Refuse an output that the API would not take (contract, *Custom tools*).

    Raises:
        InvalidInputError: Names the call.
    """
    _output_body(output)


def _tools_body(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    if len(tools) > MAX_TOOLS:
        raise InvalidInputError(
            f"A request takes at most {MAX_TOOLS} tools, not {len(tools)}.",
            advice="Offer fewer, or share them out among several agents.",
        )
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise InvalidInputError("Two tools have the same name.")
    return [_tool_body(tool) for tool in tools]


def _tool_body(tool: Tool) -> dict[str, Any]:
    if not isinstance(tool.name, str) or not _TOOL_NAME.fullmatch(tool.name):
        raise InvalidInputError(
            f"The tool name {tool.name!r} is not 1 to 64 letters, digits and underscores."
        )
    _check_description(tool)
    if not isinstance(tool.parameters, Mapping) or tool.parameters.get("type") != "object":
        raise InvalidInputError(
            f'The parameters of the tool {tool.name!r} are not a JSON Schema of "type": "object".'
        )
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _check_description(tool: Tool) -> None:
    if not isinstance(tool.description, str):
        raise InvalidInputError(f"The description of the tool {tool.name!r} is not text.")
    size = len(tool.description)
    if size > MAX_TOOL_DESCRIPTION:
        raise InvalidInputError(
            f"The description of the tool {tool.name!r} has {size} characters; the API takes "
            f"{MAX_TOOL_DESCRIPTION}.",
            advice="Shorten it, and say the rest in the instructions. One that a framework wrote "
            "can mostly be replaced: TodoListMiddleware takes tool_description=.",
        )


def _output_body(output: ToolOutput) -> dict[str, Any]:
    if not isinstance(output.tool_call_id, str) or not output.tool_call_id:
        raise InvalidInputError("A tool output needs the id of its tool call.")
    if not isinstance(output.output, str):
        raise InvalidInputError(f"The output for {output.tool_call_id!r} is not text.")
    size = len(output.output.encode("utf-8", "backslashreplace"))
    if size > MAX_TOOL_OUTPUT:
        raise InvalidInputError(
            f"The output for {output.tool_call_id!r} has {size} bytes; the API takes "
            f"{MAX_TOOL_OUTPUT}."
        )
    return {"tool_call_id": output.tool_call_id, "output": output.output}


def _checked_id(name: str, value: str) -> str:
    if not is_safe_id(value):
        raise InvalidInputError(
            f"{name} must be 1 to 128 letters, digits, underscores and hyphens."
        )
    return value


def _encoded(body: Mapping[str, Any]) -> bytes:
    problem = ""
    try:
        text = _JSON.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise InvalidInputError(f"The request can't be written as JSON: {problem}.")
    # Only lone surrogates fail to encode, and their Python escape is JSON's as well.
    return text.encode("utf-8", "backslashreplace")


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_JSON = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_dict
)
