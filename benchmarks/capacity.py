"""How many conversations 10 slots and 60 requests a minute carry: a simulation.

People begin conversations at random over a day, say a few things, and leave. The model follows
each of them: a turn goes on in its session if that lives, opens one if a slot is free, and is
else answered without one, as with `sessions="auto"` and a name for each conversation.

    python benchmarks/capacity.py            the table, some seconds
    python benchmarks/capacity.py --check    and 500 conversations through the package itself,
                                             against the emulator with its clock set forward
    python benchmarks/capacity.py --write    the table and the plot into docs/

All figures come from a seeded generator: they are the same at each run.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.types import Message

DAY = 86_400.0
SLOTS, IDLE, CAP, RATE = 10, 1_800.0, 50, 60
SAID, PAUSE, TEXT = 8, 60.0, 400
"""Messages of a person in a conversation, seconds between two, characters of a message: means."""

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- capacity: begin -->", "<!-- capacity: end -->"
CHECKED = 500
A_DAY = (10, 100, 1_000, 10_000, 100_000)
BETWEEN = (30, 300, 3_000, 30_000)
PROJECTS = (1, 10, 100)
TURN, WIDE = 2, (620, 300)


@dataclass
class Person:
    """One conversation: when its user speaks, and the session that it is on."""

    times: list[float]
    said: int = 0
    used: int = 0
    last: float = -math.inf


@dataclass
class Project:
    """Ten slots, each taken until its session has been idle for half an hour."""

    slots: dict[int, float] = field(default_factory=dict)

    def free(self, now: float) -> bool:
        """Whether one more session may be opened."""
        self.slots = {slot: until for slot, until in self.slots.items() if until > now}
        return len(self.slots) < SLOTS


@dataclass
class Day:
    """What came of a day."""

    roads: Counter[str] = field(default_factory=Counter)
    minutes: Counter[int] = field(default_factory=Counter)
    sent: int = 0
    whole: int = 0

    @property
    def on_sessions(self) -> float:
        """The share of turns that were answered by a session."""
        return 1 - self.roads["stateless"] / self.roads.total()

    def busiest(self, projects: int) -> float:
        """Requests of the busiest minute but one in a hundred, for each project."""
        ranked = sorted(self.minutes.values())
        return ranked[int(0.99 * (len(ranked) - 1))] / projects


def people(count: int, seed: int) -> list[Person]:
    """So many conversations, begun at random over a day."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    made = []
    for _ in range(count):
        now, times = chance.random() * DAY, []
        for _ in range(1 + int(chance.expovariate(1 / (SAID - 1)))):
            times.append(now)
            now += chance.expovariate(1 / PAUSE)
        made.append(Person(times))
    return made


def in_order(crowd: list[Person]) -> Iterator[tuple[float, int, Person]]:
    """Who speaks when, all of them in order."""
    queue = [(person.times[0], number, 0) for number, person in enumerate(crowd)]
    heapq.heapify(queue)
    while queue:
        now, number, turn = heapq.heappop(queue)
        yield now, number, crowd[number]
        if turn + 1 < len(crowd[number].times):
            heapq.heappush(queue, (crowd[number].times[turn + 1], number, turn + 1))


def simulate(count: int, projects: int = 1, seed: int = 1) -> Day:
    """A day of so many conversations on so many projects."""
    day, pools = Day(), [Project() for _ in range(projects)]
    for now, number, person in in_order(people(count, seed)):
        pool = pools[number % projects]
        listed = (2 * person.said + 1) * TEXT
        alive = number in pool.slots and now - person.last < IDLE
        if alive and person.used + TURN <= CAP:
            road, requests, sent = "continued", 1, TEXT
        elif pool.free(now):
            road, requests, sent = "opened", 2, listed
            person.used = 0
        else:
            road, requests, sent = "stateless", 1, listed
        if road != "stateless":
            person.used, person.last = person.used + TURN, now
            pool.slots[number] = now + IDLE
        person.said += 1
        day.roads[road] += 1
        day.minutes[int(now // 60)] += requests
        day.sent += sent
        day.whole += listed
    return day


def played(count: int, seed: int = 1) -> Day:
    """The same day through the package, against the emulator."""
    day, begun = Day(), None
    with Emulator(credits=10_000_000, agent=lambda _: "a" * TEXT) as stewrd:
        model = Runtime(
            Options(
                api_key=stewrd.api_key,
                base_url=stewrd.url,
                store=MemoryStore(stewrd.now),
                clock=stewrd.now,
                capabilities=["chat"],
            )
        )
        lists: dict[int, list[Message]] = {}
        for now, number, _ in in_order(people(count, seed)):
            begun = stewrd.now() - now if begun is None else begun
            stewrd.advance(max(0.0, begun + now - stewrd.now()))
            said = lists.setdefault(number, [])
            said.append(Message("user", "u" * TEXT))
            told = model.answer(model.call(said, {"conversation_id": f"chat-{number}"}))
            said.append(Message("assistant", told.reply.message, mark=told.mark))
            day.roads["stateless" if told.session_id is None else "session"] += 1
        model.close()
    return day


def table() -> list[str]:
    """What a day comes to, as rows of Markdown."""
    rows = [
        "| conversations a day | projects | turns on a session | characters sent, of whole lists |"
        " requests a minute and project |",
        "|---|---|---|---|---|",
    ]
    for count, enough in ((10, (1,)), (1_000, (1, 3, 10)), (100_000, (1, 10, 100, 300))):
        for projects in enough:
            day = simulate(count, projects)
            busiest = day.busiest(projects)
            mark = " (too many)" if busiest > RATE else ""
            rows.append(
                f"| {count:,} | {projects} | {day.on_sessions:.0%} | {day.sent / day.whole:.0%} |"
                f" {busiest:.1f}{mark} |"
            )
    return rows


def plot() -> str:
    """The share of turns on sessions by conversations a day, a line for each number of projects."""
    wide, high = WIDE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide + 150} {high + 70}" '
        f'width="{wide + 150}" role="img">',
        "<title>Turns on a session, by conversations a day</title>",
        "<style>text{font:12px system-ui,sans-serif;fill:#57606a}.g{stroke:#d0d7de}"
        ".a{stroke:#0969da}.b{stroke:#1a7f37}.c{stroke:#9a6700}polyline{fill:none;stroke-width:2}"
        "@media (prefers-color-scheme:dark){text{fill:#9198a1}.g{stroke:#3d444d}.a{stroke:#4493f8}"
        ".b{stroke:#3fb950}.c{stroke:#d29922}}</style>",
    ]
    for share in (0, 25, 50, 75, 100):
        y = high + 20 - share / 100 * high
        parts.append(f'<line class="g" x1="50" x2="{wide}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text x="42" y="{y + 4:g}" text-anchor="end">{share} %</text>')
    parts += [
        f'<text x="{_across(count):g}" y="{high + 40}" text-anchor="middle">{count:,}</text>'
        for count in A_DAY
    ]
    parts.append(f'<text x="50" y="{high + 60}">conversations a day</text>')
    for projects, line, below in zip(PROJECTS, "abc", (10, 0, 0), strict=True):
        shares = [
            (count, simulate(count, projects).on_sessions) for count in sorted(A_DAY + BETWEEN)
        ]
        points = [(_across(count), high + 20 - share * high) for count, share in shares]
        dots = " ".join(f"{x:g},{y:g}" for x, y in points)
        parts.append(f'<polyline class="{line}" points="{dots}"/>')
        name = f"{projects} project{'s' if projects > 1 else ''}"
        parts.append(f'<text x="{wide + 8}" y="{points[-1][1] + 4 + below:g}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _across(count: int) -> float:
    least, most = math.log10(A_DAY[0]), math.log10(A_DAY[-1])
    return 60 + (math.log10(count) - least) / (most - least) * (WIDE[0] - 70)


def write(rows: list[str]) -> None:
    """The table into the page, between its marks, and the plot beside it."""
    page = DOCS / "stores.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n".join([BEGIN, "", *rows, "", END])
    page.write_text(before + body + after, encoding="utf-8")
    (DOCS / "img" / "capacity.svg").write_text(plot(), encoding="utf-8")


def main() -> None:
    """Simulate, and do what was asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="also play a day through the package")
    parser.add_argument("--write", action="store_true", help="write into docs/")
    asked = parser.parse_args()
    rows = table()
    print("\n".join(rows))
    if asked.check:
        real, model = played(CHECKED).on_sessions, simulate(CHECKED).on_sessions
        print(f"\n{CHECKED} conversations: {real:.1%} on sessions; the model says {model:.1%}")
    if asked.write:
        write(rows)


if __name__ == "__main__":
    main()
