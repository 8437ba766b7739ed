"""The chat, as a person would type in it: in a real terminal of tmux, read off the screen."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stewrd_integrations.conversations import SessionInfo
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.emulator.agent import Answer, Context, File
from tests import redis_server

ROOT = Path(__file__).resolve().parents[2]
MISSING = "tmux is not installed"
PATIENCE = 60.0
"""Seconds that something may take to appear: the machine may be busy."""

FRAMEWORKS = ["langchain", "llama_index"]
CHAT = [sys.executable, "-W", "error", str(ROOT / "examples" / "chat.py")]


def environment(emulator: Emulator | None = None, **more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    there = {}
    if emulator is not None:
        there = {"STEWRD_API_KEY": emulator.api_key, "STEWRD_BASE_URL": emulator.url}
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "TMUX")}
    return {**kept, "PYTHONPATH": path, "LC_ALL": "C.UTF-8", **there, **more}


class Terminal:
    """A terminal with the chat in it, on a tmux server of its own."""

    def __init__(
        self, *arguments: str, env: dict[str, str], columns: int = 100, rows: int = 30
    ) -> None:
        self._folder = tempfile.mkdtemp(prefix="tmux-")  # a socket's path must be short
        self._env = env
        chat = f"{shlex.join([*CHAT, *arguments])}; echo exit $?; exec cat"
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux("new-session", "-d", "-c", self._folder, *size, chat)

    def close(self) -> None:
        self._tmux("kill-server")
        shutil.rmtree(self._folder)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-S", f"{self._folder}/socket", "-f", "/dev/null", *arguments]
        done = subprocess.run(command, env=self._env, capture_output=True, check=True, timeout=60)
        return done.stdout.decode()

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", "--", text)

    def say(self, text: str) -> None:
        self.type(text)
        self.press("Enter")

    def paste(self, text: str) -> None:
        """As from a clipboard: in brackets, if the program asks for it."""
        self._tmux("set-buffer", "--", text)
        self._tmux("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    @property
    def scrolled(self) -> str:
        """All that was ever shown, with lines that the terminal broke in one."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-")

    def until(self, pattern: str, *, screen: bool = True) -> re.Match[str]:
        """Wait until the screen shows it, or ever did."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            seen = self.screen if screen else self.scrolled
            found = re.search(pattern, seen, re.DOTALL | re.MULTILINE)
            if found:
                return found
            time.sleep(0.02)
        pytest.fail(f"{pattern!r} did not appear on the screen:\n{self.scrolled}")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def person() -> Iterator[Callable[..., Terminal]]:
    if shutil.which("tmux") is None:
        pytest.skip(MISSING)
    opened: list[Terminal] = []

    def sit_down(*arguments: str, emulator: Emulator | None = None, **size: int) -> Terminal:
        live = [] if emulator is None else ["--live"]
        terminal = Terminal(*live, *arguments, env=environment(emulator), **size)
        opened.append(terminal)
        terminal.until(r"no session")
        return terminal

    yield sit_down
    for terminal in opened:
        terminal.close()


def piped(
    text: str, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHAT, *arguments],
        input=text,
        env=env or environment(),
        encoding="utf-8",
        capture_output=True,
        timeout=90,
        check=False,
    )


def asked(emulator: Emulator) -> list[list[str]]:
    """What the user said in each session, as the agent read it."""
    return [
        [said.text for said in emulator.context(session).messages if said.role == "user"]
        for session in emulator.sessions
    ]


# -- at a terminal ---------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_conversation_with_a_fork_an_expiry_and_a_rewind(
    framework: str, person: Callable[..., Terminal], emulator: Emulator
) -> None:
    chat = person("--framework", framework, emulator=emulator)
    chat.say("My name is Ada.")
    chat.until(r"Nice to meet you, Ada\.\n +opened: a new conversation\nYou")
    first = chat.until(r"chat · session (\w{8}) · 2 of 50 messages · expires in 29:5\d")[1]
    chat.until(r"~1 credit spent\s+opened: a new conversation")
    chat.press("Up", "Enter")  # what was typed before comes back
    chat.until(r"4 of 50 messages.*~2 credits spent\s+continued: the session has heard exactly")

    chat.say("/fork")
    chat.until(rf"chat stays as it is, on session {first}.*Now in chat\.2, 2 exchanges")
    chat.until(r"Next: replayed, since.*chat\.2 · no session")
    chat.say("How many messages have I sent?")
    chat.until(r"You have sent me 3 messages.*replayed: .*2 of 50 messages")
    chat.say("/branches")
    chat.until(rf"1  chat: 2 exchanges, session {first}\n +2  chat\.2: 3 exchanges, .* <- here")
    chat.say("/branches 1")
    chat.until(rf"Next: continued.*chat · session {first} · 4 of 50")
    chat.say("What is my name?")
    chat.until(rf"Your name is Ada\..*session {first} · 6 of 50 messages")
    assert asked(emulator) == [
        ["My name is Ada.", "My name is Ada.", "What is my name?"],
        ["My name is Ada.", "My name is Ada.", "How many messages have I sent?"],
    ]

    emulator.expire()
    chat.say("Who am I?")
    chat.until(r"recreated: the session had expired.*· 2 of 50 messages")
    chat.say("/rewind 3")
    chat.until(r"Dropped, from “My name is Ada\.” on\.\n +Next: replayed")
    chat.say("How many messages have I sent?")
    chat.until(r"You have sent me 2 messages, this one included\.\n +replayed")
    assert asked(emulator)[2:] == [
        ["My name is Ada.", "My name is Ada.", "What is my name?", "Who am I?"],
        ["My name is Ada.", "How many messages have I sent?"],
    ]
    assert not emulator.overlaps
    chat.press("C-d")
    chat.until(r"exit 0")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_answer_that_is_stopped_and_one_that_fails_are_asked_for_again(
    framework: str, person: Callable[..., Terminal], emulator: Emulator
) -> None:
    chat = person("--framework", framework, emulator=emulator)
    chat.say("My name is Ada.")
    chat.until(r"2 of 50 messages")
    emulator.fail_next("slow", chunks=2)
    chat.say("What is my name?")
    chat.until(r"Agent  Your name$")
    chat.press("C-c", "C-c", "C-c")  # more than one does no harm
    chat.until(r"Stopped\. The session was given up.*Next: replayed, since.*You$")
    chat.until(r"no session · ~1 credit spent, 1 turn unclear")
    chat.press("C-c")
    chat.until(r"/quit or Ctrl-D ends the chat.*You$")
    chat.say("/retry")
    chat.until(r"Your name is Ada\.\n +replayed.*2 of 50 messages")
    emulator.fail_next("error", status=502, code="compute_error")
    chat.say("How many messages have I sent?")
    chat.until(r"ComputeError: .* /retry asks again\..*Next: replayed")
    chat.say("/retry")
    chat.until(r"You have sent me 3 messages")
    assert asked(emulator)[-1] == [
        "My name is Ada.",
        "What is my name?",
        "How many messages have I sent?",
    ]
    chat.say("/quit")
    chat.until(r"exit 0")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_files_go_both_ways_and_capabilities_show_that_they_work(
    framework: str, person: Callable[..., Terminal], emulator: Emulator, tmp_path: Path
) -> None:
    chat = person("--framework", framework, emulator=emulator, columns=160)
    (tmp_path / "my notes.txt").write_text("Bread\nMilk\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    chat.say("/files")
    chat.until(r"No files yet\.")
    chat.say(f"/attach {tmp_path}/picture.png")
    chat.until(r"is not text in UTF-8")
    chat.say(f"/attach '{tmp_path}/my notes.txt'")
    chat.until(r"my notes\.txt goes along with the next message")
    chat.say("What is in it?")
    chat.until(r"my notes\.txt has 2 lines; the first one is “Bread”")
    chat.say("/use chat research files")
    chat.until(r"A message costs 6 credits: chat, research, files\.")
    chat.say("Write trip.csv")
    chat.until(
        r"\[research: Working with research…\] +\[files: at work\] +I have created trip\.csv"
    )
    chat.until(r"\[files done\] +\[research done\]\s+It wrote trip\.csv: /files lists and saves")
    chat.until(r"4 of 50 messages.*~7 credits spent")
    chat.say("/files")
    chat.until(r"1  trip\.csv, \d+ characters")
    for name in ("01-trip.csv", "01-trip-2.csv"):  # nothing is ever replaced
        chat.say(f"/files 1 {tmp_path}")
        chat.until(rf"Saved {tmp_path}/{name}")
    kept = (tmp_path / "01-trip-2.csv").read_text(encoding="utf-8")
    assert kept.startswith("number,role,text\n1,user,")
    chat.say("/why And now?")
    chat.until(r"continued: .*8 characters to session \w{8}, 6 credits:\nAnd now\?")
    chat.say("/expire")
    chat.until(r"Nothing makes a session of the API expire but 30 idle minutes")
    chat.say("/new")
    chat.until(r"Now in chat\.2, 0 exchanges.*Next: opened")
    chat.say("/files")
    chat.until(r"/files\n +No files yet\.")


def test_without_a_key_the_emulator_lets_sessions_expire(person: Callable[..., Terminal]) -> None:
    chat = person()
    chat.until(r"emulator in this process: no key, no network, play money")
    chat.say("/expire")
    chat.until(r"There is no session to expire")
    chat.say("My name is Ada.")
    chat.until(r"2 of 50 messages.*1 credit spent, 999 left")
    seconds = chat.until(r"expires in (29:\d\d)")[1]
    chat.until(rf"expires in (?!{seconds})29:\d\d")  # the countdown ticks by itself
    chat.say("/expire")
    chat.until(r"The session has expired\..*2 of 50 messages · expired on the server")
    chat.say("Who am I?")
    chat.until(r"Your name is Ada\.\n +recreated: the session had expired.*expires in 29:")


def test_a_narrow_window_takes_wide_characters_and_pasted_lines(
    person: Callable[..., Terminal], emulator: Emulator
) -> None:
    chat = person(emulator=emulator, columns=60, rows=15)
    chat.say("My name is 山田 🙂.")
    chat.until(r"You    My name is 山田 🙂\.\nAgent  Nice to meet you, 山田 🙂\.")
    chat.until(r"^chat · session \w{8} · 2 of 50 messages$\n^expires in 29:5\d · ~1 credit spent$")
    chat.paste("My colour is 青.\nMy pet is a 🐈.\n/quit")
    chat.until(r"青\.\nMy pet is a 🐈\.\n/quit$")
    assert len(emulator.runs) == 1  # pasted lines wait for Enter
    chat.resize(40, 12)
    chat.until(r"^chat · session \w{8}$\n^2 of 50 messages")
    chat.resize(100, 30)
    chat.until(r"^chat · session \w{8} · 2 of 50 messages · expires in 29:5\d · ~1 credit spent$")
    emulator.fail_next("slow", chunks=2, seconds=1.0)
    chat.press("Enter")
    chat.until(r"Agent  I will$")
    chat.type("Hm.")  # ahead of the prompt: it waits for it, and is not strewn into the answer
    chat.until(r"I will remember that your colour is 青 and your pet is a 🐈\.\nYou    Hm\.$")
    chat.press("C-u")
    chat.type("What is")
    chat.press("Escape", "Enter")
    chat.say("my pet?")
    chat.until(r"6 of 50 messages")
    assert asked(emulator)[0][1:] == [
        "My colour is 青.\nMy pet is a 🐈.\n/quit",
        "What is\nmy pet?",
    ]
    assert all(len(line) <= 100 for line in chat.screen.splitlines())
    chat.say("/help")
    chat.until(r"/attach path +send a text file.*/why \[text\]")


# -- without a terminal ----------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_pipe_gets_plain_lines(framework: str) -> None:
    lines = ["My name is Ada.", "/expire", "Who am I?", "/nonsense", "/quit", "never"]
    done = piped("\n".join(lines), "--framework", framework)
    assert (done.returncode, done.stderr) == (0, "")
    seen = re.sub(r" · session \w{8} .* · expires in 29:\d\d · ", " · ... · ", done.stdout)
    seen = re.sub(r"(recreated: the session had expired).*", r"\1", seen)
    assert seen.splitlines()[1:] == [
        "       Talking to an emulator in this process: no key, no network, play money.",
        "You    My name is Ada.",
        "Agent  Nice to meet you, Ada.",
        "       chat · ... · 1 credit spent, 999 left",
        "       opened: a new conversation",
        "You    /expire",
        "       The session has expired. The model was not told; its next turn finds out.",
        "You    Who am I?",
        "Agent  Your name is Ada.",
        "       chat · ... · 2 credits spent, 998 left",
        "       recreated: the session had expired",
        "You    /nonsense",
        "       There is no /nonsense: see /help. After a space, it is a message.",
        "You    /quit",
    ]


def test_every_command_is_in_the_help_and_takes_nonsense() -> None:
    source = (ROOT / "examples" / "chat_parts" / "chat.py").read_text(encoding="utf-8")
    commands = re.findall(r"def do_(\w+)", source)
    bare = [f"/{name}" for name in commands if name not in ("quit", "help")]
    nonsense = [f"{command} 99 \x1b[31m ../x 🙂" for command in bare]
    done = piped("\n".join(["/help", *bare, *nonsense, "Hi", *bare, *nonsense, "Hi"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^/(\w+)", done.stdout, re.MULTILINE) == sorted(commands)
    assert "\x1b" not in done.stdout
    assert done.stdout.count("Agent  Hello! What can I do for you?") == 2


def test_a_full_session_is_left_and_the_bar_says_so_before(emulator: Emulator) -> None:
    lines = ["My name is Ada.", *["Hi"] * 24, "How many messages have I sent?", "/why Who am I?"]
    seen = piped("\n".join(lines), "--live", env=environment(emulator)).stdout
    assert seen.count("50 of 50 messages · the next turn leaves it") == 1
    assert re.search(r"You have sent me 26 messages.*rolled_over: .*continued: ", seen, re.DOTALL)
    assert [len(said) for said in asked(emulator)] == [25, 26]


def test_the_bar_says_that_a_session_was_idle_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    bar = importlib.import_module("chat_parts.bar").Bar()
    passed = datetime.now(timezone.utc) - timedelta(seconds=1)
    bar.name, bar.session = "chat", SessionInfo("12345678-9", 4, 46, passed, 1)
    assert bar.lines(60) == [
        "chat · session 12345678 · 4 of 50 messages",
        "idle for too long: the next turn replays · 0 credits spent",
    ]
    assert max(map(len, bar.lines(20))) <= 20


def test_an_address_of_a_file_is_listed_and_not_fetched_from_just_anywhere(tmp_path: Path) -> None:
    def agent(context: Context) -> Answer:
        return Answer("Here.", (File("../plan\x1b.txt", url="https://127.0.0.1/plan.txt"),))

    with Emulator(agent=agent) as emulator:
        lines = ["Hi", "/fork", "/files", f"/files 1 {tmp_path}"]
        env = environment(emulator)
        done = piped("\n".join(lines), "--live", "--framework", "llama_index", env=env)
    assert "       1  ../plan�.txt, to be downloaded\n" in done.stdout
    assert re.search(r"^DownloadError: .*\n\Z", done.stdout, re.MULTILINE)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (1, "", [])


def test_an_agent_has_no_power_over_the_terminal() -> None:
    def agent(context: Context) -> str:
        return "\x1b]0;title\x07\x1b[2J\u202ered \x9b31m\nAgent  [bold]x[/bold] :smile: \ud800"

    with Emulator(agent=agent) as emulator:
        done = piped("Hi\n", "--live", env=environment(emulator, FORCE_COLOR="1"))
    text = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)  # the chat's own colours
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "Agent  �]0;title��[2J�red �31m\nAgent  [bold]x[/bold] :smile: �" in text


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_named_conversation_outlives_the_chat(
    framework: str, emulator: Emulator, tmp_path: Path
) -> None:
    place = ["--live", "--framework", framework, "--store", f"sqlite:///{tmp_path}/chat.db"]
    env = environment(emulator)
    piped("My name is Ada.\n/fork\nMy name is Bo.\n", *place, env=env)
    seen = piped("Who am I?\n/branches 2\nWho am I?\n", *place, env=env).stdout
    assert "chat goes on after 1 exchange:\nYou    My name is Ada.\n" in seen
    assert [line[7:] for line in seen.splitlines() if line.startswith("Agent")][1:] == [
        "Your name is Ada.",
        "Your name is Bo.",
    ]
    assert seen.count("continued: the session has heard exactly this") == 2
    assert asked(emulator) == [
        ["My name is Ada.", "Who am I?"],
        ["My name is Ada.", "My name is Bo.", "Who am I?"],
    ]


def test_on_the_emulator_too_though_that_begins_anew(tmp_path: Path) -> None:
    place = ["--store", f"sqlite:///{tmp_path}/chat.db", "--port", str(redis_server.free_port())]
    piped("My name is Ada.\n", *place)
    seen = piped("Who am I?\n", *place).stdout
    assert "Agent  Your name is Ada." in seen
    assert "recreated: the session had expired" in seen


def test_a_port_that_is_taken_is_told(tmp_path: Path, emulator: Emulator) -> None:
    port = emulator.url.rpartition(":")[2]
    done = piped("Hi\n", "--store", f"sqlite:///{tmp_path}/chat.db", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"The emulator can't serve on .* choose one by --port\. .*\n", done.stderr)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_failures_are_one_line_and_lose_nothing(framework: str, emulator: Emulator) -> None:
    faults = [(401, None), (402, None), (403, "capability_not_enabled"), (500, None)]
    for status, code in faults:
        emulator.fail_next("error", on="send", status=status, code=code)
    emulator.fail_next("cut", on="send", chunks=3)
    lines = ["My name is Ada.", *["/retry"] * 5, "Who am I?"]
    env = environment(emulator, COLUMNS="500")
    done = piped("\n".join(lines), "--live", "--framework", framework, env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.findall(
        r"^(\w+Error): .*[.;] .* /retry asks again\.$", done.stdout, re.MULTILINE
    ) == [
        "InsufficientCreditsError",
        "PermissionDeniedError",
        "ServerError",
        "InterruptedStreamError",
    ]
    assert re.search(r"^AuthenticationError: .* at once\.$", done.stdout, re.MULTILINE)
    assert "2 turns unclear" in done.stdout  # the last two may have been charged
    assert re.search("Nice to meet you, Ada\\..*Your name is Ada\\.", done.stdout, re.DOTALL)
    assert asked(emulator)[-1] == ["My name is Ada.", "Who am I?"]


@pytest.mark.parametrize(
    ("key", "address", "told"),
    [
        ("", "", r"STEWRD_API_KEY is not set: set it, or leave --live out"),
        ("sk-stw_wrong", "", r"AuthenticationError: .* Check the API key \(.*STEWRD_API_KEY\)"),
        ("sk-stw_some", "http://127.0.0.1:9", r"NeverSentError: .* Check the network"),
    ],
)
def test_what_is_wrong_from_the_start(
    key: str, address: str, told: str, emulator: Emulator
) -> None:
    env = environment(emulator, STEWRD_API_KEY=key, STEWRD_BASE_URL=address or emulator.url)
    done = piped("Hi\n", "--live", env=env)
    assert done.returncode == 1
    assert re.search(f"^{told}", done.stdout + done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert not key or key not in done.stdout + done.stderr


def test_a_free_plan_and_a_limit_of_credits_are_told() -> None:
    lines = ["/use research", "Hi", "/use chat", "My name is Ada.", "Who am I?", "/use data code"]
    with Emulator(plan="free") as emulator:
        env = environment(emulator)
        done = piped("\n".join([*lines, "Hi"]), "--live", "--max-credits", "4", env=env)
    assert re.search(r"^PlanRestrictedError: .* Buy a credit pack", done.stdout, re.MULTILINE)
    assert "the plan does not allow sessions" in done.stdout
    assert "Agent  Your name is Ada.\n       chat · stateless · ~2 credits spent" in done.stdout
    assert re.search(r"^CreditLimitError: .* 2 of max_credits=4 are spent", done.stdout, re.M)
    assert done.stderr == ""


def test_a_warning_stands_alone_and_a_key_that_is_not_used_is_told(
    person: Callable[..., Terminal],
) -> None:
    with Emulator(plan="free") as emulator:
        chat = person(emulator=emulator)
        chat.say("My name is Ada.")
        alone = r"^You    My name is Ada\.\n {7}Stewrd: the plan .*\nAgent  Nice to meet you, Ada\."
        chat.until(alone)
        shown = piped("My name is Ada.\n", "--live", env=environment(emulator)).stdout
        assert re.search(alone, shown, re.DOTALL | re.MULTILINE)
        idle = piped("", env=environment(emulator)).stdout
    assert "STEWRD_API_KEY is set, and not used: --live talks to Stewrd." in idle
