"""What happens to the lists of conversations between two turns: edits, copies and journeys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from stewrd_integrations.types import File, Message

from .agents import Scripted
from .journeys import LOSSY, WHOLE
from .judge import SUMMARY
from .talks import FRAMEWORKS, Framework, Kind, Talk, Toolbox
from .voices import VOICES

SCRIPTS = (
    *("hello", "hello", "thanks", "draw", "link"),
    *("do add", "do add, mul", "do add; mul", "do add; mul; sub, add"),
)
SYSTEMS = ("", "", "be brief", "be kind")
MOST, MANY = 6, 8
COPIES = ("name", "tenant", "app", "unnamed")
ANY = st.integers(0, 50)
LONG = 1_300
"""Characters of a long file: more than a small budget has."""


class Lists(RuleBasedStateMachine):
    """The conversations of two applications, and what they and their users do to them."""

    colliding = False
    variants: tuple[int, ...] = (0,)
    frameworks: tuple[Framework, ...] = FRAMEWORKS

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.count = 0
        self.talks: list[Talk] = []
        self.agent = Scripted(colliding=self.colliding)

    def teardown(self) -> None:
        # httpx leaves its own inner generators to the loop when a stream is left early.
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    @property
    def answers(self) -> int:
        """How many the agent gave."""
        return self.agent.answers

    # -- what is written ------------------------------------------------------------------

    def text(self, script: str) -> str:
        """What somebody writes: colliding profiles say the same few words."""
        self.count += 1
        return script if self.colliding else f"{script} | {self.count}"

    def file(self, size: int) -> File:
        """A file that somebody sends along; many have the same name."""
        self.count += 1
        text = "a,b" if self.colliding else f"content {self.count}"
        return File("notes.txt" if size else "table.csv", text + "x" * LONG * (size > 1))

    def pick(self, which: int) -> Talk:
        return self.talks[which % len(self.talks)]

    def add(self, talk: Talk, *messages: Message) -> None:
        """Messages that the application or its user wrote, at the end."""
        for message in messages:
            talk.add(message, VOICES[talk.framework].held(message))

    # -- conversations begin -----------------------------------------------------------

    @precondition(lambda self: len(self.talks) < MOST)
    @rule(
        framework=st.sampled_from(FRAMEWORKS),
        kind=st.sampled_from(["name", "mark", "content"]),
        app=st.sampled_from("aab"),
        variant=ANY,
        tenant=st.sampled_from([None, "t1", "t2"]),
        name=st.sampled_from(["langchain 1", "llama_index 1"]),
        system=st.sampled_from(SYSTEMS),
        tools=st.sampled_from(["none", "usual"]),
    )
    def begins(
        self,
        framework: Framework,
        kind: Kind,
        app: str,
        variant: int,
        tenant: str | None,
        name: str,
        system: str,
        tools: Toolbox,
    ) -> None:
        self.count += 1
        if framework not in self.frameworks:
            framework = self.frameworks[0]
        named = name if kind == "name" else None
        variant = self.variants[variant % len(self.variants)]
        talk = Talk(self.count, framework, kind, app, variant, tenant, named)
        self.talks.append(replace(talk, system=system, tools=tools))

    @precondition(lambda self: self.talks and len(self.talks) < MANY)
    @rule(which=ANY)
    def forks(self, which: int) -> None:
        self.talks.append(replace(self.pick(which)))

    @precondition(lambda self: self.talks and len(self.talks) < MANY)
    @rule(which=ANY, how=st.sampled_from(COPIES))
    def is_copied(self, which: int, how: str) -> None:
        """The words are the same, and it is somebody else's."""
        if not self.pick(which).stamped:
            self.talks.append(self.copy(self.pick(which), how))
            self.goes_on_by_itself(self.talks[-1])

    @precondition(lambda self: any(talk.messages for talk in self.talks))
    @rule(which=ANY)
    def is_copied_in_every_way(self, which: int) -> None:
        self.double(self.pick(which))

    def double(self, talk: Talk) -> None:
        """Copy it in every way; nobody keeps the copies."""
        for how in () if talk.stamped else COPIES:
            self.goes_on_by_itself(self.copy(talk, how))

    def copy(self, old: Talk, how: str) -> Talk:
        """Another's conversation, which begins like this one.

        Its marks are of the same root still, and good for whatever is found without a name, by
        the same tenant of the same application.
        """
        self.count += 1
        if how == "name":
            return replace(old, kind="name", name=f"n{self.count}")
        if how == "tenant":
            return replace(old, tenant=f"t{self.count}")
        if how == "app":
            return replace(old, app="b" if old.app == "a" else "a")
        return replace(old, kind="mark", name=None) if old.kind == "name" else replace(old)

    def goes_on_by_itself(self, talk: Talk) -> None:
        """Whose session it would go on is the question."""

    @precondition(lambda self: self.talks)
    @rule(which=ANY, variant=ANY)
    def moves_to_another_model(self, which: int, variant: int) -> None:
        if self.pick(which).kind != "content":
            self.pick(which).variant = self.variants[variant % len(self.variants)]

    @precondition(lambda self: self.talks and len(self.frameworks) > 1)
    @rule(which=ANY)
    def moves_to_the_other_framework(self, which: int) -> None:
        """An application is written anew, and keeps roles and texts."""
        talk = self.pick(which)
        if talk.stamped:
            return
        self.lose(talk)
        talk.framework = "llama_index" if talk.framework == "langchain" else "langchain"
        # LlamaIndex has no place for the failure of a tool but its words.
        talk.messages = tuple(replace(message, error=False) for message in talk.messages)
        talk.held = tuple(VOICES[talk.framework].held(message) for message in talk.messages)

    # -- journeys ------------------------------------------------------------------------

    @precondition(lambda self: any(talk.messages for talk in self.talks))
    @rule(which=ANY, way=ANY)
    def goes_on_a_journey(self, which: int, way: int) -> None:
        """It comes back whole: whatever a model would have done, it does still."""
        self.travel(self.pick(which), way)

    def travel(self, talk: Talk, way: int) -> None:
        """Go on a journey from which all comes back."""
        ways = WHOLE[talk.framework]
        count, before = self.count, self.outlook(talk)
        talk.held, self.count = tuple(ways[way % len(ways)](talk.held)), count
        assert len(talk.held) == len(talk.messages)
        after = self.outlook(talk)
        assert before == after, ways[way % len(ways)].__name__

    @precondition(lambda self: any(talk.messages for talk in self.talks))
    @rule(which=ANY, way=ANY)
    def loses_on_a_journey(self, which: int, way: int) -> None:
        """Marks and metadata are lost; a name is enough to know it by."""
        talk = self.pick(which)
        ways = LOSSY[talk.framework]
        count, before = self.count, self.outlook(talk)
        talk.held, self.count = tuple(ways[way % len(ways)](talk.held)), count
        drawn = any(one.files for one in talk.messages if one.role == "assistant")
        self.lose(talk, bared=False)
        if talk.kind == "name" and not talk.trimmed and not drawn and not talk.stamped:
            assert before == self.outlook(talk), ways[way % len(ways)].__name__

    def lose(self, talk: Talk, *, bared: bool = True) -> None:
        """Only roles, texts and calls are left of what was answered."""
        told = [
            replace(one, files=(), mark=None) if one.role == "assistant" else one
            for one in talk.messages
        ]
        held = VOICES[talk.framework].bare(talk.held) if bared else talk.held
        talk.change(told, held)

    def outlook(self, talk: Talk) -> object:
        """What the conversation's model would do with it next, as far as it can be told."""
        return None

    # -- lists change ------------------------------------------------------------------

    @precondition(lambda self: self.talks)
    @rule(which=ANY, turns=st.integers(1, 3))
    def is_rewound(self, which: int, turns: int) -> None:
        talk = self.pick(which)
        ends = [i + 1 for i, m in enumerate(talk.messages) if m.role == "assistant"]
        end = ends[-turns - 1] if len(ends) > turns else 0
        talk.change(talk.messages[:end], talk.held[:end])

    @precondition(lambda self: self.talks)
    @rule(which=ANY, front=st.integers(1, 5), summary=st.booleans())
    def is_trimmed(self, which: int, front: int, summary: bool) -> None:
        talk = self.pick(which)
        if len(talk.messages) <= front:
            return
        rest, held = talk.messages[front:], talk.held[front:]
        said = [Message("user", SUMMARY + self.text("thanks"))] if summary and front > 1 else []
        talk.trimmed = True
        talk.change((*said, *rest), (*map(VOICES[talk.framework].held, said), *held))

    @precondition(lambda self: self.talks)
    @rule(
        which=ANY,
        place=st.integers(0, 20),
        how=st.sampled_from(["edited", "dropped", "user", "assistant"]),
    )
    def a_message_changes(self, which: int, place: int, how: Any) -> None:
        talk = self.pick(which)
        if not talk.messages:
            return
        place %= len(talk.messages)
        messages, held = list(talk.messages), list(talk.held)
        voice, old = VOICES[talk.framework], messages[place]
        if how == "dropped":
            del messages[place], held[place]
            talk.trimmed |= place == 0  # to lose the front is to be trimmed
        elif how == "edited":
            messages[place] = replace(old, text=self.text("thanks"))
            held[place] = voice.retold(held[place], messages[place].text)
        else:
            messages.insert(place, Message(how, self.text("thanks")))
            held.insert(place, voice.held(messages[place]))
        talk.change(messages, held)

    def change_a_file(self, talk: Talk) -> None:
        """The newest that a user sent; the words of its message are the same."""
        at = talk.attachments[-1]
        messages, held = list(talk.messages), list(talk.held)
        old = messages[at]
        messages[at] = replace(old, files=(self.file(1), *old.files[1:]))
        held[at] = VOICES[talk.framework].held(messages[at])
        talk.change(messages, held)

    @precondition(lambda self: self.talks)
    @rule(which=ANY, system=st.sampled_from(SYSTEMS))
    def instructions_change(self, which: int, system: str) -> None:
        self.pick(which).system = system

    @precondition(lambda self: self.talks)
    @rule(which=ANY, tools=st.sampled_from(["usual", "usual", "other", "none"]))
    def tools_change(self, which: int, tools: Toolbox) -> None:
        self.pick(which).tools = tools

    # -- what comes next -------------------------------------------------------------------

    def outputs(self, talk: Talk) -> list[Message]:
        """What the tools give back for the calls that a list ends in."""
        self.count += 1
        text = "5" if self.colliding else f"output {self.count}"
        failed = talk.framework == "langchain" and self.count % 5 == 0
        calls = talk.messages[-1].tool_calls
        return [Message("tool", text, name=c.name, tool_call_id=c.id, error=failed) for c in calls]

    def come_back(self, talk: Talk, how: str, user: Message) -> list[Message]:
        """What the application adds to a list that ends in calls."""
        outputs = self.outputs(talk)
        match how:
            case "orphan":
                return [user]
            case "reversed":
                return list(reversed(outputs))
            case "partial":
                return outputs[1:] or [user]
            case "user":
                return [*outputs, user]
            case "application":
                return [*outputs, Message("assistant", self.text("thanks")), user]
            case _:
                return outputs
