"""Conversations, as the server heard them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from llama_index.core.base.llms.types import (
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # its public name
from llama_index.core.instrumentation.span_handlers import NullSpanHandler
from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.prompts import PromptTemplate

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError, StewrdError
from stewrd_integrations.llama_index import StewrdLLM

from .conftest import Talk, Way, sent, system, told, user

Make = Callable[..., StewrdLLM]
NAMED = {"conversation_id": "ada"}


async def three_turns(talk: Talk) -> list[str]:
    """Say three things; the turns that the answers told of."""
    turns = [told(await talk.say("My name is Ada."))["turn"]]
    turns.append(told(await talk.say("My cat is Tom."))["turn"])
    last = await talk.say("What is my name?")
    assert last.message.content == "Your name is Ada."
    return [*turns, told(last)["turn"]]


THREE = ["My name is Ada.", "My cat is Tom.", "What is my name?"]


@pytest.mark.parametrize(
    ("options", "who"), [({}, {}), (NAMED, {}), ({}, NAMED), ({"conversation_id": "other"}, NAMED)]
)
async def test_a_conversation_is_one_session_that_hears_each_message_once(
    emulator: Emulator, make: Make, way: Way, options: dict[str, Any], who: dict[str, Any]
) -> None:
    talk = Talk(make(**options), way, **who)
    assert await three_turns(talk) == ["opened", "continued", "continued"]
    (session,) = emulator.sessions
    assert [text for role, text in emulator.heard(session) if role == "user"] == THREE
    assert sent(emulator) == THREE
    assert not emulator.refused


async def test_without_marks_content_is_matched(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    talk = Talk(llm, way)
    talk.keeps_marks = False
    assert await three_turns(talk) == ["opened", "continued", "continued"]
    assert len(emulator.sessions) == 1


async def test_without_marks_and_matching_nothing_is_recognised(
    emulator: Emulator, make: Make, way: Way
) -> None:
    talk = Talk(make(match_by_content=False), way)
    talk.keeps_marks = False
    assert (await three_turns(talk))[1:] == ["stateless", "stateless"]
    assert [run.session_id for run in emulator.runs][1:] == [None, None]


async def test_a_name_is_found_by_another_object(emulator: Emulator, make: Make, way: Way) -> None:
    talk = Talk(make(**NAMED), way)
    await talk.say("My name is Ada.")
    talk.llm = make(**NAMED)
    assert (await talk.say("What is my name?")).message.content == "Your name is Ada."
    assert sent(emulator)[-1] == "What is my name?"


async def test_who_may_be_assigned_later_and_none_is_not_given(
    emulator: Emulator, llm: StewrdLLM
) -> None:
    llm.conversation_id = "ada"
    llm.chat([user("My name is Ada.")], conversation_id=None, sessions=None, stop=None)
    explained = llm.model_copy(update={"conversation_id": None}).explain([user("Hi")])
    assert explained.turn == "opened"
    shown = [
        user("My name is Ada."),
        ChatMessage(role="assistant", content="Nice to meet you, Ada."),
    ]
    assert llm.explain([*shown, user("Hi")]).turn == "continued"
    with pytest.raises(InvalidInputError, match="everything"):
        llm.chat([user("Hi")], capabilities=["everything"])
    assert len(emulator.runs) == 1


async def test_instructions_are_said_once(emulator: Emulator, llm: StewrdLLM, way: Way) -> None:
    talk = Talk(llm, way, system("End every answer with MIAU."))
    assert str((await talk.say("Hello")).message.content).endswith("MIAU")
    assert str((await talk.say("My cat is Tom.")).message.content).endswith("MIAU")
    (session,) = emulator.sessions
    assert emulator.context(session).instructions == "End every answer with MIAU."
    assert sent(emulator)[-1] == "My cat is Tom."


async def test_changed_instructions_replace_the_former(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    talk = Talk(llm, way, system("End every answer with MIAU."), **NAMED)
    await talk.say("Hello")
    talk.messages[0] = system("End every answer with WUFF.")
    response = await talk.say("My cat is Tom.")
    assert str(response.message.content).endswith("WUFF")
    assert told(response)["turn"] == "continued"
    (session,) = emulator.sessions
    assert emulator.context(session).instructions == "End every answer with WUFF."


@pytest.mark.parametrize("who", [{}, NAMED])
async def test_an_edit_goes_to_a_session_that_never_heard_the_old_text(
    emulator: Emulator, llm: StewrdLLM, way: Way, who: dict[str, Any]
) -> None:
    talk = Talk(llm, way, **who)
    await talk.say("My name is Ada.")
    await talk.say("My cat is Tom.")
    talk.messages[0] = user("My name is Bob.")
    response = await talk.say("What is my name?")
    assert response.message.content == "Your name is Bob."
    run = emulator.runs[-1]
    users = [said.text for said in run.conversation.messages if said.role == "user"]
    assert users == ["My name is Bob.", "My cat is Tom.", "What is my name?"]


async def test_tenants_never_meet(emulator: Emulator, make: Make, way: Way) -> None:
    llm = make(**NAMED)
    talks = [Talk(llm, way, tenant=tenant) for tenant in ("a", "b")]
    for talk, name in zip(talks, ("Ada", "Bob"), strict=True):
        await talk.say(f"My name is {name}.")
    for talk, name in zip(talks, ("Ada", "Bob"), strict=True):
        assert (await talk.say("What is my name?")).message.content == f"Your name is {name}."
    assert len(emulator.sessions) == 2
    # A list with marks that has come to the wrong tenant is told anew, not continued.
    talks[0].who = {"tenant": "b", "conversation_id": "else"}
    assert told(await talks[0].say("Hello"))["turn"] == "replayed"


async def test_unnamed_conversations_never_meet(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    talks = [Talk(llm, way), Talk(llm, way)]
    for talk in talks:
        await talk.say("Hello")
    await talks[0].say("My name is Ada.")
    await talks[1].say("My name is Bob.")
    assert (await talks[0].say("What is my name?")).message.content == "Your name is Ada."
    assert (await talks[1].say("What is my name?")).message.content == "Your name is Bob."


async def test_an_expired_session_is_invisible(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    talk = Talk(llm, way, **NAMED)
    await talk.say("My name is Ada.")
    emulator.expire()
    response = await talk.say("What is my name?")
    assert response.message.content == "Your name is Ada."
    assert told(response)["turn"] == "recreated"


async def test_without_sessions(emulator: Emulator, make: Make, way: Way) -> None:
    assert await three_turns(Talk(make(sessions="never"), way)) == ["stateless"] * 3
    assert await three_turns(Talk(make(), way, sessions="never")) == ["stateless"] * 3
    assert not emulator.sessions


async def test_capabilities_are_a_filter_of_the_request(
    emulator: Emulator, make: Make, way: Way
) -> None:
    llm = make(capabilities=["chat"])
    assert (await way.ask(llm, [user("Hi")])).additional_kwargs["usage"]["credits"] == 1
    await way.ask(llm, [user("Hi")], capabilities=["research", "code"])
    assert [run.capabilities for run in emulator.runs] == [("chat",), ("research", "code")]


# -- files -----------------------------------------------------------------------------


async def test_files_go_in_and_are_sent_again_with_a_replay(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    block = DocumentBlock(data=b"number,name\n1,Ada\n", title="people.csv")
    blocks = [TextBlock(text="Look at this."), block]
    talk = Talk(llm, way, **NAMED)
    talk.messages.append(ChatMessage(role="user", blocks=blocks))
    response = await way.ask(llm, talk.messages, **NAMED)
    assert response.message.content == "people.csv has 2 lines; the first one is “number,name”."
    talk.messages.append(response.message)
    await talk.say("What was in the file?")
    assert [len(run.files) for run in emulator.runs] == [1, 0]
    emulator.expire()
    await talk.say("And now?")
    assert [file.name for file in emulator.runs[-1].files] == ["people.csv"]


async def test_files_come_out_and_are_sent_again_with_a_replay(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    talk = Talk(llm, way, **NAMED)
    response = await talk.say("Write the file list.csv")
    (file,) = told(response)["files"]
    assert (file["name"], file["content"][:11]) == ("list.csv", "number,role")
    _, block = response.message.blocks
    assert isinstance(block, DocumentBlock)
    assert block.title == "list.csv"
    assert told(await talk.say("Thanks"))["turn"] == "continued"
    emulator.expire()
    await talk.say("And now?")
    assert [file.name for file in emulator.runs[-1].files] == ["list.csv"]


async def test_a_bad_block_is_refused_before_anything_is_sent(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    image = ImageBlock(url="https://example.org/a.png")
    blocks = [TextBlock(text="What is this?"), image]
    with pytest.raises(InvalidInputError, match=r"Message 1 .*, block 2: .*'image'"):
        await way.ask(llm, [ChatMessage(role="user", blocks=blocks)])
    assert not emulator.requests


# -- arguments -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["temperature", "max_tokens", "model", "conversation", "seed"])
async def test_unknown_arguments_raise_by_name_unless_none(
    emulator: Emulator, llm: StewrdLLM, way: Way, name: str
) -> None:
    given: dict[str, Any] = {name: 1}
    with pytest.raises(InvalidInputError, match=f"'{name}'"):
        await way.ask(llm, [user("Hi")], **given)
    assert not emulator.requests
    given[name] = None
    assert (await way.ask(llm, [user("Hi")], **given)).message.content


@pytest.mark.parametrize(
    "who",
    [
        {"conversation_id": " "},
        {"tenant": 1.5},
        {"sessions": "sometimes"},
        {"stop": 3},
        {"stop": [""]},
    ],
)
async def test_wrong_arguments_are_refused(
    emulator: Emulator, llm: StewrdLLM, way: Way, who: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(who))):
        await way.ask(llm, [user("Hi")], **who)
    assert not emulator.requests


@pytest.mark.parametrize("stop", ["Ada", ["nobody", "Ada"]])
async def test_stop_cuts_the_answer_and_the_next_turn_knows(
    emulator: Emulator, llm: StewrdLLM, way: Way, stop: Any
) -> None:
    talk = Talk(llm, way, stop=stop, **NAMED)
    chunks = await way.chunks(llm, [user("My name is Ada.")], stop=stop, **NAMED)
    assert chunks[-1].message.content == "Nice to meet you, "
    if way.streams:
        assert "".join(chunk.delta or "" for chunk in chunks) == "Nice to meet you, "
    talk.messages = [user("My name is Ada."), chunks[-1].message]
    del talk.who["stop"]
    assert (await talk.say("What is my name?")).message.content == "Your name is Ada."
    said = emulator.runs[-1].conversation.messages
    assert [one.text.strip() for one in said] == [
        "My name is Ada.",
        "Nice to meet you,",
        "What is my name?",
    ]


def test_a_list_without_a_question_is_refused(emulator: Emulator, llm: StewrdLLM) -> None:
    for messages in (
        [],
        [system(" ")],
        [
            user("Hi"),
            ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_name="f", tool_kwargs={})]),
        ],
    ):
        with pytest.raises(InvalidInputError):
            llm.chat(messages)
    assert not emulator.requests


# -- answers ---------------------------------------------------------------------------


async def test_errors_are_ours_in_every_way(emulator: Emulator, llm: StewrdLLM, way: Way) -> None:
    emulator.fail_next("error", on="send", status=402, code="insufficient_credits")
    with pytest.raises(StewrdError) as caught:
        await way.ask(llm, [user("Hi")])
    assert caught.value.status == 402


async def test_answers_tell_about_their_way(emulator: Emulator, llm: StewrdLLM, way: Way) -> None:
    response = await way.ask(llm, [user("Hi")], **NAMED)
    (session,) = emulator.sessions
    found = told(response)
    assert found["session_id"] == session
    assert (found["road"], found["turn"], found["messages_used"]) == ("session", "opened", 2)
    assert found["request_id"] == emulator.runs[0].id
    assert response.raw == response.additional_kwargs
    assert response.message.role == MessageRole.ASSISTANT
    assert list(response.message.additional_kwargs) == ["stewrd"]
    assert session not in str(response.message.additional_kwargs)


def test_metadata_suits_memories_and_engines(llm: StewrdLLM) -> None:
    found = llm.metadata
    assert found.is_chat_model
    assert found.is_function_calling_model
    assert found.context_window >= 1_000_000 > found.num_output > 0
    assert found.system_role == MessageRole.SYSTEM
    assert llm.class_name() == "StewrdLLM"


# -- explain ---------------------------------------------------------------------------


def test_explain_sends_and_changes_nothing(emulator: Emulator, llm: StewrdLLM) -> None:
    messages = [user("My name is Ada.")]
    first = llm.explain(messages, **NAMED)
    assert (first.road, first.turn, first.text) == ("session", "opened", "My name is Ada.")
    assert not emulator.requests
    messages += [llm.chat(messages, **NAMED).message, user("What is my name?")]
    for _ in range(2):
        explained = llm.explain(messages, capabilities=["research"], **NAMED)
        assert (explained.turn, explained.credits) == ("continued", 3)
    assert told(llm.chat(messages, **NAMED))["turn"] == "continued"
    with pytest.raises(InvalidInputError, match="'temperature'"):
        llm.explain(messages, temperature=1)


# -- one-shots -------------------------------------------------------------------------


class Completing(Way):
    async def complete(self, llm: StewrdLLM, prompt: str, **given: Any) -> list[Any]:
        if self.name == "chat":
            return [llm.complete(prompt, **given)]
        if self.name == "achat":
            return [await llm.acomplete(prompt, **given)]
        if self.name == "stream_chat":
            return list(llm.stream_complete(prompt, **given))
        return [chunk async for chunk in await llm.astream_complete(prompt, **given)]


async def test_completions_take_no_slot_no_name_and_leave_nothing(
    emulator: Emulator, make: Make, way: Way
) -> None:
    llm, completing = make(**NAMED, sessions="always"), Completing(way.name)
    chunks = await completing.complete(llm, "My name is Ada.", formatted=True)
    assert chunks[-1].text == "Nice to meet you, Ada."
    assert told(chunks[-1])["road"] == "stateless"
    if way.streams:
        assert "".join(chunk.delta for chunk in chunks) == chunks[-1].text
    assert not emulator.sessions
    answer = ChatMessage(role="assistant", content=chunks[-1].text)
    shown = [user("My name is Ada."), answer, user("Hi")]
    assert llm.explain(shown).turn == "replayed"


async def test_completions_refuse_what_is_of_no_use_to_them(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    for name in ("conversation_id", "temperature"):
        given: dict[str, Any] = {name: "x"}
        with pytest.raises(InvalidInputError, match=name):
            await Completing(way.name).complete(llm, "Hi", **given)
    chunks = await Completing(way.name).complete(llm, "My name is Ada.", stop=["Ada"])
    assert chunks[-1].text == "Nice to meet you, "
    assert len(emulator.requests) == 1


# -- connections -----------------------------------------------------------------------


async def test_a_model_can_be_closed_and_used_again(emulator: Emulator, make: Make) -> None:
    with make() as llm:
        assert llm.chat([user("Hi")]).message.content
    assert llm.chat([user("Hi")]).message.content
    async with make() as llm:
        assert (await llm.achat([user("Hi")])).message.content
    assert (await llm.achat([user("Hi")])).message.content
    await llm.aclose()


async def test_a_list_that_ends_in_an_answer_goes_on_alone(
    emulator: Emulator, llm: StewrdLLM, way: Way
) -> None:
    """As agents that work one after the other show it."""
    messages = [user("My name is Ada."), ChatMessage(role="assistant", content="Hello, Ada.")]
    response = await way.ask(llm, messages)
    assert told(response)["road"] == "stateless"
    said = emulator.runs[-1].conversation.messages
    assert [one.text for one in said[:2]] == ["My name is Ada.", "Hello, Ada."]
    assert not emulator.sessions


class Spans(NullSpanHandler):
    """The spans that were entered."""

    entered: ClassVar[list[str]] = []

    def span_enter(self, id_: str, *args: Any, **kwargs: Any) -> None:
        self.entered.append(id_.partition("-")[0])


def test_each_call_is_one_span(llm: StewrdLLM) -> None:
    spans, root = Spans(), get_dispatcher()
    root.add_span_handler(spans)
    try:
        llm.predict(PromptTemplate("Hi"))
    finally:
        root.span_handlers.remove(spans)
    assert spans.entered == ["StewrdLLM.predict", "StewrdLLM.chat"]


@pytest.mark.parametrize(
    ("capabilities", "by_tools"),
    [(None, True), (["chat"], True), (["chat", "research"], False), (["data"], False)],
)
def test_forms_are_asked_for_in_words_beside_other_capabilities(
    make: Make, capabilities: Any, by_tools: bool
) -> None:
    metadata = make(capabilities=capabilities).metadata
    assert metadata.is_function_calling_model is by_tools
