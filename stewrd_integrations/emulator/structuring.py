"""Answers in JSON, where the instructions or the message want them so.

A JSON Schema that stands after the word "schema", as in 'Answer with JSON only that
matches this JSON Schema: {…}', is satisfied; so are "a JSON with 'a' and 'b' keys" and
"JSON only".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .agent import Context
from .calling import asked, demand, found
from .filling import fill

_SCHEMA = re.compile(r"\bschema\b", re.IGNORECASE)
_KEYS = re.compile(r"\bJSON\b[^.\n]{0,200}\bkeys?\b|\bkeys?\b[^.\n]{0,200}\bJSON\b", re.IGNORECASE)
_KEY = re.compile(r"[\"'`“]([\w-]+)[\"'`”]")
_ONLY = re.compile(
    r"\b(?:only|nothing (?:other than|but|except))\b[^.\n]{0,40}\bJSON\b"
    r"|\bJSON\b[^.\n]{0,20}\bonly\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?\n]|$)")
_MARKS = {"type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items"}
_ATTEMPTS = 200  # braces to look behind
_DECODER = json.JSONDecoder()


def answer(context: Context, plain: str) -> str | None:
    """The answer in JSON, if it is wanted so; `plain` is what would be said else."""
    text = asked(context)
    for wanted in (demand(context), text, context.conversation.instructions):
        schema = _wanted(wanted, plain)
        if schema is not None:
            value = fill(schema, _without_wishes(text), *found(context), *_before(context))
            return json.dumps(value, ensure_ascii=False)
    return None


def _wanted(text: str, plain: str) -> dict[str, Any] | None:
    schemas = [schema for schema, _, _ in _schemas(text)]
    if schemas:
        # Explanations show an example first, and the schema last.
        return schemas[-1]
    sentence = _KEYS.search(text)
    if sentence is not None:
        keys = _KEY.findall(sentence[0])
        named = {key: {"type": "string"} for key in keys}
        return {"type": "object", "properties": named, "required": keys}
    if _ONLY.search(text):
        return {
            "type": "object",
            "properties": {"answer": {"const": plain}},
            "required": ["answer"],
        }
    return None


def _schemas(text: str) -> Iterator[tuple[dict[str, Any], int, int]]:
    """The JSON Schemas of a text, each with its place."""
    word = _SCHEMA.search(text)
    at = -1 if word is None or "json" not in text.lower() else text.find("{", word.end())
    attempts = _ATTEMPTS
    while at >= 0 and attempts:
        attempts -= 1
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            value, end = None, at + 1
        if isinstance(value, dict) and _MARKS & set(value):
            yield value, at, end
        at = text.find("{", end)


def _without_wishes(text: str) -> str:
    """What the user says, without the words on how to say the answer."""
    for _, start, end in reversed(list(_schemas(text))):
        text = text[:start] + text[end:]
    return "".join(
        sentence for sentence in _SENTENCE.findall(text) if not re.search(r"\bJSON\b", sentence)
    ).strip()


def _before(context: Context) -> list[str]:
    """What the user said before, the newest first."""
    said = [one.text for one in context.conversation.messages if one.role == "user"]
    return [*reversed(said[:-1]), context.conversation.summary or ""]
