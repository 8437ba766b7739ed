"""The form of a JSON value without what it says: the names of its fields, and their types."""

from __future__ import annotations

from typing import Any

OPTIONAL = {"docs"}
"""Fields of an error that the vendor documents as optional, and the page does not show."""


def shape(value: Any) -> Any:
    """The form; that of a list is the forms of its members, each once."""
    match value:
        case dict():
            return {name: shape(each) for name, each in sorted(value.items())}
        case list():
            return sorted({repr(shape(each)) for each in value})
        case bool():
            return "boolean"
        case int():
            return "integer"
        case None:
            return "null"
        case _:
            return {"str": "string", "float": "number"}[type(value).__name__]


def without_optional(error: dict[str, Any]) -> dict[str, Any]:
    """An error's body without the fields that it may or may not have."""
    inner = {name: value for name, value in error["error"].items() if name not in OPTIONAL}
    return {**error, "error": inner}


def stream_shape(events: list[tuple[str, Any]]) -> list[Any]:
    """The events of a stream and the forms of their data; one for any number of tokens."""
    told: list[Any] = []
    for name, data in events:
        form = (name, shape(data))
        if not (name == "token" and told and told[-1] == form):
            told.append(form)
    return told
