"""The command: what it says before it spends, and the report that it leaves."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator

from .__main__ import main
from .agent import agent
from .asking import ask
from .report import Hider, as_data, as_markdown, write

VERDICTS = {"observed", "not tried", "inconclusive"}


class Desk:
    """The command's surroundings: what it reads and says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.report = folder / "reports" / "live.md"
        monkeypatch.delenv("STEWRD_API_KEY", raising=False)
        monkeypatch.delenv("STEWRD_BASE_URL", raising=False)
        # No test reaches beyond this machine.
        monkeypatch.setattr("tests.live.__main__.ADDRESS", "http://127.0.0.1:9")

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """The exit code, and what was said."""
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self._monkeypatch.setattr(sys, "stdout", out := io.StringIO())
        code = main([*arguments, "--report", str(self.report)])
        return code, out.getvalue()

    @property
    def data(self) -> Any:
        """The report for programs."""
        return json.loads(self.report.with_suffix(".json").read_text("utf-8"))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    return Desk(monkeypatch, tmp_path)


def test_the_emulator_needs_neither_key_nor_yes(desk: Desk) -> None:
    code, said = desk.run("--emulator", "--only", "refused", "requests")
    assert code == 0
    assert "refused: at most 7 credits" in said
    found = {each["name"]: each for each in desk.data["findings"]}
    assert desk.data["target"] == "emulator"
    assert found["refused.403"]["value"] == "left in the session"
    assert found["wait.expired"]["verdict"] == "not tried"
    assert "--wait" in found["wait.expired"]["why"]
    assert {each["verdict"] for each in found.values()} <= VERDICTS
    page = desk.report.read_text("utf-8")
    assert page.startswith("# What the emulator (not the live API) does")
    for name in found:
        assert f"\n## {name}\n" in page


@pytest.mark.parametrize("key", ["", " ", "sk-stw_\x07", "sk-stw_é"])
def test_without_a_key_nothing_happens(
    desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", key)
    code, said = desk.run(typed="yes\n")
    assert code == 2
    assert said.startswith("Set STEWRD_API_KEY")
    assert not desk.report.exists()


def test_the_key_goes_nowhere_in_the_clear(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", "sk-stw_" + "x")
    monkeypatch.setenv("STEWRD_BASE_URL", "http://api.example.com")
    code, said = desk.run("--yes")
    assert code == 2
    assert "the key would travel in the clear" in said


@pytest.mark.parametrize("typed", ["", "no\n", "y\n"])
def test_without_a_yes_nothing_is_sent(
    desk: Desk, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator() as server:
        monkeypatch.setenv("STEWRD_API_KEY", server.api_key)
        monkeypatch.setenv("STEWRD_BASE_URL", server.url)
        code, said = desk.run("--slots", "--wait", typed=typed)
        assert server.requests == []
    assert code == 2
    assert re.search(r"at most 51 credits and 75 requests, some 40 minutes", said)
    assert "at most 10 of the project's sessions" in said
    assert "--slots: open sessions until one is refused" in said
    assert said.endswith("Nothing was sent.\n")
    assert not desk.report.exists()


@pytest.mark.parametrize("consent", [("--yes", ""), ("--max-credits=30", "yes\n")], ids=str)
def test_with_a_yes_it_is_asked(
    desk: Desk, consent: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server in the place of the live API, whose key and ids must not be in the report."""
    monkeypatch.setattr("tests.live.targets.time.sleep", lambda seconds: None)
    with Emulator(agent=agent, project_id="proj-secret") as server:
        monkeypatch.setenv("STEWRD_API_KEY", server.api_key)
        monkeypatch.setenv("STEWRD_BASE_URL", server.url)
        code, said = desk.run(consent[0], "--only", "basics", "tools", "models", typed=consent[1])
        assert len(server.requests) == desk.data["requests"]
        assert server.settings.credits - server.credits == desk.data["credits"]
        ids = [*server.sessions, *(run.id for run in server.runs)]
    assert code == 0
    assert desk.data["target"] == "live"
    assert desk.data["address"] == server.url
    for text in (said, desk.report.read_text("utf-8"), json.dumps(desk.data)):
        for secret in (server.api_key, "sk-stw_", "proj-secret", *ids):
            assert secret not in text


def test_a_wrong_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as server:
        monkeypatch.setenv("STEWRD_API_KEY", "sk-stw_" + "other")
        monkeypatch.setenv("STEWRD_BASE_URL", server.url)
        code, said = desk.run("--yes")
        assert len(server.requests) == 1
    assert code == 2
    assert "regenerated key revokes the old one" in said
    assert "**Stopped early.** The API refuses the key" in desk.report.read_text("utf-8")


def test_an_interrupted_run_leaves_its_report(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seen: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.live.studies.plain._shape", interrupted)
    code, said = desk.run("--emulator")
    assert code == 130
    assert "15 of 65 questions answered, for 6 credits. The run was interrupted." in said
    assert desk.data["stopped"] == "The run was interrupted."


def test_options_that_are_wrong(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        desk.run("--emulator", "--only", "everything")
    assert "unknown studies: everything" in capsys.readouterr().err


def test_the_command(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.live",
        "--emulator",
        "--only",
        "basics",
        "--length=3000",
    ]
    command += ["--report", str(tmp_path / "r.md")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r.json").exists()


# -- the report ------------------------------------------------------------------------


def test_what_differs_is_told() -> None:
    outcome = ask("length", groups=("length",), max_message=2_000)
    page = as_markdown(as_data(outcome, Hider("")))
    [row] = [line for line in page.splitlines() if line.startswith("| length.message")]
    assert "**no**: set replay_budget below the limit" in row
    assert "(1 not as the library assumes)" in page


def test_nothing_that_was_not_tried_looks_like_an_answer() -> None:
    data = as_data(ask("basics"), Hider(""))
    for each in data["findings"]:
        if each["verdict"] != "observed":
            assert (each["value"], each["agrees"]) == ("", None)
            assert each["why"]


def test_what_is_hidden() -> None:
    hide = Hider("the-key")
    run = "0d6d1e0e-5f3f-4a53-8d07-0a0a7b1f2c11"
    text = hide(f'the-key sk-stw_abc "id": "{run}" "id":"call_12345" "project_id": "p-1"')
    assert text == '[key] [key] "id": "[id 1]" "id":"[id 2]" "project_id": "[project]"'
    assert hide(f"/v1/sessions/{run}/messages call_12345") == "/v1/sessions/[id 1]/messages [id 2]"
    assert hide('"credits_remaining": 4711, "url": "https://x/?s=1"') == (
        '"credits_remaining": "[balance]", "url": "[url]"'
    )
    assert hide('"id": "a" and a') == '"id": "[id]" and a'


def test_a_page_is_markdown_whatever_a_server_says(tmp_path: Path) -> None:
    outcome = ask("basics", "slots", groups=("slots",), limit_code="a|b\n# c")
    page, _ = write(outcome, tmp_path / "r.md")
    [row] = [line for line in page.read_text("utf-8").splitlines() if "| slots.limit" in line]
    assert row == "| slots.limit | 429 a\\|b # c | yes |"
