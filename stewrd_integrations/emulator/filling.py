"""Values that satisfy a JSON Schema, taken from a text where it holds any.

It knows the keywords that the schemas of functions and of data classes are made of; of
the others (`not`, `if`, `dependentRequired` and the like) it knows nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .values import Values

Schema = Mapping[str, Any]
Number = int | float

_DEEPEST = 4  # a schema may contain itself
_ABSENT = object()
_NUMERIC = ("integer", "number")
_SPECIMENS = ("a", "A", "1", "abc", "ABC", "123", "a1", "A1", "AB-12", "ABC-123", "1234", "12345")
# format -> where to find one in a text, and one to take if there is none
_FORMATS = {
    "date": (r"\b\d{4}-\d\d-\d\d\b", "2024-01-31"),
    "date-time": (
        r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)",
        "2024-01-31T12:00:00Z",
    ),
    "time": (r"\b\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?", "12:00:00Z"),
    "duration": (r"\bP(?=[\dT])(?:\d+[YMWD])*(?:T(?:\d+[HMS])+)?\b", "PT1H"),
    "email": (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b", "someone@example.com"),
    "uri": (r"\bhttps?://[^\s\"'<>]*[\w/]", "https://example.com/"),
    "uuid": (
        r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
        "00000000-0000-4000-8000-000000000000",
    ),
    "ipv4": (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "192.0.2.1"),
}


def fill(schema: Schema, text: str, *others: str) -> Any:
    """A value for a schema, from a text and, where that says too little, from others."""
    return _Filling(schema, Values(text, *others)).value(schema, 0)


class _Filling:
    def __init__(self, root: Schema, values: Values) -> None:
        self._root = root
        self._values = values

    def value(self, schema: Any, depth: int) -> Any:
        """A value for one place of the whole."""
        schema = self._whole(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._member(schema["enum"])
        options = _options(schema)
        if options:
            return self.value(self._best(options, depth), depth)
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return self._number(schema)
            case "boolean":
                return self._flag(schema)
            case "null":
                return None
        return self._string(schema)

    # -- schemas -------------------------------------------------------------------

    def _whole(self, schema: Any) -> Schema:
        """The schema with what it refers to, and with what `allOf` adds to it."""
        whole: dict[str, Any] = dict(schema) if isinstance(schema, dict) else {}
        seen: set[str] = set()
        while isinstance(whole.get("$ref"), str):
            pointer = whole.pop("$ref")
            if pointer not in seen:
                whole = {**self._target(pointer), **whole}
            seen.add(pointer)
        for part in whole.pop("allOf", ()):
            added = self._whole(part)
            properties = {**whole.get("properties", {}), **added.get("properties", {})}
            required = [*whole.get("required", ()), *added.get("required", ())]
            whole = {**whole, **added, "properties": properties, "required": required}
        return whole

    def _target(self, pointer: str) -> Schema:
        target: Any = self._root
        for step in pointer.lstrip("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            target = target.get(key) if isinstance(target, dict) and key else target
        return target if isinstance(target, dict) else {}

    def _kinds(self, schema: Any, depth: int = 0) -> dict[str, Schema]:
        """Every kind that a value may be of, with the schema for it."""
        schema = self._whole(schema)
        options = _options(schema)
        if not options or depth > _DEEPEST:
            return {_kind(schema): schema}
        found = [self._kinds(option, depth + 1) for option in options]
        return {kind: each for kinds in reversed(found) for kind, each in kinds.items()}

    def _best(self, options: Sequence[Schema], depth: int) -> Schema:
        """The option of which the text speaks most."""
        wholes = [self._whole(option) for option in options]
        for whole in wholes:
            if any(self._values.mentions(tag) for tag in self._tags(whole)):
                return whole
        kinds = {_kind(whole): whole for whole in reversed(wholes)}
        if self._values.has_quotation() and "string" in kinds:
            return kinds["string"]
        for kind in _NUMERIC:
            if self._values.has_number() and kind in kinds:
                return kinds[kind]
        if depth > _DEEPEST:
            return kinds.get("null") or min(wholes, key=lambda whole: _kind(whole) == "object")
        return kinds.get("null") or wholes[0]

    def _tags(self, whole: Schema) -> list[str]:
        """The words by which a text may choose an option."""
        places = [whole, *(self._whole(each) for each in whole.get("properties", {}).values())]
        members = [
            [place["const"]] if "const" in place else place.get("enum", ()) for place in places
        ]
        return [member for each in members for member in each if isinstance(member, str)]

    # -- values ----------------------------------------------------------------------

    def _member(self, members: Sequence[Any]) -> Any:
        return next((each for each in members if self._is_mentioned(each)), members[0])

    def _is_mentioned(self, member: Any) -> bool:
        words = str(member)
        return self._values.mentions(words) or self._values.mentions(words.replace("_", " "))

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        # What is told by name is not there for others to take.
        told = {key: self._told(each, key) for key, each in properties.items()}
        filled = {key: value for key, value in told.items() if value is not _ABSENT}
        for key in required:
            if key not in filled:
                each = properties.get(key, schema.get("additionalProperties"))
                filled[key] = self.value(each, depth + 1)
        for key, each in properties.items():
            left = _ABSENT if key in filled else self._left(each)
            if left is not _ABSENT:
                filled[key] = left
        for number in range(schema.get("minProperties", 0) - len(filled)):
            filled[f"key{number}"] = self.value(schema.get("additionalProperties"), depth + 1)
        return {key: filled[key] for key in (*properties, *filled) if key in filled}

    def _told(self, schema: Any, name: str) -> Any:
        """What the text says of a name."""
        kinds = self._kinds(schema)
        for kind, each in kinds.items():
            if "enum" in each or "const" in each:
                members = [member for member in each.get("enum", ()) if self._is_mentioned(member)]
                return members[0] if members else _ABSENT
            if kind in _NUMERIC:
                number = self._values.number_of(name)
                if number is not None:
                    return _adapted(each, number)
            if kind == "boolean":
                flag = self._values.flag_of(name)
                if flag is not None:
                    return flag
            if kind == "string":
                words = self._values.words_of(name)
                if words is not None and _suits(each, words):
                    return words
        return _ABSENT

    def _left(self, schema: Any) -> Any:
        """What the text holds for a place that need not be filled."""
        for kind, each in self._kinds(schema).items():
            found: Any = None
            if kind in _NUMERIC:
                found = self._values.number(_allowing(each), first_text=True)
            if kind == "string":
                found = self._values.quotation(_suiting(each), first_text=True)
            if found is not None:
                return found
        return _ABSENT

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems", ())
        items = schema.get("items", {})
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        filled = [self.value(each, depth + 1) for each in prefix]
        if not prefix:
            filled = [each for each, _ in zip(self._listed(items), _up_to(most), strict=False)]
            least = min(max(least, depth <= _DEEPEST), most)
        unique = schema.get("uniqueItems", False)
        for number in range(len(filled), int(least)):
            each = self.value(items, depth + 1)
            filled.append(self._another(items, each, number) if unique and each in filled else each)
        return filled

    def _listed(self, items: Any) -> Iterator[Any]:
        """All that the text holds for the places of a list."""
        kinds = self._kinds(items)
        for each in kinds.values():
            yield from (member for member in each.get("enum", ()) if self._is_mentioned(member))
        for kind, each in kinds.items():
            while kind in _NUMERIC and (number := self._values.number(_allowing(each))) is not None:
                yield number
            while (
                kind == "string" and (words := self._values.quotation(_suiting(each))) is not None
            ):
                yield words

    def _another(self, items: Any, value: Any, number: int) -> Any:
        members = self._whole(items).get("enum", ())
        if number < len(members):
            return members[number]
        if isinstance(value, str):
            return f"{value}{number}"
        return value + number if isinstance(value, int | float) else [value, number]

    def _number(self, schema: Schema) -> Number:
        found = self._values.number(_allowing(schema))
        if found is None:
            found = self._values.number(lambda _: True)
        return _adapted(schema, schema.get("default", 0) if found is None else found)

    def _flag(self, schema: Schema) -> bool:
        if any(self._values.mentions(word) for word in ("true", "yes")):
            return True
        return schema.get("default") is True and not self._values.mentions("false")

    def _string(self, schema: Schema) -> str:
        quoted = self._values.quotation(_suiting(schema))
        if quoted is not None:
            return quoted
        pattern, specimen = _FORMATS.get(schema.get("format", ""), ("(?!)", None))
        subject = self._values.subject()
        known = [self._values.find(pattern), specimen, schema.get("default")]
        known += [_cut(schema, subject), *self._values.words(), *_SPECIMENS]
        fitting = (each for each in known if isinstance(each, str) and _suits(schema, each))
        return next(fitting, subject)


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _options(schema: Schema) -> list[Schema]:
    """The alternatives that a schema offers, if it does."""
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return [{**rest, **option} for option in schema[key] if isinstance(option, dict)]
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else []


def _is_member(schema: Schema, value: Any) -> bool:
    members = [schema["const"]] if "const" in schema else schema.get("enum")
    return members is None or value in members


def _up_to(most: float) -> Iterator[int]:
    number = 0
    while number < most:
        yield number
        number += 1


# -- numbers -------------------------------------------------------------------------


def _allowing(schema: Schema) -> Callable[[Number], bool]:
    return lambda number: _allows(schema, number)


def _allows(schema: Schema, number: Number) -> bool:
    whole = schema.get("type") != "integer" or float(number).is_integer()
    parts = number / schema.get("multipleOf", number or 1)
    return (
        whole
        and _is_member(schema, number)
        and schema.get("minimum", number) <= number <= schema.get("maximum", number)
        and schema.get("exclusiveMinimum", -math.inf) < number
        and number < schema.get("exclusiveMaximum", math.inf)
        and math.isclose(parts, round(parts), abs_tol=1e-9)
    )


def _adapted(schema: Schema, number: Number) -> Number:
    """The number, or one nearby that the schema allows."""
    step = schema.get("multipleOf", 1)
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    bounds = [schema[name] for name in names if name in schema]
    starts = [number, *bounds, sum(bounds) / max(len(bounds), 1)]
    tried = [number, *bounds]
    for start in starts:
        rounded = math.floor(start / step) * step
        tried += [rounded, rounded + step, rounded - step, start]
    best = next((each for each in tried if _allows(schema, each)), number)
    return int(best) if schema.get("type") == "integer" else best


# -- strings -------------------------------------------------------------------------


def _suiting(schema: Schema) -> Callable[[str], bool]:
    return lambda text: _suits(schema, text)


def _suits(schema: Schema, text: str) -> bool:
    pattern, _ = _FORMATS.get(schema.get("format", ""), (None, None))
    return (
        _is_member(schema, text)
        and schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", math.inf)
        and (pattern is None or re.fullmatch(pattern, text) is not None)
        and _matches(schema.get("pattern", ""), text)
    )


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        # Other languages have expressions that Python does not know.
        return True


def _cut(schema: Schema, text: str) -> str:
    """The text as long as it must be, and no longer than it may be."""
    least = schema.get("minLength", 0)
    text = text or "a" * bool(least)
    times = math.ceil(least / len(text)) if text else 1
    return (text * max(times, 1))[: schema.get("maxLength")]
