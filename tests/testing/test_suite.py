"""The suite has teeth: each broken store fails the rule that it breaks, and a sound one none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stewrd_integrations.testing import StoreSuite
from tests.testing.broken_stores import BROKEN, SOUND

SUITES = "from tests.testing.broken_stores import suites\nglobals().update(suites({stores}))\n"


class Verdicts:
    """A plugin: runs what matters for each store, and hears how it went."""

    def __init__(self) -> None:
        self.passed: set[tuple[str, str]] = set()
        self.failed: set[tuple[str, str]] = set()

    def pytest_pycollect_makeitem(self, collector: pytest.Collector, name: str) -> object:
        matters = not name.startswith("test_") or self._matters(*_place(collector.nodeid, name))
        return None if matters else []  # None leaves it to pytest

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(_place(*report.nodeid.rsplit("::", 1)))
        elif report.passed and report.when == "call":
            self.passed.add(_place(*report.nodeid.rsplit("::", 1)))

    def _matters(self, store: str, rule: str) -> bool:
        return store in SOUND or rule in BROKEN[store][1]


def _place(suite: str, test: str) -> tuple[str, str]:
    return suite.rpartition("::")[2].removeprefix("Test"), test.partition("[")[0]


def verdicts(folder: Path, *stores: str) -> Verdicts:
    """One run of pytest inside this one, without any plugin that is not its own."""
    file = folder / f"test_{folder.name}.py"  # two modules of one name would be one
    file.write_text(SUITES.format(stores=stores), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    plain = "terminal cacheprovider faulthandler logging threadexception unraisableexception"
    without = [word for plugin in plain.split() for word in ("-p", f"no:{plugin}")]
    heard = Verdicts()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        environment.delenv("PYTEST_ADDOPTS", raising=False)
        environment.delenv("PYTEST_PLUGINS", raising=False)
        options = ["-s", f"--rootdir={folder}", *without]
        pytest.main([str(folder), *options], plugins=[heard])
    return heard


# One test for all of them, since several workers would each run all of them.
def test_each_broken_store_fails_the_rules_that_it_breaks(tmp_path: Path) -> None:
    heard = verdicts(tmp_path, *BROKEN)
    broken = {(name, rule) for name, (_, rules) in BROKEN.items() for rule in rules}
    assert len(BROKEN) > 60
    assert broken - heard.failed == set()


def test_a_sound_store_fails_no_rule(tmp_path: Path) -> None:
    heard = verdicts(tmp_path, *SOUND)
    assert heard.failed == set()
    assert len(heard.passed) > 90


def test_each_rule_is_explained() -> None:
    tests = {name: getattr(StoreSuite, name) for name in dir(StoreSuite) if name[:5] == "test_"}
    assert len(tests) > 90
    assert [name for name, test in tests.items() if not test.__doc__] == []


def test_without_a_store_the_suite_says_what_it_needs(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "class TestMine(StoreSuite):\n    pass\n", "-k", "it_is_a_store")
    assert done.returncode == 1
    assert 'needs a fixture "store"' in done.stdout


def test_the_suite_needs_pytest_alone(tmp_path: Path) -> None:
    mine = (
        "class TestMine(StoreSuite):\n"
        "    @pytest.fixture\n"
        "    def store(self):\n"
        "        return MemoryStore()\n"
    )
    done = run_pytest(tmp_path, mine, "-k", "TakingRules or colours or tasks or limit")
    assert done.returncode == 0, done.stdout


def run_pytest(folder: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest with none of its plugins installed, on a file beyond the project's tests."""
    imports = (
        "import pytest\n"
        "from stewrd_integrations.stores import MemoryStore\n"
        "from stewrd_integrations.testing import StoreSuite\n"
    )
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    (folder / "test_mine.py").write_text(imports + test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_without_pytest_the_room_says_what_to_install() -> None:
    code = "import sys\nsys.modules['pytest'] = None\nimport stewrd_integrations.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last == "ImportError: stewrd_integrations.testing needs pytest: pip install pytest"
