"""A user of tools: an agent that calls what the user's words name, and an application beside it.

The user's words are the script: "do add, mul; sub" asks for two calls at once and for a third
when those have come back; what stands behind a bar is a remark. How far the script is, the agent
tells from what it has heard alone, so a replay goes on where the run was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, pairwise, takewhile
from typing import Any

from stewrd_integrations.emulator.agent import Answer, Call, Context
from stewrd_integrations.emulator.reading import Said
from stewrd_integrations.emulator.records import Run
from stewrd_integrations.runtime import Explanation, Runtime
from stewrd_integrations.sessions.call import Outcome
from stewrd_integrations.sessions.digest import normalise
from stewrd_integrations.sessions.tools import legal_name, output_text
from stewrd_integrations.types import Message, Token, Tool, ToolCall
from tests.worlds import Stage

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
SCRIPT = "do "


def tool(name: str, description: str = "A function.") -> Tool:
    """A function that takes a number."""
    return Tool(name, description, SCHEMA)


TOOLS = (tool("add"), tool("mul"), tool("sub"))

Words = tuple[str, str, tuple[tuple[str, str, str], ...], str | None]
"""A message as a test compares it: role, text, calls, and the call that an output is for."""


def scripted(**settings: Any) -> Stage:
    """A stage whose agent calls tools as it is told to; every other answer is a new one."""
    numbers = iter(range(1, 100_000))
    thinks = settings.get("calls_message") == "text"

    def agent(context: Context) -> Answer | str:
        calls = due(context)
        if calls:
            return Answer(f"thinking {next(numbers)}" if thinks else "", calls=calls)
        return f"answer {next(numbers)}"

    return Stage.make(agent, **settings)


def due(context: Context) -> list[Call]:
    """The calls of the round that the script is at: none where tools are not offered."""
    since = _since_the_user(context.conversation.messages)
    script = since[0].text if since else ""
    if not context.tools or not script.startswith(SCRIPT):
        return []
    rounds = script.removeprefix(SCRIPT).partition("|")[0].split(";")
    had = sum(bool(said.tool_calls) for said in since)
    if had >= len(rounds):
        return []
    names = [name.strip() for name in rounds[had].split(",")]
    return [Call(name, {"n": had}) for name in names]


def _since_the_user(messages: Sequence[Said]) -> Sequence[Said]:
    places = [i for i, said in enumerate(messages) if said.role == "user" and not said.summary]
    return messages[places[-1] :] if places else []


def words_of(messages: Iterable[Message]) -> list[Words]:
    """A framework's list, without instructions, as the agent should read it."""
    return [
        (
            message.role,
            normalise(output_text(message) if message.role == "tool" else message.text),
            tuple((c.id, legal_name(c.name), str(dict(c.arguments))) for c in message.tool_calls),
            message.tool_call_id,
        )
        for message in messages
        if message.role != "system"
    ]


def words_heard(run: Run) -> list[Words]:
    """What the agent read for an answer."""
    return [
        (
            said.role,
            normalise(f"Error: {said.text}" if said.error else said.text),
            tuple((c.id, c.name, str(c.arguments)) for c in said.tool_calls),
            said.tool_call_id,
        )
        for said in run.conversation.messages
    ]


def without_rounds(words: Sequence[Words], mode: str, told: int = 0) -> list[Words]:
    """The list as a session keeps it that forgets the rounds of runs that have ended.

    ``mode`` is the emulator's ``session_rounds``, ``told`` how many of the messages the session
    was told in so many words. A run that goes on is whole.
    """
    if mode == "all":
        return list(words)
    last = max(i for i, entry in enumerate(words) if entry[0] == "user")
    kept: list[Words] = list(words[:told])
    of_run = False
    for entry in words[told:last]:
        if entry[0] == "user":
            of_run = False
        elif entry[2]:
            of_run = True
        if not (entry[2] or entry[0] == "tool" or (mode == "message" and of_run)):
            kept.append(entry)
    return [*kept, *words[max(last, told) :]]


@dataclass
class Workshop:
    """One conversation of an application that runs tools, and the list that it keeps."""

    stage: Stage
    model: Runtime
    name: str | None = "ada"
    marks: bool = True
    tools: tuple[Tool, ...] = TOOLS
    system: str = ""
    who: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    way: str = "plain"
    messages: list[Message] = field(default_factory=list)
    last: Outcome | None = None
    pieces: list[str] = field(default_factory=list)
    check: bool = True
    mode: str = "all"
    told: int = 0
    hidden: set[str] = field(default_factory=set)

    # -- one call ----------------------------------------------------------------------

    def shown(self) -> list[Message]:
        """The list of the next call."""
        system = [Message("system", self.system)] if self.system else []
        return [*system, *self.messages]

    def made(self, **options: Any) -> Any:
        """The next call."""
        given = {"tools": self.tools, "stream": "stream" in self.way, **self.call, **options}
        return self.model.call(self.shown(), {"conversation_id": self.name, **self.who}, **given)

    def step(self, **options: Any) -> Outcome:
        """Call the model with the list as it is, and keep the answer."""
        items = list(self.model.stream(self.made(**options)))
        return self._keep(items)

    async def astep(self, **options: Any) -> Outcome:
        """`step` on the event loop."""
        items = [item async for item in self.model.astream(self.made(**options))]
        return self._keep(items)

    def explain(self, **options: Any) -> Explanation:
        """What the next call would do."""
        return self.model.explain(self.made(**options))

    def _keep(self, items: list[Any]) -> Outcome:
        outcome = items[-1]
        assert isinstance(outcome, Outcome)
        self.pieces = [item.text for item in items[:-1] if isinstance(item, Token)]
        if outcome.decision.road == "session" and outcome.decision.turn != "continued":
            self.told = len(self.messages)
        if self.check:
            self.check_heard()
        self.last = outcome
        mark = outcome.mark if self.marks else None
        reply = outcome.reply
        said = Message("assistant", reply.message, tool_calls=reply.tool_calls, mark=mark)
        self.messages.append(said)
        return outcome

    def check_heard(self) -> None:
        """The agent has read the list, all of it, and nothing else."""
        run, heard = self.stage.runs[-1], words_heard(self.stage.runs[-1])
        wanted = words_of(self.messages)
        if run.road == "session":
            wanted = without_rounds(wanted, self.mode, self.told)
        self.hidden |= hidden_answers(self.stage)
        shown = {text for _, text, _, _ in wanted}
        heard = [one for one in heard if one[1] in shown or one[1] not in self.hidden]
        assert heard == wanted
        assert run.conversation.instructions == self.system

    # -- what is said ------------------------------------------------------------------

    def user(self, text: str) -> None:
        """The user has spoken."""
        self.messages.append(Message("user", text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that the list ends in."""
        return self.messages[-1].tool_calls

    def outputs(self, order: Callable[[Any], Any] = list) -> list[Message]:
        """What the tools give back for the calls that the list ends in."""
        calls = order(self.calls)
        return [
            Message("tool", f"{call.name} of {call.id}", name=call.name, tool_call_id=call.id)
            for call in calls
        ]

    def give(self, order: Callable[[Any], Any] = list) -> None:
        """The tools have run."""
        self.messages += self.outputs(order)

    def ask(self, text: str, **options: Any) -> Outcome:
        """Say something and get the first answer, calls perhaps."""
        self.user(text)
        return self.step(**options)

    def finish(self, order: Callable[[Any], Any] = list, **options: Any) -> Outcome:
        """Run tools until the agent has said its last word."""
        if self.messages[-1].role != "assistant":
            self.step(**options)
        while self.calls:
            self.give(order)
            self.step(**options)
        assert self.last is not None
        return self.last

    def talk(self, text: str, **options: Any) -> Outcome:
        """A whole turn, tools included."""
        self.ask(text, **options)
        return self.finish(**options)

    async def atalk(self, text: str, **options: Any) -> Outcome:
        """`talk` on the event loop."""
        self.user(text)
        await self.astep(**options)
        while self.calls:
            self.give()
            await self.astep(**options)
        assert self.last is not None
        return self.last


def workshop(stage: Stage, **details: Any) -> Workshop:
    """A conversation on a model of its own."""
    known = {name: details.pop(name) for name in list(details) if name in _FIELDS}
    model = known.pop("model", None) or stage.model(**details)
    behaviour = stage.world.settings
    mode = behaviour.session_rounds if behaviour.session_tools == "accepted" else "all"
    return Workshop(stage, model, mode=mode, **known)


_FIELDS = set(Workshop.__dataclass_fields__)


def hidden_answers(stage: Stage) -> set[str]:
    """Answers to outputs that a user's message followed at once, on the same session."""
    runs = stage.runs
    return {
        earlier.answer
        for earlier, later in pairwise(runs)
        if earlier.round and not later.round and earlier.session_id == later.session_id is not None
    }


def paths(stage: Stage) -> list[str]:
    """The kind of every request, in order."""
    return [exchange.path.rsplit("/", 1)[-1] for exchange in stage.requests]


def opened(stage: Stage) -> int:
    """How many sessions were ever opened."""
    return len(stage.world.sessions)


def clean(stage: Stage) -> None:
    """No limit of the server's was met, and nobody spoke to a session twice at once."""
    assert stage.world.over_limit == 0
    assert stage.world.overlaps == []


def in_the_midst(stage: Stage, script: str = "do add, mul", **details: Any) -> Workshop:
    """A conversation whose agent waits for outputs; they are there."""
    work = workshop(stage, **details)
    work.talk("hello")
    work.ask(script)
    work.give()
    return work


def last(work: Workshop) -> tuple[str, str]:
    """The road and the kind of the last turn."""
    assert work.last is not None
    return work.last.decision.road, work.last.decision.turn


def by_our_clock(stage: Stage) -> None:
    """Every run that waits is gone, and everybody knows."""
    stage.clock.now += 296


def without_a_word(stage: Stage) -> None:
    """Every run that waits is gone, and only the server knows."""
    stage.world.expire_run()


def side_by_side(words: list[Words]) -> tuple[Words, ...]:
    """With outputs that stand side by side in one order: a run hears them in that of its calls."""
    groups = [list(group) for _, group in groupby(words, key=lambda one: one[0] == "tool")]
    return tuple(
        one
        for group in groups
        for one in (sorted(group, key=str) if group[0][0] == "tool" else group)
    )


def ends_of_outputs(words: tuple[Words, ...]) -> list[int]:
    """Where outputs end, the last place first."""
    roles = [one[0] for one in (*words, ("end", "", (), None))]
    ends = [at + 1 for at in range(len(words)) if roles[at] == "tool" != roles[at + 1]]
    return list(reversed(ends))


def cut_between_outputs(
    heard: tuple[Words, ...], shown: tuple[Words, ...], omitted: int
) -> Iterator[tuple[int, int]]:
    """Where both go on if the front ends between outputs that stand side by side.

    They are in another order here than when the front was cut off, so any of them may be gone.
    """
    left = len(list(takewhile(lambda one: one[0] == "tool", heard)))
    for end in ends_of_outputs(shown) if left else ():
        together = set(takewhile(lambda one: one[0] == "tool", reversed(shown[:end])))
        if set(heard[:left]) < together and end - left <= omitted:
            yield left, end


def fits(
    heard: tuple[Words, ...],
    shown: tuple[Words, ...],
    forgets: str,
    hidden: frozenset[str],
    omitted: int,
    trimmed: bool,
) -> bool:
    """Whether what was heard is what was shown.

    Hidden answers may stand between; a session may forget what it ``forgets`` of runs before the
    last user's message; the front may be ``omitted``, and a session may know one that was trimmed.
    """
    turn = max((i for i, words in enumerate(shown) if words[0] == "user"), default=0)
    unseen = [i for i, words in enumerate(heard) if words[1] in hidden and not words[2]]
    if unseen:
        # A run has ended there, with an answer that nobody is shown.
        turn = max(turn, len(shown) - (len(heard) - unseen[-1] - 1))

    def forgotten(at: int) -> bool:
        if forgets == "all" or at >= turn:
            return False
        role, _, calls, _ = shown[at]
        # Where the front was trimmed away, nobody can tell what the first answer ended.
        after_tools = shown[at - 1][0] == "tool" if at else trimmed
        ends = role == "assistant" and after_tools
        return bool(calls) or role == "tool" or (forgets == "message" and ends)

    @cache
    def fit(at: int, to: int) -> bool:
        if at == len(heard):
            return all(forgotten(i) for i in range(to, len(shown)))
        if to < len(shown):
            if heard[at] == shown[to] and fit(at + 1, to + 1):
                return True
            if forgotten(to) and fit(at, to + 1):
                return True
        is_hidden = heard[at][0] == "assistant" and heard[at][1] in hidden and not heard[at][2]
        return is_hidden and fit(at + 1, to)

    starts = [(0, to) for to in range(min(omitted, len(shown)) + 1)]
    starts += cut_between_outputs(heard, shown, omitted)
    if trimmed:
        starts += [(at, 0) for at in range(1, len(heard))]
    return any(fit(at, to) for at, to in starts)
