from __future__ import annotations

import time

import pytest

from stewrd_integrations.emulator.agent import Answer, Context, File, Tool
from stewrd_integrations.emulator.builtin import default_agent
from stewrd_integrations.emulator.reading import Conversation, Said


def ask(*earlier: str, message: str, **more: object) -> Answer:
    said = [Said(("user", "assistant")[at % 2], text) for at, text in enumerate(earlier)]
    instructions = str(more.pop("instructions", ""))
    conversation = Conversation(
        instructions,
        (*said, Said("user", message)),
        summary=more.pop("summary", None),  # type: ignore[arg-type]
    )
    return default_agent(Context(conversation, message, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("earlier", "message", "answer"),
    [
        ((), "My name is Ada.", "Nice to meet you, Ada."),
        (("My name is Ada.", "Hi"), "What is my name?", "Your name is Ada."),
        (("my name is Ada", "Hi"), "what's my name", "Your name is Ada."),
        (("Call me Grace!", "Hi"), "Who am I?", "Your name is Grace."),
        ((), "What is my name?", "You have not told me your name."),
        (
            ("My name is Ada.", "Hi", "My name is Eve.", "Hi"),
            "What is my name?",
            "Your name is Eve.",
        ),
        (
            ("My name is Ada and my favourite colour is green.", "Hi"),
            "What is my favourite colour?",
            "Your favourite colour is green.",
        ),
        (("The code is 42.", "Noted"), "Tell me the code.", "The code is 42."),
        (("I live in Oslo.", "Nice"), "Where do I live?", "You live in Oslo."),
        ((), "I live in Oslo", "I will remember that you live in Oslo."),
        ((), "Remember that cats purr.", "I will remember that cats purr."),
        (
            ("Remember that cats purr.", "Yes"),
            "What did I ask you to remember?",
            "I remember: cats purr.",
        ),
        (
            ("My dog is Rex", "Yes"),
            "What do you know about me?",
            "I remember: your dog is Rex.",
        ),
        ((), "What do you remember?", "You have not told me anything to remember."),
        (
            ("a", "b"),
            "How many messages have I sent?",
            "You have sent me 2 messages, this one included.",
        ),
        (
            ("Why?", "b"),
            "How many questions have I asked?",
            "You have asked me 2 questions, this one included.",
        ),
        (
            ("a", "b", "c", "d"),
            "Repeat what I said first",
            "The first thing that you said was: “a”",
        ),
        (("a", "b", "c", "d"), "What did I say before?", "Before this, you said: “c”"),
        ((), "What did I say before this?", "You have not said anything before this."),
        ((), "Who are you?", "I am the agent of the Stewrd emulator."),
        ((), "Hello there", "Hello! What can I do for you?"),
        ((), "Thanks!", "You are welcome."),
        (
            (),
            "Is it late?",
            "You ask “Is it late?”: I only know what you tell me in this conversation.",
        ),
        (
            (),
            "Sure",
            "Understood: “Sure”. Tell me more, or ask me about what you said.",
        ),
        (
            (),
            "What was in the file?",
            "You have not sent me a file in this conversation.",
        ),
    ],
)
def test_answers(earlier: tuple[str, ...], message: str, answer: str) -> None:
    assert ask(*earlier, message=message).text == answer


def test_only_the_user_tells_facts() -> None:
    told = ask("Hi", "My name is Bot.", message="What is my name?")
    assert told.text == "You have not told me your name."


def test_a_question_tells_nothing() -> None:
    assert (
        ask("So my name is Eve?", "No", message="Who am I?").text
        == "You have not told me your name."
    )


@pytest.mark.parametrize("where", ["summary", "instructions"])
def test_summary_and_instructions_tell_facts(where: str) -> None:
    told = ask(message="What is my name?", **{where: "The user's name is Ada."})
    assert told.text == "Your name is Ada."


@pytest.mark.parametrize(
    ("instructions", "answer"),
    [
        ("Answer in upper case.", "YOU ARE WELCOME."),
        ("Answer in lower-case letters.", "you are welcome."),
        ('Always end with "Over."', "You are welcome. Over."),
        ("Begin every answer with Arr!", "Arr! You are welcome."),
    ],
)
def test_instructions_are_obeyed(instructions: str, answer: str) -> None:
    assert ask(message="Thanks", instructions=instructions).text == answer


def test_who_it_is_told_to_be() -> None:
    assert ask(message="Who are you?", instructions="You are a pirate.").text == "I am a pirate."


def test_files_are_read() -> None:
    files = (File("a.txt", "one\ntwo"), File("b.txt", ""), File("c.txt", "x"))
    assert ask(message="Look", files=files).text == (
        "a.txt has 2 lines; the first one is “one”. b.txt is empty. "
        "c.txt has 1 line; the first one is “x”."
    )
    told = ask(message="What was in the file?", earlier_files=files[2:])
    assert told.text == "c.txt has 1 line; the first one is “x”."


def test_files_are_written() -> None:
    told = ask("a", 'say "b"', message="Write a file called x.csv")
    assert told.text == "I have created x.csv."
    assert told.capabilities_used == ("files",)
    assert told.files == (
        File(
            "x.csv",
            'number,role,text\n1,user,"a"\n2,assistant,"say ""b"""\n'
            '3,user,"Write a file called x.csv"\n',
        ),
    )


def test_a_table_as_csv_and_a_text() -> None:
    assert (
        ask(message="Create a table as a CSV", capabilities=("data",)).files[0].name == "table.csv"
    )
    told = ask(message="Write notes.md", capabilities=("documents",))
    assert told.files[0].content == "user: Write notes.md\n"
    assert told.capabilities_used == ()


def test_no_file_without_the_capability() -> None:
    told = ask(message="Write x.csv", capabilities=("chat",))
    assert told.files == ()
    assert "cannot" in told.text


def test_it_goes_on_from_tool_results() -> None:
    tool = Said("tool", "3", name="add", tool_call_id="c1")
    conversation = Conversation(messages=(Said("user", "add"), tool))
    assert default_agent(Context(conversation, "")).text == "The tool add answered: 3"
    assert default_agent(Context(Conversation(), "")).text == "There is nothing to go on from."


def test_it_is_deterministic_and_short() -> None:
    long = ask(message="word " * 500)
    assert long == ask(message="word " * 500)
    assert len(long.text) < 200


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "JSON schema {" * 30_000,
        "in the weather for " * 5_000,
        "1-" * 50_000,
        "' \" " * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_long_texts_are_answered_in_no_time(text: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    said = (Said("user", f"get_weather {text}"), Said("tool", text, name="other"))
    conversation = Conversation(f"{text} You must call a tool.", said)
    start = time.monotonic()
    default_agent(Context(conversation, "", tools=(Tool("get_weather", "", schema),)))
    default_agent(Context(conversation, ""))
    assert time.monotonic() - start < 20
