"""What a server sends behind an answer is nobody's answer, in whichever buffer it lies."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stewrd_integrations.api import bodies, pool
from stewrd_integrations.api.outgoing import Outgoing
from stewrd_integrations.api.pool import AsyncPool, Pool

from .file_server import certified

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
SECRET = HEAD % 8 + b'"secret"'
# httpcore reads 64 KiB at once, asyncio 256: an answer that ends just there leaves the rest to
# anyio. In TLS a record takes some bytes more, and the rest may begin in the midst of one.
SIZES = [200, 65_536, 131_072]
PACKED = [200, 65_336, 65_426, 65_446, 65_448]


def of_size(size: int) -> bytes:
    """An answer of so many bytes."""
    room = size - len(HEAD % size) - 2
    body = json.dumps("x" * room).encode()
    answer = HEAD % len(body) + body
    return answer if len(answer) == size else of_size(size + size - len(answer))


class Chatty:
    """Answers every request whose body is "A" with two answers at once, all others with one."""

    def __init__(self, size: int, certificate: Path | None) -> None:
        self._first = of_size(size) if size > 300 else HEAD % 3 + b'"a"'
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context and certificate:
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if certificate else "http"
        self.url = httpx.URL(f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v1/agent")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            if self._context is not None:
                line = self._context.wrap_socket(line, server_side=True)
            with line, line.makefile("rb") as reader:
                while reader.readline():
                    while reader.readline().strip():
                        pass
                    asked = reader.read(1)
                    line.sendall(self._first + SECRET if asked == b"A" else HEAD % 3 + b'"b"')
        except OSError:
            return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certified(tmp_path_factory.mktemp("tls") / "certificate.pem")


@pytest.fixture(params=[*((False, size) for size in SIZES), *((True, size) for size in PACKED)])
def chatty(
    request: pytest.FixtureRequest, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chatty]:
    packed, size = request.param
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    monkeypatch.setattr(pool, "tls", lambda: context)
    server = Chatty(size, certificate if packed else None)
    yield server
    server.close()


def saying(word: bytes, connections: Pool | AsyncPool, url: httpx.URL) -> httpx.Request:
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), 5.0)
    return connections.build(Outgoing(url, httpx.Headers(), word, timeouts))


def test_it_is_nobodys(chatty: Chatty) -> None:
    connections = Pool()
    for word in (b"A", b"B") * 4:
        response = connections.send(saying(word, connections, chatty.url))
        told = response.read()
        response.close()
        assert (told == b'"b"') == (word == b"B")
    connections.close()


async def test_it_is_nobodys_on_the_event_loop(chatty: Chatty) -> None:
    connections = AsyncPool()
    for word in (b"A", b"B") * 4:
        response = await connections.send(saying(word, connections, chatty.url))
        told = await response.aread()
        await response.aclose()
        assert (told == b'"b"') == (word == b"B")
        await asyncio.sleep(0.005)
    await connections.aclose()


async def test_in_an_anyio_that_is_built_in_another_way_every_connection_is_closed(
    chatty: Chatty, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Renamed:
        def __init__(self, stream: Any) -> None:
            self._wrapped = stream
            self.get_extra_info, self.aclose = stream.get_extra_info, stream.aclose

    known = bodies._connection_of
    monkeypatch.setattr(bodies, "_connection_of", lambda response: Renamed(known(response)))
    await test_it_is_nobodys_on_the_event_loop(chatty)
