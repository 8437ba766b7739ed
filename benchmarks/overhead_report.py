"""What `overhead.py` found: targets, tables and plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeAlias

from overhead_sizes import IMPORTS
from overhead_turns import FLOOR, LENGTHS, LLM, NULL, OPENAI, PER_MESSAGE, RAW, STEWRD

Table: TypeAlias = "Mapping[str, Mapping[str, float]]"
Tables: TypeAlias = "Mapping[str, Table]"

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TURNS_PLOT, LENGTHS_PLOT = "performance-turns.svg", "performance-lengths.svg"
UNITS = {"wall": "ms", "cpu": "CPU ms", "first": "first token ms", "rate": "turns/s"}


# -- targets -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A bound on a figure; ``least`` if the figure must not be less than it.

    ``seen`` are the figures of several processes, of which the figure is the median.
    """

    name: str
    figure: float
    bound: float
    least: bool = False
    seen: tuple[float, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the figure keeps to it."""
        return self.figure >= self.bound if self.least else self.figure <= self.bound

    def told(self) -> str:
        """One line; a target that is not met says so."""
        sign = ">=" if self.least else "<="
        verdict = "ok" if self.met else "MISSED"
        seen = f" ({', '.join(f'{figure:.2f}' for figure in self.seen)})" if self.seen else ""
        return f"{self.name:<60} {self.figure:>9,.2f} {sign} {self.bound:<7,.6g} {verdict}{seen}"


def middle(times: Sequence[Tables]) -> Tables:
    """The median of each figure over several times."""
    return {
        title: {
            row: {name: median(one[title][row][name] for one in times) for name in figures}
            for row, figures in table.items()
        }
        for title, table in (times[0] if times else {}).items()
    }


def targets(tables: Tables, times: Sequence[Tables] = ()) -> list[Target]:
    """Every target whose figure was measured, with what was seen each time."""
    seen: dict[str, tuple[float, ...]] = {}
    for target in (target for one in times for target in _targets(one)):
        seen[target.name] = (*seen.get(target.name, ()), target.figure)
    return [replace(target, seen=seen.get(target.name, ())) for target in _targets(tables)]


def _targets(tables: Tables) -> list[Target]:
    found: list[Target] = []
    for title, table in tables.items():
        of_table = _OF_TABLES.get(title.split(",")[0])
        found += of_table(title, table) if of_table else []
    return found


def _of_turns(title: str, table: Table) -> list[Target]:
    one = table[STEWRD]
    bound, openai = (1.35, 0.65) if title == "invoke" else (1.3, 0.4)
    return [
        Target(f"{title}: times the floor", one["of floor"], bound),
        Target(f"{title}: times ChatOpenAI's", one["of ChatOpenAI"], openai),
    ]


def _of_crowds(title: str, table: Table) -> list[Target]:
    if not title.endswith("event loop"):
        return []
    return [Target(f"{title}: times raw httpx's", table[STEWRD]["rate of raw"], 0.85, least=True)]


def _of_lengths(_: str, table: Table) -> list[Target]:
    figure = table[STEWRD][PER_MESSAGE]
    return [Target("a message of history adds, microseconds", figure, 5.0)]


def _of_idle(_: str, table: Table) -> list[Target]:
    return [
        Target(f"{name}: an idle conversation's bytes, {turns}", figure, 4096)
        for name, figures in table.items()
        for turns, figure in figures.items()
    ]


def _of_making(_: str, table: Table) -> list[Target]:
    return [
        Target(f"making a {name}, milliseconds", table[name]["ms"], 1.0)
        for name in ("ChatStewrd", "StewrdLLM")
    ]


def _of_imports(_: str, table: Table) -> list[Target]:
    bounds = dict(zip(IMPORTS, (1.2, 1.1, 1.1), strict=True))
    return [
        Target(f"import {name}: times what it stands on", table[name]["ratio"], bound)
        for name, bound in bounds.items()
    ]


_OF_TABLES: Mapping[str, Callable[[str, Table], list[Target]]] = {
    "invoke": _of_turns,
    "stream": _of_turns,
    "200 at once": _of_crowds,
    "length": _of_lengths,
    "idle": _of_idle,
    "making": _of_making,
    "imports": _of_imports,
}


# -- tables ------------------------------------------------------------------------------

TITLES = {
    "invoke": "`invoke` and the like, second turn of a conversation",
    "ainvoke": "`ainvoke` and the like",
    "length": "Milliseconds of a turn by the messages of its list, and what each of them adds",
    "bytes": "Bytes sent by a whole conversation",
    "idle": "Bytes held by an idle conversation, memory store",
    "making": "Making a model when one was made before",
    "imports": "Milliseconds of an import, by `-X importtime`",
}


def markdown(tables: Tables, found: Sequence[Target]) -> str:
    """All tables and targets, and the plots that there are figures for."""
    parts = []
    for title, table in tables.items():
        head = TITLES.get(title, f"`{title.split(',')[0]}`,{title.partition(',')[2]}")
        if "at once" in title:
            talks = "conversation" if title.startswith("1 ") else "conversations"
            head = title.replace("at once", f"{talks} at once")
        parts += [f"### {head}", _rows(table)]
        if title == "invoke":
            parts.append(f"![Times the floor, by peer]({TURNS_PLOT})")
        if title == "length":
            parts.append(f"![Milliseconds by messages of history]({LENGTHS_PLOT})")
    lines = [one.told() for one in found]
    return "\n\n".join([*parts, "### Targets", "```text\n" + "\n".join(lines) + "\n```"])


def _rows(table: Table) -> str:
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    heads = [UNITS.get(column, column) for column in columns]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    for name, row in table.items():
        cells = [_cell(row[column]) if column in row else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:,.2f}"


def text(tables: Tables) -> str:
    """For a terminal: the tables in columns."""
    parts = []
    for title, table in tables.items():
        columns = list(dict.fromkeys(name for row in table.values() for name in row))
        heads = [UNITS.get(column, column) for column in columns]
        widths = [max(len(head), 9) + 2 for head in heads]
        lines = [f"{title:<32}" + "".join(f"{h:>{w}}" for h, w in zip(heads, widths, strict=True))]
        for name, row in table.items():
            cells = (
                f"{_cell(row[column]) if column in row else '-':>{width}}"
                for column, width in zip(columns, widths, strict=True)
            )
            lines.append(f"{name:<32}" + "".join(cells))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def write(page: Path, tables: Tables, found: Sequence[Target], about: str) -> None:
    """Put the figures between the markers of a page, and the plots beside it."""
    old = page.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no markers {BEGIN} and {END}.")
    body = f"{about}\n\n{markdown(tables, found)}"
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")
    if "invoke" in tables:
        page.with_name(TURNS_PLOT).write_text(bars(tables), encoding="utf-8")
    if "length" in tables:
        page.with_name(LENGTHS_PLOT).write_text(lines_of(tables["length"]), encoding="utf-8")


# -- plots -------------------------------------------------------------------------------

STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #444 }
.line { stroke: #bbb; stroke-width: 1 }
.ours { fill: #2a6fdb; stroke: #2a6fdb } .theirs { fill: #c77d1a; stroke: #c77d1a }
.base { fill: #888; stroke: #888 } path { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #ccc } .line { stroke: #555 }
  .ours { fill: #6ea3f5; stroke: #6ea3f5 } .theirs { fill: #e8a94f; stroke: #e8a94f }
}
</style>"""


def _kind(name: str) -> str:
    if "Stewrd" in name:
        return "ours"
    return "theirs" if name == OPENAI or "SDK" in name else "base"


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{title}">'
    )
    return "\n".join([head, STYLE, *parts, "</svg>\n"])


def bars(tables: Tables) -> str:
    """How many times the floor everyone takes: one bar each, in three groups."""
    wanted = ("invoke", "stream, 22 tokens", "stream, 1,000 tokens")
    parts, y = [], 6
    for title in wanted:
        if title not in tables:
            continue
        y += 20
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{title}: times the floor</text>')
        for name, row in tables[title].items():
            y += 18
            width = min(row["of floor"], 5.0) * 90
            parts += [
                f'<text x="8" y="{y}">{name}</text>',
                f'<rect class="{_kind(name)}" x="230" y="{y - 10}" width="{width:.0f}" '
                'height="11"/>',
                f'<text x="{236 + width:.0f}" y="{y}">{row["of floor"]:.2f}</text>',
            ]
        y += 12
    line = f'<path class="line" d="M320 10V{y}" stroke-dasharray="3 3"/>'
    return _svg(740, y + 8, "Times the floor, by peer", [line, *parts])


def lines_of(table: Table) -> str:
    """Milliseconds by the messages of a list, both in powers of ten."""
    left, right, top, bottom = 60.0, 540.0, 20.0, 300.0
    low, high = -1.0, 3.0  # 0.1 ms to 1 s

    def across(count: int) -> float:
        return left + (right - left) * (math.log10(count) / math.log10(LENGTHS[-1]))

    def up(milliseconds: float) -> float:
        power = min(max(math.log10(max(milliseconds, 1e-9)), low), high)
        return bottom - (bottom - top) * (power - low) / (high - low)

    parts = []
    for power in range(int(low), int(high) + 1):
        y = up(10.0**power)
        parts.append(f'<path class="line" d="M{left} {y:.0f}H{right}"/>')
        parts.append(f'<text x="8" y="{y + 4:.0f}">{10.0**power:g} ms</text>')
    for count in LENGTHS:
        x = across(count)
        parts.append(f'<text x="{x - 10:.0f}" y="{bottom + 18:.0f}">{count:,}</text>')
    for name in (NULL, FLOOR, STEWRD, LLM, OPENAI):
        row = table[name]
        measured = [(count, row[f"{count:,}"]) for count in LENGTHS if f"{count:,}" in row]
        spots = [(across(count), up(figure)) for count, figure in measured]
        path = "L".join(f"{x:.0f} {y:.0f}" for x, y in spots)
        parts.append(f'<path class="{_kind(name)}" d="M{path}"/>')
        lift = -6 if name in (STEWRD, FLOOR) else 12
        parts.append(f'<text x="{right + 6:.0f}" y="{spots[-1][1] + lift:.0f}">{name}</text>')
    return _svg(760, 330, "Milliseconds of a turn by messages of history", parts)


__all__ = ["RAW", "Target", "markdown", "middle", "targets", "text", "write"]
