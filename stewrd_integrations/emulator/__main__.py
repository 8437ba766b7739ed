"""`python -m stewrd_integrations.emulator`: a local Stewrd in a shell."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence

from .records import Exchange
from .server import Emulator
from .settings import Settings

_RED, _GREEN, _PLAIN = "\033[31m", "\033[32m", "\033[0m"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Control-C, one line on stdout for each request."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
    except ValueError as wrong:
        parser.error(str(wrong))
    emulator = Emulator(settings, host=options.host, port=options.port, on_answered=_show)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        emulator.start()
    except OSError as taken:
        print(f"cannot serve on {options.host}:{options.port}: {taken}", file=sys.stderr)
        print("Choose another port by --port; 0 takes a free one.", file=sys.stderr)
        return 1
    with emulator:
        url = from_here(emulator.url)
        _say(f"A local Stewrd serves on {emulator.url}. In the shell of your program:\n")
        _say(f"  export STEWRD_BASE_URL={url}")
        _say(f"  export STEWRD_API_KEY={emulator.api_key}\n")
        _say("Control-C stops it.")
        # With a time-out, since Windows delivers no signal to an endless wait.
        while not stop.wait(timeout=0.5):
            continue
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        api_key=getattr(options, "api_key", None),
        idle_timeout=options.idle_timeout,
        max_sessions=options.max_sessions,
        history_limit=options.history_limit,
        rate_limit=options.rate_limit or None,
        latency=options.latency,
        chunk_delay=options.chunk_delay,
        plan=options.plan,
        credits=options.credits,
        session_tools=options.session_tools,
    )


def from_here(url: str) -> str:
    """The address for programs on this machine: clients speak http with no other."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _parser() -> argparse.ArgumentParser:
    usual = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m stewrd_integrations.emulator",
        description="A local emulator of the Stewrd HTTP API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to serve on")
    add("--port", type=_port, default=8787, help="port to serve on; 0 takes a free one")
    add("--api-key", default=argparse.SUPPRESS, help="key to accept, sk-stw_...; else a fresh one")
    add("--idle-timeout", type=float, default=usual.idle_timeout, help="seconds")
    add("--max-sessions", type=int, default=usual.max_sessions, help="active at once")
    add("--history-limit", type=int, default=usual.history_limit, help="messages")
    add("--rate-limit", type=int, default=60, help="requests a minute; 0 is no limit")
    add("--latency", type=float, default=0.0, help="seconds before each answer")
    add("--chunk-delay", type=float, default=0.03, help="seconds between stream events")
    add("--plan", default=usual.plan, help="'free' has no sessions")
    add("--credits", type=int, default=usual.credits, help="balance at the start")
    add("--session-tools", default=usual.session_tools, help="'accepted' lets sessions call tools")
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return int(text)


def _show(exchange: Exchange) -> None:
    _say(line(exchange, colour=sys.stdout.isatty()))


def line(exchange: Exchange, *, colour: bool = False) -> str:
    """One exchange in one line."""
    status = "---" if exchange.status is None else str(exchange.status)
    if colour:
        good = status.startswith("2")
        status = f"{_GREEN if good else _RED}{status}{_PLAIN}"
    # The time of the shell: that of the emulator may have been advanced.
    parts = [time.strftime("%H:%M:%S"), exchange.method, _short_path(exchange), status]
    parts += [exchange.code or "", exchange.note, _quoted(exchange.body)]
    return " ".join(part for part in parts if part)


def _short_path(exchange: Exchange) -> str:
    path = exchange.path.removeprefix("/v1")
    path = re.sub(r"/([^/]{4})[^/]{5,}(?=/)", r"/\1", path)
    return _printable("…" + path)


def _quoted(body: object) -> str:
    if not isinstance(body, dict):
        return ""
    outputs = body.get("tool_outputs")
    if isinstance(outputs, list):
        given = [each.get("output") for each in outputs if isinstance(each, dict)]
        return " ".join(_short(each) for each in given if isinstance(each, str))
    message = body.get("message")
    return _short(message) if isinstance(message, str) else ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return _printable(f'"{text if len(text) <= 60 else text[:59] + "…"}"')


def _printable(text: str) -> str:
    # What a client sends must not reach the terminal as a control sequence.
    return "".join(each if each.isprintable() else "�" for each in text)


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


if __name__ == "__main__":
    sys.exit(main())
