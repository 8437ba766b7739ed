"""The rule of tests/conftest.py: in CI a skip fails, unless it is allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"

STANDARD = """
import pytest
def skip(reason):
    pytest.skip(reason)
"""


def run(folder: Path, test: str, *, ci: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]", encoding="utf-8")
    (folder / "langchain_tests").mkdir()
    (folder / "langchain_tests" / "__init__.py").write_text(STANDARD, encoding="utf-8")
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=folder,
        env=os.environ | {"CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


SKIPPED = "import pytest\ndef test_it():\n    pytest.skip('no time')\n"
MARKED = "import pytest\n@pytest.mark.skip(reason='no time')\ndef test_it(): pass\n"
WHOLE_FILE = "import pytest\npytest.skip('no time', allow_module_level=True)\n"
EXPECTED = "import pytest\n@pytest.mark.xfail(reason='so')\ndef test_it(): assert False\n"
SUITE = "import langchain_tests\ndef test_it():\n    langchain_tests.skip('{reason}')\n"


def test_a_skip_fails_in_ci(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPPED, ci="true")
    assert code == 1
    assert "no time" in output


def test_a_marked_skip_fails_in_ci(tmp_path: Path) -> None:
    assert run(tmp_path, MARKED, ci="true")[0] == 1


def test_a_skipped_file_fails_in_ci(tmp_path: Path) -> None:
    code, output = run(tmp_path, WHOLE_FILE, ci="true")
    assert code == 2
    assert "no time" in output


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPPED, ci="")
    assert code == 0
    assert "1 skipped" in output


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert run(tmp_path, EXPECTED, ci="true")[0] == 0


def test_a_standard_suite_may_skip_what_stewrd_does_not_have(tmp_path: Path) -> None:
    test = SUITE.format(reason="Model does not support audio inputs.")
    assert run(tmp_path, test, ci="true")[0] == 0


def test_a_standard_suite_may_not_skip_the_rest(tmp_path: Path) -> None:
    test = SUITE.format(reason="A reason that nobody allowed.")
    assert run(tmp_path, test, ci="true")[0] == 1


def test_no_test_at_all_is_a_failure(tmp_path: Path) -> None:
    assert run(tmp_path, "", ci="true")[0] == 5
