"""What came of the mistakes, as lines for a terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from . import Mutant
from .places import ROOMS, Room, room_of

INTRODUCTION = (
    "Each line is a small mistake that somebody could make in this package, and the test that "
    "fails when it is made. The mistakes are put one at a time into a copy of the package, so "
    "that the tests are tested, too. One that survives is a hole in the tests, and is listed as "
    "such."
)


NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a mistake.

    Attributes:
        mutant: The mistake.
        word: "caught", "hangs" (a test that does not come to its end has noticed, too),
            "SURVIVED", "BROKEN" where nothing was tested, or "not tried" for want of time.
        by: The test, or what is to be said instead.
        seconds: How long it took.
    """

    mutant: Mutant
    word: str
    by: str
    seconds: int

    @property
    def caught(self) -> bool:
        """Whether the tests noticed."""
        return self.word in ("caught", "hangs")

    def line(self) -> str:
        """The verdict for a terminal."""
        return f"{self.word:8} {self.mutant.name}  [{self.mutant.file}]  {self.by}"


def page(verdicts: Sequence[Verdict], command: str, version: str) -> str:
    """The verdicts as a page of Markdown."""
    count, tried = _counted(verdicts)
    rest = f" {len(verdicts) - tried} were not tried this time." if tried < len(verdicts) else ""
    today = datetime.now(timezone.utc).date()
    lines = [
        "# Seeded bugs",
        "",
        INTRODUCTION,
        "",
        f"**{count} of {tried} caught**, on {today} with version {version}, by `{command}`.{rest}",
    ]
    for room in ROOMS:
        lines += _table(room, [one for one in verdicts if room_of(one.mutant.file) is room])
    return "\n".join(lines) + "\n"


def _table(room: Room, verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    count, tried = _counted(verdicts)
    head = ["", f"## {room.title}", "", f"{count} of {tried} caught.", ""]
    rows = ["| mistake | file | caught by |", "|---|---|---|", *map(_row, verdicts)]
    return [*head, *rows]


def _counted(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """How many were caught, of how many that were tried."""
    tried = [verdict for verdict in verdicts if verdict.word != NOT_TRIED]
    return sum(verdict.caught for verdict in tried), len(tried)


def _row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    by = f"`{verdict.by}`" if verdict.by else ""
    told = {"caught": by, "hangs": f"{by}, which hangs", NOT_TRIED: "not tried this time"}
    shown = told.get(verdict.word, f"**{verdict.word.lower()}** {verdict.by}".rstrip())
    return f"| {_cell(mutant.name)} | `{mutant.file}` | {_cell(shown)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
