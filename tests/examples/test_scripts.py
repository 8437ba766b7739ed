from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from stewrd_integrations.emulator import Emulator
from tests import redis_server

from .pages import ROOT


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / script)],
        env={**kept, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **environment},
        encoding="utf-8",
        capture_output=True,
        timeout=90,  # the machine may be busy
        check=False,
    )


def output(script: str, **environment: str) -> str:
    done = run(script, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def there(emulator: Emulator) -> dict[str, str]:
    return {"STEWRD_API_KEY": emulator.api_key, "STEWRD_BASE_URL": emulator.url}


def answers(text: str) -> list[str]:
    return [line[7:] for line in text.splitlines() if line.startswith("Agent  ")]


def table(text: str) -> list[tuple[str, str, int]]:
    """Turn, short session id and messages used of each row."""
    row = re.compile(r"^ *\d+  (\w+) .* ([0-9a-f]{8}) +(\d+) +~1 *$", re.MULTILINE)
    return [(turn, session, int(used)) for turn, session, used in row.findall(text)]


TURNS = [
    ("opened", 2),
    ("continued", 4),
    ("recreated", 2),
    ("continued", 4),
    ("replayed", 2),
    ("continued", 4),
    ("continued", 6),
    ("rolled_over", 2),
]

ANSWERS = [
    "Nice to meet you, Ada.",
    "Your name is Ada.",
    "You have asked me 2 questions, this one included.",
    "Your name is Ada.",
    "Your name is Grace.",
    "You have sent me 6 messages, this one included.",
    "Your name is Grace.",
    "Your name is Grace.",
]


def check_quickstart(text: str) -> None:
    assert answers(text) == ANSWERS
    assert [(turn, used) for turn, _, used in table(text)] == TURNS
    sessions = [session for _, session, _ in table(text)]
    assert [sessions.index(session) for session in sessions] == [0, 0, 2, 2, 4, 4, 4, 7]
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert "4 sessions were opened; " in text
    sent, full = (
        int(number.replace(",", "")) for number in re.findall(r"[\d,]{4,}(?= char|\.$)", text)
    )
    assert 0 < sent < full


def test_the_quickstart_without_a_key() -> None:
    text = output("quickstart.py")
    assert text.startswith("STEWRD_API_KEY is not set: talking to the emulator.\n")
    assert "the session had expired" in text
    check_quickstart(text)


def test_the_quickstart_with_a_key_sends_what_it_counts(emulator: Emulator) -> None:
    text = output("quickstart.py", **there(emulator))
    assert text.startswith(f"STEWRD_API_KEY is set: talking to {emulator.url}.\n")
    assert "idle_timeout=0" in text
    assert "the session was idle for too long" in text
    check_quickstart(text)
    sent = [r.body["message"] for r in emulator.requests if isinstance(r.body, dict) and r.body]
    assert f"{sum(map(len, sent)):,} characters were sent" in text
    assert len(emulator.sessions) == len(TURNS) // 2
    assert emulator.credits == emulator.settings.credits - len(TURNS)
    assert not emulator.refused
    assert not emulator.over_limit


def test_the_quickstart_in_80_columns() -> None:
    text = output("quickstart.py", COLUMNS="80")
    assert max(map(len, text.splitlines())) <= 80
    assert answers(text) == ANSWERS


def test_the_quickstart_without_sessions_remembers_all_the_same() -> None:
    with Emulator(plan="free") as emulator:
        done = run("quickstart.py", **there(emulator))
    assert done.returncode == 0
    assert answers(done.stdout) == ANSWERS
    assert "0 sessions were opened, so each turn was sent whole: " in done.stdout
    assert "the plan does not allow sessions; until one can be had, turns are sent" in done.stderr
    assert "A credit pack allows them" in done.stderr


def test_the_llama_index_quickstart_without_a_key() -> None:
    assert output("llama_index_quickstart.py").splitlines() == [
        "STEWRD_API_KEY is not set: talking to the emulator.",
        "1 message, opened: sends 'My name is Ada.'",
        "Nice to meet you, Ada.",
        "3 messages, continued: sends 'What is my name?'",
        "Your name is Ada.",
    ]


def test_the_llama_index_quickstart_with_a_key(emulator: Emulator) -> None:
    assert output("llama_index_quickstart.py", **there(emulator)).endswith("Your name is Ada.\n")
    assert len(emulator.sessions) == 1


@pytest.mark.parametrize("script", ["quickstart.py", "llama_index_quickstart.py"])
@pytest.mark.parametrize("key", ["sk-stw_wrong", "with space"])
def test_a_wrong_key_is_told_without_a_traceback(script: str, key: str, emulator: Emulator) -> None:
    done = run(script, STEWRD_API_KEY=key, STEWRD_BASE_URL=emulator.url)
    assert done.returncode == 1
    assert "STEWRD_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert key not in done.stdout + done.stderr


def test_four_workers_serve_one_conversation_over_redis() -> None:
    redis_server.require()
    text = output("redis_workers.py")
    rows = re.findall(r"^(\d) .*?(opened|continued|stateless|replayed) +(\S+)$", text, re.MULTILINE)
    assert [worker for worker, _, _ in rows] == ["1", "2", "3", "4", "1", "2", "3", "4"]
    turns = [turn for _, turn, _ in rows]
    assert turns == ["opened", *["continued"] * 3, "stateless", "replayed", *["continued"] * 2]
    assert len({session for _, _, session in rows[:4]}) == 1
    assert text.count("Your name is Ada.") == 5
    assert "2 sessions were opened by 4 workers." in text
    assert "2 of 10 used, 8 free, 0 without a known session" in text
    assert "Bindings (1)" in text


# What each of the others shows without a key: patterns, in this order.
SHOWN = {
    "agent_tools.py": [
        r"Agent  Nice to meet you, Ada\.",
        r"Tool   get_weather: Rome: 21 degrees and dry",
        r"continued: the run goes on with what its tools gave back; credits: 0",
        r"Agent  The tool add_numbers answered: 42",
        r"Sessions opened: 1\. Credits charged: 4\.",
    ],
    "capability_tools.py": [
        r"stewrd_research: .*",
        r"at work: stewrd_research, tool_end",
        r"continued, 5 credits",
        r"saved 01-lisbon\.md",
    ],
    "langgraph_memory.py": [
        r"Human\? Send a mail to Bo\?",
        r"the run goes on",
        r"Agent  Your name is Ada\.",
        r"You have sent me 2 messages",
    ],
    "llama_index_agent.py": [
        r"Calls  get_weather \{'city': 'Rome'\}",
        r"\(continued, then continued: the run goes on with what its tools gave back; credits: 1\)",
        r"Agent  The tool add_numbers answered: 42",
        r"Agent  Your name is Ada\.",
        r"Kept: 13 messages, and a session of 13 messages\.",
    ],
    "llama_index_chat.py": [
        r"bo: session 1 holds 2 messages",
        r"ada: session 1 holds 4 messages, has room for 46",
        r"You have sent me 3 messages.*ada: session 2 holds 2 messages",
        r"You have not told me your name\.",
    ],
    "llama_index_rag.py": [
        r"Agent  The refund period is 30 days from delivery\.",
        r"Agent  The delivery time is two working days inside the country\.",
        r"Agent  Your name is Ada\.",
        r"on 1 session\.",
    ],
    "message_history.py": [
        r"session 1 holds 4 messages, has room for 46",
        r"recreated; session 2 holds 2 messages",
        r"You have not told me your name\.",
        r"Kept of ada: 2 messages, of bo: 2",
    ],
    "streaming_events.py": [r"\[tool_start research\]", r"add_numbers gave back 42", r"says '"],
    "structured_output.py": [
        r"by a tool +Trip\(city='Oslo', nights=3\)",
        r"in words +Trip\(city='Oslo', nights=3\)",
        r"of a list +Trip\(city='Rome', nights=5\)",
        r"\(continued\)",
    ],
}


@pytest.mark.parametrize("script", SHOWN)
def test_an_example_without_a_key(script: str) -> None:
    text = output(script)
    assert text.startswith("STEWRD_API_KEY is not set: talking to the emulator.\n")
    assert re.search(".*".join(SHOWN[script]), text, re.DOTALL), text


def test_every_example_is_run() -> None:
    there = {path.name for path in (ROOT / "examples").glob("*.py")}
    elsewhere = {"quickstart.py", "llama_index_quickstart.py", "redis_workers.py", "chat.py"}
    assert there == {*SHOWN, *elsewhere}
