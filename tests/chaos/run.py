"""One run, in a process of its own: `python -m tests.chaos.run PLAN`.

It imports everything once and then forks: the server first, then the workers, again and again,
for it kills them with `kill -9`. It has no threads. It ends when its work is done, or when its
standard input is closed, and whatever it has forked ends with it.
"""

from __future__ import annotations

import faulthandler
import math
import os
import random
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Client
from typing import NoReturn

from .plan import Plan, Report
from .server import Caller, serve
from .worker import CRASHED, work

PATIENCE = 30.0
"""Seconds that workers have to end by themselves, and the server to begin."""

TOO_MANY = 10
"""Workers that died by themselves."""


class Run:
    """The processes of a run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)  # noqa: S311
        self.alive, self._held = os.pipe()
        self.workers: dict[int, int] = {}
        self.lives = 0
        self.kills = 0
        self.crashes: list[str] = []

    def main(self) -> Report:
        """Do it all."""
        server = self.fork(partial(serve, self.plan))
        try:
            call = self._connect()
            self._until_done(call)
            call("stop")
            self._await_workers()
            report: Report = call("finish")
        finally:
            for pid in [*self.workers, server]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        report.kills, report.crashes = self.kills, report.crashes + self.crashes
        return report

    def fork(self, job: Callable[[], None]) -> int:
        """Do a job in a child; it ends with this process."""
        pid = os.fork()
        if pid == 0:
            os.close(self._held)
            threading.Thread(target=_die_with, args=(self.alive,), daemon=True).start()
            _do(job)
        return pid

    def _connect(self) -> Caller:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return Caller(Client(self.plan.address, "AF_UNIX"))
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _until_done(self, call: Caller) -> None:
        next_kill = self._turns_to_kill()
        while not call("is_done") and len(self.crashes) < TOO_MANY:
            self._reap()
            self._start_missing()
            turns: int = call("turns")
            if turns >= next_kill:
                self._kill_one()
                next_kill = turns + self._turns_to_kill()
            readable, _, _ = select.select([sys.stdin], [], [], self.chance.uniform(0, 0.04))
            if readable:
                raise SystemExit("nobody waits for this any more")

    def _turns_to_kill(self) -> float:
        mean = self.plan.kill_every
        return self.chance.expovariate(1 / mean) if mean else math.inf

    def _start_missing(self) -> None:
        missing = set(range(self.plan.workers)) - set(self.workers.values())
        for number in missing:
            self.lives += 1
            pid = self.fork(partial(work, self.plan, number, self.lives))
            self.workers[pid] = number

    def _kill_one(self) -> None:
        pid = self.chance.choice(list(self.workers))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        del self.workers[pid]
        self.kills += 1

    def _reap(self) -> None:
        for pid in list(self.workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.workers[pid]
                if status:
                    self.crashes.append(
                        f"a worker died by itself, with status {status}: see the log"
                    )

    def _await_workers(self) -> None:
        until = time.monotonic() + PATIENCE
        while self.workers and time.monotonic() < until:
            self._reap()
            time.sleep(0.02)
        for pid in self.workers:
            os.kill(pid, signal.SIGUSR1)  # it writes where it hangs
        if self.workers:
            time.sleep(0.5)
            self.crashes.append(f"{len(self.workers)} workers did not end: see the log")


def _die_with(parent: int) -> NoReturn:
    os.read(parent, 1)
    os._exit(0)


def _do(job: Callable[[], None]) -> NoReturn:
    faulthandler.register(signal.SIGUSR1)
    try:
        job()
    except BaseException:  # noqa: BLE001 - a child must not go on as if it were its parent
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(CRASHED)
    os._exit(0)


if __name__ == "__main__":
    the_plan = Plan.read(sys.argv[1])
    Run(the_plan).main().write(the_plan.report)
