"""One long conversation with all that can happen to one, and what must hold after each turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from stewrd_integrations import StewrdError
from stewrd_integrations.errors import APIStatusError

from .faults import Fault
from .reading import Conversation, Spoken, conversation
from .records import Logged, Session
from .refusals import Refusal
from .unknowns import Unknowns
from .voices import Voice, turns
from .world import Rules, World

LIMIT, BUDGET = 14, 20_000
RULES = Rules(history=LIMIT, longest=100_000, credits=10_000)
FAILING = frozenset({"403", "405", "409", "413", "500", "501", "502", "503"}) | {
    "accepted, outputs fail"
}
"""What may mean that the work was done, so that nothing is sent again by itself."""
START = 1_900_000_000.0


def world_of(unknowns: Unknowns) -> World:
    """A service that behaves like this, with small limits and a clock that stands."""
    return World(unknowns, RULES, clock=lambda: START)


@dataclass
class Play:
    """The script, with the voice that plays it and the service that hears it."""

    world: World
    voice: Voice
    ways: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    trimmed: bool = False
    refused: bool = False

    def __post_init__(self) -> None:
        self._modes: Iterator[str] = turns()

    # -- turns -------------------------------------------------------------------------------

    def say(self, text: str, file: tuple[str, str] | None = None) -> str:
        """One turn that must be answered, from the right context."""
        self.voice.user(text, file)
        return self._ask()

    def _ask(self, tools: bool = False) -> str:
        self.world.moved += 20
        answered = len(self.world.answered)
        expected = self.voice.shown()
        mode = next(self._modes)
        with self._told_once(tools) as again:
            answer = self.voice.ask(mode, tools)
        if again:
            answer = self.voice.ask(mode, tools)
        self.ways.append(str(self.voice.told["turn"]))
        assert len(self.world.answered) > answered, "nobody asked the agent"
        self.trimmed = self.trimmed and self.ways[-1] == "continued"
        self._check(expected)
        return answer

    def work(self, text: str) -> None:
        """One turn with tools, to its end."""
        self.voice.user(text)
        self._ask(tools=True)
        for _ in range(5):
            if not self.voice.use_tools():
                return
            self._ask(tools=True)
        raise AssertionError("the tools are asked for without end")

    def work_with_agent(self, text: str) -> None:
        """One turn of the framework's own agent."""
        self.world.moved += 20
        with self._told_once(tools=True) as again:
            self.voice.work(text)
        if again:
            self.voice.work(text)
        self.ways.append("agent")
        self._check(self.voice.shown()[:-1])

    @contextmanager
    def _told_once(self, tools: bool) -> Iterator[list[str]]:
        """A refusal of tools that may mean that the work was done is raised, for the first time."""
        again: list[str] = []
        unclear = tools and self.world.unknowns.session_tools in FAILING
        try:
            yield again
        except APIStatusError as error:
            if not unclear or self.refused:
                raise
            self.refused = True
            again.append(f"{error}")

    def fail(self, text: str, *faults: Fault, raises: bool = True) -> None:
        """A turn that meets trouble; whatever becomes of it, the next one is right."""
        before = list(self.voice.messages)
        self.world.faults += faults
        self.voice.user(text)
        answered = False
        with suppress(StewrdError), self._noted():
            self._ask()
            answered = True
        assert answered is not raises, f"{text} was {'answered' if answered else 'refused'}"
        assert self.world.faults == []
        assert not any(self.world.key in told for told in self.raised)
        if not answered:
            self.voice.messages[:] = before  # type: ignore[assignment]  # the same list's

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except StewrdError as error:
            self.raised.append(f"{error!r} {error} {error.advice}")
            raise

    # -- what must hold ----------------------------------------------------------------------

    def heard(self) -> Conversation:
        """What was aloud on the road of the last answer, up to it."""
        return conversation(self.world.answered[-1].told)

    def _check(self, expected: list[Spoken]) -> None:
        known = self.heard()
        heard, shown = [_bare(said) for said in known.messages], [_bare(s) for s in expected]
        if self.trimmed:
            heard = heard[-len(shown) :]
        assert heard == shown, (self.ways, self.world.unknowns)
        assert known.instructions == self.voice.system
        assert self.world.complaints == [], self.world.complaints
        assert self.world.overlaps == [], self.world.overlaps

    def session(self) -> Session | None:
        """The session of the last answer."""
        found = self.world.answered[-1].context.session
        return None if found is None else self.world.sessions[found]

    def refusals(self) -> list[str]:
        """Requests that were refused though nobody ordered it."""
        return [
            f"{logged.status} {logged.code} {logged.request.path}"
            for logged in self.world.log
            if logged.status >= 400 and not logged.fault and not self._expected(logged)
        ]

    def _expected(self, logged: Logged) -> bool:
        """Sessions expire, creates are refused, and perhaps nobody takes tools in sessions."""
        if logged.request.path == "/v1/sessions":
            return logged.status in {403, 429}
        if b'"tools"' in logged.request.body:
            form = self.world.unknowns.session_tools
            status = {"invalid_tools": "400", "invalid_body": "400"}.get(form, form)
            return "/sessions/" in logged.request.path and f"{logged.status}" == status
        if logged.request.path.endswith("/tool-outputs") and logged.status == 502:
            return self.world.unknowns.session_tools == "accepted, outputs fail"
        return logged.status in {404, 410}


def _bare(said: Spoken) -> tuple[Any, ...]:
    calls = tuple((call.name, tuple(dict(call.arguments).items())) for call in said.calls)
    return said.role, said.text.strip(), calls


# -- the scenes ----------------------------------------------------------------------------------


def continued(play: Play) -> None:
    """A few plain turns, one of each kind."""
    play.voice.system = "Be kind."
    play.say("My name is Ada.")
    assert "Ada" in play.say("What is my name?")
    assert "größe" in play.say("Tell me of größe 你好 \u2028 and \U0001f600.")
    play.say("And so on.")


def edited(play: Play) -> None:
    """An edit, a rewind, a trim; then new instructions."""
    play.say("My name is Ada.")
    play.say("What is my name?")
    play.voice.edit(0, "My name is Grace.")
    assert "Grace" in play.say("What is my name?")
    del play.voice.messages[-4:]
    play.say("Another way on.")
    play.say("And on.")
    play.voice.system = "Be brief."
    play.say("As I said.")
    del play.voice.messages[:2]
    play.trimmed = True
    play.say("What was first?")
    play.say("And then?")
    play.voice.system = ""
    play.say("Forget how to be.")


def tooled(play: Play) -> None:
    """Rounds of tools: one call, two at once, and one more."""
    play.say("My name is Ada.")
    play.work("add(1, 2)")
    play.say("Thank you.")
    play.work("add(3, 4) and add(5, 6)")
    play.work("add(7, 8)")
    play.say("That is all.")


def worked(play: Play) -> None:
    """Two turns of the framework's own agent, and plain ones around them."""
    play.say("My name is Ada.")
    play.work_with_agent("add(1, 2)")
    play.work_with_agent("What is my name?")
    play.work_with_agent("add(3, 4) and add(5, 6)")
    play.say("Thank you.")


def filed(play: Play) -> None:
    """A file goes along, and again with a replay."""
    play.say("My name is Ada.")
    assert "2 lines" in play.say("Read this.", ("t.csv", "a,b\n1,ü\n"))
    play.voice.edit(0, "My name is Joan.")
    play.say("What did it say?")


def expired(play: Play) -> None:
    """Half an hour passes on the server alone, twice; then a session goes at once."""
    play.say("My name is Ada.")
    for text in ("Still there?", "And now?"):
        play.world.moved += 31 * 60
        play.say(text)
    if found := play.session():
        found.gone = True
    play.say("Where were we?")


def filled(play: Play) -> None:
    """The session is full, again and again."""
    for turn in range(LIMIT // 2 + 1):
        play.say(f"Line {turn}.")


def failed(play: Play) -> None:
    """Each kind of failure, and a turn after it."""
    play.say("My name is Ada.")
    refused = (Refusal("compute_error"), Refusal("insufficient_credits"), Refusal("invalid_body"))
    for refusal in refused:
        play.fail("This will fail.", Fault("refuse", worked=False, refusal=refusal))
        play.say(f"After {refusal.code}.")
    play.fail("Nobody answers.", Fault("hang up", worked=False))
    play.fail("Too late.", Fault("hang up"))
    play.say("After silence.")
    play.fail("It breaks off.", Fault("cut"))
    play.fail("No JSON.", Fault("body", body=b"\x00"))
    play.say("After rubbish.")
    limited = Fault("refuse", worked=False, refusal=Refusal("rate_limited"))
    if play.world.unknowns.retry_after in {"none", "not a number"}:
        limited = replace(limited, headers={"Retry-After": "0"})  # else it waits by chance
    play.fail("Too often.", limited, raises=False)


def abandoned(play: Play) -> None:
    """A stream is left, and a call is cancelled."""
    play.say("Before.")
    for leave in (play.voice.abandon, lambda: play.voice.loop.run(play.voice.abandon_later())):
        play.world.pause, play.world.latency = 0.02, 0.1
        before = list(play.voice.messages)
        play.voice.user("Never mind.")
        leave()
        play.voice.messages[:] = before  # type: ignore[assignment]  # the same list's
        play.world.pause = play.world.latency = 0.0
        play.say("On again.")
    assert _returns(play.world, b"Never mind.") == [], "a session that was left is used again"


def _returns(world: World, words: bytes) -> list[str]:
    """Sessions that were asked for something after these words, which nobody waited for."""
    left: set[str] = set()
    found = []
    for logged in list(world.log):
        if logged.session in left:
            found.append(logged.session)
        if logged.session is not None and words in logged.request.body:
            left.add(logged.session)
    return found


def crowded(play: Play) -> None:
    """Others take the slots: the conversation goes on without a session."""
    for number in range(RULES.sessions):
        name = f"foreign-{number}"
        play.world.sessions[name] = Session(name, play.world.now, foreign=True)
    play.say("Is there room?")
    play.say("And now?")
    for session in play.world.sessions.values():
        session.gone = session.gone or session.foreign
    play.say("Alone again.")


def poor(play: Play) -> None:
    """The plan has no sessions, for a while."""
    play.world.rules = replace(play.world.rules, plan="free")
    play.say("For nothing?")
    play.world.rules = replace(play.world.rules, plan="scale")
    play.say("Paid.")


SCENES: tuple[Callable[[Play], None], ...] = (
    continued,
    edited,
    tooled,
    worked,
    filed,
    expired,
    filled,
    failed,
    abandoned,
    crowded,
    poor,
)


def played(
    world: World, make: Callable[[str], Voice], scenes: tuple[Callable[[Play], None], ...] = SCENES
) -> list[Play]:
    """Each scene with a conversation of its own, when nothing is left of the one before."""
    plays = []
    for place, scene in enumerate(scenes):
        for session in world.sessions.values():
            session.gone = True
        plays.append(Play(world, make(f"{scene.__name__}-{place}")))
        scene(plays[-1])
        refusals = plays[-1].refusals()
        assert refusals == [], refusals
    return plays
