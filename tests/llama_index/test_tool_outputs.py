"""`chat_with_tools` and its kin: what is called, and what becomes of what was given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    DocumentBlock,
    TextBlock,
    ToolCallBlock,
)

from stewrd_integrations.emulator import Answer, Call, Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.llama_index import StewrdLLM

from ..langchain.tooling import (
    NOT_TAKING,
    TAKING,
    charged,
    emulated,
    on,
    outputs,
    refused,
    said,
)
from .conftest import user
from .tooling import (
    BOTH,
    TOOLS,
    WAYS,
    ToolWay,
    called,
    given_back,
)

Make = Callable[..., StewrdLLM]


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


@pytest.fixture
def emulator(stewrd: Emulator) -> Emulator:
    return stewrd


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> ToolWay:
    return ToolWay(request.param)


# -- what is called and given back -------------------------------------------------------


@on(TAKING, *NOT_TAKING)
async def test_streams_are_one_piece(stewrd: Emulator, llm: StewrdLLM, way: ToolWay) -> None:
    (chunk,) = await way.chunks(llm, [user("add_numbers(1, 2)")])
    (call,) = called(chunk)
    assert (call.tool_name, call.tool_kwargs) == ("add_numbers", {"a": 1, "b": 2})
    assert [one.id for one in stewrd.runs[-1].calls] == [call.tool_call_id]
    assert not chunk.delta and "tool_calls" not in chunk.message.additional_kwargs
    bodies = [one.body for one in stewrd.requests if one.body]
    assert not any(body.get("stream") for body in bodies)
    chunks = await way.chunks(llm, [user("My name is Ada.")])
    assert len(chunks) == (2 if "stream" in way.name else 1)
    assert "".join(one.delta or "" for one in chunks) in ("", "Nice to meet you, Ada.")
    assert chunks[-1].message.content == "Nice to meet you, Ada."


NAMES = pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])


@NAMES
@on(TAKING, *NOT_TAKING)
async def test_every_way_calls_and_gives_back(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, who: Any
) -> None:
    messages = [
        user("My name is Ada."),
        (await way.ask(llm, [user("My name is Ada.")], **who)).message,
    ]
    messages.append(user(BOTH))
    response = await way.ask(llm, messages, **who)
    messages += [response.message, *given_back(response, "It is sunny.", "3")]
    response = await way.ask(llm, messages, **who)
    assert "It is sunny." in (response.message.content or "")
    messages += [response.message, user("What is my name?")]
    response = await way.ask(llm, messages, **who)
    assert response.message.content == "Your name is Ada."
    ((first, second),) = outputs(stewrd)
    assert (first["output"], second["output"]) == ("It is sunny.", "3")
    assert [text for role, text in said(stewrd) if role == "user"] == [
        "My name is Ada.",
        BOTH,
        "What is my name?",
    ]
    empty = stewrd.settings.session_tools == "empty"
    assert len(stewrd.sessions) == 1 and charged(stewrd) == 3 + empty


@pytest.mark.parametrize("order", [[1, 0], [0, 1]])
@on(TAKING)
async def test_outputs_in_any_order(stewrd: Emulator, llm: StewrdLLM, order: list[int]) -> None:
    way, messages = ToolWay("achat"), [user(BOTH)]
    response = await way.ask(llm, messages)
    given = given_back(response, "sunny", "3")
    await way.ask(llm, [*messages, response.message, *(given[at] for at in order)])
    (sent,) = outputs(stewrd)
    by_id = {one["tool_call_id"]: one["output"] for one in sent}
    assert [by_id[str(call.tool_call_id)] for call in called(response)] == ["sunny", "3"]


@on(TAKING, *NOT_TAKING)
async def test_documents_and_errors_given_back(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay
) -> None:
    messages = [user("get_weather(Oslo)")]
    response = await way.ask(llm, messages)
    document = DocumentBlock(data=b"city,sky\nOslo,sunny\n", title="sky.csv")
    blocks = [TextBlock(text="Error: only a file."), document]
    messages += [response.message, *given_back(response, blocks)]
    response = await way.ask(llm, messages)
    ((output,),) = outputs(stewrd)
    assert output["output"].startswith("Error: only a file.")
    assert "sky.csv" in output["output"] and "Oslo,sunny" in output["output"]
    assert "failed" in (response.message.content or "")


@on(TAKING, *NOT_TAKING)
async def test_an_output_that_is_too_large(stewrd: Emulator, llm: StewrdLLM, way: ToolWay) -> None:
    messages = [user("get_weather(Oslo)")]
    response = await way.ask(llm, messages)
    messages += [response.message, *given_back(response, "ä" * 50_001)]
    before = len(stewrd.requests)
    with pytest.raises(InvalidInputError, match="100002 bytes; the API takes 100000"):
        await way.ask(llm, messages)
    assert len(stewrd.requests) == before
    messages[-1:] = given_back(response, "ä" * 50_000)
    await way.ask(llm, messages)
    assert len(outputs(stewrd)) == 1


@NAMES
@on(TAKING, *NOT_TAKING)
async def test_a_run_that_is_gone(stewrd: Emulator, llm: StewrdLLM, way: ToolWay, who: Any) -> None:
    messages = [
        user("My name is Ada."),
        (await way.ask(llm, [user("My name is Ada.")], **who)).message,
    ]
    messages.append(user("get_weather(Oslo)"))
    response = await way.ask(llm, messages, **who)
    stewrd.advance(301)
    messages += [response.message, *given_back(response, "It is sunny.")]
    response = await way.ask(llm, messages, **who)
    assert "It is sunny." in (response.message.content or ""), "the calls and outputs are told"
    roles = [role for role, _ in said(stewrd)]
    assert roles == ["user", "assistant", "user", "assistant", "tool"]
    messages += [response.message, user("What is my name?")]
    assert (await way.ask(llm, messages, **who)).message.content == "Your name is Ada."
    assert set(refused(stewrd)) <= {"invalid_tools", "context_expired", "not_found"}


@NAMES
@on(TAKING, *NOT_TAKING)
async def test_calls_that_nobody_answers(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay, who: Any
) -> None:
    messages = [user("My name is Ada.")]
    messages.append((await way.ask(llm, messages, **who)).message)
    messages.append(user("get_weather(Oslo)"))
    messages.append((await way.ask(llm, messages, **who)).message)
    messages.append(user("What is my name?"))
    response = await way.ask(llm, messages, **who)
    assert response.message.content == "Your name is Ada." and outputs(stewrd) == []
    told = [text for role, text in said(stewrd) if role == "user"]
    assert told == ["My name is Ada.", "get_weather(Oslo)", "What is my name?"]
    assert len(stewrd.sessions) <= 2


@on(TAKING, *NOT_TAKING)
async def test_calls_and_ids_of_another_model(
    stewrd: Emulator, llm: StewrdLLM, way: ToolWay
) -> None:
    call = ToolCallBlock(
        tool_call_id="call/ä 1", tool_name="get weather", tool_kwargs='{"city": "O"}'
    )
    messages = [user("How is it?"), ChatMessage(role="assistant", blocks=[call])]
    extra = {"tool_call_id": "call/ä 1"}
    messages.append(ChatMessage("It is sunny.", role="tool", additional_kwargs=extra))
    response = await way.ask(llm, messages)
    assert "It is sunny." in (response.message.content or "") and outputs(stewrd) == []
    heard = stewrd.runs[-1].conversation.messages
    assert [one.role for one in heard] == ["user", "assistant", "tool"]
    assert heard[1].tool_calls[0].arguments == {"city": "O"}


async def test_arguments_that_are_no_object(stewrd: Emulator, llm: StewrdLLM) -> None:
    call = ToolCallBlock(tool_call_id="1", tool_name="t", tool_kwargs="[1]")
    with pytest.raises(InvalidInputError, match="not a JSON object"):
        llm.chat([user("Hi"), ChatMessage(role="assistant", blocks=[call]), user("Hi")])
    assert stewrd.requests == []


def test_calls_of_another_model_are_selected(llm: StewrdLLM) -> None:
    blocks = [
        ToolCallBlock(tool_call_id=None, tool_name="t", tool_kwargs='{"a": 1}'),
        ToolCallBlock(tool_call_id="2", tool_name="t", tool_kwargs=""),
        ToolCallBlock(tool_call_id="3", tool_name="t", tool_kwargs="[]"),
    ]
    response = ChatResponse(message=ChatMessage(role="assistant", blocks=blocks))
    found = llm.get_tool_calls_from_response(response)
    assert [(one.tool_id, one.tool_kwargs) for one in found] == [
        ("", {"a": 1}),
        ("2", {}),
        ("3", {}),
    ]


@on(TAKING)
async def test_an_answer_to_an_output_can_be_demanded(stewrd: Emulator, llm: StewrdLLM) -> None:
    way, messages = ToolWay("achat"), [user("get_weather(Oslo)")]
    response = await way.ask(llm, messages)
    messages += [response.message, *given_back(response, "1 and 2")]
    response = await way.ask(llm, messages, tool_choice="add_numbers")
    assert [call.tool_name for call in called(response)] == ["add_numbers"]
    messages += [response.message, *given_back(response, "3")]
    assert "3" in ((await way.ask(llm, messages)).message.content or "")
    assert [len(one) for one in outputs(stewrd)] == [1, 1] and len(stewrd.sessions) == 1


# -- a choice and its call ---------------------------------------------------------------


async def choose(llm: StewrdLLM, sync: bool, *args: Any, **more: Any) -> Any:
    if sync:
        return llm.predict_and_call(*args, **more)
    return await llm.apredict_and_call(*args, **more)


SYNC = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


@SYNC
@on(TAKING, *NOT_TAKING)
async def test_predict_and_call_takes_no_session(stewrd: Emulator, make: Make, sync: bool) -> None:
    llm = make(conversation_id="c")
    for _ in range(3):
        found = await choose(llm, sync, TOOLS, "add_numbers(1, 2)")
        assert found.response == "3" and found.sources[0].raw_output == 3
    assert stewrd.sessions == {} and {run.road for run in stewrd.runs} == {"stateless"}
    assert outputs(stewrd) == [] and stewrd.refused == []
    llm.chat([user("My name is Ada.")])
    assert stewrd.runs[-1].road == "session" and len(said(stewrd)) == 1


@SYNC
async def test_predict_and_call_of_several(stewrd: Emulator, llm: StewrdLLM, sync: bool) -> None:
    one = await choose(llm, sync, TOOLS, BOTH)
    assert one.response == "It is sunny in Oslo." and len(one.sources) == 1
    both = await choose(llm, sync, TOOLS, BOTH, allow_parallel_tool_calls=True)
    assert both.response == "It is sunny in Oslo.\n\n3"


@SYNC
@on({"agent": lambda _: Answer(calls=[Call("get_weather", {"city": city}) for city in "OP"])})
async def test_predict_and_call_of_one_where_the_agent_calls_two(
    stewrd: Emulator, llm: StewrdLLM, sync: bool
) -> None:
    found = await choose(llm, sync, TOOLS, "Hi")
    assert found.response == "It is sunny in O." and len(found.sources) == 1


@SYNC
@on({"script": ("No.", "No.", [Call("add_numbers", {"a": "x"})])})
async def test_predict_and_call_without_a_call(
    stewrd: Emulator, llm: StewrdLLM, sync: bool
) -> None:
    with pytest.raises(ValueError, match="called no tool"):
        await choose(llm, sync, TOOLS, "Hi")
    found = await choose(llm, sync, TOOLS, "Hi", error_on_no_tool_call=False)
    assert found.response == "No." and found.sources == []
    with pytest.raises(ValueError, match="add_numbers"):
        await choose(llm, sync, TOOLS, "Hi", error_on_tool_error=True)


@on(TAKING)
async def test_many_at_once(stewrd: Emulator, llm: StewrdLLM) -> None:
    async def talk(n: int) -> None:
        messages = [user(f"add_numbers({n}, 1)")]
        response = await llm.achat_with_tools(TOOLS, chat_history=messages, conversation_id=n)
        messages += [response.message, *given_back(response, str(n + 1))]
        response = await llm.achat_with_tools(TOOLS, chat_history=messages, conversation_id=n)
        assert response.message.content == f"The tool add_numbers answered: {n + 1}"

    await asyncio.gather(*map(talk, range(8)))
    assert len(stewrd.sessions) == 8 and stewrd.waiting_runs == []
