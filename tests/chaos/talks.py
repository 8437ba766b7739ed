"""The conversations as their application keeps them, and how their lists change."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["name", "mark", "content"]
Framework: TypeAlias = Literal["langchain", "llama_index"]
Pair: TypeAlias = tuple[str, str]

TENANTS = (None, "blue", "red")
NAMES = ("chat", "support", "notes")
SYSTEMS = ("", "Be brief.", "Be kind.")
LIVES = (3, 6, 10, 15, 50)
"""Turns after which a conversation is at its end; some pass the limit of a session."""


class Line(NamedTuple):
    """One message; ``raw`` is the framework's own as JSON, None if the application wrote it."""

    role: str
    text: str
    raw: str | None = None


@dataclass
class Talk:
    """One conversation.

    Attributes:
        root: Conversations of one root may share a session; others never.
        said: The list that the application holds.
        gone: What a session may have heard before the list that is shown, oldest first.
        version: Grows with each change of the list.
        left: Turns that it has still to live.
        alike: Whether it says the same few words as others do.
        sleepy: Whether it rests for long between two turns.
        steady: Whether its list only grows, for so long that it fills its session.
        trail: What happened to it, for people who look for the cause of a wrong context.
    """

    id: int
    root: int
    project: int
    framework: Framework
    kind: Kind
    name: str | None
    tenant: str | None
    alike: bool
    system: str = ""
    said: tuple[Line, ...] = ()
    gone: tuple[Line, ...] = ()
    version: int = 0
    left: int = 0
    sleepy: bool = False
    steady: bool = False
    trail: list[str] = field(default_factory=list)

    @property
    def scope(self) -> tuple[object, ...]:
        """Who may share a session with it."""
        own = {"name": self.name, "mark": self.root, "content": None}[self.kind]
        return (self.project, self.tenant, self.kind, own)


def begun(number: int, project: int, chance: random.Random) -> Talk:
    """A new conversation of any kind."""
    steady = chance.random() < 0.05
    kinds: tuple[Kind, ...] = ("name", "name", "name", "mark", "mark", "content")
    kind = chance.choice(kinds[:5] if steady else kinds)
    return Talk(
        id=number,
        root=number,
        project=project,
        framework=chance.choice(("langchain", "llama_index")),
        kind=kind,
        name=chance.choice(NAMES) if kind == "name" else None,
        tenant=chance.choice(TENANTS),
        alike=chance.random() < 0.5,
        system=chance.choice(SYSTEMS),
        left=max(LIVES) if steady else chance.choice(LIVES),
        sleepy=not steady and chance.random() < 0.2,
        steady=steady,
    )


class Change(NamedTuple):
    """A list as it is to be shown, without what is now said, and what was shown before it."""

    said: tuple[Line, ...]
    gone: tuple[Line, ...] = ()
    again: str | None = None


Changer: TypeAlias = Callable[[Talk, "Writer"], Change]


class Writer:
    """Writes what people say, and chooses."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._written = 0

    def text(self, talk: Talk) -> str:
        """Something to say: of a few words that others say too, or never said before."""
        self._written += 1
        return self.chance.choice("ab") if talk.alike else f"text {self._written}"

    def place(self, lines: Sequence[Line], role: str = "", after: int = 0) -> int | None:
        """Any place in a list, from ``after`` on, with a message of this role."""
        places = [i for i, line in enumerate(lines) if i >= after and role in ("", line.role)]
        return self.chance.choice(places) if places else None


def say(talk: Talk, writer: Writer) -> Change:
    """Go on."""
    return Change(talk.said, talk.gone)


def regenerate(talk: Talk, writer: Writer) -> Change:
    """Ask the last question again."""
    if [line.role for line in talk.said[-2:]] != ["user", "assistant"]:
        return say(talk, writer)
    return Change(talk.said[:-2], talk.gone, talk.said[-2].text)


def rewind(talk: Talk, writer: Writer) -> Change:
    """Go back to an earlier answer."""
    place = writer.place(talk.said, "assistant")
    return Change(talk.said[: place + 1] if place is not None else (), talk.gone)


def edit(talk: Talk, writer: Writer) -> Change:
    """Change a message and keep the rest."""
    place = writer.place(talk.said)
    if place is None:
        return say(talk, writer)
    role = talk.said[place].role
    changed = Line(role, writer.text(talk))
    return Change((*talk.said[:place], changed, *talk.said[place + 1 :]), talk.gone)


def edit_and_cut(talk: Talk, writer: Writer) -> Change:
    """Say something else at an earlier place."""
    place = writer.place(talk.said, "user")
    return Change(talk.said[:place] if place is not None else (), talk.gone)


def trim(talk: Talk, writer: Writer) -> Change:
    """Cut the front off."""
    place = writer.place(talk.said, "user", after=1)
    if place is None:
        return say(talk, writer)
    return Change(talk.said[place:], (*talk.gone, *talk.said[:place]))


def summarise(talk: Talk, writer: Writer) -> Change:
    """Put a summary in the place of the front."""
    place = writer.place(talk.said, "user", after=2)
    if place is None:
        return say(talk, writer)
    summary = Line("user", f"summary: {writer.text(talk)}")
    return Change((summary, *talk.said[place:]), (*talk.gone, *talk.said[:place]))


def put_in(talk: Talk, writer: Writer) -> Change:
    """A message of the application's own, anywhere."""
    place = writer.place(talk.said) or 0
    line = Line(writer.chance.choice(("user", "assistant")), writer.text(talk))
    return Change((*talk.said[:place], line, *talk.said[place:]), talk.gone)


def answer_oneself(talk: Talk, writer: Writer) -> Change:
    """The application answered without the model."""
    exchange = (Line("user", writer.text(talk)), Line("assistant", writer.text(talk)))
    return Change((*talk.said, *exchange), talk.gone)


def drop(talk: Talk, writer: Writer) -> Change:
    """Lose a message in the middle."""
    place = writer.place(talk.said, after=1)
    if place is None:
        return say(talk, writer)
    return Change(talk.said[:place] + talk.said[place + 1 :], talk.gone)


CHANGERS: dict[Changer, int] = {
    say: 270,
    regenerate: 3,
    rewind: 3,
    edit: 2,
    edit_and_cut: 2,
    trim: 3,
    summarise: 2,
    put_in: 3,
    answer_oneself: 3,
    drop: 2,
}


def changed(talk: Talk, writer: Writer) -> tuple[str, Change]:
    """Any change of a conversation's list, by name."""
    weights = [1, *[0] * (len(CHANGERS) - 1)] if talk.steady else list(CHANGERS.values())
    changer = writer.chance.choices(list(CHANGERS), weights)[0]
    change = changer(talk, writer)
    if talk.kind == "content" or not any(line.role == "assistant" for line in change.said):
        # A list that begins anew, or is known by its words alone, may have nothing before it.
        change = change._replace(gone=())
    return changer.__name__, change


def branched(talk: Talk, number: int, chance: random.Random, *, fork: bool) -> Talk:
    """A copy that goes on by itself: a fork, or another's copy, or one that lost its name."""
    copy = replace(
        talk, id=number, version=0, steady=False, left=chance.choice(LIVES), trail=list(talk.trail)
    )
    copy.trail.append(f"is a copy of {talk.id}")
    way = "fork" if fork else chance.choice(("fork", "fork", "fork", "tenant", "name", "unnamed"))
    if way == "tenant":
        tenant = chance.choice([tenant for tenant in TENANTS if tenant != talk.tenant])
        return replace(copy, root=number, tenant=tenant, gone=())
    if way == "name" and talk.name is not None:
        name = chance.choice([name for name in NAMES if name != talk.name])
        return replace(copy, root=number, name=name, gone=())
    if way == "unnamed" and talk.kind == "name":
        return replace(copy, root=number, kind="mark", name=None, gone=())
    return copy
