"""A server of canned answers for `overhead.py`, as fast as asyncio allows, in its own process.

It speaks Stewrd's routes and OpenAI's chat completions, and looks at as little as it can: what
is measured is the client. The first part of the path says how many tokens an answer has:
``/22/v1/agent``, ``/1000/v1/chat/completions``. A stream is one write, every event in an HTTP
chunk of its own. ``GET /heard`` tells what was received since it was asked last.

    python benchmarks/overhead_server.py        prints its port, and serves until its input ends
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

PATH = re.compile(rb"POST /(\d+)/v1/(agent|sessions|chat/completions)(?:/([^/ ]+)/messages)? ")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
STREAM = re.compile(rb'"stream": ?true')
USAGE = {"credits_this_request": 1, "credits_remaining": 999, "tokens_used": 30}
NUMBERS = itertools.count()


def words(count: int) -> list[str]:
    """The tokens of an answer; the first has no blank before it."""
    return ["word"] + [f" word{number % 10}" for number in range(1, count)]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _head(status: str, media: str, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{size}\r\n\r\n".encode()


def _whole(body: bytes, status: str = "200 OK") -> bytes:
    return _head(status, "application/json", len(body)) + body


def _streamed(events: list[bytes]) -> bytes:
    chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
    return _head("200 OK", "text/event-stream", None) + b"".join(chunks) + b"0\r\n\r\n"


@cache
def stewrd_answer(count: int, on_session: bool, stream: bool) -> bytes:
    """An answer of Stewrd's; ``@@@`` stands where ids of 36 characters go."""
    tokens, request = words(count), "@" * 36
    if stream:
        events = [b"event: token\ndata: %s\n\n" % _json({"text": token}) for token in tokens]
        message = {"message": "".join(tokens), "files": [], "usage": USAGE}
        done = {"request_id": request, **message, "duration_ms": 1}
        return _streamed([*events, b"event: done\ndata: %s\n\n" % _json(done)])
    answer = {
        "id": request,
        "object": "session.message" if on_session else "agent.response",
        "status": "completed",
        "message": "".join(tokens),
        "capabilities_used": ["chat"],
        "files": [],
        "usage": USAGE,
        "meta": {"duration_ms": 1, "project_id": "project", "plan": "scale"},
    }
    return _whole(_json(answer))


@cache
def openai_answer(count: int, stream: bool) -> bytes:
    """The same in OpenAI's form."""
    common = {"id": "chatcmpl-" + "0" * 29, "created": 1700000000, "model": "gpt-4o-mini"}
    usage = {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": count + 8}
    if not stream:
        message = {"role": "assistant", "content": "".join(words(count)), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        answer = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
        return _whole(_json(answer))
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": token} for token in words(count)] + [{}]
    events = []
    for number, delta in enumerate(deltas, 1):
        end = "stop" if number == len(deltas) else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}
        chunk = {**common, "object": "chat.completion.chunk", "choices": [choice]}
        events.append(b"data: %s\n\n" % _json(chunk))
    return _streamed([*events, b"data: [DONE]\n\n"])


def fresh_id() -> str:
    """A new id, in the form of a UUID."""
    return f"00000000-0000-4000-8000-{next(NUMBERS):012x}"


class Heard:
    """What was received since somebody asked: requests, and bytes with heads and bodies."""

    def __init__(self) -> None:
        self.requests = self.bytes = self.bodies = 0

    def told(self) -> bytes:
        """The counts, which begin anew."""
        told = {"requests": self.requests, "bytes": self.bytes, "bodies": self.bodies}
        self.__init__()  # type: ignore[misc]  # to the state of the beginning
        return _whole(_json(told))


class Connection(asyncio.Protocol):
    """One connection: every complete request is answered at once."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._data += data
        while (head_ends := self._data.find(b"\r\n\r\n") + 4) > 3:
            head = self._data[:head_ends]
            found = LENGTH.search(head)
            ends = head_ends + (int(found[1]) if found else 0)
            if len(self._data) < ends:
                return
            body, self._data = self._data[head_ends:ends], self._data[ends:]
            self._transport.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET /heard"):
            return self._heard.told()
        self._heard.requests += 1
        self._heard.bytes += len(head) + len(body)
        self._heard.bodies += len(body)
        asked = PATH.match(head)
        if asked is None:
            return _whole(b'{"error":{"code":"not_found","message":"No such route."}}', "404 -")
        count, route, session = int(asked[1]), asked[2], asked[3]
        stream = STREAM.search(body) is not None
        if route == b"chat/completions":
            return openai_answer(count, stream)
        if route == b"sessions" and session is None:
            created = {"id": fresh_id(), "object": "session", "status": "active"}
            return _whole(_json(created), "201 Created")
        answer = stewrd_answer(count, session is not None, stream)
        return answer.replace(b"@" * 36, fresh_id().encode(), 1)


async def serve() -> None:
    """Serve on a free port until the input ends."""
    heard, loop = Heard(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(heard), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running_server() -> Iterator[str]:
    """The server in a process of its own; its URL without the number of tokens."""
    command = [sys.executable, __file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - this file
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
