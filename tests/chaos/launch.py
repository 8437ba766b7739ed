"""Starting a run, and ending it whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .plan import Plan, Report

ROOT = Path(__file__).parents[2]
GRACE = 120.0
"""Seconds beyond the plan's limit: to import everything, to begin and to end."""


def launch(store: str, meanwhile: Callable[[], None] | None = None, **plan: Any) -> Report:
    """Make a run and read its report.

    Args:
        store: URL of the store; ``DIRECTORY`` in it stands for the run's own.
        meanwhile: Called again and again as long as it goes on; it may take its time.
        plan: Fields of `Plan`.
    """
    # The address of a Unix socket has at most 100 characters, and pytest's folders have more.
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        the_plan = Plan(store.replace("DIRECTORY", directory), directory, **plan)
        with _running(the_plan) as process:
            until = time.monotonic() + the_plan.limit + GRACE
            while process.poll() is None and time.monotonic() < until:
                if meanwhile is not None:
                    meanwhile()
                time.sleep(0.05)
        if not the_plan.report.exists():
            raise AssertionError(f"the run left no report:\n{_log(the_plan)}")
        report = Report.read(the_plan.report)
        if report.crashes:
            report.crashes.append(_log(the_plan))
        return report


def _log(plan: Plan) -> str:
    return plan.log.read_text(errors="replace")[-10_000:]


@contextmanager
def _running(plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.chaos.run", str(plan.write())]
    # Coverage would slow all down, and what is killed would not tell it anything.
    surroundings = {name: value for name, value in os.environ.items() if "COV" not in name}
    with (
        plan.log.open("wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # it ends when this is closed
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=surroundings,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            # The group is its own: it and all that it has forked. Not waited for yet, its number
            # is nobody else's.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
