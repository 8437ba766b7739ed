"""Reads the bodies of requests, strictly: what the contract does not allow is refused."""

from __future__ import annotations

import json
import re
from typing import Any

from .records import Ask, File, Tool
from .refusals import Refusal

CAPABILITIES = ("chat", "research", "documents", "code", "data", "files")
PRICES = {"chat": 1, "data": 1, "files": 2, "research": 3, "code": 3, "documents": 5}
MAX_TOOLS = 20
MAX_DESCRIPTION = 1_024
NAME = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)


def parsed(body: bytes) -> dict[str, Any]:
    """The object that the body is."""
    try:
        value = json.loads(body)
    except ValueError:
        raise Refusal("invalid_body", "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise Refusal("invalid_body", "The body is not an object.")
    return value


def agent_request(body: bytes) -> Ask:
    """An AgentRequest, or the refusal that says what is wrong with it."""
    value = parsed(body)
    stream = value.get("stream", False)
    if not isinstance(stream, bool):
        raise Refusal("invalid_body", "stream is not a boolean.")
    return Ask(
        _message(value),
        _capabilities(value.get("capabilities")),
        _files(value.get("files")),
        stream,
        _tools(value.get("tools")),
    )


def _message(value: dict[str, Any]) -> str:
    message = value.get("message")
    if not isinstance(message, str) or not message:
        raise Refusal("missing_message", "message is required.")
    return message


def _capabilities(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or any(each not in CAPABILITIES for each in value):
        raise Refusal("invalid_capabilities", f"capabilities are some of {CAPABILITIES}.")
    return tuple(value)


def _files(value: object) -> tuple[File, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Refusal("invalid_body", "files is not a list.")
    return tuple(_file(each) for each in value)


def _file(value: object) -> File:
    match value:
        case {"name": str(name), "content": str(content)} if "." in name:
            return File(name, content)
        case _:
            raise Refusal("invalid_body", "A file has a name with an extension, and a content.")


def _tools(value: object) -> tuple[Tool, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TOOLS:
        raise Refusal("invalid_tools", f"There can be 1 to {MAX_TOOLS} tools.")
    tools = tuple(_tool(each) for each in value)
    if len({tool.name for tool in tools}) < len(tools):
        raise Refusal("invalid_tools", "Two tools have one name.")
    return tools


def _tool(value: object) -> Tool:
    match value:
        case {
            "name": str(name),
            "description": str(description),
            "parameters": {"type": "object"} as parameters,
        } if NAME.fullmatch(name) and len(description) <= MAX_DESCRIPTION:
            return Tool(name, description, parameters)
        case _:
            raise Refusal("invalid_tools", "A tool is not described as it must be.")


def tool_outputs(body: bytes, kilobyte: int) -> tuple[dict[str, str], str | None]:
    """The outputs by the ids of their calls, and the compute instance they are meant for."""
    value = parsed(body)
    rows = value.get("tool_outputs")
    if not isinstance(rows, list) or not rows:
        raise Refusal("invalid_tool_outputs", "tool_outputs is required.")
    outputs: dict[str, str] = {}
    for row in rows:
        match row:
            case {"tool_call_id": str(call_id), "output": str(output)} if call_id not in outputs:
                outputs[call_id] = output
            case _:
                raise Refusal("invalid_tool_outputs", "An output is not as it must be.")
    if any(len(output.encode("utf-8", "replace")) > 100 * kilobyte for output in outputs.values()):
        raise Refusal("tool_output_too_large", "An output has more than 100 KB.")
    instance = value.get("_compute_instance")
    if instance is not None and not isinstance(instance, str):
        raise Refusal("invalid_tool_outputs", "_compute_instance is not a string.")
    return outputs, instance
