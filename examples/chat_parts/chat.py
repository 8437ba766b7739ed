"""The chat itself: what a line does, whoever typed it and whichever framework answers."""

from __future__ import annotations

import inspect
import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from rich.console import Console
from rich.control import Control
from rich.padding import Padding
from rich.segment import ControlType
from rich.text import Text

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import AuthenticationError
from stewrd_integrations.types import CAPABILITIES, CREDITS

from . import Facts, Piece, Question, Step, Talk, many
from .bar import Bar

T = TypeVar("T")

# What an agent, or the name of a file, could do harm with on a terminal: control sequences, texts
# that run backwards, and halves of characters.
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MOST_BRANCHES = 9  # a project has 10 sessions
LONGEST_FILE = 1_000_000  # bytes
LONGEST_SHOWN = 2_000  # characters


class Chat:
    """Says what is typed, and shows what comes of it.

    Args:
        talk: The conversation to begin with.
        console: Where to show it.
        emulator: The emulator at work, if there is one in this process.
    """

    def __init__(self, talk: Talk, console: Console, emulator: Emulator | None) -> None:
        self.talk, self.console, self.emulator = talk, console, emulator
        self.branches = _branches(talk)
        self.capabilities: tuple[str, ...] = ("chat",)  # to name them fixes the price
        self.attached: tuple[tuple[str, str], ...] = ()
        self.unanswered: Question | None = None
        self.line: Literal["", "head", "text"] = ""  # what stands on the agent's line so far
        self.bar = Bar()
        self.bar.look(talk, self.capabilities)
        self.failures = 0
        self.open = True

    # -- lines -------------------------------------------------------------------------

    def take(self, line: str) -> None:
        """Do what a line says. Whatever fails, the conversation goes on."""
        try:
            if line.startswith("/"):
                self.command(line)
            elif line.strip():
                self.say(Question(line.strip(), self.attached))
            self.bar.look(self.talk, self.capabilities)
        except KeyboardInterrupt:
            self.note("Stopped.")
        except (StewrdError, OSError) as error:
            self.show(f"{type(error).__name__}: {error}\n", "red")
            self.failures += 1

    def command(self, line: str) -> None:
        """Do what a command says."""
        name, _, rest = line[1:].strip().partition(" ")
        method = getattr(self, f"do_{name}", None)
        if method is None:
            self.note(f"There is no /{name}: see /help. After a space, it is a message.")
        else:
            method(rest.strip())

    def say(self, question: Question) -> None:
        """Ask, and show the answer as it comes."""
        self.unanswered, self.attached = question, ()
        if self.console.is_terminal:
            self.begin_line()  # while it works, one sees that it does
        try:
            with stoppable(), closing(self.talk.ask(question, self.capabilities)) as pieces:
                for piece in pieces:
                    self.show_piece(piece)
        except KeyboardInterrupt:
            self.stopped()
        except StewrdError as error:
            self.failed(error)
        finally:
            self.line = ""

    def show_piece(self, piece: Piece) -> None:
        """A piece of an answer, as it comes."""
        match piece:
            case str():
                self.answer(piece)
            case Step(capability, begins=True):
                self.answer(f"[{capability}: {piece.message or 'at work'}] ", "cyan")
            case Step(capability):
                self.answer(f" [{capability} done] ", "cyan")
            case facts:
                self.answered(facts)

    def answered(self, facts: Facts) -> None:
        """The answer is complete, and kept."""
        self.unanswered = None
        self.end_line()
        self.bar.count(facts)
        if facts["turn"] != "continued" and self.console.is_terminal:  # else it follows anyway
            self.note(f"{facts['turn']}: {facts['reason']}")
        if facts["files"]:
            names = ", ".join(file["name"] for file in facts["files"])
            self.note(f"It wrote {names}: /files lists and saves.")

    def stopped(self) -> None:
        """Control-C: the rest of the answer is not wanted."""
        self.bar.unclear += 1
        self.end_line()
        self.note(
            "Stopped. The session was given up: it has heard a question whose answer nobody took. "
            "It may be charged. /retry asks again."
        )
        self.look_ahead()

    def failed(self, error: StewrdError) -> None:
        """There is no answer: say what to do, in one line."""
        self.failures += 1
        self.bar.unclear += error.charged != "no"
        self.end_line()
        # With a key that is not accepted, to ask again is of no use.
        retry = "" if isinstance(error, AuthenticationError) else " /retry asks again."
        self.show(f"{type(error).__name__}: {error}{retry}\n", "red")
        self.look_ahead()

    def look_ahead(self) -> None:
        """Say what comes next, where the last turn is no guide to it."""
        self.bar.facts = {}
        self.bar.look(self.talk, self.capabilities)
        self.note(f"Next: {self.bar.next}.")

    # -- commands: the first line of each is its help ----------------------------------

    def do_help(self, _: str) -> None:
        """/help: this list."""
        for name, method in inspect.getmembers(self, inspect.ismethod):
            if name.startswith("do_"):
                usage, _, what = (inspect.getdoc(method) or "").partition(": ")
                self.show(f"{usage:16}  {what}\n")
        self.show(f"{'Ctrl-C':16}  stops an answer; Alt-Enter begins a new line.\n")

    def do_quit(self, _: str) -> None:
        """/quit: or Ctrl-D."""
        self.open = False

    def do_why(self, rest: str) -> None:
        """/why [text]: how the next message would travel."""
        plan = self.talk.explain(Question(rest or "...", self.attached), self.capabilities)
        where = "a new session" if plan.road == "session" else "the agent, without a session"
        if plan.session_id:
            where = f"session {plan.session_id[:8]}"
        self.note(f"{plan.turn}: {plan.reason}.")
        self.note(f"{len(plan.text)} characters to {where}, {many(plan.credits or 0, 'credit')}:")
        whole = len(plan.text) <= LONGEST_SHOWN
        shown = plan.text if whole else f"{plan.text[:LONGEST_SHOWN]} [...]"
        self.show(f"{shown}\n", "dim")

    def do_files(self, rest: str) -> None:
        """/files [n [dir]]: what the agent wrote; save one."""
        number, _, folder = rest.partition(" ")
        files = self.talk.files
        file = _choice(files, number)
        if not files:
            self.note("No files yet. Try: /use chat files, then: Write trip.csv")
        elif file is not None:
            with stoppable():  # it may be a download
                self.note(f"Saved {self.talk.save(file, _path(folder.strip() or '.'))}")
        elif number:
            self.note(f"There is no file {number}: 1 to {len(files)}.")
        else:
            for at, each in enumerate(files, 1):
                text = each["content"]
                size = "to be downloaded" if text is None else many(len(text), "character")
                self.note(f"{at}  {each['name']}, {size}")

    def do_attach(self, rest: str) -> None:
        """/attach path: send a text file with the next message."""
        path = _path(rest.strip("'\""))
        if not path.is_file() or not 0 < path.stat().st_size <= LONGEST_FILE:
            self.note(f"{path} is no file of 1 to {LONGEST_FILE:,} bytes.")
            return
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            self.note(f"{path} is not text in UTF-8, and Stewrd takes text only.")
            return
        self.attached += ((path.name, text),)
        self.note(f"{path.name} goes along with the next message.")

    def do_use(self, rest: str) -> None:
        """/use [names]: capabilities for the agent; the price."""
        names = tuple(dict.fromkeys(rest.replace(",", " ").split()))
        unknown = [name for name in names if name not in CAPABILITIES]
        if unknown:
            self.note(f"There is no {unknown[0]}: {', '.join(CAPABILITIES)}.")
            return
        self.capabilities = names or self.capabilities
        price = sum(CREDITS[name] for name in self.capabilities)
        self.note(f"A message costs {many(price, 'credit')}: {', '.join(self.capabilities)}.")

    def do_fork(self, _: str) -> None:
        """/fork: go on in a copy, and keep this as it is."""
        if self.talk.exchanges:
            self.branch(copy=True)
        else:
            self.note("There is nothing to fork yet.")

    def do_new(self, _: str) -> None:
        """/new: begin an empty conversation."""
        if self.talk.exchanges:
            self.branch(copy=False)
        else:
            self.note("This conversation is empty.")

    def do_branches(self, rest: str) -> None:
        """/branches [n]: all conversations; go to one."""
        chosen = _choice(self.branches, rest)
        if chosen is not None:
            self.switch(chosen)
        elif rest:
            self.note(f"There is no conversation {rest}: 1 to {len(self.branches)}.")
        else:
            for at, branch in enumerate(self.branches, 1):
                session = branch.session
                told = f"session {session.session_id[:8]}" if session else "no session"
                here = " <- here" if branch is self.talk else ""
                said = many(len(branch.exchanges), "exchange")
                self.note(f"{at}  {branch.name}: {said}, {told}{here}")

    def do_rewind(self, rest: str) -> None:
        """/rewind [n]: drop the last exchange, or the last n."""
        exchanges = self.talk.exchanges
        number = _number(rest or "1")
        if not 1 <= number <= len(exchanges):
            self.note(f"{many(len(exchanges), 'exchange')} so far: say how many to drop.")
            return
        self.talk.rewind(number)
        self.note(f"Dropped, from “{_short(exchanges[-number][0])}” on.")
        self.look_ahead()

    def do_retry(self, _: str) -> None:
        """/retry: ask again what was not answered."""
        if self.unanswered is None:
            self.note("Every question was answered.")
        else:
            self.show(f"You    {self.unanswered.text}\n")
            self.say(self.unanswered)

    def do_expire(self, _: str) -> None:
        """/expire: let the session die (emulator only)."""
        session = self.talk.session
        if self.emulator is None:
            self.note("Nothing makes a session of the API expire but 30 idle minutes.")
        elif session is None or session.session_id not in self.emulator.sessions:
            self.note("There is no session to expire.")
        else:
            self.emulator.expire(session.session_id)
            self.bar.expired = session.session_id
            self.note("The session has expired. The model was not told; its next turn finds out.")

    # -- branches ----------------------------------------------------------------------

    def branch(self, *, copy: bool) -> None:
        """Go on in a conversation of another name."""
        taken = {branch.name for branch in self.branches}
        free = [name for name in _names(self.branches[0].name) if name not in taken]
        if not free:
            self.note(f"{MOST_BRANCHES} conversations are the most: see /branches.")
            return
        old = self.talk
        self.branches.append(old.copied(free[0]) if copy else old.beside(free[0]))
        session = old.session
        kept = f", on session {session.session_id[:8]}" if session else ""
        self.note(f"{old.name} stays as it is{kept}: /branches goes back.")
        self.switch(self.branches[-1])

    def switch(self, talk: Talk) -> None:
        """Go on in another conversation."""
        self.talk, self.unanswered = talk, None
        self.note(f"Now in {talk.name}, {many(len(talk.exchanges), 'exchange')}.")
        self.look_ahead()

    # -- the screen --------------------------------------------------------------------

    def show(self, text: str, style: str = "") -> None:
        """Print at once, as it is: without markup, and nothing that would steer the terminal."""
        self.console.print(Text(_harmless(text), style), end="", soft_wrap=True)

    def answer(self, text: str, style: str = "") -> None:
        """More of the agent's line; a note that came in between has ended it."""
        self.begin_line()
        self.show(text, style)
        self.line = "text"

    def begin_line(self) -> None:
        """What follows is the agent's."""
        if not self.line:
            self.show("Agent  ")
            self.line = "head"

    def end_line(self) -> None:
        """What follows is not the agent's."""
        if self.line == "head":
            self.console.control(Control.move_to_column(0), Control((ControlType.ERASE_IN_LINE, 2)))
        elif self.line:
            self.show("\n")
        self.line = ""

    def note(self, text: str) -> None:
        """What the chat has to say, and not the agent."""
        self.end_line()
        if self.console.is_terminal:
            self.console.print(Padding(Text(_harmless(text), "dim"), (0, 0, 0, 7), expand=False))
        else:
            self.show(f"       {text}\n")


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Control-C end what is done here. Elsewhere, the chat may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _harmless(text: str) -> str:
    return HARMFUL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def _names(name: str) -> list[str]:
    return [name, *(f"{name}.{number}" for number in range(2, MOST_BRANCHES + 1))]


def _branches(talk: Talk) -> list[Talk]:
    """The conversation, and those of its branches that the store knows."""
    others = [talk.beside(name) for name in _names(talk.name)[1:]]
    return [talk, *(other for other in others if other.exchanges)]


def _choice(things: list[T], number: str) -> T | None:
    """The thing with that number, counted from 1; None if there is none."""
    at = _number(number)
    return things[at - 1] if 1 <= at <= len(things) else None


def _path(text: str) -> Path:
    with suppress(RuntimeError):  # there is nobody of the name after the ~
        return Path(text).expanduser()
    return Path(text)


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text) else 0


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 50 else f"{line[:49]}…"
