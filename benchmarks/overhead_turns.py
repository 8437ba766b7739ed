"""Turns, streams, crowds and long lists: what `overhead.py` measures against the server.

Everyone is measured in each round, in an order of its own, and every ratio is the median of the
ratios within the rounds: a noisy moment of the machine hits all alike.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from overhead_peers import (
    LangChain,
    OfficialSDK,
    Peer,
    RawHttpx,
    chat_openai,
    chat_stewrd,
    floor,
    llama_floor,
    null,
    stateless,
    stewrd_llm,
)

from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore

RAW, FLOOR, NULL = "raw httpx", "floor (LangChain)", "null (LangChain)"
OPENAI = "ChatOpenAI"
STEWRD = "ChatStewrd, continued, memory"
LLM, LLAMA_FLOOR = "StewrdLLM, continued, memory", "floor (LlamaIndex)"
Makers: TypeAlias = "dict[str, Callable[[], Peer]]"
Table: TypeAlias = "dict[str, dict[str, float]]"


@dataclass
class Place:
    """Where measurements happen: a server, stores, and how much is measured."""

    url: str
    folder: Path
    redis: str
    rounds: int
    turns: int
    loop: asyncio.AbstractEventLoop  # one for all: clients of others outlive no loop
    quick: bool = False

    def makers(self, tokens: int) -> Makers:
        """Everyone, by name: those with a state are made anew for each round."""
        url = f"{self.url}/{tokens}"
        every: dict[str, Peer] = {
            RAW: RawHttpx(url),
            FLOOR: floor(url),
            OPENAI: chat_openai(url),
            "stewrd (official SDK)": OfficialSDK(url),
            LLAMA_FLOOR: llama_floor(url),
        }
        made: Makers = {name: partial(_same, peer) for name, peer in every.items()}
        sqlite = SQLiteStore(self.folder / f"{tokens}.db", busy_timeout=60.0)
        redis = RedisStore(self.redis, namespace=f"of-{tokens}", timeout=60.0)
        return made | {
            STEWRD: lambda: chat_stewrd(url),
            "ChatStewrd, by mark, memory": lambda: chat_stewrd(url, named=False),
            "ChatStewrd, continued, SQLite": lambda: chat_stewrd(url, sqlite),
            "ChatStewrd, continued, Redis": lambda: chat_stewrd(url, redis),
            "ChatStewrd, stateless": lambda: stateless(url),
            LLM: lambda: stewrd_llm(url),
        }


def _same(peer: Peer) -> Peer:
    return peer


@dataclass
class Found:
    """What one block of turns took: medians in milliseconds, or turns a second."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **figures: float) -> None:
        """One turn more."""
        for name, figure in figures.items():
            self.figures.setdefault(name, []).append(figure)

    def medians(self) -> dict[str, float]:
        """Of each figure."""
        return {name: median(values) for name, values in self.figures.items()}


class Clock:
    """Wall and CPU time of this process since it was made, in milliseconds."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def wall(self) -> float:
        """Milliseconds."""
        return (time.perf_counter() - self._wall) * 1e3

    def cpu(self) -> float:
        """Milliseconds, all threads together."""
        return (time.process_time() - self._cpu) * 1e3


# -- one conversation --------------------------------------------------------------------


def talk(peer: Peer, count: int) -> tuple[list[Any], dict[str, Any]]:
    """A conversation that was answered once: so many messages, and a question after them."""
    who, messages = peer.begin(), peer.listed(count - 1)
    messages += [peer.say(messages, who), peer.question()]
    return messages, who


async def atalk(peer: Peer, count: int) -> tuple[list[Any], dict[str, Any]]:
    """`talk` on the event loop."""
    who, messages = peer.begin(), peer.listed(count - 1)
    messages += [await peer.asay(messages, who), peer.question()]
    return messages, who


def expect_continued(name: str, peer: Peer, answer: Any) -> None:
    """A turn that did not continue its session would be another measurement."""
    if isinstance(peer, LangChain) and "ChatStewrd" in name:
        turn = answer.response_metadata["turn"]
        if turn != ("stateless" if "stateless" in name else "continued"):
            raise AssertionError(f"{name}: the turn was {turn}")


# -- blocks of turns ---------------------------------------------------------------------


def plain(name: str, peer: Peer, count: int, turns: int) -> Found:
    """The second turn of so many conversations."""
    found = Found()
    for _ in range(turns):
        messages, who = talk(peer, count)
        clock = Clock()
        answer = peer.say(messages, who)
        found.add(cpu=clock.cpu(), wall=clock.wall())
        expect_continued(name, peer, answer)
    return found


async def aplain(name: str, peer: Peer, count: int, turns: int) -> Found:
    """`plain` on the event loop."""
    found = Found()
    for _ in range(turns):
        messages, who = await atalk(peer, count)
        clock = Clock()
        answer = await peer.asay(messages, who)
        found.add(cpu=clock.cpu(), wall=clock.wall())
        expect_continued(name, peer, answer)
    return found


def streamed(_name: str, peer: Peer, count: int, turns: int) -> Found:
    """The same, streamed; ``first`` is when the first token is there."""
    found = Found()
    for _ in range(turns):
        messages, who = talk(peer, count)
        clock, first = Clock(), 0.0
        for piece in peer.stream(messages, who):
            if not first and peer.text_of(piece):
                first = clock.wall()
        found.add(cpu=clock.cpu(), wall=clock.wall(), first=first)
    return found


async def astreamed(_name: str, peer: Peer, count: int, turns: int) -> Found:
    """`streamed` on the event loop."""
    found = Found()
    for _ in range(turns):
        messages, who = await atalk(peer, count)
        clock, first = Clock(), 0.0
        async for piece in peer.astream(messages, who):
            if not first and peer.text_of(piece):
                first = clock.wall()
        found.add(cpu=clock.cpu(), wall=clock.wall(), first=first)
    return found


def crowd(_name: str, peer: Peer, count: int, again: int) -> Found:
    """So many conversations at once, each in a thread; turns a second."""
    cpu = wall = 0.0
    for _ in range(again):
        talks = [talk(peer, 2) for _ in range(count)]

        def go(messages: list[Any], who: dict[str, Any]) -> None:
            for _ in range(CROWD_TURNS):
                messages += [peer.say(messages, who), peer.question()]

        with ThreadPoolExecutor(count) as pool:
            clock = Clock()
            for future in [pool.submit(go, *one) for one in talks]:
                future.result()
            cpu, wall = cpu + clock.cpu(), wall + clock.wall()
    return _of_a_crowd(count * again, cpu, wall)


async def acrowd(_name: str, peer: Peer, count: int, again: int) -> Found:
    """`crowd` on one event loop."""
    cpu = wall = 0.0
    for _ in range(again):
        talks = [await atalk(peer, 2) for _ in range(count)]

        async def go(messages: list[Any], who: dict[str, Any]) -> None:
            for _ in range(CROWD_TURNS):
                messages += [await peer.asay(messages, who), peer.question()]

        clock = Clock()
        await asyncio.gather(*(go(*one) for one in talks))
        cpu, wall = cpu + clock.cpu(), wall + clock.wall()
    return _of_a_crowd(count * again, cpu, wall)


def _of_a_crowd(conversations: int, cpu: float, wall: float) -> Found:
    found, done = Found(), conversations * CROWD_TURNS
    found.add(cpu=cpu / done, rate=done / wall * 1e3)
    return found


def lengthy(name: str, peer: Peer, count: int, turns: int) -> Found:
    """The last turns of one conversation of so many messages."""
    found = Found()
    messages, who = talk(peer, count)
    messages += [peer.say(messages, who), peer.question()]  # all is known by now
    for _ in range(turns):
        clock = Clock()
        answer = peer.say(messages, who)
        found.add(cpu=clock.cpu(), wall=clock.wall())
        expect_continued(name, peer, answer)
        messages += [answer, peer.question()]
    return found


# -- rounds ------------------------------------------------------------------------------


class Rounds:
    """The figures of everyone in every round."""

    def __init__(self) -> None:
        self._found: list[dict[str, dict[str, float]]] = []

    def table(self, against: Mapping[str, str], figure: str) -> Table:
        """Medians over the rounds, and of the rounds' ratios ``against`` others, by a title."""
        names = self._found[0]
        table = {name: self._medians(name) for name in names}
        if FLOOR in names:
            for name in names:
                ratios = [one[name]["cpu"] / one[FLOOR]["cpu"] for one in self._found]
                table[name]["CPU of floor"] = median(ratios)
        for title, other in against.items():
            for name in names:
                ratios = [one[name][figure] / one[other][figure] for one in self._found]
                table[name][title] = median(ratios)
        return table

    def _medians(self, name: str) -> dict[str, float]:
        figures = self._found[0][name]
        return {figure: median(one[name][figure] for one in self._found) for figure in figures}

    def run(self, peers: Makers, rounds: int, block: Callable[[str, Peer], Found]) -> Rounds:
        """Measure everyone in every round."""
        for _ in range(rounds):
            found = {}
            for name in shuffled(peers):
                gc.collect()
                found[name] = block(name, peers[name]()).medians()
            self._found.append({name: found[name] for name in peers})
        return self

    async def arun(
        self, peers: Makers, rounds: int, block: Callable[[str, Peer], Awaitable[Found]]
    ) -> Rounds:
        """`run` on the event loop."""
        for _ in range(rounds):
            found = {}
            for name in shuffled(peers):
                gc.collect()
                found[name] = (await block(name, peers[name]())).medians()
            self._found.append({name: found[name] for name in peers})
        return self


def shuffled(peers: Makers) -> list[str]:
    """The names in some order."""
    return random.sample(list(peers), len(peers))


def only(peers: Makers, way: str) -> Makers:
    """Those who have a way to answer."""
    return {name: make for name, make in peers.items() if way in make().ways}


# -- sections ----------------------------------------------------------------------------

VERSUS = {"of floor": FLOOR, "of ChatOpenAI": OPENAI, "of raw": RAW}


def turns(place: Place) -> dict[str, Table]:
    """Plain turns of conversations of two messages, in both colours."""

    async def measure() -> Rounds:
        peers = only(place.makers(22), "async")
        return await Rounds().arun(peers, place.rounds, partial(aplain, count=2, turns=place.turns))

    sync = Rounds().run(place.makers(22), place.rounds, partial(plain, count=2, turns=place.turns))
    return {
        "invoke": sync.table(VERSUS, "wall"),
        "ainvoke": place.loop.run_until_complete(measure()).table(VERSUS, "wall"),
    }


def streams(place: Place) -> dict[str, Table]:
    """Streams of 22 and of 1,000 tokens, in both colours."""
    tables = {}
    for tokens in (22, 1_000):
        count = max(2, place.turns * 22 // tokens)

        async def measure(tokens: int = tokens, count: int = count) -> Rounds:
            peers = only(place.makers(tokens), "async")
            return await Rounds().arun(
                peers, place.rounds, partial(astreamed, count=2, turns=count)
            )

        sync = Rounds().run(
            place.makers(tokens),
            place.rounds,
            partial(streamed, count=2, turns=count),
        )
        tables[f"stream, {tokens:,} tokens"] = sync.table(VERSUS, "wall")
        tables[f"astream, {tokens:,} tokens"] = place.loop.run_until_complete(measure()).table(
            VERSUS, "wall"
        )
    return tables


CROWD_TURNS = 5
"""Further turns of each conversation of a crowd, whatever its size."""

RATES = {f"rate {title}": other for title, other in VERSUS.items()}
"""Like `VERSUS`; of these figures, more is better."""


def crowds(place: Place) -> dict[str, Table]:
    """Turns a second of 1, 50 and 200 conversations at once."""
    tables, sizes = {}, (1, 20) if place.quick else (1, 50, 200)
    rounds = max(2, place.rounds // 2)
    for size in sizes:
        again = max(1, place.turns // size)  # small crowds gather several times

        async def measure(size: int = size, again: int = again) -> Rounds:
            peers = only(place.makers(22), "async")
            return await Rounds().arun(peers, rounds, partial(acrowd, count=size, again=again))

        threads = Rounds().run(
            place.makers(22),
            rounds,
            partial(crowd, count=size, again=again),
        )
        tables[f"{size} at once, event loop"] = place.loop.run_until_complete(measure()).table(
            RATES, "rate"
        )
        tables[f"{size} at once, threads"] = threads.table(RATES, "rate")
    return tables


LENGTHS = (2, 50, 500, 5_000)
SHORT = LENGTHS[:3]
PER_MESSAGE = "us per message over null"


def lengths(place: Place) -> dict[str, Table]:
    """Turns of longer and longer conversations, and what each message of history adds."""
    url = f"{place.url}/22"
    whole, openai, raw = floor(url, whole=True), chat_openai(url), floor(url)
    makers: Makers = {
        NULL: null,
        FLOOR: lambda: raw,
        "floor, sending the whole list": lambda: whole,
        STEWRD: lambda: chat_stewrd(url),
        "ChatStewrd, by mark, memory": lambda: chat_stewrd(url, named=False),
        LLM: lambda: stewrd_llm(url),
        OPENAI: lambda: openai,
    }
    counts = SHORT if place.quick else LENGTHS
    seen: dict[tuple[str, int], list[float]] = {}
    for _ in range(max(2, place.rounds // 2)):
        for count in counts:
            one = Rounds().run(makers, 1, partial(lengthy, count=count, turns=5))
            for name, figures in one.table({}, "wall").items():
                seen.setdefault((name, count), []).append(figures["wall"])
    return {"length": {name: _by_length(name, counts, seen) for name in makers}}


def _by_length(
    name: str, counts: Sequence[int], seen: Mapping[tuple[str, int], Sequence[float]]
) -> dict[str, float]:
    row = {f"{count:,}": median(seen[name, count]) for count in counts}
    over = {
        count: [a - b for a, b in zip(seen[name, count], seen[NULL, count], strict=True)]
        for count in counts
    }
    few, *more = counts[1:]
    # The steepest way counts: it shall not bend upwards.
    row[PER_MESSAGE] = max(
        median((b - a) * 1e3 / (many - few) for a, b in zip(over[few], over[many], strict=True))
        for many in more
    )
    return row
