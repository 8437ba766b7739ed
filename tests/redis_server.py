"""A real Redis for tests: started for them on a port of loopback, and in trouble when they say so.

Nothing here needs pytest, but for `require`.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NoReturn

MISSING = "redis-server is not installed"
PATIENCE = 20.0
"""Seconds that a server may take to start: the machine may be busy."""


@functools.cache
def program() -> str | None:
    """The server's path: ``STEWRD_TEST_REDIS``, else one of the usual names; None without one."""
    chosen = os.environ.get("STEWRD_TEST_REDIS")
    return chosen or shutil.which("redis-server") or shutil.which("valkey-server")


def available() -> bool:
    """Whether there is a Redis or a Valkey to start."""
    return program() is not None


def require() -> None:
    """Skip the test, or the module, if there is no server."""
    if not available():
        import pytest

        pytest.skip(MISSING, allow_module_level=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RedisServer:
    """A server of one's own, in a folder of its own; it keeps nothing on disk unless asked to.

    Args:
        options: More of the server's options, as on its command line: ``"--maxmemory", "4mb"``.
        unix: Listen on a Unix socket only, instead of a port of 127.0.0.1.
    """

    def __init__(self, *options: str, unix: bool = False) -> None:
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._socket = self._folder / "redis.sock" if unix else None
        self.port = 0 if unix else free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        atexit.register(self._close_at_exit)

    def __enter__(self) -> RedisServer:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self._socket}" if self._socket else f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The running server's process."""
        return self._running().pid

    def start(self) -> None:
        """Start it, on the same port and folder each time; returns when it answers."""
        if self._process is not None:
            raise RuntimeError("the server is running")
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self._fail()
            time.sleep(0.005)

    def stop(self) -> None:
        """Let it end in order (it saves if it was told to), unless it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would, unless it has ended."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop its clock: connections stay, commands arrive, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on; it then does all that it was told meanwhile."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self._close_at_exit)

    def _close_at_exit(self) -> None:
        if os.getpid() == self._owner:  # a forked child's exit is none of the server's
            self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused one could not hear of it
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self) -> list[str]:
        path = program()
        if path is None:
            raise RuntimeError(MISSING)
        unix = ["--unixsocket", str(self._socket)] if self._socket else []
        return [
            *(path, "--port", str(self.port), "--bind", "127.0.0.1", *unix),
            *("--dir", str(self._folder), "--logfile", str(self._folder / "log")),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *self._options,
        ]

    def _answers(self) -> bool:
        """Whether it answers at all; one that wants a password does, too."""
        family, address = (
            (socket.AF_UNIX, str(self._socket))
            if self._socket
            else (socket.AF_INET, ("127.0.0.1", self.port))
        )
        with socket.socket(family) as line:
            line.settimeout(1.0)
            try:
                line.connect(address)
                line.sendall(b"PING\r\n")
                answer = line.recv(64)
            except OSError:
                return False
        return bool(answer) and not answer.startswith(b"-LOADING")

    def _fail(self) -> NoReturn:
        files = [self._folder / name for name in ("out", "log")]
        told = "".join(file.read_text(errors="replace") for file in files if file.exists())[-2_000:]
        self.kill()
        raise RuntimeError(f"redis-server did not start:\n{told}")
