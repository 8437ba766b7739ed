"""What tools gave back: how it reaches the run that waits, or the conversation without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Answer, Call, Context, Emulator
from stewrd_integrations.errors import EmptyAnswerError, InvalidInputError
from stewrd_integrations.langchain import ChatStewrd

from .conftest import heard, roads
from .tooling import (
    NOT_TAKING,
    TAKING,
    TOOLS,
    Make,
    add_numbers,
    asked,
    charged,
    emulated,
    given_back,
    on,
    outputs,
    refused,
    said,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings(
        "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
    ),
]


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


# -- what is given back ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "more", "output"),
    [
        ("sunny", {}, "sunny"),
        ("", {}, ""),
        ([{"type": "text", "text": "sun"}, {"type": "text", "text": "ny"}], {}, "sunny"),
        (["sunny"], {}, "sunny"),
        ("sunny", {"artifact": {"degrees": 20}}, "sunny"),
        ("no such city", {"status": "error"}, "Error: no such city"),
        ("Error: no such city", {"status": "error"}, "Error: no such city"),
        (
            [{"type": "text-plain", "text": "a;b", "title": "t.csv", "mime_type": "text/plain"}],
            {},
            "\n\n[t.csv]\na;b",
        ),
    ],
)
@on(TAKING)
def test_tool_messages_of_every_kind(
    stewrd: Emulator, model: ChatStewrd, content: Any, more: Any, output: str
) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "get_weather(Oslo)")
    bound.invoke([*messages, *given_back(messages[-1], content, **more)])
    assert [one["output"] for one in outputs(stewrd)[0]] == [output]


def test_an_output_that_can_not_be_sent(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "get_weather(Oslo)")
    with pytest.raises(InvalidInputError, match="has 110000 bytes"):
        bound.invoke([*messages, *given_back(messages[-1], "x" * 110_000)])
    assert outputs(stewrd) == []
    bound.invoke([*messages, *given_back(messages[-1], "x" * 50_000)])
    assert len(outputs(stewrd)) == 1, "the run waits on"


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@on(TAKING, *NOT_TAKING)
async def test_outputs_for_a_run_have_no_other_limit_than_the_apis(
    stewrd: Emulator, model: ChatStewrd, way: str
) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "get_weather(Oslo) and add_numbers(1, 2)", conversation_id="c")
    messages += given_back(messages[-1], "x" * 90_000, "y" * 90_000)
    if way == "invoke":
        bound.invoke(messages, conversation_id="c")
    else:
        await bound.ainvoke(messages, conversation_id="c")
    ((first, second),) = outputs(stewrd)
    assert (first["output"], second["output"]) == ("x" * 90_000, "y" * 90_000)


@on(TAKING, *NOT_TAKING)
def test_outputs_that_are_told_as_messages_have_to_fit_into_one(
    stewrd: Emulator, make: Make
) -> None:
    bound = make().bind_tools(TOOLS)
    messages = asked(bound, "get_weather(Oslo) and add_numbers(1, 2)", conversation_id="c")
    messages += given_back(messages[-1], "x" * 90_000, "y" * 90_000)
    stewrd.advance(301)
    before = charged(stewrd)
    with pytest.raises(InvalidInputError, match="tool outputs to be replayed") as raised:
        bound.invoke(messages, conversation_id="c")
    assert (raised.value.charged, charged(stewrd)) == ("no", before)
    more = make(replay_budget=200_000).bind_tools(TOOLS)
    more.invoke(messages, conversation_id="c")
    assert [len(text) for role, text in said(stewrd) if role == "tool"] == [90_000] * 2


def counting(context: Context) -> str | Answer:
    """Calls a tool twelve times."""
    had = len(context.results)
    return Answer(calls=[Call("add_numbers", {"a": had, "b": 1})]) if had < 12 else "12 times"


@on({**TAKING, "agent": counting}, {**NOT_TAKING[1], "agent": counting})
def test_a_run_is_given_outputs_ten_times(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    messages: list[BaseMessage] = [HumanMessage("Count.")]
    while not isinstance(messages[-1], AIMessage) or messages[-1].tool_calls:
        if isinstance(messages[-1], AIMessage):
            messages += given_back(messages[-1], f"{len(messages)}")
        messages.append(bound.invoke(messages, conversation_id="c"))
    assert messages[-1].text == "12 times" and stewrd.refused == []
    asked_anew = len([run for run in stewrd.runs if not run.round])
    assert max(run.round for run in stewrd.runs) == 10 and len(outputs(stewrd)) == 11
    assert asked_anew == 2 + (stewrd.settings.session_tools == "empty")


@on(TAKING)
def test_an_empty_answer_takes_no_tools_off_sessions_that_take_them(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)", conversation_id="a")
    messages += given_back(messages[-1], "3")
    messages.append(bound.invoke(messages, conversation_id="a"))  # they were taken, so it is known
    before = charged(stewrd)
    usual = stewrd.world.settings
    stewrd.world.settings = replace(usual, session_tools="empty")
    with pytest.raises(EmptyAnswerError) as raised:
        bound.invoke("add_numbers(3, 4)", conversation_id="b")
    stewrd.world.settings = usual
    assert (raised.value.charged, charged(stewrd)) == ("likely", before + 1)
    bound.invoke([*messages, HumanMessage("add_numbers(5, 6)")], conversation_id="a")
    bound.invoke("add_numbers(3, 4)", conversation_id="c")
    assert set(roads(stewrd)) == {"session"}


@on(TAKING, *NOT_TAKING)
def test_calls_and_results_of_a_run_that_is_gone_are_told_as_messages(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)", conversation_id="c")
    stewrd.advance(301)
    messages += given_back(messages[-1], "3")
    answer = bound.invoke(messages, conversation_id="c")
    assert answer.text.endswith("3")
    assert set(refused(stewrd)) <= {"invalid_tools", "context_expired"}
    assert [role for role, _ in said(stewrd)] == ["user", "assistant", "tool"]
    last = stewrd.runs[-1].conversation.messages
    (call,) = last[1].tool_calls
    assert call.arguments == {"a": 1, "b": 2} and call.id == last[2].tool_call_id


@on(TAKING, *NOT_TAKING)
def test_outputs_of_another_model_object(stewrd: Emulator, make: Make) -> None:
    ours, theirs = (make(store=f"memory://{n}") if n else make() for n in ("", ""))
    bound, other = ours.bind_tools(TOOLS), theirs.bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)", conversation_id="c")
    messages += given_back(messages[-1], "3")
    assert other.invoke(messages, conversation_id="c").text.endswith("3")
    assert len(outputs(stewrd)) == 1, "one store serves both"


@on(TAKING, *NOT_TAKING)
def test_some_of_the_outputs_only(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "get_weather(Oslo) and add_numbers(1, 2)", conversation_id="c")
    messages += given_back(messages[-1], "sunny", "3")[:1]
    bound.invoke(messages, conversation_id="c")
    assert outputs(stewrd) == [] and [role for role, _ in said(stewrd)][-1] == "tool"
    assert set(refused(stewrd)) <= {"invalid_tools"}


@on(TAKING, *NOT_TAKING)
def test_calls_without_outputs_before_a_new_message(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)", conversation_id="c")
    messages.append(HumanMessage("My name is Ada."))
    answer = bound.invoke(messages, conversation_id="c")
    assert answer.text == "Nice to meet you, Ada." and outputs(stewrd) == []
    assert [role for role, _ in said(stewrd)] == ["user", "assistant", "user"]
    messages += [answer, HumanMessage("Who am I?")]
    assert bound.invoke(messages, conversation_id="c").text == "Your name is Ada."
    assert set(refused(stewrd)) <= {"invalid_tools"}


@on(TAKING, *NOT_TAKING)
@pytest.mark.parametrize("named", [True, False])
def test_outputs_and_a_message_are_two_requests(
    stewrd: Emulator, model: ChatStewrd, named: bool
) -> None:
    bound = model.bind_tools(TOOLS)
    who: Any = {"conversation_id": "c"} if named else {}
    messages = asked(bound, "add_numbers(1, 2)", **who)
    messages += [*given_back(messages[-1], "3"), HumanMessage("My name is Ada.")]
    answer = bound.invoke(messages, **who)
    assert answer.text == "Nice to meet you, Ada." and answer.tool_calls == []
    taking = stewrd.settings.session_tools == "accepted"
    assert len(outputs(stewrd)) == taking
    if taking:
        assert len(stewrd.sessions) == 1 and roads(stewrd) == ["session"] * 3
    messages += [answer, HumanMessage("Who am I?")]
    assert bound.invoke(messages, **who).text == "Your name is Ada."
    assert charged(stewrd) <= 4


def test_a_foreign_history_with_tools_is_told_as_it_is(stewrd: Emulator, model: ChatStewrd) -> None:
    examples: list[BaseMessage] = [
        SystemMessage("Be brief."),
        HumanMessage("What is 1 and 2?", name="example_user"),
        AIMessage(
            "",
            name="example_assistant",
            tool_calls=[{"name": "add_numbers", "args": {"a": 1, "b": 2}, "id": "1"}],
        ),
        ToolMessage("3", tool_call_id="1"),
        AIMessage("3", name="example_assistant"),
        HumanMessage("add_numbers(3, 4)"),
    ]
    answer = model.bind_tools(TOOLS).invoke(examples)
    assert [call["args"] for call in answer.tool_calls] == [{"a": 3, "b": 4}]
    told = stewrd.runs[-1].conversation
    assert told.instructions == "Be brief."
    assert [one.role for one in told.messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert [(one.id, one.name) for one in told.messages[1].tool_calls] == [("1", "add_numbers")]
    assert told.messages[2].tool_call_id == "1"


@on(TAKING, {})
def test_outputs_of_calls_that_we_never_asked_for(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    foreign: list[BaseMessage] = [
        HumanMessage("add_numbers(1, 2)"),
        AIMessage("", tool_calls=[{"name": "add_numbers", "args": {"a": 1, "b": 2}, "id": "x1"}]),
        ToolMessage("3", tool_call_id="x1", status="error"),
    ]
    assert bound.invoke(foreign).text.endswith("3") and outputs(stewrd) == []
    assert stewrd.runs[-1].conversation.messages[-1].error


@on(TAKING)
def test_malformed_calls_of_others_are_told_too(stewrd: Emulator, model: ChatStewrd) -> None:
    broken = {"type": "invalid_tool_call", "id": "1", "name": "add", "args": "{a", "error": None}
    messages = [
        HumanMessage("Hi"),
        AIMessage("", invalid_tool_calls=[broken]),
        HumanMessage("My name is Ada."),
    ]
    assert "Ada" in model.bind_tools(TOOLS).invoke(messages).text
    (call,) = stewrd.runs[-1].conversation.messages[1].tool_calls
    assert call.name == "add" and call.arguments == {"malformed": "{a"}


@on(TAKING)
@pytest.mark.parametrize("change", ["tools", "instructions", "none bound"])
def test_a_change_in_the_midst_of_a_run(stewrd: Emulator, model: ChatStewrd, change: str) -> None:
    bound = model.bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)", conversation_id="c")
    messages += given_back(messages[-1], "3")
    if change == "tools":
        bound = model.bind_tools([add_numbers])
    if change == "none bound":
        bound = model
    if change == "instructions":
        messages = [SystemMessage("Be brief."), *messages]
    answer = bound.invoke(messages, conversation_id="c")
    assert "3" in answer.text and len(outputs(stewrd)) == 1 and len(stewrd.sessions) == 1
    assert [role for role, _ in said(stewrd)] == ["user", "assistant", "tool", "assistant"]
    assert "heard by the session alone" in answer.response_metadata["stewrd"]["reason"]


DEMANDED = "the application demands the following. You must call at least one of the tools."


@on(TAKING, *NOT_TAKING)
def test_what_is_asked_of_the_answer_to_outputs_stands_in_the_last_of_them(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    bound = model.bind_tools(TOOLS, tool_choice="any")
    messages = asked(bound, "get_weather(Oslo) and add_numbers(1, 2)", conversation_id="c")
    messages += given_back(messages[-1], "sunny", "3")
    bound.invoke(messages, conversation_id="c")
    first, last = (one["output"] for one in outputs(stewrd)[0])
    assert first == "sunny" and last.startswith("3\n") and last.endswith(DEMANDED)


@on({**TAKING, "script": ([Call("add_numbers", {"a": 1, "b": 2})], "It is 3.", "Hello, Ada.")})
def test_what_was_asked_of_an_answer_is_no_part_of_the_conversation(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    bound = model.bind_tools(TOOLS, tool_choice="any")
    messages = asked(bound, "What is 1 and 2?", conversation_id="c")
    messages += given_back(messages[-1], "3")
    messages.append(bound.invoke(messages, conversation_id="c"))
    messages.append(HumanMessage("My name is Ada."))
    messages.append(model.bind_tools(TOOLS).invoke(messages, conversation_id="c"))
    assert roads(stewrd) == ["session"] * 3 and len(stewrd.sessions) == 1
    asking = [run.message for run in stewrd.runs if run.message]
    assert DEMANDED in asking[0].replace("\n", " ") and asking[1] == "My name is Ada."


# -- slots and names -------------------------------------------------------------------


@on(TAKING)
def test_a_conversation_with_tools_stays_on_its_session(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    bound = model.bind_tools(TOOLS)
    messages: list[BaseMessage] = []
    for n in range(4):
        messages.append(HumanMessage(f"add_numbers({n}, 1)"))
        messages.append(bound.invoke(messages, conversation_id="c"))
        messages += given_back(messages[-1], str(n + 1))
        messages.append(bound.invoke(messages, conversation_id="c"))
        assert messages[-1].text.endswith(str(n + 1))
    assert heard(stewrd) == [[f"add_numbers({n}, 1)" for n in range(4)]]
    assert charged(stewrd) == 4, "outputs cost nothing"


@on(*NOT_TAKING)
def test_a_session_that_takes_no_tools_hears_of_them_all_the_same(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    messages = asked(model, "My name is Ada.", conversation_id="c")
    messages.append(HumanMessage("add_numbers(1, 2)"))
    bound = model.bind_tools(TOOLS)
    messages.append(bound.invoke(messages, conversation_id="c"))
    messages += given_back(messages[-1], "3")
    messages.append(bound.invoke(messages, conversation_id="c"))
    messages.append(HumanMessage("What is my name?"))
    messages.append(model.invoke(messages, conversation_id="c"))
    assert messages[-1].text == "Your name is Ada."
    told = said(stewrd)
    assert told[:2] == [("user", "My name is Ada."), ("assistant", "Nice to meet you, Ada.")]
    assert ("tool", "3") in told and told.count(("user", "add_numbers(1, 2)")) == 1
    # A session that answered nothing has heard something: it is given up. One that refused is not.
    assert len(stewrd.sessions) == (2 if stewrd.settings.session_tools == "empty" else 1)
    assert model.invoke([*messages, HumanMessage("Hi")], conversation_id="c").text
    assert stewrd.runs[-1].road == "session"


@on(*NOT_TAKING)
def test_it_is_learnt_once_that_sessions_take_no_tools(stewrd: Emulator, model: ChatStewrd) -> None:
    bound = model.bind_tools(TOOLS)
    for n in range(5):
        asked(bound, "add_numbers(1, 2)", conversation_id=f"c{n}")
    tried = [one for one in stewrd.requests if one.path.endswith("/messages")]
    assert len(tried) == 1 and len(stewrd.sessions) == 1


def test_tools_without_sessions(stewrd: Emulator, make: Make) -> None:
    bound = make(sessions="never").bind_tools(TOOLS)
    messages = asked(bound, "add_numbers(1, 2)")
    messages += given_back(messages[-1], "3")
    assert bound.invoke(messages).text.endswith("3")
    assert len(outputs(stewrd)) == 1 and len(stewrd.sessions) == 0 and charged(stewrd) == 1


def test_more_can_be_bound(stewrd: Emulator, model: ChatStewrd) -> None:
    bound: Any = model.bind_tools(TOOLS, conversation_id="c", capabilities=["chat"])
    messages = asked(bound, "My name is Ada.")
    assert bound.bind(tenant="t").invoke("Who am I?").text == "You have not told me your name."
    assert "Ada" in bound.invoke([*messages, HumanMessage("Who am I?")]).text
    with pytest.raises(StewrdError, match="no place for 'temperature'"):
        model.bind_tools(TOOLS, temperature=0).invoke("Hi")
