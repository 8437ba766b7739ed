"""Build the wheel, and try it in empty environments: one for each extra alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ROOT / "tests" / "packaging" / "smoke_checks.py"
PLUGIN = "pytest_stewrd.py"
EXTRAS = ("", "langchain", "llama-index", "redis", "encryption", "emulator")


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command quietly; what it printed is shown if it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}")


def build(folder: Path) -> Path:
    """The path of a fresh wheel in the folder."""
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """The wheel holds the package, whole, and nothing else."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT) for path in (ROOT / "stewrd_integrations").rglob("*.py")}
    missing = {path.as_posix() for path in sources}
    missing |= {"stewrd_integrations/py.typed", PLUGIN}
    missing -= packed
    strange = {
        name
        for name in packed
        if not name.startswith("stewrd_integrations-")
        and name != PLUGIN
        and not (name.startswith("stewrd_integrations/") and name.endswith((".py", "py.typed")))
    }
    if missing or strange:
        sys.exit(f"The wheel lacks {sorted(missing)} and should not hold {sorted(strange)}.")
    if not any(name.endswith("/licenses/LICENSE") for name in packed):
        sys.exit("The wheel lacks the licence.")


def try_out(wheel: Path, extra: str, folder: Path) -> str:
    """Install the wheel with one extra alone, and run its checks outside the checkout."""
    home = folder / (extra or "none")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    wanted = f"stewrd-integrations[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, "--constraint", ROOT / "constraints.txt", wanted)
    run(python, "-I", CHECKS, extra, cwd=home)
    return extra or "no extra"


def main() -> None:
    """Build, look inside, and try every extra."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        check_contents(wheel)
        with ThreadPoolExecutor(2) as pool:
            for tried in pool.map(lambda extra: try_out(wheel, extra, folder), EXTRAS):
                print(f"The wheel works with {tried}.")


if __name__ == "__main__":
    main()
