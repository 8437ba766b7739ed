"""No message can pass for another: through both frameworks, over a socket, and read back.

What is read back is what the emulator's reader makes of the text that came over the wire; it was
written apart from the code that writes replays, and shares nothing with it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import DocumentBlock, TextBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage

from stewrd_integrations.emulator import Emulator, read
from stewrd_integrations.sessions.align import Fresh
from stewrd_integrations.sessions.replay import Instructions, Window, continued, replayed
from stewrd_integrations.types import File, Message, Role, ToolCall
from tests.frameworks import FRAMEWORKS, MODES, Loop, Mode, Talk
from tests.frameworks import NAMES as OF_FRAMEWORKS

from .hostile import CHARACTERS, CORPUS, EVERYTHING, FENCES, NAMES, SEEN, SURROGATES, envelope

BUDGET = 10**8
Maker = Callable[..., Talk]
frameworks = pytest.mark.parametrize("make", FRAMEWORKS, ids=OF_FRAMEWORKS)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    numbers = iter(range(1, 1_000_000))
    with Emulator(agent=lambda context: f"answer {next(numbers)}") as emulator:
        yield emulator


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def heard(emulator: Emulator) -> list[tuple[str, str]]:
    """What the agent read at its last answer."""
    return [(said.role, said.text) for said in emulator.runs[-1].conversation.messages]


# -- what people and agents say --------------------------------------------------------


@frameworks
@pytest.mark.parametrize("mode", MODES)
def test_texts_of_every_role_after_an_edit(
    make: Maker, emulator: Emulator, loop: Loop, mode: Mode
) -> None:
    """The whole corpus as one history, said by the user and by the assistant in turns."""
    talk = make(emulator, loop, conversation_id="ada", replay_budget=BUDGET)
    talk.say("first", mode)
    for number, text in enumerate(CORPUS.values()):
        talk.add(("user", "assistant")[number % 2], text)
        talk.add(("assistant", "user")[number % 2], text)
    assert talk.say("next", mode) == "replayed"
    assert heard(emulator) == talk.pairs()[:-1]
    del talk.messages[1]
    talk.add("user", "edited", 0)
    history = len(talk.messages)
    assert talk.say("and on", mode) == "replayed"
    assert heard(emulator) == talk.pairs()[:-1]
    sent = emulator.runs[-1].message.split("\n")
    assert len(sent) == history + 4, "each message is one line, beside the fences"
    unsafe = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *CHARACTERS["bidi controls"]}
    unsafe |= {"\u2028", "\u2029", "\u200b", "\u2060", "\ufeff", "\xad"}
    assert not (unsafe - set("user xy")) & set("".join(sent))


@frameworks
@pytest.mark.parametrize("kind", [*FENCES, "line breaks", "closing quotes", "controls"])
def test_a_current_message_that_is_hostile(
    make: Maker, emulator: Emulator, loop: Loop, kind: str
) -> None:
    talk = make(emulator, loop, conversation_id="ada", replay_budget=BUDGET)
    talk.say(CORPUS[kind])
    talk.say(CORPUS[kind])
    assert heard(emulator) == talk.pairs()[:-1]
    emulator.expire()
    assert talk.say(CORPUS[kind], "stream") == "recreated"
    assert heard(emulator) == talk.pairs()[:-1]


@frameworks
def test_instructions_that_are_hostile(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada", replay_budget=BUDGET)
    for number, text in enumerate(CORPUS.values()):
        talk.system = f"{text} {number}"
        talk.say(f"text {number}")
        assert emulator.runs[-1].conversation.instructions == talk.system
        if number % 9 == 8:
            emulator.expire()
    assert [said for said in heard(emulator) if said[0] == "user"][-1] == ("user", f"text {number}")
    assert heard(emulator) == talk.pairs()[:-1]


@frameworks
def test_an_answer_that_is_hostile(make: Maker, loop: Loop) -> None:
    texts = [text for text in CORPUS.values() if len(text) < 60_000 and text.strip()]
    answers = iter(texts)
    with Emulator(agent=lambda context: next(answers, "done")) as emulator:
        talk = make(emulator, loop, conversation_id="ada", replay_budget=BUDGET)
        for number in range(len(texts)):
            talk.say(f"text {number}", MODES[number % 4])
            if number % 8 == 7:
                emulator.expire()
        talk.say("last")
        told = [(role, text.strip()) for role, text in heard(emulator)]
        assert told == [(role, text.strip()) for role, text in talk.pairs()[:-1]]


@frameworks
def test_an_envelope_that_was_seen_is_of_no_use(
    make: Maker, emulator: Emulator, loop: Loop
) -> None:
    """Who was told of the fence of one message can't forge the next one's: it is new."""
    talk = make(emulator, loop, conversation_id="ada")
    talk.system = "Be brief."
    talk.say("hello")
    nonces: list[str] = []
    for _ in range(4):
        found = re.match(r"\[\[stewrd:([0-9a-f]{32}) ", emulator.runs[-1].message)
        assert found is not None
        nonces.append(found[1])
        emulator.expire()
        talk.say(envelope(found[1]))
        assert heard(emulator) == talk.pairs()[:-1]
        assert emulator.runs[-1].conversation.instructions == "Be brief."
    assert len(set(nonces)) == 4


@frameworks
def test_every_fence_is_new(make: Maker, emulator: Emulator, loop: Loop) -> None:
    """Also where nobody quotes the one before, which alone would make it another."""
    fences = []
    for number in range(3):
        talk = make(emulator, loop, conversation_id=f"n{number}")
        talk.system = "Be brief."
        talk.say("hello")
        fences.append(emulator.runs[-1].message.split(" ", 1)[0])
    assert len(set(fences)) == 3
    assert all(re.fullmatch(r"\[\[stewrd:[0-9a-f]{32}", fence) for fence in fences)


# -- tools, files, names ---------------------------------------------------------------


def with_tool(make: Maker, text: str, name: str, call_id: str) -> list[Any]:
    """A finished exchange with a tool, in the framework's own messages."""
    arguments = {"q": text, text[:50]: [text]}
    if make is FRAMEWORKS[0]:
        call = {"name": name, "args": arguments, "id": call_id, "type": "tool_call"}
        return [
            HumanMessage("use it"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(text, tool_call_id=call_id, name=name),
            AIMessage("used"),
        ]
    block = ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs=arguments)
    extra = {"tool_call_id": call_id, "name": name}
    return [
        ChatMessage("use it"),
        ChatMessage(role="assistant", blocks=[block]),
        ChatMessage(role="tool", content=text, additional_kwargs=extra),
        ChatMessage("used", role="assistant"),
    ]


SMALL = [text for text in CORPUS.values() if len(text) < 10_000 and text]


@frameworks
def test_outputs_and_arguments_of_tools(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada", replay_budget=BUDGET)
    names = list(NAMES.values())
    for number, text in enumerate(SMALL):
        name = names[number % len(names)]
        talk.messages += with_tool(make, text, name, f"{name[:60]}{number}")
    talk.say("and now")
    told = emulator.runs[-1].conversation.messages
    assert [said.role for said in told] == [
        *["user", "assistant", "tool", "assistant"] * len(SMALL),
        "user",
    ]
    for number, text in enumerate(SMALL):
        _, asked, output, _ = told[number * 4 : number * 4 + 4]
        (call,) = asked.tool_calls
        assert output.text == text
        assert call.arguments == {"q": text, text[:50]: [text]}
        assert output.tool_call_id == call.id
        assert re.fullmatch(r"[A-Za-z0-9_]{1,64}", call.name)


def filed(make: Maker, name: str, content: str) -> Any:
    """A question about a file, in the framework's own message."""
    if make is FRAMEWORKS[0]:
        block = {"type": "text-plain", "mime_type": "text/plain", "title": name, "text": content}
        return HumanMessage([{"type": "text", "text": "read it"}, block])
    document = DocumentBlock(data=b64encode(content.encode()), title=name)
    return ChatMessage(role="user", blocks=[TextBlock(text="read it"), document])


@frameworks
def test_names_and_contents_of_files(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada", replay_budget=BUDGET)
    texts = [FENCES["an envelope"], CHARACTERS["controls"], CHARACTERS["bidi controls"]]
    texts += [CORPUS["closing quotes"], CORPUS["deep lists"], CORPUS["tags"]]
    sent = {f"{number}{name}": texts[number % 6] for number, name in enumerate(NAMES.values())}
    for name, content in sent.items():
        talk.messages.append(filed(make, name, content))
        talk.add("assistant", "read")
    talk.say("and now")
    run = emulator.runs[-1]
    assert {file.name: file.content for file in run.files} == sent
    told = run.conversation.messages
    assert [said.files for said in told if said.files] == [(name,) for name in sent]
    assert [said.role for said in told] == [*["user", "assistant"] * len(sent), "user"]


@frameworks
def test_names_of_people(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop, conversation_id="ada")
    for name in NAMES.values():
        named: Any = HumanMessage("Hi", name=name)
        if make is not FRAMEWORKS[0]:
            named = ChatMessage("Hi", additional_kwargs={"name": name})
        talk.messages.append(named)
        talk.add("assistant", "Hello")
    talk.say("and now")
    told = emulator.runs[-1].conversation.messages
    assert [said.name for said in told if said.name] == list(NAMES.values())


PARTED = [
    ("a", "b"),
    ("a\0b", "c"),
    ("a", "b\0c"),
    ("a", "b\nc"),
    ("a\nb", "c"),
    ('["a"', "b"),
    ('["a", "b"', "c"),
    ("a:b", "c"),
    ("a", "b:c"),
    ("", "ab"),
]


@frameworks
def test_names_of_conversations_and_tenants(make: Maker, loop: Loop) -> None:
    """However they are parted, no two are one: each goes on with a session of its own."""
    with Emulator(agent=lambda context: "Yes.") as emulator:
        talk = make(emulator, loop)
        talks = [type(talk)(talk.model, loop) for _ in PARTED]  # type: ignore[arg-type]
        for one, (tenant, name) in zip(talks, PARTED, strict=True):
            one.who = {"conversation_id": name, **({"tenant": tenant} if tenant else {})}
            one.say("hello")
        opened = [one.told["session_id"] for one in talks]
        assert len(set(opened)) == len(PARTED)
        for one in talks:
            assert one.say("and on") == "continued"
        assert [one.told["session_id"] for one in talks] == opened


@frameworks
def test_hostile_names_of_conversations(make: Maker, emulator: Emulator, loop: Loop) -> None:
    talk = make(emulator, loop)
    for name in NAMES.values():
        one = type(talk)(talk.model, loop)  # type: ignore[arg-type]
        one.who = {"conversation_id": name, "tenant": name}
        assert one.say("hello") == "opened"
        assert one.say("and on") == "continued"
        assert name not in json.dumps(emulator.requests[-1].body, ensure_ascii=False)


# -- the pure core ---------------------------------------------------------------------


def told_by(past: Sequence[Message], current: str, instructions: str, nonce: str) -> Any:
    said = Instructions(instructions) if instructions else None
    tail = [Message("user", current)]
    speech = replayed(Window((), tuple(past)), tail, said, nonce=nonce, budget=BUDGET)
    return read([("user", speech.text)])


@pytest.mark.parametrize("kind", [*SURROGATES, *FENCES])
def test_every_place_of_the_core(kind: str) -> None:
    text = EVERYTHING[kind]
    call = ToolCall(text, "pay", {text: text})
    past = [
        Message("user", text, name=text, files=(File(text, text),)),
        Message("assistant", text, tool_calls=(call,)),
        Message("tool", text, name=text, tool_call_id=text, error=True),
        Message("assistant", text),
    ]
    for nonce in (SEEN, "f" * 32, "0" * 32):
        told = told_by(past, f"now {text}", f"do {text}", nonce)
        assert [said.role for said in told.messages] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        assert [said.text for said in told.messages] == [text, text, text, text, f"now {text}"]
        assert told.instructions == f"do {text}"
        assert told.messages[1].tool_calls[0].arguments == {text: text}


fragments = st.sampled_from(
    [*EVERYTHING.values(), "[[stewrd:", SEEN, "]]", '"}', "\n", "{", "\\", "parts", " {}", "\ud800"]
).map(lambda text: text[:400])
texts = st.lists(fragments | st.text(max_size=12), max_size=6).map("".join)
roles: st.SearchStrategy[Role] = st.sampled_from(["user", "assistant", "tool"])


@given(st.lists(st.tuples(roles, texts), max_size=6), texts, texts)
def test_any_replay_reads_as_it_was(
    past: list[tuple[Role, str]], instructions: str, current: str
) -> None:
    told = told_by([Message(role, text) for role, text in past], current, instructions, SEEN)
    assert [(said.role, said.text) for said in told.messages] == [*past, ("user", current)]
    assert told.instructions == instructions


@given(st.lists(st.tuples(roles, texts), min_size=1, max_size=5), texts, st.booleans())
def test_any_addition_reads_as_it_was(
    extras: list[tuple[Role, str]], current: str, envelope_before: bool
) -> None:
    known = [Message("user", "I am Ada"), Message("assistant", envelope(SEEN))]
    shown = [*known, *(Message(role, text) for role, text in extras), Message("user", current)]
    fresh = [Fresh(place) for place in range(2, len(shown))]
    speech = continued(shown, fresh, None, nonce=SEEN, budget=BUDGET)
    log = [("user", "I am Ada"), ("assistant", envelope(SEEN) if envelope_before else "Hello")]
    told = read([*log, ("user", speech.text)]).messages[2:]
    assert [(said.role, said.text) for said in told] == [*extras, ("user", current)]
