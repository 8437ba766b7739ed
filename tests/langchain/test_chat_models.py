"""What the agent hears and what comes back, over a real socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
    trim_messages,
)

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain import ChatStewrd
from tests.servers import serve

from .conftest import heard, roads
from .entrances import (
    DIRECT,
    Say,
    ainvoke,
    astream,
    astream_events_v2,
    astream_events_v3,
    invoke,
    merged,
    stream,
    stream_events_v3,
)
from .talks import AsyncTokens, Tokens, talk, until

Make = Callable[..., ChatStewrd]
CALL = {"id": "c", "name": "add", "args": {"a": 1}, "type": "tool_call"}
BETA = "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"

pytestmark = [
    pytest.mark.filterwarnings(BETA),
    pytest.mark.filterwarnings("ignore:.*version='v1' is deprecated"),
]


def turn(message: BaseMessage) -> tuple[str, str]:
    told = message.response_metadata["stewrd"]
    return told["road"], told["turn"]


# -- instructions ----------------------------------------------------------------------


@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}])
def test_instructions_are_said_once(stewrd: Emulator, model: ChatStewrd, who: Any) -> None:
    system = SystemMessage("Begin every answer with Ahoy")
    messages: list[BaseMessage] = [system, HumanMessage("My name is Ada.")]
    first = model.invoke(messages, **who)
    second = model.invoke([*messages, first, HumanMessage("Who am I?")], **who)
    assert [first.text, second.text] == ["Ahoy Nice to meet you, Ada.", "Ahoy Your name is Ada."]
    (session,) = stewrd.sessions
    assert stewrd.context(session).instructions == system.text
    assert stewrd.runs[1].message == "Who am I?"


def test_changed_instructions_replace_the_former(stewrd: Emulator, model: ChatStewrd) -> None:
    first = model.invoke([SystemMessage("Use upper case."), HumanMessage("My name is Ada.")])
    shown = [HumanMessage("My name is Ada."), first, HumanMessage("Who am I?")]
    second = model.invoke([SystemMessage("Use lower case."), *shown])
    third = model.invoke([*shown, second, HumanMessage("Thanks")])
    assert second.text == "your name is ada." and third.text == "You are welcome."
    assert turn(second) == turn(third) == ("session", "continued")
    (session,) = stewrd.sessions
    assert stewrd.context(session).instructions == ""


# -- edits -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}])
def test_an_edited_question_goes_to_a_new_session(
    stewrd: Emulator, model: ChatStewrd, who: Any
) -> None:
    messages = talk(model, "My name is Ada.", "Who am I?", **who)
    edited = [HumanMessage("My name is Bo."), *messages[1:], HumanMessage("Who am I?")]
    answer = model.invoke(edited, **who)
    assert answer.text == "Your name is Bo."
    assert answer.response_metadata["session_id"] != messages[-1].response_metadata["session_id"]


def test_a_regenerated_answer_is_not_heard_twice(stewrd: Emulator, model: ChatStewrd) -> None:
    messages = talk(model, "My name is Ada.", "How many messages have I sent?")
    again = model.invoke(messages[:3])
    assert again.text == messages[-1].text == "You have sent me 2 messages, this one included."


def test_trimmed_messages_stay_in_the_session(stewrd: Emulator, model: ChatStewrd) -> None:
    messages = talk(model, "My name is Ada.", "Hello", "Thanks")
    messages.append(HumanMessage("Who am I?"))
    trimmed = trim_messages(
        messages, max_tokens=3, token_counter=len, start_on="human", strategy="last"
    )
    assert len(trimmed) == 3
    answer = model.invoke(trimmed)
    assert answer.text == "Your name is Ada." and turn(answer) == ("session", "continued")


def test_branches_do_not_mix(stewrd: Emulator, model: ChatStewrd) -> None:
    shared = talk(model, "My name is Ada.")
    left = model.invoke([*shared, HumanMessage("My pet is Rex.")])
    right = model.invoke([*shared, HumanMessage("What is my pet?")])
    assert "Rex" in left.text and right.text == "You have not told me your pet."


# -- tenants ---------------------------------------------------------------------------


async def test_tenants_never_meet(stewrd: Emulator, model: ChatStewrd) -> None:
    messages = talk(model, "My name is Ada.", conversation_id="c", tenant="a")
    for tenant in ("b", None):
        mine = model.invoke("Who am I?", conversation_id="c", tenant=tenant)
        assert mine.text == "You have not told me your name."
    theirs = await model.ainvoke(
        [*messages, HumanMessage("Hi")], {"configurable": {"tenant": "b"}}, conversation_id="c"
    )
    sessions = {message.response_metadata["session_id"] for message in (messages[-1], theirs)}
    assert len(sessions) == 2


# -- input -----------------------------------------------------------------------------


@pytest.mark.parametrize("say", [invoke, ainvoke, stream, astream])
@pytest.mark.parametrize("option", ["temperature", "max_tokens", "model", "stewrd"])
async def test_unknown_keywords_are_named(
    stewrd: Emulator, model: ChatStewrd, say: Say, option: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"no place for '{option}'"):
        await say(model, "Hi", **{option: 1})
    await say(model, "Hi", **{option: None})
    assert len(stewrd.runs) == 1


def test_keywords_of_core_pass(stewrd: Emulator, model: ChatStewrd) -> None:
    model.invoke("Hi", stream=True)
    model.invoke("Hi", stream=False, ls_structured_output_format={"kwargs": {}, "schema": {}})
    assert [run.stream for run in stewrd.runs] == [True, False]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "no message to answer"),
        ([HumanMessage("Hi"), AIMessage("", tool_calls=[CALL])], "asks for tools"),
        ([HumanMessage(" ")], "has no text"),
        ([HumanMessage([{"type": "image", "url": "https://x"}])], "Block 1 of message 1"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    stewrd: Emulator, model: ChatStewrd, messages: Any, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        model.invoke(messages)
    with pytest.raises(InvalidInputError, match=told):
        model.explain(messages)
    assert stewrd.requests == []


def test_tool_messages_of_others_are_replayed(stewrd: Emulator, model: ChatStewrd) -> None:
    answer = model.invoke(
        [
            HumanMessage("Add.", name="Ada"),
            AIMessage("", tool_calls=[CALL]),
            ToolMessage("2", tool_call_id="c", name="add"),
            AIMessage("It is 2."),
            HumanMessage("Thanks"),
        ]
    )
    said = stewrd.runs[0].conversation.messages
    assert [one.role for one in said] == ["user", "assistant", "tool", "assistant", "user"]
    assert said[0].name == "Ada" and said[1].tool_calls[0].arguments == {"a": 1}
    assert answer.text == "You are welcome."


# -- stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("say", DIRECT)
@pytest.mark.parametrize("split", ["words", "characters", "whole"])
async def test_stop(say: Say, split: Any) -> None:
    with serve(token_split=split) as stewrd:
        model = ChatStewrd(api_key=stewrd.api_key, base_url=stewrd.url, stop=["What"])
        assert (await say(model, "Hello")).text == "Hello! "
        answer = await say(model.bind(stop=["can I", "zzz"]), "Hello")
        assert answer.text == "Hello! What "
        await model.aclose()


def test_a_stop_may_be_a_text(model: ChatStewrd) -> None:
    assert model.invoke("Hello", stop="What").text == "Hello! "  # type: ignore[arg-type]


def test_a_stopped_answer_is_not_continued(stewrd: Emulator, model: ChatStewrd) -> None:
    first = model.invoke("Hello", stop=["What"])
    second = model.invoke([HumanMessage("Hello"), first, HumanMessage("What did I say before?")])
    assert second.text == "Before this, you said: “Hello”"
    assert second.response_metadata["session_id"] != first.response_metadata["session_id"]


# -- streams ---------------------------------------------------------------------------


async def test_the_facts_come_once_in_the_last_chunk(model: ChatStewrd) -> None:
    sync = list(model.stream("Hello"))
    later = [chunk async for chunk in model.astream("Hello")]
    for chunks in (sync, later):
        *tokens, last = chunks
        assert all(not (c.response_metadata or c.additional_kwargs) for c in tokens)
        assert all(isinstance(chunk.content, str) for chunk in chunks)
        assert last.chunk_position == "last" and last.content == ""
        whole = message_chunk_to_message(merged(chunks))
        assert isinstance(whole, AIMessage)
        assert whole.response_metadata["model_name"] == "stewrd-agent"
        assert whole.text == "Hello! What can I do for you?"


@pytest.mark.parametrize("say", DIRECT)
async def test_every_way_gives_the_same_facts(model: ChatStewrd, say: Say) -> None:
    answer = await say(model, "Hello")
    told = answer.response_metadata
    assert told["stewrd"]["mark"] == answer.additional_kwargs["stewrd"]["mark"]
    assert told["finish_reason"] == "stop" and told["id"] == told["request_id"]
    assert told["usage"]["tokens"] > 0 and told["messages_used"] == 2


@pytest.mark.parametrize("say", [stream, astream, stream_events_v3, astream_events_v3])
async def test_callbacks_hear_every_token(model: ChatStewrd, say: Say) -> None:
    tokens, later = Tokens(), AsyncTokens()
    handlers: list[Any] = [tokens, later] if say in (astream, astream_events_v3) else [tokens]
    answer = await say(model, "Hello", {"callbacks": handlers})
    await until(lambda: tokens.ended)
    assert "".join(tokens.seen) == answer.text and len(tokens.ended) == 1
    if len(handlers) > 1:
        assert later.seen == tokens.seen


def test_a_streaming_model_calls_back_from_invoke(stewrd: Emulator, make: Make) -> None:
    tokens = Tokens()
    answer = make(streaming=True).invoke("Hello", {"callbacks": [tokens]})
    assert stewrd.runs[0].stream and "".join(tokens.seen) == answer.text


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("say", DIRECT)
async def test_output_versions(make: Make, say: Say, output_version: str) -> None:
    model = make(output_version=output_version)
    first = await say(model, "My name is Ada.")
    second = await say(model, [HumanMessage("My name is Ada."), first, HumanMessage("Who am I?")])
    assert second.text == "Your name is Ada." and turn(second) == ("session", "continued")
    assert [block["type"] for block in second.content_blocks] == ["text"]


# -- progress --------------------------------------------------------------------------

PROGRESS = ["tool_start", "tool_end"]


def kinds(message: BaseMessage) -> list[str]:
    return [entry["type"] for entry in message.response_metadata.get("stewrd_progress", [])]


def working(stewrd: Emulator) -> ChatStewrd:
    return ChatStewrd(
        api_key=stewrd.api_key, base_url=stewrd.url, capabilities=["research"], sessions="never"
    )


async def test_progress_shows_as_it_happens(stewrd: Emulator) -> None:
    async with working(stewrd) as model:
        for chunks in (
            list(model.stream("Hello")),
            [chunk async for chunk in model.astream("Hello")],
        ):
            assert [kind for chunk in chunks for kind in kinds(chunk)] == PROGRESS
            assert kinds(chunks[0]) == PROGRESS[:1] and kinds(chunks[-1]) == []
            whole = message_chunk_to_message(merged(chunks))
            assert kinds(whole) == PROGRESS
            first = whole.response_metadata["stewrd_progress"][0]
            assert first["tool"] == "research" and isinstance(first["message"], str)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_progress_in_events(stewrd: Emulator, version: Any) -> None:
    async with working(stewrd) as model:
        seen = [
            kind
            async for event in model.astream_events("Hello", version=version)
            if event["event"] == "on_chat_model_stream"
            for kind in kinds(event["data"]["chunk"])
        ]
    assert seen == PROGRESS


async def test_progress_leaves_v3_events_whole(stewrd: Emulator) -> None:
    async with working(stewrd) as model:
        plain = model.invoke("Hello")
        for say in (stream_events_v3, astream_events_v3, astream_events_v2):
            answer = await say(model, "Hello")
            assert answer.text == plain.text
            assert answer.response_metadata["model_name"] == "stewrd-agent"


# -- the rest --------------------------------------------------------------------------


def test_explain_changes_nothing(stewrd: Emulator, model: ChatStewrd) -> None:
    messages = talk(model, "My name is Ada.", conversation_id="c")
    more = [*messages, HumanMessage("Who am I?")]
    asked = len(stewrd.requests)
    for _ in range(2):
        told = model.explain(more, conversation_id="c")
        assert (told.road, told.turn, told.text) == ("session", "continued", "Who am I?")
    configured = model.explain(more, {"configurable": {"conversation_id": "c"}})
    assert configured == told
    assert model.explain("Hi", sessions="never").road == "stateless"
    assert len(stewrd.requests) == asked
    with pytest.raises(InvalidInputError, match="temperature"):
        model.explain("Hi", temperature=1)
    assert turn(model.invoke(more, conversation_id="c")) == ("session", "continued")


async def test_closed_models_open_again(make: Make) -> None:
    with make() as model:
        model.invoke("Hi")
    assert model.invoke("Hi").text
    async with make() as model:
        await model.ainvoke("Hi")
    assert (await model.ainvoke("Hi")).text
    never_used = model.model_copy()
    never_used.close()
    await never_used.aclose()


def test_what_tracers_are_told(make: Make, stewrd: Emulator) -> None:
    model = make(capabilities=["chat"], stop=["x"])
    assert model._llm_type == "stewrd"
    assert model._identifying_params == {"base_url": stewrd.url, "capabilities": ["chat"]}
    params = model._get_ls_params(model="other")
    assert params["ls_model_name"] == "other" and params["ls_stop"] == ["x"]
    assert model._get_ls_params(stop=["y"])["ls_stop"] == ["y"]
    assert model.metadata is not None
    assert "stewrd-integrations" in model.metadata["lc_versions"]
    assert model.profile is not None and model.profile["tool_calling"]


def test_full_projects_go_stateless(stewrd: Emulator, make: Make) -> None:
    model = make(max_active_sessions=0)
    talk(model, "My name is Ada.", "Who am I?", conversation_id="c")
    assert roads(stewrd) == ["stateless"] * 2 and heard(stewrd) == []


@pytest.mark.parametrize("streaming", [True, False])
async def test_results_of_core_tell_of_the_model(make: Make, streaming: bool) -> None:
    model = make(streaming=streaming)
    for result in (
        model.generate([[HumanMessage("Hi")], [HumanMessage("Hello")]]),
        await model.agenerate([[HumanMessage("Hi")], [HumanMessage("Hello")]]),
    ):
        told = [one[0].generation_info for one in result.generations]
        assert told == [{"finish_reason": "stop"}] * 2
        assert result.llm_output == {"model_name": "stewrd-agent", "model_provider": "stewrd"}
