"""Seeded bugs: small plausible mistakes, each of which the tests must catch.

``make mutants`` puts one mistake at a time into a copy of the package and runs the tests of
the heart, the store and the drivers on it. A mistake that survives is a hole in the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.seeded import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
MACHINE = "tests/sessions/test_machine.py"
QUICK = [
    "tests/sessions",
    "tests/stores/test_memory.py",
    "tests/stores/test_contract.py::TestMemoryStore",
    "tests/test_drivers.py",
    "tests/test_conversations.py",
    f"--ignore={MACHINE}",
]
ALONE = "--machine"
LONGEST = 180


def caught_by(mutant: Mutant, machine_only: bool) -> str | None:
    """The test that fails on the mutant, or None if it survives."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "pyproject.toml", folder)
        for part in ("stewrd_integrations", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=ignored)
        file = Path(folder) / "stewrd_integrations" / mutant.file
        file.write_text(file.read_text().replace(mutant.old, mutant.new))
        quick = None if machine_only else _first_failure(folder, QUICK)
        return quick or _first_failure(folder, [MACHINE])


def _first_failure(folder: str, tests: list[str]) -> str | None:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": folder, "STEWRD_MACHINE_EXAMPLES": "100"}
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return f"(still running after {LONGEST} s)"
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"the tests did not run:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    return failed[1].partition("::")[2] or failed[1]


def main() -> int:
    """Run every mutant whose name holds one of the words given; 1 if any survives."""
    words = [word for word in sys.argv[1:] if word != ALONE] or [""]
    chosen = [mutant for mutant in MUTANTS if any(word in mutant.name for word in words)]
    machine_only = ALONE in sys.argv
    for mutant in chosen:
        if mutant.old not in (ROOT / "stewrd_integrations" / mutant.file).read_text():
            raise SystemExit(f"{mutant.name}: its text is not in {mutant.file} any more")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda mutant: caught_by(mutant, machine_only), chosen)
        survivors = 0
        for mutant, test in zip(chosen, results, strict=True):
            survivors += test is None
            print(
                f"{'SURVIVED' if test is None else 'caught':9} {mutant.name:55} {test or ''}",
                flush=True,
            )
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
