"""The recorded conversations: played by the models, and recorded anew without a difference."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from stewrd_integrations.emulator import Emulator

from . import record
from .scenes import COLOURS, SCENES, Colour, Told
from .scenes import play as perform
from .tape import (
    ADDRESS,
    FOLDER,
    HEADERS,
    KEY,
    SOURCES,
    Interaction,
    header,
    interactions,
    name_of,
    paths,
    play,
)

RECORDED = paths("emulator", "live")
AS_RECORDED = [
    Told("opened", "Nice to meet you, Ada."),
    Told("continued", "Your name is Ada."),
    Told("continued", "I will remember that your favourite colour is green."),
    Told("continued", ""),
    Told("continued", "The tool get_weather answered: It is sunny in Oslo."),
    Told("recreated", "Your favourite colour is green."),
]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("path", RECORDED, ids=name_of)
async def test_every_conversation_is_played(path: Path, colour: Colour) -> None:
    dies = any(each.status == 410 for each in interactions(path))
    with play(path):
        scene = SCENES[path.stem](ADDRESS, KEY, colour)
        told = await perform(scene, (lambda: None) if dies else None)
    if path.parent.name == "emulator":
        assert told == AS_RECORDED
    else:
        assert [each.text for each in told] == [text for text in texts(path) if text is not None]


def texts(path: Path) -> list[str | None]:
    """The answers of a recording; None for what was no answer."""
    told = [each for each in interactions(path) if each.request]
    return [_text(each) if each.status == 200 else None for each in told]


def _text(told: Interaction) -> str:
    if told.media_type == "text/event-stream":
        tokens = [data for name, data in told.events if name == "token"]
        return "".join(data.get("text") or data.get("content") or "" for data in tokens)
    return str(told.answered.get("message") or "")


def test_both_frameworks_are_there() -> None:
    assert {path.stem for path in paths("emulator")} == set(SCENES)
    for path in paths("emulator"):
        statuses = [each.status for each in interactions(path)]
        assert statuses.count(201) == 2
        assert statuses.count(410) == 1
        types = [each.media_type for each in interactions(path)]
        assert types.count("text/event-stream") == 1
        assert any(each.path.endswith("/tool-outputs") for each in interactions(path))


def test_recorded_anew_they_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, what is sent or answered has changed: `make cassettes`, and look at why."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    for _ in range(2):
        assert record.main(["--folder", str(tmp_path)]) == 0
    for path in paths("emulator"):
        again = (tmp_path / "emulator" / path.name).read_text("utf-8")
        assert without_day(again) == without_day(path.read_text("utf-8"))


def without_day(text: str) -> str:
    assert len(re.findall(r"^recorded: '20\d\d-\d\d-\d\d'$", text, re.M)) == 1
    return re.sub(r"(?m)^recorded: .*$", "", text)


def test_the_day_changes_only_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    path = tmp_path / "emulator" / "langchain.yaml"
    for day in ("2026-01-01", "2026-01-02"):
        record.record_emulator("langchain", tmp_path, day)
        assert header(path)["recorded"] == "2026-01-01"
    path.write_text(path.read_text("utf-8").replace("Nice to meet you", "Hello"), "utf-8")
    record.record_emulator("langchain", tmp_path, "2026-01-02")
    assert header(path)["recorded"] == "2026-01-02"
    assert "Nice to meet you" in path.read_text("utf-8")


# -- from the live API -----------------------------------------------------------------


def test_a_recording_of_a_server_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be recorded from the live API, from a server in its place."""
    monkeypatch.setattr(sys, "stdout", said := io.StringIO())
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    settings: dict[str, Any] = {"session_tools": "accepted", "project_id": "proj-secret"}
    with Emulator(**settings, credits=987_654) as server:
        monkeypatch.setenv("STEWRD_API_KEY", server.api_key)
        monkeypatch.setenv("STEWRD_BASE_URL", server.url)
        assert record.main(["--live", "--folder", str(tmp_path)]) == 0
        ids = [*server.sessions, *(run.id for run in server.runs)]
    assert "at most 12 credits" in said.getvalue()
    for name in SCENES:
        text = (tmp_path / "live" / f"{name}.yaml").read_text("utf-8")
        assert header(tmp_path / "live" / f"{name}.yaml")["source"] == "live"
        for secret in (server.api_key, "proj-secret", "9876", *ids):
            assert secret not in text
        assert "Your name is Ada." in text


@pytest.mark.parametrize(("key", "said"), [("", "STEWRD_API_KEY"), (KEY, "Nothing was sent")])
def test_nothing_is_sent_without_key_and_consent(
    key: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    monkeypatch.setattr(sys, "stdin", io.StringIO("no\n"))
    monkeypatch.setenv("STEWRD_API_KEY", key)
    monkeypatch.setenv("STEWRD_BASE_URL", "http://127.0.0.1:9")
    assert record.main(["--live", "--folder", str(tmp_path)]) == 1
    assert said in out.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_leaves_no_cassette(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", said := io.StringIO())
    with Emulator() as server:
        monkeypatch.setenv("STEWRD_API_KEY", KEY)
        monkeypatch.setenv("STEWRD_BASE_URL", server.url)
        assert record.main(["--live", "--yes", "--folder", str(tmp_path)]) == 1
    assert "Check the API key" in said.getvalue()
    assert KEY not in said.getvalue()
    assert list(tmp_path.iterdir()) == []


# -- what every cassette must be -------------------------------------------------------


@pytest.mark.parametrize("path", paths(), ids=name_of)
def test_a_cassette_says_where_it_comes_from(path: Path) -> None:
    told = header(path)
    assert told["source"] in SOURCES
    assert told["source"] == path.parent.name.replace("_", " ")
    assert ("recorded" in told) == (told["source"] != "vendor page")
    assert told["note"].startswith("Written by hand" if "recorded" not in told else "Recorded")
    assert set(told) <= {"source", "recorded", "note"}


@pytest.mark.parametrize("path", paths(), ids=name_of)
def test_a_cassette_holds_no_secret(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "sk-stw_" not in text
    assert "authorization" not in text.lower()
    assert "bearer" not in text.lower()
    for named in re.findall(r"(?m)^ +([a-z-]+):(?: \[|\n +- )", text):
        assert named in HEADERS


def test_every_cassette_is_played() -> None:
    played = {*paths("vendor_page"), *RECORDED}
    assert {*FOLDER.rglob("*.*")} == played
