"""What a run of the chaos test is told, and what it tells."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        store: URL of the store that all workers share; `stores.open_for` knows the schemes.
        directory: Where the socket, the log and the report are; its path must be short.
        turns: Answered turns after which it ends, but not before ``seconds``.
        limit: Seconds after which it ends in any case.
        workers: Processes, each with as many ``threads``.
        kill_every: Mean number of turns between two kills; 0 kills nobody.
        trouble: Share of the requests that meet an ordered fault.
        until_wrong: End with the first wrong context, or the first create that is refused.
        slots_last: Whether the store can be asked, when all is over, which slots are held.
    """

    store: str
    directory: str
    seed: int = 0
    turns: int = 2_000
    seconds: float = 0.0
    limit: float = 120.0
    workers: int = 6
    threads: int = 1
    kill_every: float = 50.0
    trouble: float = 0.08
    projects: int = 16
    talks: int = 150
    until_wrong: bool = False
    slots_last: bool = True

    def write(self) -> Path:
        """Put it where the run finds it."""
        path = Path(self.directory) / "plan.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: str) -> Plan:
        """Find it."""
        return cls(**json.loads(Path(path).read_text()))

    @property
    def address(self) -> str:
        """The socket of the server's desk."""
        return str(Path(self.directory) / "desk")

    @property
    def report(self) -> Path:
        """Where the run leaves its report."""
        return Path(self.directory) / "report.json"

    @property
    def log(self) -> Path:
        """What the processes wrote to their standard output and error."""
        return Path(self.directory) / "log"


@dataclass
class Report:
    """What came of a run, or of several.

    Attributes:
        wrong: Answers given in another context than the one shown, with the evidence.
        broken: Other promises that were broken, a line each.
        crashes: Exceptions that no user should see, processes that died or hung by themselves.
        ways: Answered turns by how they travelled.
        unanswered: Turns without an answer by what ended them.
    """

    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    turns: int = 0
    seconds: float = 0.0
    kills: int = 0
    sessions: int = 0
    requests: int = 0
    faults: int = 0
    expired: int = 0
    fullest: int = 0
    overfull: int = 0
    overlaps: int = 0
    refused_creates: int = 0
    other_refusals: int = 0
    uncounted_sessions: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Add another run."""
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            joined = max(mine, theirs) if one.name == "fullest" else mine + theirs
            setattr(self, one.name, joined)

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what `write` kept."""
        told: dict[str, Any] = json.loads(path.read_text())
        counters = {name: Counter(value) for name, value in told.items() if isinstance(value, dict)}
        return cls(**{**told, **counters})

    def table(self) -> str:
        """All figures, to be read by people."""
        rows = [
            (
                "answered turns",
                f"{self.turns:,} in {self.seconds:.0f} s ({self.speed:.0f} a second)",
            ),
            ("wrong contexts", len(self.wrong)),
            ("creates refused for slots", self.refused_creates),
            ("other refusals than 410", self.other_refusals),
            ("live sessions without a slot", self.uncounted_sessions),
            ("sessions over their limit", self.overfull),
            ("most messages in a session", self.fullest),
            ("requests at once on a session", self.overlaps),
            ("sessions opened", self.sessions),
            ("requests, with faults, 410", f"{self.requests:,}, {self.faults:,}, {self.expired:,}"),
            ("kills", self.kills),
            ("by way", _counts(self.ways)),
            ("why stateless", _counts(self.reasons)),
            ("by kind", _counts(self.kinds)),
            ("by mode", _counts(self.modes)),
            ("by change", _counts(self.changes)),
            ("unanswered", f"{sum(self.unanswered.values())}: {_counts(self.unanswered)}"),
        ]
        return "\n".join(f"{name:<30} {value}" for name, value in rows)

    @property
    def speed(self) -> float:
        """Answered turns a second."""
        return self.turns / self.seconds if self.seconds else 0.0

    def troubles(self) -> str:
        """All that went wrong, with the evidence; empty if nothing did."""
        return "\n\n".join([*self.wrong[:3], *self.broken, *self.crashes[:5]])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common(15))
