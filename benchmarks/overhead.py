"""What the adapter costs, against httpx, the frameworks themselves and other chat models.

One local server of canned answers, in a process of its own; everyone talks to it in turns, round
by round, in one run. Figures are medians; what counts are the ratios, each the median of the
ratios within the rounds, since the machine may be busy with other things. What is timed against
the server is timed in several processes, one after another: where its code and its hashes happen
to lie costs or saves a process some percent from its first turn to its last.

    python benchmarks/overhead.py                 all of it, some ten minutes
    python benchmarks/overhead.py --quick         to see that it runs, under a minute
    python benchmarks/overhead.py --only turns streams
    python benchmarks/overhead.py --write docs/performance.md

It needs a redis-server (or valkey-server) on the PATH, and `pip install --group bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import overhead_report as report
from overhead_report import Tables
from overhead_server import running_server
from overhead_sizes import idle, imports, making, sent
from overhead_turns import Place, crowds, lengths, streams, turns
from stores import redis_server

TIMED: dict[str, Callable[[Place], Any]] = {
    "turns": turns,
    "streams": streams,
    "crowds": crowds,
    "lengths": lengths,
}
SECTIONS = TIMED | {"bytes": sent, "idle": idle, "making": making, "imports": imports}
PROCESSES = 3
PACKAGES = ("httpx", "langchain-core", "langchain-openai", "llama-index-core", "openai", "stewrd")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="few rounds; no figure counts")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison in a process")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="that time the turns")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--write", type=Path, help="a page with markers for the figures")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.processes = 2, 1
    return asked


def about(asked: argparse.Namespace) -> str:
    """Where, when and how it was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", "benchmarks/overhead.py", *words])
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = " **The machine was busy: only the CPU columns count.**" if load > cores else ""
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} with "
        f"`{command}`, {asked.rounds} rounds (half of them for crowds and lengths) in each of "
        f"{asked.processes} processes, on {cores} "
        f"shared cores ({platform.machine()}, {platform.system()}), "
        f"{platform.python_implementation()} {platform.python_version()}; {packages}. "
        f"Load at the end: {load:.1f}.{busy}"
        + ("" if asked.only == list(SECTIONS) else f" Only {', '.join(asked.only)}.")
    )


def measured(asked: argparse.Namespace, names: Sequence[str]) -> Tables:
    """What these sections find in this process."""
    tables: dict[str, Any] = {}
    with ExitStack() as open_:
        url = open_.enter_context(running_server())
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        redis = open_.enter_context(redis_server())
        loop = asyncio.new_event_loop()
        open_.callback(loop.close)
        each = 4 if asked.quick else 25
        place = Place(url, folder, redis, asked.rounds, each, loop, asked.quick)
        gc.collect()
        gc.freeze()  # what the imports left is nobody's garbage
        for name in names:
            print(f"Measuring {name} ...", file=sys.stderr, flush=True)
            tables |= SECTIONS[name](place)
    return tables


def elsewhere(asked: argparse.Namespace, names: Sequence[str]) -> Tables:
    """What they find in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures.json")
        options = ["--processes", "1", "--rounds", str(asked.rounds), "--json", str(figures)]
        command = [sys.executable, __file__, *options, "--only", *names]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - this file
        if not figures.exists():  # one that missed a target has written them all the same
            raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}")
        tables: Tables = json.loads(figures.read_text(encoding="utf-8"))
        return tables


def main() -> int:
    """Measure and print; 1 if a figure misses its target."""
    asked = arguments()
    timed = [name for name in asked.only if name in TIMED and asked.processes > 1]
    here = [name for name in asked.only if name not in timed]
    times = [elsewhere(asked, timed) for _ in range(asked.processes)] if timed else []
    tables = {**report.middle(times), **(measured(asked, here) if here else {})}
    print(about(asked), report.text(tables), sep="\n\n")
    found = report.targets(tables, times)
    print("\nTargets\n", *(one.told() for one in found), sep="\n")
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=1), encoding="utf-8")
    if asked.write:
        report.write(asked.write, tables, found, about(asked))
    return 0 if asked.quick or all(one.met for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
