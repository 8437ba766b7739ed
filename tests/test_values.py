"""`values.dataclass` makes what the standard library's makes; asked of both, side by side."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from stewrd_integrations import values
from stewrd_integrations.types import File


def described(make: Callable[..., Any]) -> Any:
    @make(frozen=True, slots=True)
    class Described:
        """It has a default of each kind, and something of its own."""

        name: str
        count: int = 3
        tags: list[str] = dataclasses.field(default_factory=list)
        secret: str = dataclasses.field(default="s", repr=False)
        beside: int = dataclasses.field(default=0, compare=False)

        def __post_init__(self) -> None:
            if self.count < 0:
                raise ValueError(self.name)

        @property
        def twice(self) -> int:
            return self.count * 2

    return Described


def bare(make: Callable[..., Any]) -> Any:
    @make(frozen=True, slots=True)
    class Bare:
        """Nothing at all."""

    return Bare


def single(make: Callable[..., Any]) -> Any:
    @make(frozen=True, slots=True)
    class Single:
        """One field."""

        value: Any

    return Single


def keyed(make: Callable[..., Any]) -> Any:
    @make(frozen=True, slots=True, kw_only=True)
    class Keyed:
        """By keyword only; what comes first may have a default."""

        first: int = 1
        second: int

        def __repr__(self) -> str:
            return "mine"

    return Keyed


# At the top of the module, since pickle finds classes by their names.
Described = described(values.dataclass)
Described.__qualname__ = "Described"


@pytest.fixture(params=[dataclasses.dataclass, values.dataclass], ids=["library", "ours"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


def test_fields_and_defaults(make: Callable[..., Any]) -> None:
    one = described(make)("a")
    assert (one.name, one.count, one.tags, one.secret, one.twice) == ("a", 3, [], "s", 6)
    assert one.tags is not described(make)("a").tags
    assert described(make)("a", 4, ["x"], beside=9).beside == 9
    assert not hasattr(one, "__dict__")


def test_wrong_arguments_are_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"Described\.__init__\(\) missing 1 required"):
        described(make)()
    with pytest.raises(TypeError, match="unexpected keyword argument 'nmae'"):
        described(make)("a", nmae=1)
    with pytest.raises(TypeError, match="takes 1 positional argument"):
        keyed(make)(1, 2)
    with pytest.raises(ValueError, match="odd"):
        described(make)("odd", -1)


def test_a_value_is_frozen(make: Callable[..., Any]) -> None:
    one = described(make)("a")
    for name in ("name", "unknown"):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(one, name, "b")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del one.name
    assert one.name == "a"


def test_repr(make: Callable[..., Any]) -> None:
    shown = repr(described(make)("a"))
    assert shown.endswith("Described(name='a', count=3, tags=[], beside=0)")
    assert repr(bare(make)()).endswith("Bare()")
    assert repr(keyed(make)(second=2)) == "mine"


def test_equality_and_hash(make: Callable[..., Any]) -> None:
    kind, other = single(make), single(make)
    assert kind(1) == kind(1) != kind(2)
    assert kind(1) != other(1)
    assert kind(1) != (1,)
    assert hash(kind("a")) == hash(kind("a"))
    assert {kind("a"), kind("a"), kind("b")} == {kind("b"), kind("a")}
    assert bare(make)() != bare(make)()  # of two classes
    empty = bare(make)
    assert empty() == empty()
    assert hash(empty()) == hash(empty())
    with pytest.raises(TypeError, match="unhashable"):
        hash(kind([]))


def test_what_is_not_to_be_compared_is_not(make: Callable[..., Any]) -> None:
    kind = described(make)
    assert kind("a", beside=1) == kind("a", beside=2)
    assert kind("a", secret="b") != kind("a")


def test_the_library_knows_it(make: Callable[..., Any]) -> None:
    kind = described(make)
    one = kind("a", tags=["x"])
    assert dataclasses.is_dataclass(kind)
    assert [field.name for field in dataclasses.fields(one)][:2] == ["name", "count"]
    assert dataclasses.asdict(one)["tags"] == ["x"]
    assert dataclasses.replace(one, count=5).count == 5
    with pytest.raises(ValueError, match="a"):
        dataclasses.replace(one, count=-1)
    match one:
        case kind(name, count):  # type: ignore[misc]  # the class is known at run time only
            assert (name, count) == ("a", 3)


def test_its_signature_tells_names_and_types(make: Callable[..., Any]) -> None:
    told = inspect.signature(described(make)).parameters
    assert list(told) == ["name", "count", "tags", "secret", "beside"]
    assert told["count"].default == 3
    assert told["count"].annotation == "int"
    assert inspect.signature(keyed(make)).parameters["second"].kind.name == "KEYWORD_ONLY"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_and_copies(protocol: int) -> None:
    one = Described("a", 5, ["x"], secret="t", beside=1)
    pickled = pickle.loads(pickle.dumps(one, protocol))  # noqa: S301 - it is our own
    for twin in [pickled, copy.copy(one), copy.deepcopy(one)]:
        assert twin == one
        assert twin.beside == 1
    assert copy.deepcopy(one).tags is not one.tags


def test_anything_else_is_left_to_the_library() -> None:
    for options in ({"frozen": False, "slots": True}, {"frozen": True, "slots": False}):
        with pytest.raises(TypeError, match="frozen values with slots"):
            values.dataclass(**options)


def test_the_librarys_own_dataclass_derives_from_ours() -> None:
    @dataclasses.dataclass(frozen=True)
    class Tagged(File):
        tag: str = ""

    tagged = Tagged("a.txt", "A", tag="x")
    assert (tagged.name, tagged.tag) == ("a.txt", "x")
    assert tagged == Tagged("a.txt", "A", tag="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        tagged.tag = "y"  # type: ignore[misc]
