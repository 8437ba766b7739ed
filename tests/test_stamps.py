"""Stamps, whatever framework the messages are of: read, put on, taken off, and believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.stamps import OURS, Stamp, addressed, beside, read, without

names = st.text(max_size=8)
stamps = st.builds(Stamp, name=names, tenant=st.none() | names, seal=names)
extras = st.dictionaries(
    names.filter(lambda name: name != OURS), st.integers() | names, max_size=3
) | st.fixed_dictionaries({OURS: st.fixed_dictionaries({"mark": names})})


# -- on a message ----------------------------------------------------------------------


@given(extras, stamps, stamps)
def test_a_stamp_is_put_on_and_taken_off(extra: dict[str, Any], stamp: Stamp, other: Stamp) -> None:
    before = repr(extra)
    stamped = stamp.among(extra)
    assert read(stamped) == stamp and read(other.among(stamped)) == other
    assert without(stamped) == without(other.among(stamped)) == extra
    assert without(extra) is extra and repr(extra) == before


@given(extras, stamps, names)
def test_what_is_said_beside_it(extra: dict[str, Any], stamp: Stamp, text: str) -> None:
    stamped = stamp.among(extra, said=text)
    assert beside(stamped, "said") == text and read(stamped) == stamp
    assert beside(stamped, "else") is None and beside(extra, "said") is None
    assert beside(stamp.among(stamped), "said") is None, "an earlier one's is not kept"


@pytest.mark.parametrize(
    "ours",
    [
        None,
        "x",
        [],
        5,
        {},
        {"conversation": None},
        {"conversation": "c"},
        {"conversation": ["c"]},
        {"conversation": {}},
        {"conversation": {"name": "c", "tenant": None}},
        {"conversation": {"name": "c", "seal": "s"}},
        {"conversation": {"name": 5, "tenant": None, "seal": "s"}},
        {"conversation": {"name": "c", "tenant": 5, "seal": "s"}},
        {"conversation": {"name": "c", "tenant": ["t"], "seal": "s"}},
        {"conversation": {"name": "c", "tenant": None, "seal": b"s"}},
        {"conversation": {"name": None, "tenant": None, "seal": "s", "said": 5}},
    ],
    ids=repr,
)
def test_what_only_looks_like_a_stamp(ours: Any) -> None:
    extra = {OURS: ours, "theirs": 1}
    assert read(extra) is None and beside(extra, "said") is None
    assert without(extra)["theirs"] == 1
    assert read(Stamp("c", None, "s").among(extra)) == Stamp("c", None, "s")


def test_what_is_no_more_than_a_stamp_leaves_nothing() -> None:
    assert without(Stamp("c", None, "s").among({})) == {}
    assert without(Stamp("c", None, "s").among({OURS: {"mark": "m"}})) == {OURS: {"mark": "m"}}


# -- on a call -------------------------------------------------------------------------

A, B = Stamp("a", None, "s"), Stamp("b", None, "s")
AT, BT, AU = Stamp("a", "t", "s"), Stamp("b", "t", "s"), Stamp("a", "u", "s")


@pytest.mark.parametrize(
    ("who", "shown", "history", "tenant", "wanted"),
    [
        ({}, (), None, None, {}),
        ({}, (), None, "t", {}),
        ({"capabilities": ["chat"]}, (), None, None, {"capabilities": ["chat"]}),
        ({}, (A,), None, None, {"conversation_id": "a", "tenant": None}),
        ({}, (), A, None, {"conversation_id": "a", "tenant": None}),
        ({}, (A,), A, None, {"conversation_id": "a", "tenant": None}),
        ({}, (AT,), None, "t", {"conversation_id": "a", "tenant": "t"}),
        ({}, (AT,), None, None, {"conversation_id": "a", "tenant": "t"}),
        ({"tenant": "t"}, (AT,), None, "u", {"conversation_id": "a", "tenant": "t"}),
        ({"conversation_id": "x"}, (A,), None, None, {"conversation_id": "x", "tenant": None}),
        # Of two conversations it is neither.
        ({}, (A, B), None, None, {"conversation_id": None, "tenant": None}),
        ({}, (A,), B, None, {"conversation_id": None, "tenant": None}),
        ({}, (AT, BT), None, "t", {"conversation_id": None, "tenant": "t"}),
        ({"conversation_id": "x"}, (A, B), None, None, {"conversation_id": "x", "tenant": None}),
        # A history at work of another tenant than the call's is none of its.
        ({"tenant": "u"}, (), AT, None, {"tenant": "u"}),
        ({}, (), AT, "u", {}),
        ({}, (), A, "u", {}),
        ({"tenant": 7}, (Stamp("a", "7", "s"),), None, None, {"conversation_id": "a"}),
    ],
)
def test_what_a_call_says_of_itself(
    who: dict[str, Any],
    shown: tuple[Stamp, ...],
    history: Stamp | None,
    tenant: object,
    wanted: dict[str, Any],
) -> None:
    found = addressed(who, frozenset(shown), history, tenant)
    assert {name: found.get(name) for name in wanted} == wanted
    if not wanted.keys() - who.keys():
        assert found == who


@pytest.mark.parametrize(
    ("who", "shown", "history", "tenant"),
    [
        ({}, (AT, AU), None, None),
        ({}, (A, AT), None, None),
        ({}, (AT,), None, "u"),
        ({}, (A,), None, "u"),
        ({"tenant": "u"}, (AT,), None, "t"),
        ({"tenant": "u", "conversation_id": "x"}, (AT,), None, None),
        ({}, (AT,), AU, None),
    ],
)
def test_two_tenants_never_meet(
    who: dict[str, Any], shown: tuple[Stamp, ...], history: Stamp | None, tenant: object
) -> None:
    with pytest.raises(InvalidInputError, match="tenant"):
        addressed(who, frozenset(shown), history, tenant)
