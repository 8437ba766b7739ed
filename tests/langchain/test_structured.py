"""Structured output: forms, wrong answers and their repair, and what it leaves behind: nothing."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as OldModel
from typing_extensions import TypedDict

from stewrd_integrations.emulator import Call, Emulator
from stewrd_integrations.errors import ConfigurationError, InvalidInputError, StewrdError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

from .conftest import heard, roads
from .talks import Tokens
from .tooling import Make, charged, emulated, offered, on, said

METHODS = ["function_calling", "json_schema", "json_mode"]
IN_WORDS = METHODS[1:]
TEXT = 'Her name is "Ada", age: 36.'


@pytest.fixture
def stewrd(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with emulated(request) as running:
        yield running
        assert running.refused == []


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = Field(ge=1, lt=150)


class OldPerson(OldModel):
    """Somebody."""

    name: str
    age: int


class PersonDict(TypedDict):
    """Somebody."""

    name: str
    age: int


SCHEMA: dict[str, Any] = {
    "title": "person",
    "description": "Somebody.",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "exclusiveMaximum": 150}},
    "required": ["name", "age"],
}
FORMS: dict[str, Any] = {
    "pydantic": Person,
    "pydantic v1": OldPerson,
    "typed dict": PersonDict,
    "JSON Schema": SCHEMA,
    "function": {"name": "person", "description": "Somebody.", "parameters": SCHEMA},
}
ADA: dict[str, Any] = {"name": "Ada", "age": 36}


def as_dict(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return value.dict() if isinstance(value, OldModel) else value


# -- forms -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strict", [None, True, False])
async def test_every_form_by_every_method(
    stewrd: Emulator, make: Make, method: Any, form: str, strict: bool | None
) -> None:
    store = MemoryStore()
    model, schema = make(store=store), FORMS[form]
    if method == "json_mode" and strict is not None:
        with pytest.raises(ConfigurationError, match="strict has no meaning"):
            model.with_structured_output(schema, method=method, strict=strict)
        return
    runs = model.with_structured_output(schema, method=method, strict=strict)
    for answer in (runs.invoke(TEXT), await runs.ainvoke(TEXT), runs.batch([TEXT])[0]):
        assert as_dict(answer) == ADA
        assert isinstance(answer, schema if form.startswith("pydantic") else dict)
    assert list(runs.stream(TEXT)) == [answer]
    assert [each async for each in runs.astream(TEXT)] == [answer]
    assert roads(stewrd) == ["stateless"] * 5 and charged(stewrd) == 5
    assert len(stewrd.sessions) == 0 and repr(store) == "MemoryStore(0 bindings)"


@pytest.mark.parametrize("strict", [None, True])
def test_a_form_is_offered_as_a_tool_that_must_be_called(
    stewrd: Emulator, model: ChatStewrd, strict: bool | None
) -> None:
    model.with_structured_output(Person, strict=strict).invoke(TEXT)
    (tool,) = offered(stewrd)
    assert tool["name"] == "Person" and tool["description"] == "Somebody."
    assert ("additionalProperties" in tool["parameters"]) is bool(strict)
    assert 'You must call the tool "Person".' in stewrd.requests[-1].body["message"]


@pytest.mark.parametrize("method", IN_WORDS)
def test_a_form_is_asked_for_in_words(stewrd: Emulator, model: ChatStewrd, method: Any) -> None:
    model.with_structured_output(Person, method=method).invoke(TEXT)
    body = stewrd.requests[-1].body
    assert "tools" not in body and "Answer with JSON only" in body["message"]
    assert '"exclusiveMaximum": 150' in body["message"] and TEXT in body["message"]


@pytest.mark.parametrize("method", IN_WORDS)
def test_in_words_it_works_with_any_capability(stewrd: Emulator, make: Make, method: Any) -> None:
    model = make(capabilities=["data", "research"])
    assert model.with_structured_output(PersonDict, method=method).invoke(TEXT) == ADA
    assert stewrd.runs[-1].capabilities == ("data", "research")


def test_by_a_tool_it_works_with_chat_only(stewrd: Emulator, make: Make) -> None:
    model = make(capabilities=["research"])
    with pytest.raises(InvalidInputError, match="chat capability only, not research") as caught:
        model.with_structured_output(Person, method="function_calling")
    assert 'method="json_schema"' in caught.value.advice and stewrd.requests == []
    runs = model.with_structured_output(Person, method="function_calling", capabilities=["chat"])
    assert runs.invoke(TEXT).age == 36


@pytest.mark.parametrize(
    ("own", "bound", "by_tool"),
    [
        (None, {}, True),
        (["chat"], {}, True),
        (["research"], {}, False),
        (["chat", "data"], {}, False),
        (["research"], {"capabilities": ["chat"]}, True),
        (None, {"capabilities": ["research", "chat"]}, False),
    ],
)
def test_the_method_is_one_that_the_capabilities_go_with(
    stewrd: Emulator, make: Make, own: Any, bound: Any, by_tool: bool
) -> None:
    runs = make(capabilities=own).with_structured_output(Person, **bound)
    assert runs.invoke(TEXT) == Person(**ADA)
    assert ("tools" in stewrd.requests[-1].body) is by_tool
    asked_for = bound.get("capabilities", own)
    assert stewrd.requests[-1].body.get("capabilities") == asked_for


@pytest.mark.parametrize("given", [{}, {"method": "json_schema"}, {"method": "function_calling"}])
def test_only_json_mode_needs_no_schema(stewrd: Emulator, model: ChatStewrd, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="There is no schema"):
        model.with_structured_output(None, **given)


async def test_without_a_schema_any_json_will_do() -> None:
    answers = iter(['{"a": [1]}', "no JSON", "[2]"])
    with serve(agent=lambda context: next(answers)) as stewrd:
        model = ChatStewrd(api_key=stewrd.api_key, base_url=stewrd.url)
        runs = model.with_structured_output(method="json_mode")
        assert runs.invoke("One") == {"a": [1]}
        assert await runs.ainvoke("Two") == [2]
        assert "Answer with JSON only." in stewrd.requests[0].body["message"]
        await model.aclose()


# -- what it is to other code ----------------------------------------------------------


def test_it_tells_what_it_takes_and_gives(model: ChatStewrd) -> None:
    runs = model.with_structured_output(Person)
    assert runs.OutputType is Person and runs.InputType == model.InputType
    assert runs.get_output_jsonschema()["title"] == "Person"
    assert runs.get_name() == "StewrdStructuredOutput"
    assert repr(runs) == "StructuredOutput(Person, method='function_calling')"
    assert model.with_structured_output(PersonDict).OutputType is PersonDict
    assert model.with_structured_output(SCHEMA).OutputType == dict[str, Any]
    assert model.with_structured_output(Person, include_raw=True).OutputType == dict[str, Any]
    assert model.with_structured_output(method="json_mode").OutputType is Any


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["pydantic", "typed dict", "JSON Schema"])
def test_it_pickles_without_the_key(
    stewrd: Emulator, model: ChatStewrd, method: Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(model.with_structured_output(FORMS[form], method=method))
    assert stewrd.api_key.encode() not in pickled
    monkeypatch.setenv("STEWRD_API_KEY", stewrd.api_key)
    assert as_dict(pickle.loads(pickled).invoke(TEXT)) == ADA  # noqa: S301 - made above


def test_one_run_of_it_holds_the_calls_of_the_model(stewrd: Emulator, model: ChatStewrd) -> None:
    with collect_runs() as runs:
        model.with_structured_output(Person).invoke(TEXT)
    (run,) = runs.traced_runs
    assert run.name == "StewrdStructuredOutput"
    assert [child.run_type for child in run.child_runs] == ["llm"]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "object", "properties": {}}, "title"),
        ({"title": "x", "type": "object", "properties": {"a": {"type": "strng"}}}, "strng"),
        (int, "schema can't be used"),
        (3, "schema can't be used"),
    ],
)
def test_a_schema_that_is_none_is_told_before_anything_is_sent(
    stewrd: Emulator, model: ChatStewrd, method: Any, schema: Any, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        model.with_structured_output(schema, method=method)
    assert stewrd.requests == []


def holding(part: Any, **more: Any) -> dict[str, Any]:
    """A schema of an object with one property of this form."""
    return {"title": "x", "type": "object", "properties": {"a": part, "b": {"enum": [1]}}, **more}


ENDLESS = [
    holding({"$ref": "#/properties/a"}),
    holding({"$ref": "#/$defs/p"}, **{"$defs": {"p": {"anyOf": [{"$ref": "#/properties/a"}]}}}),
    holding({}, allOf=[{"$ref": "#"}]),
]
DANGLING = [
    holding({"$ref": "#/$defs/Missing"}),
    holding({"$ref": "#missing"}),
    holding({"$dynamicRef": "#missing"}),
    holding({"items": {"anyOf": [{"$ref": "other.json"}]}}),
    holding({"$ref": "#/aside/p"}, aside={"p": {"items": {"$ref": "#/$defs/Missing"}}}),
    holding({"$ref": "HERE/schema.json"}),
]
MALFORMED = [
    holding({"$ref": "#/aside/p"}, aside={"p": {"type": "strng"}}),
    holding({"$ref": "#/properties/b/enum"}),
    holding({"$ref": 3}),
    {**holding({}), "type": "strng"},
    {"title": "x", "type": "strng"},
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("schema", "told"),
    [(one, "refers to itself") for one in ENDLESS]
    + [(one, "refers to .*(issing|json)") for one in DANGLING]
    + [(one, "schema can't be used") for one in MALFORMED],
)
def test_what_no_answer_can_be_held_against_is_told_before_anything_is_sent(
    stewrd: Emulator, model: ChatStewrd, method: Any, schema: Any, told: str
) -> None:
    schema = json.loads(json.dumps(schema).replace("HERE", stewrd.url))
    with pytest.raises(ConfigurationError, match=told) as raised:
        model.with_structured_output(schema, method=method)
    assert isinstance(raised.value, ValueError)
    assert stewrd.requests == [], "neither asked nor fetched"


NODE: dict[str, Any] = {
    "title": "node",
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}},
    "$defs": {
        "node": {"anyOf": [{"type": "null"}, {"$ref": "#/definitions/full"}]},
    },
    "definitions": {
        "full": {"$anchor": "full", "properties": {"next": {"$ref": "#full"}}, "required": ["next"]}
    },
}


ENDS, LACKS = '{"name": "a", "next": {"next": null}}', '{"name": "a", "next": {"next": {}}}'


@pytest.mark.parametrize("method", IN_WORDS)
@on({"script": (ENDS, LACKS, LACKS)})
def test_references_that_end_are_followed(stewrd: Emulator, model: ChatStewrd, method: Any) -> None:
    form = model.with_structured_output(NODE, method=method)
    assert form.invoke(TEXT) == json.loads(ENDS)
    with pytest.raises(OutputParserException, match="next"):
        form.invoke(TEXT)


def test_an_unknown_method(model: ChatStewrd) -> None:
    with pytest.raises(ConfigurationError, match="Use one of function_calling"):
        model.with_structured_output(Person, method="xml")  # type: ignore[arg-type]


# -- what it leaves behind -------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["bound", "configured", "of the model"])
async def test_a_name_changes_nothing(stewrd: Emulator, make: Make, method: Any, how: str) -> None:
    store = MemoryStore()
    model = make(store=store, conversation_id="c") if how == "of the model" else make(store=store)
    more: Any = {"conversation_id": "c"} if how == "bound" else {}
    config: Any = {"configurable": {"conversation_id": "c"}} if how == "configured" else {}
    runs = model.with_structured_output(Person, method=method, **more)
    messages: list[BaseMessage] = [HumanMessage("My name is Ada.")]
    messages.append(model.invoke(messages, conversation_id="c"))
    kept = repr(store)
    messages.append(HumanMessage(TEXT))
    assert runs.invoke(messages, config).name == "Ada"
    assert (await runs.ainvoke(messages, config)).name == "Ada"
    assert len(stewrd.sessions) == 1 and repr(store) == kept
    messages[-1] = HumanMessage("Who am I?")
    answer = model.invoke(messages, conversation_id="c")
    assert answer.text == "Your name is Ada." and answer.response_metadata["turn"] == "continued"
    assert heard(stewrd) == [["My name is Ada.", "Who am I?"]]


def test_the_whole_conversation_is_shown(stewrd: Emulator, model: ChatStewrd) -> None:
    shown = [
        SystemMessage("Be exact."),
        HumanMessage("I met somebody."),
        AIMessage("Whom?"),
        HumanMessage(TEXT),
    ]
    assert model.with_structured_output(PersonDict).invoke(shown) == ADA
    assert said(stewrd) == [
        ("user", "I met somebody."),
        ("assistant", "Whom?"),
        ("user", TEXT),
    ]
    assert stewrd.runs[-1].conversation.instructions == "Be exact."


@pytest.mark.parametrize("method", METHODS)
def test_in_a_chain(stewrd: Emulator, model: ChatStewrd, method: Any) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be exact."), ("human", "{text}")])
    chain = prompt | model.with_structured_output(Person, method=method) | (lambda one: one.age)
    assert chain.batch([{"text": TEXT}, {"text": TEXT}]) == [36, 36]
    assert roads(stewrd) == ["stateless"] * 2


def test_the_parsers_of_core_work_too(stewrd: Emulator, model: ChatStewrd) -> None:
    parser = PydanticOutputParser(pydantic_object=Person)
    text = f"{TEXT}\n{parser.get_format_instructions()}"
    assert (model | parser).invoke(text) == Person(**ADA)


# -- wrong answers ---------------------------------------------------------------------

WRONG: dict[str, Any] = {"name": "Adä", "age": 400}
RIGHT: dict[str, Any] = {"name": "Adä", "age": 40}


def script(method: str, *values: Any) -> dict[str, Any]:
    """An agent that gives these values one after the other."""
    return {"script": tuple(written(method, value) for value in values)}


def written(method: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    if method == "function_calling":
        return [Call("Person", value)]
    return json.dumps(value, ensure_ascii=False)


REPAIRS = [(method, script(method, WRONG, RIGHT)) for method in METHODS]


@pytest.mark.parametrize(("method", "stewrd"), REPAIRS, indirect=["stewrd"], ids=METHODS)
async def test_a_wrong_answer_is_shown_what_is_wrong_with_it(
    stewrd: Emulator, model: ChatStewrd, method: Any
) -> None:
    tokens = Tokens()
    runs = model.with_structured_output(Person, method=method)
    answer = await runs.ainvoke(TEXT, {"callbacks": [tokens]})
    assert answer == Person(**RIGHT)
    first, second = (run.conversation for run in stewrd.runs)
    assert [one.text for one in first.messages] == [TEXT]
    told, correction = second.messages
    assert told.text == TEXT and correction.role == "user"
    assert '{"name": "Adä", "age": 400}' in correction.text
    assert "Input should be less than 150" in correction.text
    assert correction.text.endswith("again, in the right form.")
    assert second.demand == first.demand != "", "the form is asked for again"
    assert charged(stewrd) == 2 and len(tokens.ended) == 2 and tokens.failed == []


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(("method", "stewrd"), REPAIRS, indirect=["stewrd"], ids=METHODS)
async def test_the_second_try_has_the_options_of_the_call(
    stewrd: Emulator, model: ChatStewrd, method: Any, colour: str
) -> None:
    runs = model.with_structured_output(Person, method=method)
    own: Any = {"capabilities": ["chat"]}
    answer = await runs.ainvoke(TEXT, **own) if colour == "async" else runs.invoke(TEXT, **own)
    assert answer == Person(**RIGHT)
    assert [run.capabilities for run in stewrd.runs] == [("chat",), ("chat",)]


LOST = [(method, script(method, WRONG, {**WRONG, "age": 500}, RIGHT)) for method in METHODS]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(("method", "stewrd"), LOST, indirect=["stewrd"], ids=METHODS)
async def test_a_second_wrong_answer_is_the_last(
    stewrd: Emulator, model: ChatStewrd, method: Any, raw: bool
) -> None:
    runs = model.with_structured_output(Person, method=method, include_raw=raw)
    if raw:
        told: Any = runs.invoke(TEXT)
        assert told["parsed"] is None and isinstance(told["parsing_error"], OutputParserException)
        assert "500" in str(told["raw"].tool_calls or told["raw"].text), "the last is given"
    else:
        with pytest.raises(OutputParserException, match="less than 150") as raised:
            await runs.ainvoke(TEXT)
        assert raised.value.llm_output is not None and "500" in raised.value.llm_output
    assert charged(stewrd) == 2, "twice, and never more"


@pytest.mark.parametrize("method", METHODS)
def test_a_right_answer_with_what_it_was_made_of(
    stewrd: Emulator, model: ChatStewrd, method: Any
) -> None:
    told: Any = model.with_structured_output(Person, method=method, include_raw=True).invoke(TEXT)
    assert set(told) == {"raw", "parsed", "parsing_error"}
    assert told["parsed"] == Person(**ADA) and told["parsing_error"] is None
    assert isinstance(told["raw"], AIMessage)
    assert told["raw"].response_metadata["stewrd"]["road"] == "stateless"
    assert charged(stewrd) == 1


@on(script("function_calling", "I would rather talk.", RIGHT))
def test_words_where_a_tool_was_to_be_called(stewrd: Emulator, model: ChatStewrd) -> None:
    assert model.with_structured_output(Person).invoke(TEXT) == Person(**RIGHT)
    correction = said(stewrd)[-1][1]
    assert "I would rather talk." in correction and "was not called" in correction


@on(
    script("json_mode", "Sure: 36 years", '```json\n{"name": "Ada", "age": 36}\n```'),
    script("json_mode", '{"name": "Ada",', '{"name": "Ada", "age": 36}'),
    script("json_mode", "[1]", 'Here it is:\n```\n{"name": "Ada", "age": 36}\n```\nDone.'),
)
@pytest.mark.parametrize("schema", [Person, OldPerson, PersonDict, SCHEMA])
def test_what_is_no_json_or_not_the_right_one(
    stewrd: Emulator, model: ChatStewrd, schema: Any
) -> None:
    runs = model.with_structured_output(schema, method="json_mode")
    assert as_dict(runs.invoke(TEXT)) == ADA
    assert charged(stewrd) == 2


@on(script("json_schema", {"name": "Ada"}, {"name": "Ada", "age": "36"}, {}))
@pytest.mark.parametrize("schema", [PersonDict, SCHEMA])
def test_schemas_that_are_no_classes_are_checked_too(
    stewrd: Emulator, model: ChatStewrd, schema: Any
) -> None:
    with pytest.raises(OutputParserException, match=r"\$\.age: '36' is not of type 'integer'"):
        model.with_structured_output(schema, method="json_schema").invoke(TEXT)
    assert "'age' is a required property" in said(stewrd)[-1][1]


@pytest.mark.parametrize("method", METHODS)
def test_an_error_of_the_server_is_no_wrong_answer(
    stewrd: Emulator, make: Make, method: Any
) -> None:
    runs = make(max_retries=0).with_structured_output(Person, method=method, include_raw=True)
    stewrd.fail_next("hang_up", on="agent", after=True)
    with pytest.raises(StewrdError) as raised:
        runs.invoke(TEXT)
    assert raised.value.charged == "maybe" and len(stewrd.runs) == 1
