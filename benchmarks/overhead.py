"""What the adapter costs, against httpx, the frameworks themselves and other chat models.

One local server of canned answers, in a process of its own; everyone talks to it in turns, round
by round, in one run. Figures are medians; what counts are the ratios, each the median of the
ratios within the rounds, since the machine may be busy with other things.

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
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import overhead_report as report
from overhead_server import running_server
from overhead_sizes import idle, imports, making, sent
from overhead_turns import Place, crowds, lengths, streams, turns
from stores import redis_server

SECTIONS: dict[str, Callable[[Place], Any]] = {
    "turns": turns,
    "streams": streams,
    "crowds": crowds,
    "lengths": lengths,
    "bytes": sent,
    "idle": idle,
    "making": making,
    "imports": imports,
}
PACKAGES = ("httpx", "langchain-core", "langchain-openai", "llama-index-core", "openai", "stewrd")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="few rounds; no figure counts")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison, 15 by default")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--write", type=Path, help="a page with markers for the figures")
    return parser.parse_args()


def about(asked: argparse.Namespace, rounds: int) -> str:
    """Where, when and how it was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", "benchmarks/overhead.py", *words])
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = " **The machine was busy: only the CPU columns count.**" if load > cores else ""
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} with "
        f"`{command}`, {rounds} rounds (a third of them for crowds and lengths), on {cores} "
        f"shared cores ({platform.machine()}, {platform.system()}), "
        f"{platform.python_implementation()} {platform.python_version()}; {packages}. "
        f"Load at the end: {load:.1f}.{busy}"
        + ("" if asked.only == list(SECTIONS) else f" Only {', '.join(asked.only)}.")
    )


def main() -> int:
    """Measure and print; 1 if a figure misses its target."""
    asked = arguments()
    rounds, each = (2, 4) if asked.quick else (asked.rounds or 15, 25)
    tables: dict[str, Any] = {}
    with ExitStack() as open_:
        url = open_.enter_context(running_server())
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        redis = open_.enter_context(redis_server())
        loop = asyncio.new_event_loop()
        open_.callback(loop.close)
        place = Place(url, folder, redis, rounds, each, loop, asked.quick)
        gc.collect()
        gc.freeze()  # what the imports left is nobody's garbage
        for name in asked.only:
            print(f"Measuring {name} ...", file=sys.stderr, flush=True)
            tables |= SECTIONS[name](place)
    print(about(asked, rounds), report.text(tables), sep="\n\n")
    found = report.targets(tables)
    print("\nTargets\n", *(one.told() for one in found), sep="\n")
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=1), encoding="utf-8")
    if asked.write:
        report.write(asked.write, tables, about(asked, rounds))
    return 0 if asked.quick or all(one.met for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
