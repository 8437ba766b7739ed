"""Whether what the server heard is what the application showed, and nothing was done twice.

The judge looks at the emulator's own records. How it reads an envelope is the emulator's reading,
which shares no code with what writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stewrd_integrations.emulator.reading import Conversation, Said
from stewrd_integrations.emulator.records import Exchange, Run
from stewrd_integrations.sessions.digest import normalise
from stewrd_integrations.types import Message
from tests.sessions.tooling import (
    Words,
    ends_of_outputs,
    fits,
    side_by_side,
    words_heard,
    words_of,
)

NOTHING_HEARD = (400, 401, 404, 410, 429)
REFUSES_TOOLS = "invalid_tools"
SUMMARY = "summary: "
"""How the summaries of the machines' applications begin."""


class Conversing(Protocol):
    """What the judge must know of a conversation."""

    @property
    def scope(self) -> tuple[object, ...]:
        """Who may share a session with it."""

    messages: tuple[Message, ...]
    system: str
    trimmed: bool


@dataclass(frozen=True)
class Case:
    """One call and what came of it.

    Attributes:
        answered: Whether there was an answer.
        gives_up: Whether the session must never be used again: of unknown outcome, say.
        sent: Whether anything may have reached the server, as far as the error says.
        tools: Whether tools were bound.
    """

    talk: Conversing
    answered: bool
    gives_up: bool
    sent: bool
    tools: bool


@dataclass
class Judge:
    """What is known of a server's sessions."""

    behaviour: dict[str, Any] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    scopes: dict[str, tuple[object, ...]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    runs_expired: bool = False
    handed_over: set[str] = field(default_factory=set)
    delivered: dict[str, set[str | None]] = field(default_factory=dict)

    def check(self, case: Case, runs: Sequence[Run], requests: Sequence[Exchange]) -> None:
        """Judge a call that nobody else called beside."""
        on_sessions = messages_on_sessions(requests)
        self.check_sessions(case.talk, on_sessions)
        if not case.answered and case.gives_up:
            # One that refused the tools has heard nothing, however it went on beside it.
            left = [one for one in on_sessions[-1:] if one.code != REFUSES_TOOLS]
            self.given_up.update(str(one.session_id) for one in left)
        self._check_once(case, runs)
        whole = [
            self.check_context(
                case.talk,
                run,
                answers=case.answered and run is runs[-1],
                after_outputs=any(one.round for one in runs[:at]),
            )
            for at, run in enumerate(runs)
        ]
        assert not case.answered or whole[-1], "the answer is to less than was shown"

    def check_sessions(self, talk: Conversing, on_sessions: Sequence[Exchange]) -> None:
        """Each request is on a session that may be used, and is this conversation's."""
        for exchange in on_sessions:
            session = str(exchange.session_id)
            assert session not in self.given_up, "a session given up was used again"
            if exchange.status not in NOTHING_HEARD:
                assert self.scopes.setdefault(session, talk.scope) == talk.scope, "two scopes"

    def _check_once(self, case: Case, runs: Sequence[Run]) -> None:
        asked = [run for run in runs if not run.round]
        # An answer without anything has shown that sessions take no tools, be it true or not.
        learnt = asked[:1] if len(asked) > 1 and asked[-1].road == "stateless" else []
        unheard = [run for run in learnt if run.road == "session" and case.tools]
        self.given_up.update(str(run.session_id) for run in unheard)
        assert len(asked) - len(unheard) <= 1, "the same was asked twice"
        assert len(runs) - len(asked) <= 1, "outputs were given twice"
        assert case.answered or case.sent or not runs, "said to be unsent, and was heard"

    def check_context(
        self, talk: Conversing, run: Run, *, answers: bool, after_outputs: bool = False
    ) -> bool:
        """The agent read what was shown; returns whether it was all of it.

        Asked to go on under other tools ``after_outputs``, as after a handoff, an agent whose
        session keeps nothing of a run but its message has forgotten them with it.
        """
        told = run.conversation
        # An answer that nobody gets, to outputs alone, is given under its run's instructions.
        assert told.instructions == talk.system or (run.round and not answers)
        shown, heard = side_by_side(words_of(talk.messages)), side_by_side(words_heard(run))
        on_session = run.road == "session"
        forgets = self.behaviour.get("session_rounds", "all") if on_session else "all"
        hidden = frozenset(self.hidden) if on_session else frozenset()
        if after_outputs and not run.round and forgets == "message":
            self.handed_over.add(str(run.session_id))
        for end in ends_of_outputs(shown) if run.round else [len(shown)]:
            trimmed = talk.trimmed and (on_session or run.round > 0)
            ways = [shown[:end]]
            if run.round:
                ways.append(without_summaries(shown[:end]))
            if str(run.session_id) in self.handed_over:
                ways += without_rounds_since_the_user(shown[:end])
            pairs = [(heard, way) for way in ways]
            # One that was told later stands where it was told, and says that it is a summary.
            if summaries_of(shown[:end]) <= {normalise(s.text) for s in told.messages if s.summary}:
                pairs.append((heard_besides_summaries(run), without_summaries(shown[:end])))
            if any(fits(*pair, forgets, hidden, told.omitted, trimmed) for pair in pairs):
                if run.round and not answers:
                    # Outputs, and more is said after them: nobody is to see the answer between.
                    self.hidden.add(run.answer)
                return end == len(shown)
        raise AssertionError(f"heard {heard}\nshown {shown}\nhidden {self.hidden}")

    def check_delivered(self, talk: Conversing, run: Run) -> None:
        """A session gets each file once; for profiles in which no two have the same content."""
        if run.session_id is None or run.round:
            return
        contents = {file.content for file in run.files}
        before = self.delivered.setdefault(run.session_id, set())
        assert not contents & before, "a session got a file that it had"
        before |= contents
        told = run.conversation
        if not told.omitted and not told.omitted_files:
            users = [message for message in talk.messages if message.role == "user"]
            shown = {file.content for message in users for file in message.files}
            assert shown <= before, "the agent has not got a file that was shown"

    def check_server(self, world: Any, *, rate_limited: bool = False) -> None:
        """No limit was passed, nobody was on a session twice at once, nothing was refused."""
        assert world.over_limit == 0
        assert world.overlaps == []
        strange = [one for one in world.refused if not self.is_expected(one, rate_limited)]
        assert strange == [], "the emulator's own limits were met"

    def is_expected(self, exchange: Exchange, rate_limited: bool = False) -> bool:
        """Whether a refusal is one that nobody could have foreseen."""
        if exchange.status == 410 or (rate_limited and exchange.code == "rate_limited"):
            return True
        if exchange.code == REFUSES_TOOLS:
            refuses = self.behaviour.get("session_tools") == "refused"
            return refuses and "/sessions/" in exchange.path
        died = self.runs_expired or self.behaviour.get("expired_session_run") == "context_expired"
        return exchange.code == "context_expired" and died


def heard_besides_summaries(run: Run) -> tuple[Words, ...]:
    """What the agent read, without what is said to be a summary."""
    said = zip(words_heard(run), run.conversation.messages, strict=True)
    return side_by_side([words for words, one in said if not one.summary])


def summaries_of(shown: tuple[Words, ...]) -> set[str]:
    """The summaries in a list."""
    return {words[1] for words in shown if words[1].startswith(SUMMARY)}


def without_summaries(shown: tuple[Words, ...]) -> tuple[Words, ...]:
    """What can be known beside outputs: a summary is told with the next message."""
    return tuple(words for words in shown if not words[1].startswith(SUMMARY))


def without_rounds_since_the_user(shown: tuple[Words, ...]) -> list[tuple[Words, ...]]:
    """The list without the first things that came after what the user said last."""
    users = [at for at, words in enumerate(shown) if words[0] == "user"]
    rest = max(users, default=-1) + 1
    return [shown[:rest] + shown[more:] for more in range(rest + 1, len(shown) + 1)]


def messages_on_sessions(requests: Sequence[Exchange]) -> list[Exchange]:
    """The requests that said something to a session, or to a run of one."""
    return [one for one in requests if one.session_id and not one.path.endswith("/sessions")]


# -- files -----------------------------------------------------------------------------


def is_replay(run: Run) -> bool:
    """Whether the agent was told everything in this very message."""
    return not run.round and (run.road == "stateless" or '"kind": "replay"' in run.message)


def check_files(
    talk: Conversing, run: Run, contents: frozenset[str | None], *, roomy: bool, unique: bool
) -> None:
    """The files that came with a message are those of what it told.

    Args:
        talk: Whose message it is.
        run: The answer to it.
        contents: Of all files that were ever in the conversation.
        roomy: Whether every file fits into a replay.
        unique: Whether no two files have the same content.
    """
    if run.round:
        return
    sent = [(file.name, file.content) for file in run.files]
    names = [name for name, _ in sent]
    assert len(set(names)) == len(names), f"names collide: {names}"
    assert {content for _, content in sent} <= contents, "somebody else's file"
    assert not unique or len(set(sent)) == len({content for _, content in sent}), "doubled"
    current = talk.messages[-1].files if talk.messages[-1].role == "user" else ()
    own = [content for _, content in sent[len(sent) - len(current) :]]
    assert own == [file.content for file in current], "the current message's files"
    assert not roomy or not run.conversation.omitted_files, "files were left out"
    if is_replay(run):
        _check_replayed_files(talk, run, dict(sent))


def _check_replayed_files(talk: Conversing, run: Run, sent: dict[str, str | None]) -> None:
    told = run.conversation
    for said, message in zip(
        reversed(told.messages[:-1]), reversed(talk.messages[:-1]), strict=False
    ):
        wanted = [file.content for file in message.files]
        assert [_content(name, told, sent) for name in said.files] == [
            None if name in told.omitted_files else content
            for name, content in zip(said.files, wanted, strict=True)
        ]


def _content(name: str, told: Conversation, sent: dict[str, str | None]) -> str | None:
    return None if name in told.omitted_files else sent[name]


# -- budgets -----------------------------------------------------------------------------


def check_budget(run: Run, budget: int, current: Sequence[Message]) -> None:
    """A replay has no more characters than it may, its files included."""
    if not is_replay(run):
        return
    parts = parts_of(run.message)
    lines = parts.get("transcript", "").splitlines()
    fixed = len(parts.get("instructions", "")) + len(parts.get("message", ""))
    spent = fixed + sum(map(len, lines))
    own = len(current[-1].files) if current and current[-1].role == "user" else 0
    older = run.files[: len(run.files) - own]
    spent += sum(len(file.content or "") for file in older)
    # Names that would collide get a number, which is not reckoned with.
    spent -= sum(len(said) for said in re.findall(r"-\d+(?=\.csv|\.txt)", "".join(lines)))
    assert spent <= budget, f"{spent} characters of {budget}"


def parts_of(message: str) -> dict[str, str]:
    """The bodies of an envelope's parts; empty for plain text."""
    if not message.startswith("[[stewrd:"):
        return {}
    start = message[: message.index(" ")]
    parts: dict[str, str] = {}
    for part in message.split(f"{start} ")[1:]:
        head, _, body = part.partition("\n")
        parts[head.partition(" ")[0]] = body.removesuffix("\n")
    return parts


def check_recap(told: Conversation) -> None:
    """What was left out of a replay was summarised, all of it."""
    assert told.summarised == told.omitted
    assert told.summary == (recap_of(told.omitted) if told.omitted else None)


def recap_of(count: int) -> str:
    """The summary that the machines' callable makes of so many messages."""
    return f"{count} messages came before."


def texts_are_known(said: Sequence[Said], texts: frozenset[str]) -> bool:
    """Whether the agent heard nothing that was never said in the conversation."""
    return {normalise(one.text) for one in said if one.role != "tool"} <= texts


def line_costs(message: str) -> list[int]:
    """Characters of each line that an envelope replays, oldest first."""
    lines = parts_of(message).get("transcript", "").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    return [len(line) for line in lines]
