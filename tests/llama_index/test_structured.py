"""Structured answers: `structured_predict` and its kin, and `as_structured_llm`; all one-shots."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.program.utils import FlexibleModel
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from stewrd_integrations.emulator import Answer, Call, Context, Emulator
from stewrd_integrations.errors import StewrdError
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory
from stewrd_integrations.stores import MemoryStore

from ..langchain.tooling import NOT_TAKING, TAKING, emulated, offered, on, outputs, said

Make = Callable[..., StewrdLLM]

# LlamaIndex's structured streams call a method that pydantic calls old.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def make(stewrd: Emulator, store: MemoryStore) -> AsyncIterator[Make]:
    made: list[StewrdLLM] = []

    def build(**options: Any) -> StewrdLLM:
        given: dict[str, Any] = {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": store}
        made.append(StewrdLLM(**given, **options))
        return made[-1]

    yield build
    for llm in made:
        await llm.aclose()


@pytest.fixture
def llm(make: Make) -> StewrdLLM:
    return make()


@pytest.fixture(autouse=True)
def _nothing_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    log: pytest.LogCaptureFixture = request.getfixturevalue("caplog")
    with log.at_level(logging.WARNING):
        yield
    if "noisy" not in request.fixturenames:
        noise = [record for record in log.records if "no session is known" not in record.message]
        assert [record.getMessage() for record in noise] == []


@pytest.fixture
def noisy() -> None:
    """For tests in which a warning is right."""


class Street(BaseModel):
    """A street."""

    name: str
    number: int


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    streets: list[Street] = []
    tags: list[str] = []


ADA: dict[str, Any] = {
    "name": "Ada",
    "age": 36,
    "streets": [{"name": "High", "number": 1}, {"name": "Low", "number": 2}],
    "tags": ["a", "b"],
}
PROMPT = "Take “{name}”, who is {age}."


def fills(context: Context) -> Answer | str:
    """An agent that calls the form it is offered, or writes it where it is told in words."""
    if context.tools:
        return Answer(calls=[Call(context.tools[0].name, ADA)])
    # LlamaIndex reads no JSON out of a streamed text that holds more.
    asked = f"{context.conversation.instructions}\n{context.message}"
    return json.dumps(ADA) if "JSON schema" in asked else "Hi."


FILLING: list[dict[str, Any]] = [{**server, "agent": fills} for server in (TAKING, *NOT_TAKING)]
MODES = pytest.mark.parametrize("mode", ["default", "function", "llm"])


class Way:
    """One of the four ways to predict an object; what it gave, piece by piece."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.streams = "stream" in name

    async def objects(
        self, llm: StewrdLLM, form: type[BaseModel], prompt: Any = None, **more: Any
    ) -> list[Any]:
        prompt = prompt or PromptTemplate(PROMPT)
        given: dict[str, Any] = {"name": "Ada", "age": 36, **more}
        if self.name == "predict":
            return [llm.structured_predict(form, prompt, **given)]
        if self.name == "apredict":
            return [await llm.astructured_predict(form, prompt, **given)]
        if self.name == "stream":
            return list(llm.stream_structured_predict(form, prompt, **given))
        stream = await llm.astream_structured_predict(form, prompt, **given)
        return [one async for one in stream]


@pytest.fixture(params=["predict", "apredict", "stream", "astream"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


# -- predictions -----------------------------------------------------------------------


@MODES
@on(*FILLING)
async def test_every_way_fills_a_form(
    stewrd: Emulator, make: Make, way: Way, mode: str, store: MemoryStore
) -> None:
    llm = make(pydantic_program_mode=PydanticProgramMode(mode), conversation_id="c")
    objects = await way.objects(llm, Person)
    assert objects[-1] == Person.model_validate(ADA)
    assert isinstance(objects[-1].streets[1], Street)
    if mode != "llm":
        assert len(objects) == 1
        assert offered(stewrd)[0]["name"] == "Person"
        assert 'You must call the tool "Person".' in stewrd.requests[-1].body["message"]
    assert "Take “Ada”, who is 36." in stewrd.runs[-1].conversation.messages[-1].text
    assert stewrd.sessions == {} and stewrd.refused == [] and len(stewrd.runs) == 1
    assert repr(store) == repr(MemoryStore()), "no binding is left"


async def test_the_emulators_own_agent_fills_forms(
    stewrd: Emulator, llm: StewrdLLM, way: Way
) -> None:
    (found,) = await way.objects(llm, Person)
    assert (found.name, found.age) == ("Ada", 36)


@on(TAKING)
async def test_a_conversation_is_not_disturbed(
    stewrd: Emulator, make: Make, way: Way, noisy: None
) -> None:
    llm = make(conversation_id="c")
    messages = [ChatMessage("My name is Ada.")]
    messages.append(llm.chat(messages).message)
    await way.objects(llm, Person)
    messages.append(ChatMessage("What is my name?"))
    assert llm.chat(messages).message.content == "Your name is Ada."
    assert [run.road for run in stewrd.runs] == ["session", "stateless", "session"]
    assert stewrd.runs[-1].message == "What is my name?" and outputs(stewrd) == []


@on(*FILLING)
async def test_a_list_that_a_memory_handed_out(stewrd: Emulator, llm: StewrdLLM, way: Way) -> None:
    memory = StewrdMemory.from_defaults(llm=llm, conversation_id="c")
    memory.put(ChatMessage("My name is Ada."))
    prompt = ChatPromptTemplate(message_templates=memory.get(input="My name is Ada."))
    assert (await way.objects(llm, Person, prompt))[-1].age == 36
    assert stewrd.sessions == {} and memory.session is None


@on({"agent": lambda context: Answer(calls=[Call(context.tools[0].name, {"item": 3})])})
async def test_names_that_the_api_refuses(stewrd: Emulator, llm: StewrdLLM, way: Way) -> None:
    item = TypeVar("item")

    class Box(BaseModel, Generic[item]):
        """A box."""

        item: item

    (found,) = await way.objects(llm, Box[int])
    assert found.item == 3 and isinstance(found, Box)
    assert offered(stewrd)[0]["name"].startswith("Box_int__")


# -- wrong answers ---------------------------------------------------------------------


@on({"script": ("I would rather not.",)})
async def test_an_answer_without_a_form(
    stewrd: Emulator, llm: StewrdLLM, way: Way, noisy: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="I would rather not"):
        await way.objects(llm, Person)
    told = [record.message for record in caplog.records]
    assert len(told) == 1 and "did not follow tool_choice" in told[0]


@on({"agent": lambda _: Answer(calls=[Call("Person", {"name": "Ada", "age": "old"})])})
async def test_a_form_that_is_filled_wrongly(stewrd: Emulator, llm: StewrdLLM, way: Way) -> None:
    if not way.streams:
        with pytest.raises(ValueError, match="could not be parsed into Person"):
            await way.objects(llm, Person)
        return
    (found,) = await way.objects(llm, Person)  # as LlamaIndex does with what is not whole yet
    assert isinstance(found, FlexibleModel) and not isinstance(found, Person)
    assert found.model_dump()["age"] == "old"


@on({"agent": lambda _: Answer(calls=[Call("Person", {"name": n, "age": 1}) for n in "ab"])})
async def test_two_forms_where_one_was_wanted(
    stewrd: Emulator, llm: StewrdLLM, way: Way, noisy: None, caplog: pytest.LogCaptureFixture
) -> None:
    (found,) = await way.objects(llm, Person)
    assert found == Person(name="a", age=1)
    assert ["parallel_tool_calls" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@on({"agent": lambda _: Answer(calls=[Call("Person", {"name": n, "age": 1}) for n in "ab"])})
async def test_a_program_of_ones_own_that_wants_several(
    stewrd: Emulator, llm: StewrdLLM, sync: bool
) -> None:
    program = FunctionCallingProgram.from_defaults(
        Person, "Take some.", llm=llm, allow_parallel_tool_calls=True
    )
    found = program() if sync else await program.acall()
    assert found == [Person(name="a", age=1), Person(name="b", age=1)]
    assert stewrd.sessions == {}


@pytest.mark.xfail(
    strict=True,
    reason="LlamaIndex streams a program of one's own like a chat with tools, neither requires "
    "the call nor finds it in a block, and yields an empty object",
)
@on({"agent": fills})
def test_a_program_of_ones_own_as_a_stream(stewrd: Emulator, llm: StewrdLLM, noisy: None) -> None:
    program = FunctionCallingProgram.from_defaults(Person, "Take one.", llm=llm)
    assert list(program.stream_call())[-1] == Person.model_validate(ADA)


async def test_a_failure_is_raised(stewrd: Emulator, make: Make, way: Way) -> None:
    stewrd.fail_next("error", on="agent", status=502)
    with pytest.raises(StewrdError):
        await way.objects(make(max_retries=0), Person)
    assert stewrd.sessions == {}


@pytest.mark.parametrize("name", ["stream", "astream"])
async def test_a_stream_that_is_left(stewrd: Emulator, llm: StewrdLLM, name: str) -> None:
    prompt = PromptTemplate(PROMPT)
    if name == "stream":
        stream = llm.stream_structured_predict(Person, prompt, name="Ada", age=36)
        next(stream)
        stream.close()
    else:
        astream = await llm.astream_structured_predict(Person, prompt, name="Ada", age=36)
        await anext(astream)
        await astream.aclose()
    assert stewrd.sessions == {} and len(stewrd.runs) == 1


# -- a model of forms --------------------------------------------------------------------

ASKED = [ChatMessage("You are kind.", role="system"), ChatMessage("Take “Ada”, who is 36.")]


async def chatted(llm: StewrdLLM, name: str, **more: Any) -> list[Any]:
    form = llm.as_structured_llm(Person)
    if name == "chat":
        return [form.chat(ASKED, **more)]
    if name == "achat":
        return [await form.achat(ASKED, **more)]
    if name == "complete":
        return [form.complete("Take “Ada”, who is 36.", **more)]
    if name == "acomplete":
        return [await form.acomplete("Take “Ada”, who is 36.", **more)]
    if name == "stream_chat":
        return list(form.stream_chat(ASKED, **more))
    return [one async for one in await form.astream_chat(ASKED, **more)]


@MODES
@pytest.mark.parametrize(
    "name", ["chat", "achat", "complete", "acomplete", "stream_chat", "astream_chat"]
)
@on(*FILLING)
async def test_a_model_of_forms(stewrd: Emulator, make: Make, name: str, mode: str) -> None:
    llm = make(pydantic_program_mode=PydanticProgramMode(mode), conversation_id="c")
    last = (await chatted(llm, name))[-1]
    assert last.raw == Person.model_validate(ADA)
    text = last.text if "complete" in name else last.message.content
    assert json.loads(text) == ADA
    assert stewrd.sessions == {} and stewrd.refused == []
    if "chat" in name:
        assert stewrd.runs[-1].conversation.instructions.startswith("You are kind.")


@on(*FILLING)
async def test_a_model_of_forms_asked_again_and_again(stewrd: Emulator, llm: StewrdLLM) -> None:
    form, messages = llm.as_structured_llm(Person), list(ASKED)
    for _ in range(4):
        messages += [form.chat(messages).message, ChatMessage("And again.")]
    assert [role for role, _ in said(stewrd)] == ["user"] + ["assistant", "user"] * 3
    assert stewrd.sessions == {} and len(stewrd.runs) == 4


@on(*FILLING)
async def test_options_of_the_call_reach_it(stewrd: Emulator, llm: StewrdLLM) -> None:
    await chatted(llm, "chat", capabilities=["chat"], conversation_id="c")
    assert stewrd.runs[-1].capabilities == ("chat",)
    assert stewrd.sessions == {}, "a name makes no conversation of it"
