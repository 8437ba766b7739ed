from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter, create_model

from stewrd_integrations.emulator.filling import fill


def properties(**named: Any) -> dict[str, Any]:
    return {"type": "object", "properties": named, "required": list(named)}


INT, NUMBER, STR = {"type": "integer"}, {"type": "number"}, {"type": "string"}

# -- what is taken from the text -----------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        (properties(a=INT, b=INT), "What is 1 + 2?", {"a": 1, "b": 2}),
        (properties(a=INT, b=INT), "b=1 and 2", {"a": 2, "b": 1}),
        (properties(x=NUMBER), "about 2.5", {"x": 2.5}),
        (properties(n=INT), "2.5 or 3", {"n": 3}),
        (properties(n=INT), "2.5", {"n": 2}),
        (properties(n={**INT, "maximum": 10}), "99 or 7", {"n": 7}),
        (properties(q=STR), "search 'cats'", {"q": "cats"}),
        (properties(q=STR), "weather in Oslo?", {"q": "Oslo"}),
        (properties(name=STR, age=INT), "I'm 36, my name is Ada", {"name": "Ada", "age": 36}),
        (properties(a=STR, b=STR), "'x' and 'y'", {"a": "x", "b": "y"}),
        (properties(u={"enum": ["celsius", "fahrenheit"]}), "in Fahrenheit", {"u": "fahrenheit"}),
        (properties(u={"enum": ["celsius", "fahrenheit"]}), "", {"u": "celsius"}),
        (properties(p={"enum": ["a", "new_york"]}), "in New York", {"p": "new_york"}),
        (properties(n={"enum": [1, 2]}), "2 please", {"n": 2}),
        (properties(f={"type": "boolean"}), "f: yes", {"f": True}),
        (properties(verbose={"type": "boolean"}), "verbose: no, though true", {"verbose": False}),
        (properties(f={"type": "boolean"}), "", {"f": False}),
        (properties(f={"type": "boolean", "default": True}), "", {"f": True}),
        (properties(l={"type": "array", "items": INT}), "1, 2 and 3", {"l": [1, 2, 3]}),
        (properties(l={"type": "array", "items": STR}), "'a' 'b'", {"l": ["a", "b"]}),
        (properties(d={**STR, "format": "date"}), "on 2020-02-03", {"d": "2020-02-03"}),
        (properties(c={**STR, "pattern": r"^[A-Z]{2}-\d+$"}), "code AB-7", {"c": "AB-7"}),
        (properties(v={"anyOf": [INT, STR]}), "7", {"v": 7}),
        (properties(v={"anyOf": [INT, STR]}), "'seven'", {"v": "seven"}),
        (properties(v={"anyOf": [INT, {"type": "null"}]}), "seven", {"v": None}),
        (properties(v={"type": ["integer", "null"]}), "7", {"v": 7}),
        (properties(o=properties(name=STR)), "name: Ada", {"o": {"name": "Ada"}}),
        (STR, "x", "x"),
        (properties(n={**INT, "default": 5}), "", {"n": 5}),
        (properties(c={"const": "v1"}), "", {"c": "v1"}),
        (properties(z={"type": "null"}), "", {"z": None}),
        (properties(), "1 'a'", {}),
    ],
)
def test_values_come_from_the_text(schema: Any, text: str, expected: Any) -> None:
    assert fill(schema, text) == expected


def test_optional_places_are_filled_only_if_the_text_holds_something_for_them() -> None:
    schema = {**properties(a=INT, b=INT, s=STR, note=STR), "required": ["a"]}
    assert fill(schema, "1") == {"a": 1}
    assert fill(schema, "1, 2, 's'") == {"a": 1, "b": 2, "s": "s"}
    assert fill(schema, "1", "2 's'") == {"a": 1}
    assert fill(schema, "1", "note: hi") == {"a": 1, "note": "hi"}


def test_what_is_no_member_is_not_taken_for_one() -> None:
    word, digit = {**STR, "enum": ["red"]}, {**INT, "enum": [5]}
    assert fill({**properties(c=word, n=digit), "required": []}, "7 'blue'") == {}
    assert fill({"type": "array", "items": word}, "'blue'") == ["red"]
    assert fill({"type": "array", "items": digit}, "7") == [5]
    assert fill({"type": "array", "items": {**INT, "const": 5}}, "7") == [5]


def test_other_texts_help_out() -> None:
    assert fill(properties(a=INT, b=INT), "1", "2 3") == {"a": 1, "b": 2}
    assert fill(properties(name=STR), "who?", "my name is Ada") == {"name": "Ada"}


def test_places_keep_the_order_of_the_schema() -> None:
    assert list(fill(properties(a=INT, b=INT, c=INT), "c=1")) == ["a", "b", "c"]


def test_references_and_all_of() -> None:
    schema = {
        "$defs": {"a/b": INT, "base": properties(x={"$ref": "#/$defs/a~1b"})},
        "allOf": [{"$ref": "#/$defs/base"}, properties(y=INT)],
    }
    assert fill(schema, "1 2") == {"x": 1, "y": 2}
    itself = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert fill(itself, "so") == "so"
    assert fill({"$ref": "#/nowhere"}, "so") == "so"


def test_lengths_and_counts() -> None:
    assert fill({**STR, "minLength": 5}, "ab") == "ababab"
    assert fill({**STR, "maxLength": 2}, "abc") == "ab"
    assert fill({**STR, "minLength": 3}, "") == "aaa"
    assert fill({"type": "array", "items": INT, "maxItems": 2}, "1 2 3") == [1, 2]
    assert fill({"type": "array", "items": INT, "maxItems": 0}, "1") == []
    assert len(fill({"type": "array", "items": INT, "minItems": 3}, "1")) == 3
    unique = {"type": "array", "minItems": 3, "uniqueItems": True}
    for items in (INT, STR, {"enum": ["a", "b", "c"]}, properties(a=INT)):
        found = fill({**unique, "items": items}, "")
        assert len({json.dumps(each) for each in found}) == 3
    assert len(fill({"type": "object", "minProperties": 2}, "a")) == 2
    assert fill({"type": "object", "required": ["a"], "additionalProperties": INT}, "7") == {"a": 7}
    assert fill({"prefixItems": [INT, STR]}, "7 'a'") == [7, "a"]


def test_an_expression_of_another_language_is_passed_over() -> None:
    assert fill({**STR, "pattern": r"\p{L}+"}, "so") == "so"


def test_an_option_is_chosen_by_its_tag() -> None:
    cat, dog = (properties(kind={"const": kind}, name=STR) for kind in ("cat", "dog"))
    assert fill({"oneOf": [cat, dog]}, "a dog, name 'Rex'") == {"kind": "dog", "name": "Rex"}
    assert fill({"oneOf": [cat, dog]}, "a")["kind"] == "cat"


def test_it_is_deterministic() -> None:
    schema = Big.model_json_schema()
    assert fill(schema, "dog 1 'a'") == fill(schema, "dog 1 'a'")


# -- whatever the text, a data class takes it -------------------------------------------


class Colour(str, enum.Enum):
    RED = "red"
    GREEN = "green"


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, le=150)
    nickname: str | None = None


class Node(BaseModel):
    value: int
    next: Node | None
    children: list[Node]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Big(BaseModel):
    person: Person
    people: list[Person] = Field(min_length=2)
    colour: Colour
    numbers: list[float]
    perhaps: int | None
    pet: Cat | Dog = Field(discriminator="kind")
    when: dt.datetime
    day: dt.date
    time: dt.time
    span: dt.timedelta
    id: uuid.UUID
    code: str = Field(pattern=r"^[A-Z]{2}-\d+$")
    pair: tuple[int, str]
    several: set[int] = Field(min_length=3)
    even: int = Field(multiple_of=2, gt=5)
    node: Node
    table: dict[str, int]
    flag: bool
    share: float = Field(gt=0, lt=1)
    page: AnyUrl
    extra: str = "x"
    long: str = Field(min_length=50)
    short: str = Field(max_length=3)
    anything: Any


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["name", "is", "Ada", "age: 36", "9999", "-7", "2.5", "'x'", '"long words"', "dog"]
            + ["2020-02-03", "green", "AB-77", "true", "and", "value=3", "https://a.b/c", "."]
        )
    ).map(" ".join),
)


@given(TEXTS)
def test_a_big_data_class(text: str) -> None:
    Big.model_validate_json(json.dumps(fill(Big.model_json_schema(), text)))


def bounded(kind: type, low: int, size: int) -> Any:
    return Annotated[kind, Field(ge=low, le=low + size)]


KINDS = st.recursive(
    st.one_of(
        st.sampled_from([int, float, bool, str, dt.date, uuid.UUID, type(None), Colour]),
        st.builds(bounded, st.sampled_from([int, float]), st.integers(-50, 50), st.integers(0, 9)),
        st.builds(lambda n: Annotated[int, Field(gt=n, lt=n + 2)], st.integers(-9, 9)),
        st.builds(lambda n: Annotated[float, Field(gt=n, lt=n + 1)], st.integers(-9, 9)),
        st.builds(
            lambda n, m: Annotated[int, Field(multiple_of=n, ge=m)], *[st.integers(1, 9)] * 2
        ),
        st.builds(
            lambda n: Annotated[str, Field(min_length=n, max_length=n + 1)], st.integers(0, 9)
        ),
        st.builds(lambda n: Literal[("yes", n, "no")], st.integers(0, 9)),
    ),
    lambda kinds: st.one_of(
        st.builds(lambda kind: list[kind], kinds),  # type: ignore[valid-type]
        st.builds(lambda kind: kind | None, kinds),
        st.builds(lambda one, two: tuple[one, two], kinds, kinds),  # type: ignore[valid-type]
        st.builds(lambda kind: dict[str, kind], kinds),  # type: ignore[valid-type]
        st.builds(
            lambda kind, n: Annotated[list[kind], Field(min_length=n, max_length=n + 1)],  # type: ignore[valid-type]
            kinds,
            st.integers(0, 3),
        ),
        st.builds(
            lambda one, two: create_model("Made", first=(one, ...), second=(two, None)),
            kinds,
            kinds,
        ),
    ),
    max_leaves=6,
)


@given(KINDS, TEXTS)
def test_any_data_class(kind: Any, text: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    adapter.validate_json(json.dumps(fill(adapter.json_schema(), text)))
