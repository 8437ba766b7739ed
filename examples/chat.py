r"""A chat in the terminal, on LangChain or LlamaIndex, that shows what becomes of its session.

    python examples/chat.py                            on an emulator: no key, no network
    python examples/chat.py --framework llama_index
    python examples/chat.py --live                     with STEWRD_API_KEY; it costs credits
                                                       (the key alone does not: it must be said)
    python examples/chat.py --store sqlite:///chat.db  goes on where it was left
    printf 'Hi\n' | python examples/chat.py            plain lines; exits with 1 on a failure

How each framework streams is in chat_parts/, beside this file. Besides the package, it needs
rich and prompt-toolkit.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from chat_parts import Talk, many
from chat_parts.chat import Chat
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console
from typing_extensions import override

from stewrd_integrations import StewrdError, open_store
from stewrd_integrations.emulator import Emulator

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]  # it has none


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A chat that shows what becomes of its session.")
    add = parser.add_argument
    add("--framework", choices=["langchain", "llama_index"], default="langchain")
    add("--name", default="chat", help="the conversation's name (%(default)s)")
    add("--store", help="where it is kept: sqlite:///chat.db, redis://...; else STEWRD_STORE")
    add("--live", action="store_true", help="talk to Stewrd, with STEWRD_API_KEY")
    add("--max-credits", type=float, default=50, help="what --live may spend (%(default)s)")
    add("--port", type=int, default=8786, help="the emulator's, with a store (%(default)s)")
    return parser.parse_args()


def serve(args: argparse.Namespace) -> Emulator:
    """An emulator. A store that outlives it finds conversations by its address and key."""
    store = args.store or os.environ.get("STEWRD_STORE") or "memory://"
    port = 0 if store.startswith("memory:") else args.port
    # The vendor's documents say that a stream ends with the credits. Where one does not, the chat
    # reckons them and says "~".
    emulator = Emulator(api_key="sk-stw_chat", port=port, chunk_delay=0.04, done="documented")
    try:
        return emulator.start()
    except OSError as taken:
        sys.exit(f"The emulator can't serve on port {port}; choose one by --port. ({taken})")


def begin(args: argparse.Namespace, place: dict[str, Any]) -> Talk:
    """The conversation, on the framework that is wanted; the other one need not be installed."""
    most = args.max_credits if args.live else None
    if args.framework == "langchain":
        from chat_parts import langchain  # noqa: PLC0415 - see above

        return langchain.begin(args.name, place, max_credits=most)
    from chat_parts import llama_index  # noqa: PLC0415 - see above

    return llama_index.begin(args.name, place, max_credits=most)


def greet(chat: Chat, args: argparse.Namespace) -> None:
    framework = "LangChain" if args.framework == "langchain" else "LlamaIndex"
    chat.show(f"Stewrd on {framework}. /help lists the commands, Ctrl-D ends the chat.\n", "bold")
    if args.live:
        where = os.environ.get("STEWRD_BASE_URL") or "Stewrd"
        chat.note(f"Talking to {where}: 1 credit a message, {args.max_credits:g} at most.")
    else:
        chat.note("Talking to an emulator in this process: no key, no network, play money.")
        if os.environ.get("STEWRD_API_KEY"):
            chat.note("STEWRD_API_KEY is set, and not used: --live talks to Stewrd.")
    exchanges = chat.talk.exchanges
    if exchanges:
        question, answer = exchanges[-1]
        chat.note(f"{chat.talk.name} goes on after {many(len(exchanges), 'exchange')}:")
        chat.show(f"You    {question}\nAgent  {answer}\n", "dim")


def typed(chat: Chat) -> Iterator[str]:
    """The lines of a person at a terminal, with the bar below."""
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    def bar() -> str:
        return "\n".join(chat.bar.lines(get_app().output.get_size().columns))

    prompt: PromptSession[str] = PromptSession(
        bottom_toolbar=bar, refresh_interval=1.0, key_bindings=keys
    )
    # At the prompt, Control-C is a key, and while an answer comes the chat asks for it. Between
    # the two it would end the chat.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with typing_kept():
        while chat.open:
            try:
                yield prompt.prompt("You    ")
            except KeyboardInterrupt:
                chat.note("/quit or Ctrl-D ends the chat.")
            except EOFError:
                return


@contextmanager
def typing_kept() -> Iterator[None]:
    """What is typed while an answer comes waits for the prompt, and is not strewn into it."""
    if termios is None:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def piped(chat: Chat) -> Iterator[str]:
    """The lines of a pipe; what the bar would say comes after each answer."""
    for line in sys.stdin:
        chat.show(f"You    {line.rstrip()}\n")
        yield line.rstrip()
        if not line.startswith("/"):
            for told in chat.bar.lines(90):
                chat.note(told)
        if not chat.open:
            return


class Notes(logging.Handler):
    """Shows the package's warnings where they happen."""

    def __init__(self, chat: Chat) -> None:
        super().__init__(logging.WARNING)
        self.chat = chat

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.chat.note(record.getMessage())


def main() -> int:
    """Chat to the end; 1 if something failed that nobody was there to read."""
    args = arguments()
    if args.live and not os.environ.get("STEWRD_API_KEY", "").strip():
        sys.exit("STEWRD_API_KEY is not set: set it, or leave --live out for an emulator.")
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # no character may end the chat
    alone = not (sys.stdin.isatty() and sys.stdout.isatty())
    with ExitStack() as stack:
        place: dict[str, Any] = {"store": stack.enter_context(closing(open_store(args.store)))}
        emulator = None if args.live else stack.enter_context(serve(args))
        if emulator is not None:
            place |= {"api_key": emulator.api_key, "base_url": emulator.url}
        talk = stack.enter_context(closing(begin(args, place)))
        chat = Chat(talk, Console(highlight=False), emulator)
        logger = logging.getLogger("stewrd_integrations")
        logger.addHandler(Notes(chat))
        logger.propagate = False
        greet(chat, args)
        for line in piped(chat) if alone else typed(chat):
            chat.take(line)
    return 1 if alone and chat.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
