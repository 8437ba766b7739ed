"""The pure parts of custom tools: names, what a run began under, and what it may be given."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.sessions.align import Alignment, Fresh
from stewrd_integrations.sessions.binding import Binding, Run
from stewrd_integrations.sessions.call import Call, History, Ids
from stewrd_integrations.sessions.digest import Covered, Digester
from stewrd_integrations.sessions.tools import (
    LIFE,
    ROUNDS,
    Outputs,
    framework_names,
    legal_name,
    legal_tools,
    offer,
    output_text,
    outputs_for,
    own_names,
)
from stewrd_integrations.types import File, Message, Tool, ToolCall, ToolOutput

DIGESTER = Digester(b"secret")
LEGAL = re.compile(r"[A-Za-z0-9_]{1,64}")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
CALLS = (ToolCall("c1", "add", {}), ToolCall("c2", "mul", {}))
BEGUN = [Message("user", "go"), Message("assistant", "", tool_calls=CALLS)]


def outputs(*ids: str | None) -> list[Message]:
    return [Message("tool", f"output of {one}", tool_call_id=one) for one in ids]


def call(**changes: Any) -> Call:
    made = Call((Message("user", "go"),), Ids("m", "c", "n"), "scope")
    return replace(made, tools=(Tool("add", "adds", SCHEMA),), **changes)


def run(**changes: Any) -> Run:
    digests = [DIGESTER.message(message) for message in BEGUN]
    rolled = DIGESTER.rolling(digests)[-1]
    waits = Run("r", None, 100.0, 1, ("c1", "c2"), "offered", rolled, on_session=True)
    return replace(waits, **changes)


def task(
    after: list[Message],
    waits: Run | None = None,
    *,
    outcome: Any = "same",
    fresh: tuple[Fresh, ...] | None = None,
    offered: str = "offered",
    now: float = 50.0,
) -> Outputs | str:
    history = History.of(DIGESTER, [*BEGUN, *after])
    if fresh is None:
        fresh = tuple(Fresh(i) for i in range(len(BEGUN), len(history.messages)))
    return outputs_for(waits or run(), history, Alignment(outcome, "", fresh), offered, now)


# -- names -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "get_weather", "A9_", "_", "x" * 64])
def test_a_legal_name_stays(name: str) -> None:
    assert legal_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "get-weather", "a b", "é", "x" * 65, "a\n", "\u0661", "a.b", "\ud800", "名前"]
)
def test_any_other_name_becomes_legal_and_comes_back(name: str) -> None:
    legal = legal_name(name)
    assert LEGAL.fullmatch(legal)
    assert legal == legal_name(name)
    (back,) = framework_names([ToolCall("c", legal, {})], [Tool(name, "", SCHEMA)])
    assert back.name == name


@given(st.lists(st.text(max_size=80), unique=True, max_size=8))
def test_no_two_names_share_a_legal_one(names: list[str]) -> None:
    legal = [tool.name for tool in legal_tools([Tool(name, "", SCHEMA) for name in names])]
    assert all(LEGAL.fullmatch(name) for name in legal)
    assert len(set(legal)) == len(names)


def test_names_that_differ_only_where_they_are_illegal_or_cut_are_told_apart() -> None:
    assert legal_name("get-weather") != legal_name("get.weather")
    assert legal_name("x" * 65 + "a") != legal_name("x" * 65 + "b")


def test_a_call_of_nobodys_tool_keeps_its_name() -> None:
    (back,) = framework_names([ToolCall("c", "made_up", {"a": 1})], [Tool("a-b", "", SCHEMA)])
    assert back == ToolCall("c", "made_up", {"a": 1})


@pytest.mark.parametrize("name", ["get-weather", "it's", 'a "b"', "a\\1b", "погода", "a\nb"])
def test_a_text_about_tools_names_them_as_their_user_does(name: str) -> None:
    tools, legal = [Tool(name, "", SCHEMA), Tool("add", "", SCHEMA)], legal_name(name)
    for quoted in (legal, f"'{legal}'", f'"{legal}"'):
        assert own_names(f"of {quoted} and 'add'.", tools) == f"of {name!r} and 'add'."
    assert own_names(f"{legal}2", tools) == f"{legal}2"


# -- what a run began under ------------------------------------------------------------


def offered(made: Call, system: str = "") -> str:
    messages = [Message("system", system), *made.messages]
    return offer(DIGESTER, made, History.of(DIGESTER, messages))


@pytest.mark.parametrize(
    "other",
    [
        replace(call(), tools=()),
        replace(call(), tools=(Tool("sub", "adds", SCHEMA),)),
        replace(call(), tools=(Tool("add", "subtracts", SCHEMA),)),
        replace(call(), tools=(Tool("add", "adds", {**SCHEMA, "required": ["n"]}),)),
        replace(call(), tools=(*call().tools, Tool("sub", "", SCHEMA))),
    ],
    ids=["none", "name", "description", "parameters", "more"],
)
def test_another_offer_has_another_digest(other: Call) -> None:
    assert offered(other) != offered(call())


def test_the_instructions_are_part_of_the_offer() -> None:
    assert offered(call(), "Be brief.") != offered(call())


def test_the_same_offer_has_the_same_digest() -> None:
    turned = {"properties": {}, "type": "object"}
    assert offered(replace(call(), tools=(Tool("add", "adds", turned),))) == offered(call())
    assert offered(call(stream=True, name="ada")) == offered(call())


# -- what a run may be given -----------------------------------------------------------


@pytest.mark.parametrize("ids", [("c1", "c2"), ("c2", "c1")])
@pytest.mark.parametrize("on_session", [True, False])
def test_its_outputs_in_any_order(ids: tuple[str, ...], on_session: bool) -> None:
    given = task(outputs(*ids), run(on_session=on_session))
    wanted = tuple(ToolOutput(one, f"output of {one}") for one in ids)
    assert given == Outputs(wanted, then=False)


def test_a_users_message_may_follow() -> None:
    given = task([*outputs("c1", "c2"), Message("user", "and?")])
    assert isinstance(given, Outputs)
    assert given.then
    assert [one.tool_call_id for one in given.outputs] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("after", "word"),
    [
        ([Message("user", "never mind")], "passed over"),
        ([Message("user", "wait"), *outputs("c1", "c2")], "passed over"),
        (outputs("c1"), "not those"),
        (outputs("c1", "c2", "c3"), "not those"),
        (outputs("c1", "c3"), "not those"),
        (outputs("c1", "c1", "c2"), "not those"),
        (outputs("c1", None), "not those"),
    ],
)
def test_anything_else_is_not_given(after: list[Message], word: str) -> None:
    assert word in str(task(after))


def test_what_was_put_in_before_the_calls_is_not_heard_by_the_run() -> None:
    after = outputs("c1", "c2")
    places = (Fresh(2), Fresh(3))
    assert "before the calls" in str(task(after, fresh=(Fresh(0, before=1), *places)))
    assert "before the calls" in str(task(after, fresh=(Fresh(0, before=0), *places)))
    other = run(on_session=False, rolled="another history")
    assert "before the calls" in str(task(after, other))


def test_a_run_without_a_session_survives_a_trim() -> None:
    trimmed = run(on_session=False, rolled="of a longer history")
    assert isinstance(task(outputs("c1", "c2"), trimmed, outcome="trimmed"), Outputs)


@pytest.mark.parametrize("on_session", [True, False])
def test_what_a_summary_stands_for_was_heard(on_session: bool) -> None:
    waits = run(on_session=on_session, rolled="of a longer history")
    fresh = (Fresh(0, 1, summary=True), Fresh(2), Fresh(3))
    given = task(outputs("c1", "c2"), waits, outcome="summarised", fresh=fresh)
    assert isinstance(given, Outputs)
    assert [one.tool_call_id for one in given.outputs] == ["c1", "c2"]
    assert not given.then


def test_another_offer_in_the_midst() -> None:
    """The run gets its outputs, and then the session is told of the offer that counts now."""
    for on_session in (True, False):
        given = task(outputs("c1", "c2"), run(on_session=on_session), offered="another")
        assert isinstance(given, Outputs)
        assert given.then


def test_the_last_second_and_the_one_after() -> None:
    assert isinstance(task(outputs("c1", "c2"), now=100.0), Outputs)
    assert "five minutes" in str(task(outputs("c1", "c2"), now=100.5))
    assert 290 <= LIFE < 300


def test_the_last_round_and_the_one_after() -> None:
    assert isinstance(task(outputs("c1", "c2"), run(rounds=ROUNDS)), Outputs)
    assert "rounds" in str(task(outputs("c1", "c2"), run(rounds=ROUNDS + 1)))


# -- texts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message("tool", "5"), "5"),
        (Message("tool", ""), ""),
        (Message("tool", "no such city", error=True), "Error: no such city"),
        (Message("tool", "error: no such city", error=True), "error: no such city"),
        (Message("tool", "made", files=(File("a.txt", "x"),)), "made\n\n[a.txt]\nx"),
        (Message("tool", "", files=(File("a", None, "https://x"),)), "\n\n[a]\nhttps://x"),
    ],
)
def test_an_output_is_one_text(message: Message, text: str) -> None:
    assert output_text(message) == text


def test_a_waiting_run_survives_the_store() -> None:
    binding = Binding("id", "s", Covered(), run=run(compute_instance="i"), keys=("k",))
    assert Binding.from_json(binding.to_json()) == binding
