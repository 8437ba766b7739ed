"""A machine whose conversations speak to models: how a turn is prepared, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stewrd_integrations.types import Message

from .lists import ANY, SCRIPTS, Lists
from .talks import MODES, Answered, Asked, Mode, Outcome, Talk

COMING_BACK = (*["all"] * 4, "reversed", "partial", "orphan", "user", "user", "application")


class Speaking(Lists):
    """Rules by which somebody speaks."""

    @precondition(lambda self: self.talks)
    @rule(
        which=ANY,
        script=st.sampled_from(SCRIPTS),
        how=st.sampled_from(COMING_BACK),
        mode=st.sampled_from(MODES),
        abandon=st.sampled_from([None, None, None, None, None, 0, 1]),
        dangling=st.booleans(),
        sessions=st.sampled_from([None, None, None, "always", "never"]),
        files=st.lists(st.integers(0, 2), max_size=2),
    )
    def somebody_speaks(
        self,
        which: int,
        script: str,
        how: str,
        mode: Mode,
        abandon: int | None,
        dangling: bool,
        sessions: str | None,
        files: list[int],
    ) -> None:
        talk = self.pick(which)
        asked = Asked(mode, abandon if "stream" in mode else None, sessions)
        self.speak(talk, script, how, asked, files=files, dangling=dangling)

    @precondition(lambda self: self.talks)
    @rule(which=ANY, turns=st.integers(1, 5), script=st.sampled_from(SCRIPTS), mode=ANY)
    def somebody_goes_on(self, which: int, turns: int, script: str, mode: int) -> None:
        talk = self.pick(which)
        for turn in range(turns):
            asked = Asked(MODES[(mode + turn) % len(MODES)])
            self.speak(talk, script, "all", asked)
        if turns > 3:
            self.double(talk)

    @precondition(lambda self: self.talks)
    @rule(script=st.sampled_from(SCRIPTS), mode=ANY)
    def everybody_speaks(self, script: str, mode: int) -> None:
        for number, talk in enumerate(list(self.talks)):
            self.speak(talk, script, "all", Asked(MODES[(mode + number) % len(MODES)]))

    @precondition(lambda self: self.talks)
    @rule(which=ANY, scripts=st.lists(st.sampled_from(SCRIPTS), min_size=2, max_size=5), mode=ANY)
    def somebody_speaks_of_many_things(self, which: int, scripts: list[str], mode: int) -> None:
        talk = self.pick(which)
        for number, script in enumerate(scripts):
            self.speak(talk, script, "all", Asked(MODES[(mode + number) % len(MODES)]))

    @precondition(lambda self: any(talk.waits for talk in self.talks))
    @rule(which=ANY, script=st.sampled_from(SCRIPTS), how=st.sampled_from(COMING_BACK), mode=ANY)
    def tools_have_run(self, which: int, script: str, how: str, mode: int) -> None:
        waiting = [talk for talk in self.talks if talk.waits]
        self.speak(waiting[which % len(waiting)], script, how, Asked(MODES[mode % len(MODES)]))

    @precondition(lambda self: self.talks)
    @rule(which=ANY, script=st.sampled_from(SCRIPTS), file=st.booleans(), mode=ANY)
    def somebody_asks(self, which: int, script: str, file: bool, mode: int) -> None:
        asked = Asked(MODES[mode % len(MODES)])
        self.speak(self.pick(which), script, "all", asked, files=[1] * file)

    @precondition(lambda self: self.talks)
    @rule(which=ANY, mode=ANY)
    def a_file_is_changed(self, which: int, mode: int) -> None:
        """Soon after it was sent, and something is asked about it."""
        talk, asked = self.pick(which), Asked(MODES[mode % len(MODES)])
        if talk.waits or talk.stamped:
            return
        self.speak(talk, "hello", "all", asked, files=[1])
        if talk.attachments:
            self.change_a_file(talk)
            self.speak(talk, "thanks", "all", asked)

    def goes_on_by_itself(self, talk: Talk) -> None:
        """Say something in a conversation that was just copied."""
        self.speak(talk, "hello", "all", Asked(MODES[self.count % len(MODES)]))

    def speak(
        self,
        talk: Talk,
        script: str,
        how: str,
        asked: Asked,
        *,
        files: list[int] | None = None,
        dangling: bool = False,
    ) -> None:
        """One turn, tools that come back included."""
        before = (talk.messages, talk.held)
        self.add(talk, *self.said(talk, script, how, files or []))
        outcome = self.ask(talk, asked)
        self.keep(talk, outcome, before, dangling=dangling)

    def said(self, talk: Talk, script: str, how: str, files: list[int]) -> list[Message]:
        """What comes next in a conversation."""
        user = Message("user", self.text(script), files=self.attached(files))
        return self.come_back(talk, how, user) if talk.waits else [user]

    def attached(self, sizes: list[int]) -> Any:
        """Files; none of one name twice, which is another test's."""
        named = {file.name: file for file in map(self.file, sizes)}
        return tuple(named.values())

    def keep(
        self, talk: Talk, outcome: Outcome, before: tuple[Any, Any], *, dangling: bool
    ) -> None:
        """Put an answer into the list, or take the question out again."""
        if isinstance(outcome, Answered):
            talk.add(outcome.message, outcome.held)
            if talk.kind == "content":
                self.lose(talk)
            self.travel(talk, self.answers)
        elif not dangling:
            talk.messages, talk.held = before

    def ask(self, talk: Talk, asked: Asked) -> Outcome:
        """Call the model with the list as it is, and judge what came of it."""
        raise AssertionError("a machine asks in its own way")

    def who(self, talk: Talk, asked: Asked) -> dict[str, Any]:
        """The options of a call."""
        who: dict[str, Any] = {"conversation_id": talk.name, "tenant": talk.tenant}
        return {**who, "sessions": asked.sessions} if asked.sessions else who


UNFINISHED = ("cut", "no_done", "stream_error", "hang_up", "garbage", "wrong_shape")
"""Faults after which nobody can have the whole answer."""


def check_answer(outcome: Answered, run: Any, requests: Sequence[Any]) -> None:
    """The application got the very answer that the agent gave, in whatever mode, to its end."""
    faults = [one.fault for one in requests if one.run_id == run.id]
    assert faults[-1] not in UNFINISHED, "an answer that broke off was taken for a whole one"
    assert outcome.session_id == run.session_id
    assert outcome.message.text.strip() == run.answer.strip()
    assert outcome.told["request_id"] == run.id
    names = [(call.id, call.name) for call in run.calls]
    assert [(call.id, call.name) for call in outcome.message.tool_calls] == names
