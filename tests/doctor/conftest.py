from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from stewrd_integrations.doctor.__main__ import main
from stewrd_integrations.emulator import Emulator
from tests.api.wire import RawServer

KEY = "sk-stw_" + "0123456789abcdefSECRET"  # no key: nothing here may look like one
OURS = ("STEWRD_API_KEY", "STEWRD_BASE_URL", "STEWRD_STORE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in (*OURS, *PROXIES, *(name.upper() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Report:
    """What the command said, and how it ended."""

    code: int
    text: str
    told: dict[str, Any]

    def grade(self, name: str) -> str | None:
        """How something was found."""
        return next((one["grade"] for one in self.told["findings"] if one["name"] == name), None)

    def __getitem__(self, name: str) -> str:
        """What was found, and the advice."""
        found = [one for one in self.told["findings"] if one["name"] == name]
        return " -> ".join((found[0]["found"], found[0]["advice"]))

    @property
    def problems(self) -> list[str]:
        return [one["name"] for one in self.told["findings"] if one["grade"] == "problem"]


Run: TypeAlias = Callable[..., Report]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with a key and an address in the environment."""

    def run(*arguments: str, key: str | None = KEY, url: str | None = None) -> Report:
        for name, value in (("STEWRD_API_KEY", key), ("STEWRD_BASE_URL", url)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        code = main([*arguments, "--json"])
        text = capsys.readouterr().out
        assert KEY not in text and (not key or len(key) < 9 or key.strip() not in text)
        report = Report(code, text, json.loads(text))
        assert (report.code, report.told["ok"]) == (int(bool(report.problems)), not report.problems)
        assert all(one["advice"] for one in report.told["findings"] if one["grade"] == "problem")
        return report

    return run


@pytest.fixture
def stewrd() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()
