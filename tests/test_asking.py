"""Asking for a capability, without any framework."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from stewrd_integrations.asking import Asker, checked, failure, files_of, progress, user_message
from stewrd_integrations.capabilities import TextFile
from stewrd_integrations.errors import (
    ComputeError,
    ConfigurationError,
    InvalidInputError,
    NeverSentError,
    RateLimitError,
    StewrdError,
    StoreError,
    TimedOutError,
)
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.types import Event, File, Message, Token, ToolEnd, ToolStart

from .worlds import KEY, Stage


class Ears:
    """Hears all, if it listens at all."""

    def __init__(self, *, wanted: bool = False) -> None:
        self.wanted = wanted
        self.heard: list[Event | Outcome] = []

    def tell(self, item: Event | Outcome) -> None:
        self.heard.append(item)

    async def atell(self, item: Event | Outcome) -> None:
        self.heard.append(item)


class Notebook:
    """A transcript in memory."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.broken = False

    def load(self) -> Sequence[Message]:
        return list(self.said)

    async def aload(self) -> Sequence[Message]:
        return list(self.said)

    def add(self, question: Message, outcome: Outcome) -> None:
        if self.broken:
            raise StoreError("The notebook is full.")
        self.said += [question, Message("assistant", outcome.reply.message, mark=outcome.mark)]

    async def aadd(self, question: Message, outcome: Outcome) -> None:
        self.add(question, outcome)


async def say(asker: Asker, colour: str, text: str, ears: Ears | None = None) -> str:
    ears = ears or Ears()
    question = user_message(text, [])
    if colour == "sync":
        return asker.ask(question, ["chat"], ears).reply.message
    return (await asker.aask(question, ["chat"], ears)).reply.message


colours = pytest.mark.parametrize("colour", ["sync", "async"])


@colours
async def test_calls_stand_alone_without_a_transcript(colour: str) -> None:
    stage = Stage.make()
    asker = Asker(stage.model())
    await say(asker, colour, "My name is Ada.")
    assert await say(asker, colour, "Who am I?") == "You have not told me your name."
    assert [(run.road, run.capabilities) for run in stage.runs] == [("stateless", ("chat",))] * 2


@colours
async def test_a_transcript_makes_them_one_conversation(colour: str) -> None:
    stage, notebook = Stage.make(), Notebook()
    asker = Asker(stage.model(conversation_id="c"), notebook)
    await say(asker, colour, "My name is Ada.")
    assert await say(asker, colour, "Who am I?") == "Your name is Ada."
    assert [message.text for message in notebook.said[::2]] == stage.sent()
    assert len(stage.world.sessions) == 1


@colours
async def test_an_answer_is_given_though_it_is_not_kept(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage, notebook = Stage.make(), Notebook()
    notebook.broken = True
    assert await say(Asker(stage.model(conversation_id="c"), notebook), colour, "Hello")
    assert "The notebook is full." in caplog.text


@colours
async def test_a_failed_call_is_not_kept(colour: str) -> None:
    stage, notebook = Stage.make(), Notebook()
    stage.fail_next("error", status=402)
    with pytest.raises(StewrdError):
        await say(Asker(stage.model(conversation_id="c"), notebook), colour, "Hello")
    assert notebook.said == []


@colours
@pytest.mark.parametrize("wanted", [True, False])
async def test_who_listens_hears_all(colour: str, wanted: bool) -> None:
    stage, ears = Stage.make(), Ears(wanted=wanted)
    text = await say(Asker(stage.model()), colour, "Hello", ears)
    assert stage.runs[0].stream == wanted
    assert isinstance(ears.heard[-1], Outcome) and (len(ears.heard) > 1) == wanted
    if wanted:
        pieces = [item.text for item in ears.heard if isinstance(item, Token)]
        assert "".join(pieces) == text


async def test_copies_are_the_same() -> None:
    asker = Asker(Stage.make().model())
    assert copy.deepcopy({"asker": asker})["asker"] is asker


@colours
async def test_it_can_be_used_after_its_connections_were_given_back(colour: str) -> None:
    stage = Stage.make()
    asker = Asker(stage.model())
    for _ in range(2):
        assert await say(asker, colour, "Hello")
        asker.close()
        await asker.aclose()


# -- what goes in, and what comes out ------------------------------------------------


def named(*names: str) -> list[str]:
    files = [TextFile(name=name, content="x") for name in names]
    return [file.name for file in user_message("Hi", files).files]


def test_files_get_names_that_tell_them_apart() -> None:
    assert named("a.csv", "a.csv", "a-2.csv", "a") == ["a.csv", "a-2.csv", "a-2-2.csv", "a"]
    assert named("a.csv", "a.csv", "a.csv") == ["a.csv", "a-2.csv", "a-3.csv"]
    assert named(".env", ".env", "b", "b") == [".env", ".env-2", "b", "b-2"]
    assert named("a", " ", "file-2.txt") == ["a", "file-2.txt", "file-2-2.txt"]


@pytest.mark.parametrize(
    ("error", "facts", "to_do"),
    [
        (NeverSentError("No."), "(charged: no; retryable: yes)", "You may call it once more."),
        (
            ComputeError("No.", code="compute_error"),
            "(code: compute_error; charged: no; retryable: yes)",
            "You may call it once more.",
        ),
        (
            RateLimitError("No.", charged="maybe"),
            "(charged: maybe; retryable: no)",
            "Don't repeat the call: tell the user.",
        ),
        (
            TimedOutError("No."),
            "The work may have been done all the same. (charged: maybe; retryable: no)",
            "Don't repeat the call: tell the user.",
        ),
    ],
)
def test_failures_say_what_to_do(error: StewrdError, facts: str, to_do: str) -> None:
    told = failure("stewrd_chat", error)
    assert told.startswith("stewrd_chat failed: No. ") and told.endswith(f"{facts} {to_do}")
    assert ("send the turn again" in told) == (isinstance(error, ComputeError))


def test_progress_is_plain() -> None:
    start = {"type": "tool_start", "tool": "code", "message": "At it.", "by": "bo"}
    assert progress(ToolStart("code", "At it."), "bo") == start
    end = {"type": "tool_end", "tool": "code", "message": None, "by": "bo"}
    assert progress(ToolEnd("code"), "bo") == end
    assert progress(Token("x"), "bo") is None


def test_files_are_found() -> None:
    facts = {"files": [{"name": "a", "content": "x", "url": None, "more": 1}], "more": 2}
    assert files_of(facts, advice="") == [File("a", "x")]
    assert files_of({"files": []}, advice="") == []
    others: list[Any] = [
        None,
        {},
        {"files": "a"},
        {"files": ["a"]},
        {"files": [{"name": "a", "url": "https://x"}]},
        {"files": [{"name": 1, "content": None, "url": None}]},
    ]
    for other in others:
        with pytest.raises(InvalidInputError, match="Pass an answer"):
            files_of(other, advice="Pass an answer.")


# -- options -------------------------------------------------------------------------


def test_what_tools_are_made_of() -> None:
    assert checked(["code", "chat", "code"], 7, {}) == (("code", "chat"), "7")
    assert checked(("code",), None, {"timeout": 3}) == (("code",), None)


def test_wrong_options_are_forgotten() -> None:
    options: Any = {"apikey": KEY}
    with pytest.raises(ConfigurationError, match="no option 'apikey'"):
        checked(["chat"], None, options)
    assert options == {}
    for wrong in (None, [], ["magic"], "chat"):
        given: Any = wrong
        with pytest.raises(ConfigurationError, match="capabilities"):
            checked(given, None, {})
