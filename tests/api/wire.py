"""A server of raw bytes: it answers what a test scripts, and records what it was sent."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

RESET: Literal["reset"] = "reset"
CUT: Literal["cut"] = "cut"
HANG: Literal["hang"] = "hang"

Action = bytes | float | Literal["reset", "cut", "hang"]


@dataclass(frozen=True)
class Recorded:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RawServer:
    """Answers the n-th request with the n-th script: bytes to send, seconds to wait, or an end.

    ``CUT`` closes the connection, ``RESET`` resets it, ``HANG`` waits for the client to leave.
    The last script serves all further requests.
    """

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.connections = 0
        self.left = threading.Event()
        self._scripts: deque[Sequence[Action]] = deque()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def script(self, *scripts: Sequence[Action]) -> None:
        self._scripts.extend(scripts)

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                while self._answer(connection, reader):
                    continue
        except OSError:
            self.left.set()

    def _answer(self, connection: socket.socket, reader: Any) -> bool:
        request = _read(reader)
        if request is None:
            return False
        self.requests.append(request)
        script = self._scripts.popleft() if len(self._scripts) > 1 else self._scripts[0]
        return all(self._act(connection, action) for action in script)

    def _act(self, connection: socket.socket, action: Action) -> bool:
        if isinstance(action, bytes):
            connection.sendall(action)
        elif isinstance(action, float):
            time.sleep(action)
        elif action == HANG:
            connection.settimeout(5)
            if connection.recv(1) == b"":
                self.left.set()
            return False
        else:
            if action == RESET:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                connection.shutdown(socket.SHUT_WR)
            return False
        return True


def _read(reader: Any) -> Recorded | None:
    first = reader.readline().decode()
    if not first:
        return None
    method, path, _ = first.split(" ", 2)
    headers = {}
    while line := reader.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Recorded(method, path, headers, reader.read(int(headers.get("content-length", 0))))


def answer(status: int, body: object = b"", **headers: str) -> list[bytes]:
    """A whole answer; ``body`` is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if not isinstance(body, bytes):
        headers.setdefault("content_type", "application/json")
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ["\r\n".join([*lines, "", ""]).encode() + content]


def sse(*pieces: Action, content_type: str = "text/event-stream") -> list[Action]:
    """An event stream that ends where the connection does."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n"
    return [head.encode(), *pieces, CUT]


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


REPLY = {
    "id": "req-1",
    "object": "agent.response",
    "status": "completed",
    "message": "Hello.",
    "capabilities_used": ["chat"],
    "files": [{"name": "a.csv", "url": "https://files.example/a.csv"}],
    "usage": {"credits_this_request": 1, "credits_remaining": 99, "tokens_used": 12},
    "meta": {"duration_ms": 7, "project_id": "p", "plan": "pack"},
}
DONE = {"request_id": "req-1", "message": "Hello.", "files": [], "tokens_used": 12}
STREAM = [
    event("token", {"text": "Hel"}),
    event("tool_start", {"tool": "research", "message": "Searching…"}),
    event("tool_end", {"tool": "research"}),
    event("token", {"content": "lo."}),
    event("done", DONE),
]
