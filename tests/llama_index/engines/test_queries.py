"""Query engines ask for one thing: no session, no name, whatever is asked around them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llama_index.core.query_engine import (
    RetrieverQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool

from stewrd_integrations.emulator import Answer, Context
from stewrd_integrations.llama_index import StewrdLLM
from tests.servers import serve

from ..conftest import Way
from .desk import SIMPLE, TRACKING, Desk, Facts, Kind, agent, ask

QUESTION = "What is in the archive?"
MODES = [
    ResponseMode.COMPACT,
    ResponseMode.REFINE,
    ResponseMode.TREE_SUMMARIZE,
    ResponseMode.SIMPLE_SUMMARIZE,
    ResponseMode.ACCUMULATE,
    ResponseMode.COMPACT_ACCUMULATE,
    ResponseMode.GENERATION,
]


def archive(desk: Desk, mode: ResponseMode = ResponseMode.COMPACT) -> RetrieverQueryEngine:
    facts = Facts()
    facts.texts = ["One page.", "Another page."]
    synthesizer = get_response_synthesizer(llm=desk.llm, response_mode=mode)
    return RetrieverQueryEngine(facts, synthesizer)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("on_loop", [False, True], ids=["query", "aquery"])
async def test_no_query_takes_a_slot(desk: Desk, mode: ResponseMode, on_loop: bool) -> None:
    engine = archive(desk, mode)
    answer = await engine.aquery(QUESTION) if on_loop else engine.query(QUESTION)
    assert str(answer)
    assert desk.emulator.runs
    assert {run.road for run in desk.emulator.runs} == {"stateless"}
    assert not desk.emulator.sessions


@pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)
async def test_queries_between_turns_are_not_heard_by_the_session(
    desk: Desk, kind: Kind, way: Way
) -> None:
    engine, query_engine = desk.engine(kind), archive(desk)
    for text in ("My name is Ada.", "What is my name?", QUESTION):
        await ask(engine, way, text)
        query_engine.query(text)
        await query_engine.aquery(text)
    assert len(desk.users(desk.only_session())) == 3
    desk.check_newest()


def choosing(context: Context) -> str | Answer:
    if "Some choices are given below" in context.message:
        return '[{"choice": 1, "reason": "It is the archive."}]'
    if "sub-questions" in context.message or "sub questions" in context.message:
        return '```json\n{"items": [{"sub_question": "What is old?", "tool_name": "archive"}]}\n```'
    return agent(context)


async def test_routers_and_sub_questions_take_no_slot(make: Callable[..., StewrdLLM]) -> None:
    with serve(agent=choosing) as emulator:
        address = {"api_key": emulator.api_key, "base_url": emulator.url}
        desk = Desk(emulator, make, options=address)
        tools = [
            QueryEngineTool.from_defaults(archive(desk), name="archive", description="The archive")
        ]
        router = RouterQueryEngine(
            selector=LLMSingleSelector.from_defaults(llm=desk.llm),
            query_engine_tools=tools,
            llm=desk.llm,
        )
        parts = SubQuestionQueryEngine.from_defaults(
            query_engine_tools=tools,
            question_gen=LLMQuestionGenerator.from_defaults(llm=desk.llm),
            response_synthesizer=get_response_synthesizer(llm=desk.llm),
            llm=desk.llm,
            verbose=False,
            use_async=False,
        )
        assert str(router.query(QUESTION))
        assert str(await router.aquery(QUESTION))
        assert str(parts.query(QUESTION))
        assert "What is old?" in " ".join(run.message for run in emulator.runs)
        assert not emulator.sessions


async def test_a_prediction_between_turns_says_nothing_to_the_session(desk: Desk, way: Way) -> None:
    engine = desk.engine(SIMPLE)
    await ask(engine, way, "My name is Ada.")
    desk.llm.complete("What is my name?")
    await desk.llm.acomplete("What is my name?")
    assert await ask(engine, way, "What is my name?") == "Your name is Ada."
    desk.check_newest()
