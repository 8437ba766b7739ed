"""What users put into an engine: templates, messages before, postprocessors, other models."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.types import BaseOutputParser

from ..conftest import Way, user
from .desk import (
    CONDENSE_PLUS,
    CONTEXT,
    LEFT_OPEN,
    PICTURES,
    PICTURES_PLUS,
    RETRIEVING,
    SIMPLE,
    TRACKING,
    Desk,
    Facts,
    Kind,
    ask,
    on_sessions,
)

pytestmark = LEFT_OPEN

TALK = ["My name is Ada."] + ["What is my name?"] * 4
TEMPLATE_OF = {
    CONTEXT: "context_template",
    CONDENSE_PLUS: "context_prompt",
    PICTURES: "context_template",
    PICTURES_PLUS: "context_prompt",
}
FEW_SHOTS = [
    ChatMessage(role="system", content="You are Grim."),
    user("Are you there?"),
    ChatMessage(role="assistant", content="At your service."),
]

of_each = pytest.mark.parametrize("kind", TRACKING, ids=lambda kind: kind.name)
of_retrieving = pytest.mark.parametrize("kind", RETRIEVING, ids=lambda kind: kind.name)


async def check_one_session(desk: Desk, engine: BaseChatEngine, way: Way) -> None:
    answers = [await ask(engine, way, text) for text in TALK]
    assert answers == ["Nice to meet you, Ada."] + ["Your name is Ada."] * 4
    desk.only_session()
    assert on_sessions(desk.turns) == len(desk.turns) == 5


@of_retrieving
async def test_a_template_of_ones_own(desk: Desk, kind: Kind, way: Way) -> None:
    template = "The archive has this: {context_str}\n"
    if kind.wraps:
        template += "\nQuery: {query_str}\nAnswer: "
    own: dict[str, Any] = {TEMPLATE_OF[kind]: template}
    engine = desk.engine(kind, **own)
    await check_one_session(desk, engine, way)
    for number, run in enumerate(desk.turns, 1):
        assert f"The archive has this: Fact number {number}." in run.message


@of_each
async def test_a_system_prompt_with_braces(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, system_prompt='You are Grim. Say {"a": 1} and {b}.')
    await check_one_session(desk, engine, way)
    assert await ask(engine, way, "Who are you?") == "I am Grim."
    assert 'Say {"a": 1} and {b}.' in desk.turns[0].message


@pytest.mark.parametrize("kind", [SIMPLE, CONTEXT], ids=lambda kind: kind.name)
async def test_messages_before(desk: Desk, kind: Kind, way: Way) -> None:
    engine = desk.engine(kind, prefix_messages=FEW_SHOTS)
    await check_one_session(desk, engine, way)
    said = [one.text for one in desk.emulator.context(desk.only_session()).messages]
    assert said[:3] == ["Are you there?", "At your service.", "My name is Ada."]
    assert len(said) == 12


class Shouts(BaseNodePostprocessor):
    """Rewrites what was found."""

    @classmethod
    def class_name(cls) -> str:
        return "Shouts"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=one.text.upper()), score=1.0) for one in nodes]


@of_retrieving
async def test_postprocessors(desk: Desk, kind: Kind, way: Way) -> None:
    found = [Shouts(), SimilarityPostprocessor(similarity_cutoff=0.5)]
    await check_one_session(desk, desk.engine(kind, node_postprocessors=found), way)
    for number, run in enumerate(desk.turns, 1):
        assert f"FACT NUMBER {number}." in run.message


@of_each
async def test_a_model_with_a_system_prompt(desk: Desk, kind: Kind, way: Way) -> None:
    desk.options["system_prompt"] = "You are Grim."
    engine = desk.engine(kind)
    await check_one_session(desk, engine, way)
    if kind in (CONTEXT, CONDENSE_PLUS):  # the others don't pass it on, whatever the model
        assert await ask(engine, way, "Who are you?") == "I am Grim."


class Upper(BaseOutputParser):
    """A parser that asks for something, and changes the answer."""

    def format(self, query: str) -> str:
        return f"{query}\nBe brief."

    def parse(self, output: str) -> Any:
        return output.upper()


@of_each
@pytest.mark.parametrize("mode", ["chat", "achat"])
async def test_a_model_with_an_output_parser(desk: Desk, kind: Kind, mode: str) -> None:
    # LlamaIndex has none for streams.
    desk.options["output_parser"] = Upper()
    engine = desk.engine(kind)
    answers = [await ask(engine, Way(mode), text) for text in TALK]
    assert [one.upper() for one in answers[1:]] == ["YOUR NAME IS ADA."] * 4
    tracked = kind in (SIMPLE, PICTURES, PICTURES_PLUS)  # they don't use it
    assert len(desk.emulator.sessions) == (1 if tracked else 0)
    for run in desk.turns:
        said = [one.text for one in run.conversation.messages if one.role == "user"]
        assert sum("My name is Ada." in text for text in said) == 1


class Person(BaseModel):
    """Somebody."""

    name: str


@of_each
@pytest.mark.parametrize("mode", ["chat", "achat"])
async def test_a_structured_model(desk: Desk, kind: Kind, mode: str) -> None:
    engine = desk.engine(kind, llm=desk.llm.as_structured_llm(Person))
    for text in ("The name is Ada.", "What is the name?"):
        assert Person.model_validate_json(await ask(engine, Way(mode), text)).name
    assert len(desk.emulator.sessions) == 0
    for run in desk.turns:
        said = [one.text for one in run.conversation.messages if one.role == "user"]
        assert sum("The name is Ada." in text for text in said) == 1


async def test_the_model_of_the_settings(
    desk: Desk, kind: Kind, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_llm", None)
    Settings.llm = desk.llm
    engine = kind.make(None, Facts(), memory=desk.memory())
    answers = [await ask(engine, way, text) for text in TALK]
    assert answers == ["Nice to meet you, Ada."] + ["Your name is Ada."] * 4
    assert len(desk.emulator.sessions) == (1 if kind.tracks else 0)
