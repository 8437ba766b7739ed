from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from stewrd_integrations.emulator import Context, Conversation, Said, Tool, default_agent


class Person(BaseModel):
    name: str
    age: int


SCHEMA = json.dumps(Person.model_json_schema())
TOLD = "My name is Ada and my age is 36."
WISH = f"Answer with JSON only that matches this JSON Schema: {SCHEMA}"
# As LangChain words it: an example first, then the schema.
EXAMPLE = (
    "The output should be formatted as a JSON instance that conforms to the JSON schema below.\n"
    'As an example, for the schema {"properties": {"foo": {"type": "string"}}, "required": ["foo"]}'
    ' the object {"foo": "bar"} is well-formed.\nHere is the output schema:\n```\n'
    f"{SCHEMA}\n```"
)


def answer(text: str, *earlier: str, instructions: str = "", after: tuple[Said, ...] = ()) -> str:
    said = (*(Said("user", each) for each in earlier), Said("user", text), *after)
    conversation = Conversation(instructions, said)
    return default_agent(Context(conversation, "" if after else text)).text


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        (f"{TOLD} {WISH}", ""),
        (TOLD, WISH),
        (f"{TOLD}\n{EXAMPLE}", ""),
        (TOLD, EXAMPLE),
        (f"{TOLD}\nHere's a JSON schema to follow:\n{SCHEMA}\n\nOutput a valid JSON object.", ""),
        (f"Who? {TOLD} Reply in JSON, by this schema:\n```json\n{SCHEMA}\n```\nThanks!", ""),
    ],
)
def test_an_answer_satisfies_the_schema_with_values_of_the_text(
    text: str, instructions: str
) -> None:
    assert json.loads(answer(text, instructions=instructions)) == {"name": "Ada", "age": 36}


def test_the_message_is_heard_before_the_instructions() -> None:
    other = 'Answer with JSON of this schema: {"type": "integer"}'
    assert answer(f"Seven is 7. {other}", instructions=WISH) == "7"


def test_a_demand_of_this_very_answer_is_heard_first() -> None:
    other = 'Answer with JSON of this schema: {"type": "integer"}'
    said = Conversation(WISH, (Said("user", "Seven is 7."),), demand=other)
    assert default_agent(Context(said, "Seven is 7.")).text == "7"
    words = "Of the answer to this the application demands the following."
    output = Said("tool", f"name: Eve\n\n{words} {WISH}", name="find")
    assert json.loads(answer("Who?", after=(output,))) == {"name": "Eve", "age": 0}


def test_what_was_said_before_and_what_tools_found_helps_out() -> None:
    assert json.loads(answer("Who?", "My name is Ada.", instructions=WISH))["name"] == "Ada"
    found = (Said("tool", "name: Eve", name="find"), Said("tool", "age: 4", name="find"))
    assert json.loads(answer("Who?", instructions=WISH, after=found)) == {"name": "Eve", "age": 4}


def test_without_values_it_satisfies_the_schema_all_the_same() -> None:
    Person.model_validate_json(answer(WISH))


def test_the_wish_itself_holds_no_values() -> None:
    schema = json.dumps(
        {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "q": {"type": "string"}},
            "required": ["n"],
        }
    )
    assert answer(f"hm. Answer within 9 words in 'JSON' of this schema: {schema}") == '{"n": 0}'


@pytest.mark.parametrize(
    "text",
    [
        "Tell me a joke about cats. Return the result as a JSON with 'setup' and 'punchline' keys.",
        'Tell me a joke about cats. The keys "setup" and "punchline" make the JSON.',
    ],
)
def test_keys(text: str) -> None:
    assert json.loads(answer(text)) == {"setup": "cats", "punchline": "cats"}


@pytest.mark.parametrize(
    "wish", ["Reply with JSON only.", "Return nothing other than JSON.", "Only valid JSON, please."]
)
def test_any_json(wish: str) -> None:
    assert json.loads(answer("Thanks", instructions=wish)) == {"answer": "You are welcome."}


@pytest.mark.parametrize(
    "text",
    [
        "What is a JSON schema?",
        'What is wrong with the JSON schema {"a": }',
        'Is the JSON schema {"a": 1} any good?',
        "A schema in the head, and a {brace}",
        "The keys are under the mat.",
    ],
)
def test_other_texts_are_answered_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(answer(text))


def test_json_is_not_dressed_up() -> None:
    instructions = f"Answer in upper case. Always end with 'Over.' {WISH}"
    assert json.loads(answer(TOLD, instructions=instructions)) == {"name": "Ada", "age": 36}


def test_tools_are_called_first() -> None:
    add: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shown = Context(
        Conversation(WISH, (Said("user", "add(1)"),)), "add(1)", tools=(Tool("add", "", add),)
    )
    assert [call.arguments for call in default_agent(shown).calls] == [{"a": 1}]
