"""What the pytest fixture `stewrd_emulator` gives: an emulator, and what it heard.

A test of yours looks like this::

    def test_my_bot(stewrd_emulator):
        bot = MyBot(ChatStewrd(conversation_id="chat-1"))
        bot.say("My name is Ada.")
        bot.say("What is my name?")
        assert stewrd_emulator.heard() == [
            ("user", "My name is Ada."),
            ("assistant", "Nice to meet you, Ada."),
            ("user", "What is my name?"),
        ]
"""

from __future__ import annotations

import ast
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import fields
from difflib import SequenceMatcher, get_close_matches
from typing import Any, TypeAlias

import pytest

from ..emulator import Conversation, Emulator, Exchange, Run, Said, SessionRecord, Settings
from ..stores.memory import MemoryStore

Pair: TypeAlias = "tuple[str, str]"

CHECK = "check"
SETTINGS = (*(field.name for field in fields(Settings)), "agent", "port")

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


class Heard(list[Pair]):
    """What an agent had before it: (role, text), the instructions first, as of "system".

    It equals a list of pairs, of dictionaries with "role" and "content", or of LangChain's or
    LlamaIndex's messages that say the same.
    """

    __hash__ = None  # as lists have none

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, tuple)) and list(self) == _pairs(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def difference(self, other: object) -> list[str]:
        """What a failed comparison shows."""
        if not isinstance(other, (list, tuple)):
            return [f"what the agent heard is a list, and this is a {type(other).__name__}"]
        expected, heard = ([_line(pair) for pair in side] for side in (_pairs(other), self))
        told = ["the agent heard something else (- expected, + heard):"]
        for kind, a, b, c, d in SequenceMatcher(None, expected, heard, False).get_opcodes():
            if kind == "equal":
                told += [f"  {number} {expected[number - 1]}" for number in range(a + 1, b + 1)]
                continue
            told += [f"- {number} {expected[number - 1]}" for number in range(a + 1, b + 1)]
            told += [f"+ {number} {heard[number - 1]}" for number in range(c + 1, d + 1)]
        return told


class StewrdEmulator:
    """The emulator of one test; the models of the test find it by themselves.

    Attributes:
        emulator: All of it, with every request and setting.
        fail_next: Lets requests fail, as `Emulator.fail_next`.
        advance: Lets seconds pass at once: after 30 minutes idle sessions expire.
        expire: Lets one session expire at once, or all.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.fail_next = emulator.fail_next
        self.advance = emulator.advance
        self.expire = emulator.expire

    def heard(self, which: int | str = -1) -> Heard:
        """What the agent knew of the conversation when it answered.

        That is what counts in a test: on whatever road the messages came, in one piece or one by
        one, this is what the answer was made from.

        Args:
            which: The number of an answer, -1 for the last; or a session's id, for all that this
                session has heard and said so far.

        Raises:
            AssertionError: There is no such answer, or no such session.
        """
        __tracebackhide__ = True  # pytest shows the test, not this
        if isinstance(which, str):
            if which not in self.emulator.sessions:
                raise AssertionError(f"There is no session {which!r}.")
            return _heard(self.emulator.context(which))
        runs = self.emulator.runs
        if not -len(runs) <= which < len(runs):
            if not runs:
                raise AssertionError(
                    "The agent has not given an answer: nothing was asked of this emulator. Build "
                    "models inside the test, where they find its address and key."
                )
            raise AssertionError(f"The agent has not given answer number {which} of {len(runs)}.")
        return _heard(runs[which].conversation)

    @property
    def url(self) -> str:
        """The base URL, which STEWRD_BASE_URL has too."""
        return self.emulator.url

    @property
    def api_key(self) -> str:
        """The key, which STEWRD_API_KEY has too."""
        return self.emulator.api_key

    @property
    def requests(self) -> list[Exchange]:
        """Every HTTP request."""
        return self.emulator.requests

    @property
    def answers(self) -> list[Run]:
        """Every answer of the agent, with what it saw and what it cost."""
        return self.emulator.runs

    @property
    def sessions(self) -> dict[str, SessionRecord]:
        """Every session, by its id."""
        return self.emulator.sessions

    @property
    def credits(self) -> int:
        """The balance."""
        return self.emulator.credits

    @property
    def problems(self) -> list[str]:
        """What no right client ever does to a server."""
        told = [
            f"requests {overlap.earlier} and {overlap.later} were on session "
            f"{overlap.session_id} at once"
            for overlap in self.emulator.overlaps
        ]
        if self.emulator.over_limit:
            told.append(f"{self.emulator.over_limit} messages were pushed out of full sessions")
        return told


# -- for the plugin --------------------------------------------------------------------


def serve(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Generator[StewrdEmulator, None, None]:
    """Start an emulator for one test, and look at its end what went wrong."""
    check = settings.pop(CHECK, True)
    unknown = next((name for name in settings if name not in SETTINGS), None)
    if unknown is not None:
        near = get_close_matches(unknown, SETTINGS, n=1)
        meant = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(SETTINGS)}."
        pytest.fail(f"stewrd_emulator has no setting {unknown!r}. {meant}", pytrace=False)
    try:
        emulator = Emulator(**settings)
    except ValueError as wrong:
        pytest.fail(f"stewrd_emulator: {wrong}", pytrace=False)
    with emulator:
        monkeypatch.setenv("STEWRD_API_KEY", emulator.api_key)
        monkeypatch.setenv("STEWRD_BASE_URL", emulator.url)
        monkeypatch.delenv("STEWRD_STORE", raising=False)
        # The store of this process, so that no test finds what another has left.
        monkeypatch.setattr("stewrd_integrations.stores.opening._MEMORY", MemoryStore())
        served = StewrdEmulator(emulator)
        yield served
        unmet = emulator.pending_faults
    if check and unmet:
        pytest.fail(
            f"Of the failures that fail_next() ordered, {unmet} met no request. Is `on` right? "
            'Unless given, it is "message", that of a session.',
            pytrace=False,
        )
    if check and served.problems:
        told = "\n  ".join(served.problems)
        pytest.fail(f"What the emulator saw, and no right client does:\n  {told}", pytrace=False)


def read_lines(lines: Iterable[str]) -> dict[str, Any]:
    """Settings as lines of an ini file: ``history_limit = 6``."""
    settings = {}
    for line in lines:
        name, sign, value = line.partition("=")
        if not sign:
            pytest.fail(
                f"The ini option stewrd_emulator has a line that is not `name = value`: {line!r}",
                pytrace=False,
            )
        settings[name.strip()] = _value(value.strip())
    return settings


def of_marker(marker: pytest.Mark) -> dict[str, Any]:
    """The settings of a marker."""
    if marker.args:
        pytest.fail(
            f"The marker stewrd_emulator takes keywords only, not {marker.args[0]!r}.",
            pytrace=False,
        )
    return dict(marker.kwargs)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


# -- messages as pairs -----------------------------------------------------------------


def _heard(conversation: Conversation) -> Heard:
    return Heard(_told(conversation))


def _told(conversation: Conversation) -> Iterator[Pair]:
    if conversation.instructions:
        yield "system", conversation.instructions
    if conversation.summary is not None:
        yield "summary", conversation.summary
    elif conversation.omitted:
        yield "omitted", f"{conversation.omitted} older messages"
    for said in conversation.messages:
        yield said.role, _with_calls(said.text, _calls_of(said))


def _calls_of(said: Said) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in said.tool_calls]


def _with_calls(text: str, calls: Sequence[tuple[str, Any]]) -> str:
    """A text and the tools that it calls: ``add({"a": 1, "b": 2})``, each in a line."""
    told = [f"{name}({json.dumps(arguments, sort_keys=True)})" for name, arguments in calls]
    return "\n".join([text, *told] if text else told)


def _pairs(messages: Iterable[Any]) -> list[Any]:
    return [_pair(message) for message in messages]


def _pair(message: Any) -> Any:
    """A message of a framework, or of none, as a pair; what is no message stays as it is."""
    if isinstance(message, (tuple, list)) and len(message) == 2 and isinstance(message[0], str):
        return _ROLES.get(message[0], message[0]), message[1]
    if isinstance(message, dict) and {"role", "content"} <= message.keys():
        return _ROLES.get(message["role"], message["role"]), message["content"]
    if hasattr(message, "type") and hasattr(message, "text"):  # LangChain's
        calls = [(call["name"], call["args"]) for call in getattr(message, "tool_calls", [])]
        return _ROLES.get(message.type, message.type), _with_calls(str(message.text), calls)
    if hasattr(message, "role") and hasattr(message, "blocks"):  # LlamaIndex's
        calls = [
            (block.tool_name, block.tool_kwargs)
            for block in message.blocks
            if hasattr(block, "tool_kwargs")
        ]
        return message.role.value, _with_calls(message.content or "", calls)
    return message


def _line(pair: Any) -> str:
    if isinstance(pair, tuple) and len(pair) == 2:
        return f"{pair[0]!s:<9} {pair[1]!r}"
    return repr(pair)
