"""How long a store takes: take, put and occupy, for each store and colour.

At 1, 2, 4 and 8 processes on one store, and at 1,000 and 100,000 bindings in it. All variants
of one table are measured in turns, round by round, so that a noisy moment hits all alike.
Figures are microseconds of one operation; what counts are the ratios within one run. "floor" is
no store: it writes the same names into plain dicts, and shows what the machine's own memory costs.

    python benchmarks/stores.py             a few minutes
    python benchmarks/stores.py --short     to see that it runs

It needs a redis-server (or valkey-server) on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from stewrd_integrations.sessions.binding import DAY, Binding
from stewrd_integrations.sessions.digest import Covered
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore

PROCESSES = (1, 2, 4, 8)
SIZES = (1_000, 100_000)
OPERATIONS = ("put", "take", "occupy")
FLAT, FAST = 1.5, 1_000.0
IN_PROCESS = ("memory", "floor")
Times = dict[str, list[float]]


class Floor:
    """As many writes into plain dicts as the memory store makes, and nothing else."""

    def __init__(self) -> None:
        self.ids: dict[str, Binding] = {}
        self.keys: dict[str, Binding] = {}
        self.slots: dict[str, float] = {}

    def put(self, one: Binding, _ttl: float) -> None:
        """A binding under its id, and under each of its keys."""
        self.ids[one.id] = one
        for key in one.keys:
            self.keys[key] = one

    def take(self, keys: tuple[str, ...]) -> Binding:
        """Out of both again."""
        one = self.keys[keys[0]]
        for key in keys:
            del self.keys[key]
        return self.ids.pop(one.id)

    def occupy(self, _pool: str, slot: str, _limit: int, ttl: float) -> None:
        """One write."""
        self.slots[slot] = ttl


@dataclass(frozen=True)
class Variant:
    """A store with so many bindings in it, in one colour."""

    name: str
    colour: str
    size: int
    make: Callable[[], Any]


def binding(size_of_history: int = 40) -> Binding:
    """A binding as a conversation of twenty turns has it."""
    digests = tuple(f"u{secrets.token_hex(16)}" for _ in range(size_of_history))
    covered = Covered(secrets.token_hex(16), 0, digests, digests[0])
    keys = tuple(secrets.token_hex(16) for _ in range(3))
    return Binding(secrets.token_hex(16), secrets.token_hex(16), covered, used=40, keys=keys)


def fill(store: Any, size: int) -> None:
    """Put so many bindings in."""
    for _ in range(size):
        store.put(binding(4), DAY)


async def timed(store: Any, colour: str, rounds: int) -> Times:
    """Put, take and occupy, so many times each, in microseconds."""
    times: Times = {operation: [] for operation in OPERATIONS}
    pool = secrets.token_hex(8)
    for number in range(rounds):
        one = binding()
        calls = (
            ("put", (one, DAY)),
            ("take", (one.keys,)),
            ("occupy", (pool, str(number), 10, 60)),
        )
        for operation, arguments in calls:
            began = time.perf_counter()
            if colour == "async":
                await getattr(store, f"a{operation}")(*arguments)
            else:
                getattr(store, operation)(*arguments)
            times[operation].append((time.perf_counter() - began) * 1e6)
    return times


def worker(line: Connection, make: Callable[[], Any], colour: str) -> None:
    """A process on a store: it measures when it is told to."""
    store = make()

    async def serve() -> None:
        await timed(store, colour, 20)  # connections, prepared statements, caches
        line.send("ready")
        while rounds := line.recv():
            line.send(await timed(store, colour, rounds))

    asyncio.run(serve())


class Group:
    """Some processes that work on one store at once."""

    def __init__(self, variant: Variant, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.lines, self.processes = [], []
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            arguments = (theirs, variant.make, variant.colour)
            process = spawn.Process(target=worker, args=arguments, daemon=True)
            process.start()
            self.lines.append(ours)
            self.processes.append(process)
        for line in self.lines:
            line.recv()

    def measure(self, rounds: int) -> Times:
        """All processes at once; their figures together."""
        for line in self.lines:
            line.send(rounds)
        told: list[Times] = [line.recv() for line in self.lines]
        return {name: [t for times in told for t in times[name]] for name in OPERATIONS}

    def end(self) -> None:
        """End the processes."""
        for line, process in zip(self.lines, self.processes, strict=True):
            line.send(0)
            process.join()


def in_process(variant: Variant) -> Callable[[int], Times]:
    """A store of one process only."""
    store = variant.make()
    fill(store, variant.size)
    return lambda rounds: asyncio.run(timed(store, variant.colour, rounds))


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis on a free port of this machine; its URL."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("No redis-server is on the PATH.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - of this name
    try:
        time.sleep(0.5)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def variants(folder: Path, redis: str, sizes: Sequence[int]) -> list[Variant]:
    """Every store, size and colour, filled."""
    found = []
    for size in sizes:
        path, namespace = folder / f"{size}.db", f"of-{size}"
        makes: dict[str, Callable[[], Any]] = {
            "memory": MemoryStore,
            "SQLite": partial(SQLiteStore, path, busy_timeout=60.0),
            "Redis": partial(RedisStore, redis, namespace=namespace, timeout=60.0),
        }
        for name, make in makes.items():
            if name not in IN_PROCESS:
                print(f"Filling {name} with {size:,} bindings ...", flush=True)
                store = make()
                fill(store, size)
                store.close()
            found += [Variant(name, colour, size, make) for colour in ("sync", "async")]
        found.append(Variant("floor", "sync", size, Floor))
    return found


def alone(every: Sequence[Variant], turns: int, rounds: int) -> dict[Variant, Times]:
    """One process, all variants in turns."""
    print("Measuring with one process ...", flush=True)
    groups = {v: Group(v, 1) for v in every if v.name not in IN_PROCESS}
    measures = {v: in_process(v) for v in every if v.name in IN_PROCESS}
    measures |= {v: group.measure for v, group in groups.items()}
    times = together(measures, turns, rounds)
    for group in groups.values():
        group.end()
    return times


def together(
    measures: Mapping[Variant, Callable[[int], Times]], turns: int, rounds: int
) -> dict[Variant, Times]:
    """The figures of some measures, taken in turns."""
    times: dict[Variant, Times] = {v: {name: [] for name in OPERATIONS} for v in measures}
    for _ in range(turns):
        for variant, measure in measures.items():
            for name, found in measure(rounds).items():
                times[variant][name] += found
    return times


def show(title: str, rows: dict[str, Times]) -> None:
    """A table of medians and 99th percentiles."""
    print(f"\n{title}\n")
    heads = "".join(f"{name + ' p50':>14}{name + ' p99':>14}" for name in OPERATIONS)
    print(f"{'microseconds':<34}{heads}")
    for name, times in rows.items():
        cells = "".join(
            f"{median(times[one]):>14,.0f}{quantiles(times[one], n=100)[98]:>14,.0f}"
            for one in OPERATIONS
        )
        print(f"{name:<34}{cells}")


def verdict(times: dict[Variant, Times]) -> bool:
    """Say whether it stays flat in the number of bindings, and fast with one process."""
    print("\nFrom the fewest to the most bindings (p50), one process\n")
    good, verdicts = True, ("MISSED", "ok")
    most, fewest = max(v.size for v in times), min(v.size for v in times)
    for variant in (v for v in times if v.size == most):
        same = (variant.name, variant.colour, fewest)
        few = next(t for v, t in times.items() if (v.name, v.colour, v.size) == same)
        ratios = {one: median(times[variant][one]) / median(few[one]) for one in OPERATIONS}
        slowest = max(median(times[variant][one]) for one in OPERATIONS)
        store = variant.name != "floor"
        fine = not store or (max(ratios.values()) <= FLAT and slowest < FAST)
        good &= fine
        told = ", ".join(f"{one} {ratio:.2f}" for one, ratio in ratios.items())
        told += f"; slowest p50 {slowest:,.0f} us"
        name = f"{variant.name} {variant.colour}"
        print(f"  {name:<16}{told}  {verdicts[fine] if store else '-'}")
    return good


def main() -> int:
    """Measure and print; 1 if a figure misses what is promised."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="small sizes, few rounds")
    short = parser.parse_args().short
    sizes, turns, rounds = ((100, 1_000), 2, 20) if short else (SIZES, 10, 100)
    print(f"Python {platform.python_version()}, {platform.machine()}, {sys.platform}")
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis:
        every = variants(Path(folder), redis, sizes)
        times = alone(every, turns, rounds)
        show(
            "One process",
            {f"{v.name} {v.colour}, {v.size:,} bindings": t for v, t in times.items()},
        )
        shared = [v for v in every if v.name not in IN_PROCESS and v.size == max(sizes)]
        rows: dict[str, Times] = {}
        for count in PROCESSES:
            groups = {v: Group(v, count) for v in shared}
            measures = {v: group.measure for v, group in groups.items()}
            for v, found in together(measures, turns, max(rounds // count, 5)).items():
                rows[f"{v.name} {v.colour}, {count} processes"] = found
            for group in groups.values():
                group.end()
        show(f"Several processes at once, {max(sizes):,} bindings", dict(sorted(rows.items())))
        return 0 if verdict(times) or short else 1


if __name__ == "__main__":
    sys.exit(main())
