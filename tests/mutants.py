"""Seeded bugs: small plausible mistakes, each of which the tests must catch.

``make mutants`` puts one mistake at a time into a copy of the package and runs tests on it: first
the place that is known to catch it, then those of its room, then wider ones. A mistake that
survives is a hole in the tests. A test that fails without the mistake too catches nothing.
"""

from __future__ import annotations

import argparse
import compileall
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.seeded import Mutant
from tests.seeded.everything import ALL
from tests.seeded.places import Tests, room_of
from tests.seeded.report import NOT_TRIED, Verdict, page

ROOT = Path(__file__).parent.parent
COPIED = ("stewrd_integrations", "tests", "cassettes", "examples")
LONGEST = 300
"""Seconds that a run of tests may take."""

LONGEST_TEST = 150
"""Seconds after which one test is said to hang."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_BEGUN = re.compile(r"^(tests/\S+::.+?)(?= *Timeout \(| [A-Z]+ *(?:\[|$)| *$)", re.MULTILINE)


class Lab:
    """Where mistakes are tried out: a copy of what there is now, and a copy of that for each.

    Args:
        folder: An empty folder.
        longest: Seconds that a run of tests may take.
        only: Tests that are run in the place of those of each room.
    """

    def __init__(self, folder: Path, longest: float, only: Tests = ()) -> None:
        self._folder = folder
        self._only = only
        self._sound = folder / "sound"
        self._longest = longest
        self._passes: dict[str, bool] = {}  # tests that failed once, and whether it was their fault
        self._lock = threading.Lock()
        self._sound.mkdir()
        for file in ("pyproject.toml", "pytest_stewrd.py"):
            shutil.copy(ROOT / file, self._sound)
        for part in COPIED:
            if (ROOT / part).exists():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, self._sound / part, ignore=ignored)
        compileall.compile_dir(self._sound, quiet=2)

    def verdict(self, mutant: Mutant, until: float) -> Verdict:
        """What the tests say of a mistake, if there is time to begin with it."""
        began = time.monotonic()
        if began > until:
            return Verdict(mutant, NOT_TRIED, "", 0)
        with self._copy() as copy:
            _break(copy, mutant)
            word, by = self._tried(copy, mutant)
        return Verdict(mutant, word, by, round(time.monotonic() - began))

    def _tried(self, copy: Path, mutant: Mutant) -> tuple[str, str]:
        late = ""
        for tests in [self._only] if self._only else _runs(mutant):
            word, by = self._first_failure(copy, tests)
            while word == "caught" and not self._is_sound(by):
                word, by = self._first_failure(copy, tests)
            if word in ("caught", "hangs", "BROKEN"):
                return word, by
            late = late or by
        return "SURVIVED", late

    def _first_failure(self, copy: Path, tests: Tests) -> tuple[str, str]:
        unsound = [test for test, passes in tuple(self._passes.items()) if not passes]
        left_out = (word for test in unsound for word in ("--deselect", test))
        code, said = _pytest(copy, (*tests, *left_out), self._longest)
        failed, begun = _FAILED.search(said), _BEGUN.findall(said)
        if code in (0, 5):  # 5: all of them were left out
            return "passed", ""
        if code is None:
            return "late", f"the tests were not done after {self._longest:g} s"
        if failed is not None:
            if "::" in failed[1]:
                return "caught", failed[1]
            return "BROKEN", f"{failed[1]} can't even be imported"
        if "Timeout (" in said and begun:
            return "hangs", begun[-1]
        raise SystemExit(f"the tests did not run: {' '.join(tests)}\n{said[-2_000:]}")

    def _is_sound(self, test: str) -> bool:
        """Whether a test passes where there is no mistake."""
        with self._lock:
            if test not in self._passes:
                with self._copy() as copy:
                    self._passes[test] = _pytest(copy, (test,), self._longest)[0] == 0
            return self._passes[test]

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            copy = Path(folder) / "broken"
            shutil.copytree(self._sound, copy)
            yield copy


def _break(copy: Path, mutant: Mutant) -> None:
    file = copy / "stewrd_integrations" / mutant.file
    file.write_text(file.read_text().replace(mutant.old, mutant.new))
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()


def _runs(mutant: Mutant) -> Iterator[Tests]:
    if mutant.tests:
        yield (mutant.tests,)
    yield from room_of(mutant.file).runs


def _pytest(copy: Path, tests: Tests, longest: float) -> tuple[int | None, str]:
    """How a run ended, None if it was stopped, and what it said."""
    found = [each for word in tests for each in _expanded(copy, word)]
    if not any(each.startswith("tests") for each in found):
        return 0, ""  # without a place it would be all of them
    limits = (f"faulthandler_timeout={LONGEST_TEST}", "faulthandler_exit_on_timeout=true")
    options = [word for limit in limits for word in ("-o", limit)]
    # What is seeded is not there any more, as the test of the list itself would say.
    options += ["-x", "-v", "-p", "no:cacheprovider", "--ignore=tests/test_seeded.py"]
    machines = {
        "STEWRD_MACHINE_EXAMPLES": "100",
        "STEWRD_MACHINE_SHRINK": "0",
        "STEWRD_STORES_EXAMPLES": "25",
        "STEWRD_PROCESSES_EXAMPLES": "10",
    }
    environment = {**os.environ, **machines, "PYTHONPATH": str(copy)}
    running = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *found],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = running.communicate(timeout=longest)
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        _end(running)
    return running.returncode, said


def _end(running: subprocess.Popen[str]) -> None:
    """End a run and all that it began: servers, workers."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def _expanded(copy: Path, word: str) -> Sequence[str]:
    """An argument of pytest, without a file that is not there, and with those of a pattern."""
    if "::" in word or word.startswith("-"):
        return [word]
    return sorted(str(file.relative_to(copy)) for file in copy.glob(word))


def _chosen(words: Sequence[str]) -> list[Mutant]:
    chosen = [
        mutant
        for mutant in ALL
        if any(word in mutant.name or mutant.file.startswith(word) for word in words or ("",))
    ]
    for mutant in chosen:
        found = (ROOT / "stewrd_integrations" / mutant.file).read_text().count(mutant.old)
        if found != mutant.times:
            raise SystemExit(f"{mutant.name}: its text stands {found} times in {mutant.file}")
    return chosen


def _verdicts(chosen: Sequence[Mutant], options: argparse.Namespace) -> Iterator[Verdict]:
    """The verdicts as they come; what there was no time for is not tried."""
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lab = Lab(Path(folder), options.limit, tuple(options.by))
        with ThreadPoolExecutor(options.jobs) as pool:
            # First those whose place is known, which is quick.
            ordered = sorted(chosen, key=lambda mutant: not mutant.tests)
            tried = [pool.submit(lab.verdict, mutant, until) for mutant in ordered]
            for done in as_completed(tried):
                yield done.result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    add = parser.add_argument
    add("words", nargs="*", help="in names, or at the beginning of files; all without one")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    add("--by", nargs="+", default=(), metavar="TESTS", help="these tests, not those of the room")
    add("--limit", type=float, default=LONGEST, help=f"seconds for a run of tests ({LONGEST})")
    add("--minutes", type=float, default=math.inf, help="after which no further one is begun")
    add("--write", type=Path, help="a page of Markdown to write, say docs/seeded-bugs.md")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mistakes out; 1 if one is not caught."""
    options = _parser().parse_args(arguments)
    chosen = _chosen(options.words)
    verdicts = []
    for verdict in _verdicts(chosen, options):
        verdicts.append(verdict)
        print(verdict.line(), flush=True)
    caught = sum(verdict.caught for verdict in verdicts)
    tried = sum(verdict.word != NOT_TRIED for verdict in verdicts)
    print(f"{caught} of {tried} caught, {len(verdicts) - tried} not tried")
    if options.write is not None:
        verdicts.sort(key=lambda verdict: ALL.index(verdict.mutant))
        options.write.write_text(page(verdicts, _command(options), _version()), encoding="utf-8")
    return 0 if caught == tried else 1


def _command(options: argparse.Namespace) -> str:
    by = ["--by", *options.by] if options.by else []
    return shlex.join(["python", "-m", "tests.mutants", *options.words, *by])


def _version() -> str:
    found = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    raise SystemExit(main())
