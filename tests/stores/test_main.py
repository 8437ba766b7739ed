"""`python -m stewrd_integrations.stores`: what a store holds, on a screen."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from stewrd_integrations.sessions.binding import DAY, Binding
from stewrd_integrations.sessions.digest import Covered
from stewrd_integrations.stores.__main__ import main
from stewrd_integrations.stores.sqlite import SQLiteStore

SESSION = "db73dc75-a9c5-4db5-a75d-947db12d9f0c"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "kept.db"
    store = SQLiteStore(path)
    covered = Covered("", 0, ("u1", "a1"), "u1")
    store.put(Binding("1", SESSION, covered, used=2, sent_at=time.time() - 60, keys=("k",)), DAY)
    store.put(Binding("2", None, covered, keys=("k2",)), DAY)
    store.occupy("3f2a1b", SESSION, 10, 1_800)
    store.occupy("3f2a1b", "opening-x-0-0", 10, 1_200)
    store.occupy("3f2a1b/provisional", SESSION, 2, 1_200)
    store.append("ada \x1b[31m", ["one", "two"])
    store.note("n", lambda note: {"a": 1})
    store.close()
    return path


def test_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"sqlite:///{path}"]) == 0
    shown = capsys.readouterr().out
    assert "3f2a1b: 2 of 10 used, 8 free, 1 without a known session, the next lapses" in shown
    assert re.search(rf"{SESSION}  2     2        0:01:0\d   (23:59:5\d|24:00:00)", shown)
    assert re.search(r"\(no session yet\) +0 +2 +- +2[34]:", shown)
    assert "ada ?[31m" in shown, "a name must not steer the terminal"
    assert re.search(r"ada.*  2 +never", shown)


def test_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"sqlite:///{path}", "--json", "--limit", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    [project] = told["projects"]
    assert {name: project[name] for name in ("used", "free", "ghosts", "provisional")} == {
        "used": 2,
        "free": 1,
        "ghosts": 1,
        "provisional": 1,
    }
    assert 1_190 < project["next_to_expire_in"] <= 1_200
    assert [row["session"] for row in told["bindings"]] == [SESSION, None]
    assert told["bindings"][0]["messages_used"] == 2
    assert told["conversations"] == [
        {"conversation": "ada \x1b[31m", "lines": 2, "expires_in": None}
    ]
    assert told["notes"] == 1


def test_more_sessions_than_the_limit_leave_none_free(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"sqlite:///{path}", "--limit", "1"]) == 0
    assert "2 of 1 used, 0 free" in capsys.readouterr().out


def test_another_namespace_is_empty(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"sqlite:///{path}", "--namespace", "other"]) == 0
    assert "none is taken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///{}/none.db", "There is no file"),
        ("memory://", "within each process"),
        ("memory://?x=secret", "takes no settings"),
        ("redis://localhost/0?colour=secret", "unknown setting: colour"),
        ("mysql://ada:secret@host", "unknown scheme"),
        ("redis://ada:secret@127.0.0.1:1/0", "can't be reached"),
    ],
)
def test_what_is_not_there(
    url: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([url.format(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""
    assert "secret" not in captured.err
    assert list(tmp_path.iterdir()) == []


HOSTILE = (
    "UPDATE bindings SET until = 'soon'",
    "UPDATE slots SET until = 'soon'",
    "UPDATE slots SET until = x'00'",
    "UPDATE transcripts SET until = 'never'",
    "UPDATE bindings SET body = '[]'",
    "UPDATE bindings SET body = json_set(body, '$.sent_at', 'yesterday')",
    "UPDATE bindings SET body = json_set(body, '$.used', json('{}'))",
    "UPDATE bindings SET body = json_set(body, '$.covered.base_count', 'x')",
    "UPDATE OR IGNORE slots SET pool = x'ff'",
    "UPDATE transcripts SET conversation = 5",
)


@pytest.mark.parametrize("statement", HOSTILE)
def test_what_others_have_spoilt_is_told_of(
    path: Path, statement: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(statement)
    assert main([f"sqlite:///{path}"]) == 1
    assert "can't be read" in capsys.readouterr().err


def test_any_name_can_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    with closing(SQLiteStore(path)) as store:
        store.occupy("\ud800\x1b[2J", "\udfff漢字", 10, 60)
        store.append("\ud800\n漢字", ["line"])
    for more in ([], ["--json"]):
        command = [sys.executable, "-m", "stewrd_integrations.stores", f"sqlite:///{path}", *more]
        ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=ascii_only)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"\x1b" not in done.stdout


# -- it changes nothing ------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, bytes]:
    """The bytes of all that is in a folder, except for what SQLite's readers sign in."""
    names = [each for each in folder.iterdir() if not each.name.endswith("-shm")]
    return {each.name: each.read_bytes() for each in names}


def look(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is shown of a file; looking leaves everything in its folder as it was."""
    there, before = sorted(path.parent.iterdir()), everything(path.parent)
    for more in (["--json"], []):
        assert main([f"sqlite:///{path}", *more]) == 0
    assert sorted(path.parent.iterdir()) == there
    assert everything(path.parent) == before
    return capsys.readouterr().out


def test_an_empty_file_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    assert "Bindings (0)" in look(path, capsys)
    assert path.stat().st_size == 0


def test_a_file_in_which_nothing_was_kept_yet_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "young.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA user_version=0")
        made.execute("VACUUM")
    assert path.stat().st_size > 0
    assert "Bindings (0)" in look(path, capsys)


def test_a_file_that_nobody_uses_stays_as_it_is(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = look(path, capsys)
    assert "Bindings (2)" in shown
    assert "void" not in shown.replace('"void_bindings": 0', "")


def test_a_file_in_use_stays_as_it_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(SQLiteStore(path)) as store:
        covered = Covered("", 0, ("u1", "a1"), "u1")
        store.put(Binding("3", None, covered, keys=("k3",)), DAY)
        assert path.with_name("kept.db-wal").stat().st_size > 0
        assert "Bindings (3)" in look(path, capsys)
        taken = store.take(("k3",))
        assert taken is not None and taken.id == "3"


@pytest.mark.parametrize("shm", ["with its -shm", "without"])
def test_what_a_killed_process_left_stays_as_it_is(
    path: Path, shm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import os, sys\n"
        "from stewrd_integrations.stores.sqlite import SQLiteStore\n"
        "store = SQLiteStore(sys.argv[1])\n"
        "store.append('killed', ['one', 'two', 'three'])\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert path.with_name("kept.db-wal").stat().st_size > 0
    if shm == "without":
        path.with_name("kept.db-shm").unlink()
    assert re.search(r"killed +3 +never", look(path, capsys))
    assert SQLiteStore(path).load("killed") == ["one", "two", "three"]


def test_what_a_copy_will_forget_is_told_and_not_done(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    shown = look(copy, capsys)
    assert '"void_bindings": 2' in shown
    assert "Bindings (0)" in shown
    assert "2 more are void: this is a copy" in shown
    assert re.search(r"ada.*  2 +never", shown), "all else is as it was"
    copy.replace(path)
    assert SQLiteStore(path).peek(("k", "k2")) == []


def test_a_file_that_can_only_be_read(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert "Bindings (2)" in look(path, capsys)
    finally:
        path.parent.chmod(0o700)


def test_as_a_command(path: Path) -> None:
    command = [sys.executable, "-m", "stewrd_integrations.stores", f"sqlite:///{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Bindings (2)" in done.stdout
