"""The machines and the chaos test, in turn and with fresh seeds, for as long as one wants.

``python -m tests.soak --minutes 30`` prints a line for each round and a summary at the end. Each
round is a process of its own. One that found something is told with its evidence and with the
command that makes it again: ``python -m tests.soak --round NAME --seed SEED``.
"""

from __future__ import annotations

import argparse
import importlib
import io
import itertools
import json
import logging
import secrets
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

ROOT = Path(__file__).parent.parent
TOO_LONG = 1_800.0
"""Seconds after which a round is said to hang: shrinking what it found takes minutes."""

TURNS = 800
"""Answered turns of a round of chaos."""


@dataclass
class Result:
    """What came of a round.

    Attributes:
        finding: All that is known of what went wrong; empty if nothing did.
        examples: Lives of the machine, or runs of the chaos test.
        turns: Answers that the emulated agents gave in them.
    """

    finding: str = ""
    examples: int = 0
    turns: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


Round = Callable[[int], Result]


# -- machines ----------------------------------------------------------------------------


def machine(where: str, name: str, examples: int, steps: int, number: int) -> Result:
    """One run of a machine.

    Args:
        where: Its module.
        name: Its class.
        examples: Lives to be played.
        steps: Steps of the longest.
        number: The seed.
    """
    result = Result()
    counted = seed(number)(_counted(getattr(importlib.import_module(where), name), result))
    found = io.StringIO()
    try:
        with redirect_stdout(found):  # Hypothesis tells on it how to make it again
            run_state_machine_as_test(counted, settings=_settings(examples, steps))
    except Exception:  # noqa: BLE001 - whatever it is, it is the finding
        result.finding = f"{traceback.format_exc()}\n{found.getvalue()}"
    return result


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def _counted(machine: type[RuleBasedStateMachine], result: Result) -> Any:
    """The machine, which counts what it does."""

    def teardown(self: Any) -> None:
        result.examples += 1
        result.turns += self.answers
        machine.teardown(self)

    return type(machine.__name__, (machine,), {"teardown": teardown})


# -- chaos -------------------------------------------------------------------------------


def chaos(store: str, number: int) -> Result:
    """One run of the chaos test on a store: "sqlite", "redis" or "redis in trouble"."""
    from tests.chaos import test_chaos  # its imports are of no use to the machines
    from tests.chaos.launch import launch
    from tests.chaos.redis_trouble import Trouble
    from tests.redis_server import RedisServer

    plan: dict[str, Any] = {"seed": number, "turns": TURNS, "limit": 300.0}
    if store == "sqlite":
        report = launch(test_chaos.SQLITE, **plan)
    else:
        with RedisServer() as server:
            trouble = Trouble(server, number) if store == "redis in trouble" else None
            report = launch(server.url, trouble, slots_last=trouble is None, **plan)
    result = Result(examples=1, turns=report.turns, facts={"kills": report.kills})
    try:
        test_chaos.contexts_are_right(report)
        if store != "redis in trouble":
            test_chaos.slots_are_counted(report)
    except AssertionError:
        result.finding = f"{report.troubles()}\n{report.table()}\n{traceback.format_exc()}"
    return result


SESSIONS, MACHINES = "tests.sessions", "tests.machines.test"
ROUNDS: dict[str, Round] = {
    "frameworks": partial(machine, f"{MACHINES}_frameworks", "Unique", 40, 40),
    "frameworks colliding": partial(machine, f"{MACHINES}_frameworks", "Colliding", 40, 40),
    "sqlite": partial(machine, f"{MACHINES}_frameworks", "UniqueOnSQLite", 20, 40),
    "sqlite colliding": partial(machine, f"{MACHINES}_frameworks", "CollidingOnSQLite", 20, 40),
    "redis": partial(machine, f"{MACHINES}_frameworks", "UniqueOnRedis", 20, 40),
    "redis colliding": partial(machine, f"{MACHINES}_frameworks", "CollidingOnRedis", 20, 40),
    "processes": partial(machine, f"{MACHINES}_processes", "Unique", 12, 30),
    "processes colliding": partial(machine, f"{MACHINES}_processes", "Colliding", 12, 30),
    "processes redis": partial(machine, f"{MACHINES}_processes", "UniqueOnRedis", 12, 30),
    "processes redis colliding": partial(
        machine, f"{MACHINES}_processes", "CollidingOnRedis", 12, 30
    ),
    "sessions": partial(machine, f"{SESSIONS}.machine", "Machine", 150, 60),
    "sessions colliding": partial(machine, f"{SESSIONS}.machine", "Colliding", 150, 60),
    "tools": partial(machine, f"{SESSIONS}.tools_machine", "ToolsMachine", 120, 50),
    "tools colliding": partial(machine, f"{SESSIONS}.tools_machine", "Colliding", 120, 50),
    "chaos sqlite": partial(chaos, "sqlite"),
    "chaos redis": partial(chaos, "redis"),
    "chaos redis in trouble": partial(chaos, "redis in trouble"),
}


# -- the command -------------------------------------------------------------------------


def say(text: str) -> None:
    """A line for who watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def played(name: str, number: int) -> Result:
    """A round in a process of its own."""
    command = [sys.executable, "-m", "tests.soak", "--round", name, "--seed", f"{number}", "--json"]
    try:
        done = subprocess.run(
            command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=TOO_LONG
        )
    except subprocess.TimeoutExpired:
        return Result(f"it was not done after {TOO_LONG:g} s")
    try:
        return Result(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        told = f"{done.stdout[-2_000:]}{done.stderr[-4_000:]}"
        return Result(f"it ended with status {done.returncode}:\n{told}")


def soak(minutes: float, names: list[str]) -> int:
    """Rounds in turn until the time is over; 1 if any found something.

    A round that has begun is played to its end, and each at least once begins on a new seed.
    """
    until, findings = time.monotonic() + 60 * minutes, []
    sums: dict[str, Counter[str]] = {name: Counter() for name in names}
    for name in itertools.cycle(names):
        if time.monotonic() >= until:
            break
        number, began = secrets.randbelow(1_000_000), time.monotonic()
        result = played(name, number)
        seconds = time.monotonic() - began
        found = 1 if result.finding else 0
        sums[name].update(rounds=1, examples=result.examples, turns=result.turns, findings=found)
        say(_line(name, number, result, seconds))
        if found:
            findings.append(_again(name, number))
            say(f"{result.finding}\n\nTo make it again: {findings[-1]}\n")
    for line in _summary(sums):
        say(line)
    for finding in findings:
        say(f"finding: {finding}")
    return 1 if findings else 0


def _again(name: str, number: int) -> str:
    return f'python -m tests.soak --round "{name}" --seed {number}'


def _line(name: str, number: int, result: Result, seconds: float) -> str:
    word = "FOUND" if result.finding else "fine"
    facts = "".join(f", {count:,} {what}" for what, count in result.facts.items())
    done = f"{result.examples:,} lives, {result.turns:,} answers{facts}"
    return f"{word:5}  {name:26} seed {number:<6}  {done}  ({seconds:.0f} s)"


def _summary(sums: dict[str, Counter[str]]) -> Iterator[str]:
    yield ""
    whole: Counter[str] = Counter()
    for name, counts in sums.items():
        whole.update(counts)
        yield _row(name, counts)
    yield _row("all", whole)


def _row(name: str, counts: Counter[str]) -> str:
    done = f"{counts['examples']:,} lives, {counts['turns']:,} answers"
    return f"{name:26} {counts['rounds']:,} rounds, {done}, {counts['findings']} findings"


def main() -> int:
    """Soak, or play one round."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    parser.add_argument("--only", default="", help="rounds whose name holds this")
    parser.add_argument("--round", choices=list(ROUNDS), help="play this one alone")
    parser.add_argument("--seed", type=int, help="of the one round")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.round is None:
        return soak(given.minutes, [name for name in ROUNDS if given.only in name])
    # What the package warns of is what the machines do to it.
    logging.getLogger("stewrd_integrations").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    number = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    result = ROUNDS[given.round](number)
    if given.json:
        say(json.dumps(asdict(result)))
    else:
        say(f"{_line(given.round, number, result, 0.0)}\n{result.finding}")
    return 1 if result.finding else 0


if __name__ == "__main__":
    raise SystemExit(main())
