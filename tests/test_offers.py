"""What a call asks for beside its messages, as words and as a look at the answer."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.offers import AFTER_OUTPUTS, CHOICES, NO_ARGUMENTS, Offer, offer_of
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.sessions.effects import Decision
from stewrd_integrations.sessions.tools import legal_name
from stewrd_integrations.types import Message, Reply, Tool, ToolCall

ADD = {"name": "add", "description": "Add two.", "parameters": {"type": "object", "properties": {}}}
GET = {"name": "get", "parameters": {"type": "object"}}
FORMATTED: list[dict[str, Any]] = [{"type": "function", "function": one} for one in (ADD, GET)]
ANY = "You must call at least one of the tools."
SINGLY = "Call at most one tool at a time."


def outcome(*names: str) -> Outcome:
    calls = tuple(ToolCall(str(at), name, {}) for at, name in enumerate(names))
    decision = Decision("stateless", "stateless", "a test")
    return Outcome(Reply(id="1", message="", tool_calls=calls), "m" * 32, decision, None)


# -- what is read ------------------------------------------------------------------------


def test_tools_in_the_form_of_openai() -> None:
    offer = offer_of({"tools": FORMATTED})
    assert offer.tools == (
        Tool("add", "Add two.", ADD["parameters"]),  # type: ignore[arg-type]  # it is a mapping
        Tool("get", "", {"type": "object"}),
    )
    assert (offer.choice, offer.parallel, offer.demand) == (None, True, "")


def test_a_tool_with_a_name_alone() -> None:
    (tool,) = offer_of({"tools": [{"function": {"name": "ping", "description": None}}]}).tools
    assert (tool.description, tool.parameters) == ("", NO_ARGUMENTS)


@pytest.mark.parametrize("given", [{}, {"tools": None}, {"tools": []}, {"tools": ()}])
@pytest.mark.parametrize("choice", [None, "auto", "none", False, {"type": "auto"}])
def test_no_tools(given: dict[str, Any], choice: Any) -> None:
    assert offer_of({**given, "tool_choice": choice}) == Offer()


@pytest.mark.parametrize("choice", ["none", {"type": "none"}])
def test_tools_that_must_not_be_called_are_not_offered(choice: Any) -> None:
    assert offer_of({"tools": FORMATTED, "tool_choice": choice}) == Offer()


@pytest.mark.parametrize("choice", ["any", "required", True, "add", {"type": "any"}])
def test_a_choice_without_tools(choice: Any) -> None:
    with pytest.raises(InvalidInputError, match="without tools"):
        offer_of({"tool_choice": choice})


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (None, None),
        (False, None),
        ("auto", None),
        ({"type": "auto"}, None),
        ("any", True),
        ("required", True),
        (True, True),
        ({"type": "any"}, True),
        ({"type": "required"}, True),
        ("get", "get"),
        ({"type": "function", "function": {"name": "get"}}, "get"),
        ({"type": "tool", "name": "get"}, "get"),
    ],
)
def test_every_form_of_a_choice(choice: Any, read: Any) -> None:
    assert offer_of({"tools": FORMATTED, "tool_choice": choice}).choice == read


def test_one_of_one_is_that_one() -> None:
    assert offer_of({"tools": FORMATTED[:1], "tool_choice": "any"}).choice == "add"


@pytest.mark.parametrize("name", ["any", "auto", "required"])
def test_a_tool_that_is_called_like_a_word(name: str) -> None:
    tools = [*FORMATTED, {"function": {"name": name}}]
    chosen = offer_of({"tools": tools, "tool_choice": {"type": "tool", "name": name}}).choice
    assert chosen == (None if name == "auto" else name)


@pytest.mark.parametrize(
    "choice", ["subtract", "", {"type": "function", "function": {"name": "subtract"}}, {}, 7]
)
def test_a_choice_of_none_of_them(choice: Any) -> None:
    if choice in ("", {}):  # not a choice of anything
        choice = {"type": "tool", "name": "subtract"}
    with pytest.raises(InvalidInputError, match="not among the tools add, get"):
        offer_of({"tools": FORMATTED, "tool_choice": choice})


@pytest.mark.parametrize(
    "tools",
    [1, "add", ADD, ["add"], [ADD], [{"function": {}}], [{"function": {"name": 3}}], [None]],
)
def test_tools_in_no_form(tools: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"bind_tools\(\) or chat_with_tools\(\)"):
        offer_of({"tools": tools})


@pytest.mark.parametrize(
    ("given", "read"), [(None, True), (True, True), (False, False), (0, False)]
)
def test_parallel_calls(given: Any, read: bool) -> None:
    assert offer_of({"tools": FORMATTED, "parallel_tool_calls": given}).parallel is read


def test_what_is_read_is_listed() -> None:
    assert CHOICES == ("tools", "tool_choice", "parallel_tool_calls")


# -- what is said ------------------------------------------------------------------------

TOOLS = offer_of({"tools": FORMATTED}).tools


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        (Offer(), ""),
        (Offer(parallel=False), ""),
        (Offer(TOOLS), ""),
        (Offer(TOOLS, True), ANY),
        (Offer(TOOLS, "add"), 'You must call the tool "add".'),
        (Offer(TOOLS, "my add"), f'You must call the tool "{legal_name("my add")}".'),
        (Offer(TOOLS, parallel=False), SINGLY),
        (Offer(TOOLS, True, parallel=False), f"{ANY} {SINGLY}"),
    ],
)
def test_the_words(offer: Offer, words: str) -> None:
    assert offer.demand == words


OUTPUT = Message(role="tool", text="3", tool_call_id="1")


def test_after_an_output_the_words_stand_in_it() -> None:
    before = (Message(role="user", text="Hi"), OUTPUT)
    first, last = Offer(TOOLS, True).insist(before)
    assert first is before[0]
    assert last.text == f"3\n\n{AFTER_OUTPUTS} {ANY}" and last.remembered == "3"


@pytest.mark.parametrize(
    ("offer", "messages"),
    [
        (Offer(TOOLS), (OUTPUT,)),
        (Offer(TOOLS, True), ()),
        (Offer(TOOLS, True), (OUTPUT, Message(role="user", text="Hi"))),
    ],
)
def test_else_the_messages_stay(offer: Offer, messages: tuple[Message, ...]) -> None:
    assert offer.insist(messages) is messages


# -- the look at the answer --------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "called", "honoured"),
    [
        (Offer(TOOLS, True), ("get",), True),
        (Offer(TOOLS, True), (), False),
        (Offer(TOOLS, "add"), ("get", "add"), True),
        (Offer(TOOLS, "add"), ("get",), False),
        (Offer(TOOLS, "add"), (), False),
        (Offer(TOOLS, parallel=False), ("get",), True),
        (Offer(TOOLS, parallel=False), (), True),
        (Offer(TOOLS, parallel=False), ("get", "get"), False),
        (Offer(TOOLS, "add", parallel=False), ("add", "get"), False),
    ],
)
def test_whether_it_was_followed(
    offer: Offer, called: tuple[str, ...], honoured: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "stewrd_integrations"):
        assert offer.look_at(outcome(*called)) == {"tool_choice_honoured": honoured}
    assert len(caplog.records) == (not honoured)
    assert all("did not follow tool_choice" in record.message for record in caplog.records)


@pytest.mark.parametrize("offer", [Offer(), Offer(TOOLS)])
def test_where_nothing_was_asked_nothing_is_said(
    offer: Offer, caplog: pytest.LogCaptureFixture
) -> None:
    assert offer.look_at(outcome("get", "get")) == {} and caplog.records == []
    assert offer.honoured(outcome("get", "get"))
