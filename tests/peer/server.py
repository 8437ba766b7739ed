"""The peer on a loopback socket: HTTP/1.1 by the standard library, a thread per connection."""

from __future__ import annotations

import gzip
import http.server
import select
import socket
import socketserver
import threading
import time
from types import TracebackType
from typing import Any

from .faults import Response
from .records import Request
from .service import Service
from .world import World


class Gone(Exception):
    """The client is not there any more, or the server stops."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, with as many requests as come over it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as it is inherited
        """Say nothing: tests look at the world's log."""

    def setup(self) -> None:
        """Let the server know of the connection, so that it can end it."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            self.close_connection = True

    def handle(self) -> None:
        """Serve requests until somebody closes."""
        try:
            super().handle()
        except (Gone, OSError):
            self.close_connection = True

    def do_POST(self) -> None:
        """Serve one request."""
        headers = tuple((name, value) for name, value in self.headers.items())
        path = self.path.partition("?")[0]
        request = Request(self.command, path, headers, self._body())
        response = self.server.service.handle(request)
        self.concluded = False
        try:
            self._answer(response)
        except (Gone, OSError):
            self.close_connection = True
            if not self.concluded:  # else it has heard all that counts
                response.settle(False)

    do_GET = do_PUT = do_DELETE = do_PATCH = do_POST  # noqa: N815  # the names are inherited

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(iter(self._chunk, b""))
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise Gone  # while it was still asking
        return body

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(1_000).split(b";")[0], 16)
        chunk = self.rfile.read(size)
        self.rfile.readline(10)
        return chunk

    # -- the answer --------------------------------------------------------------------------

    def _answer(self, response: Response) -> None:
        if response.begun:
            self._wait(response.latency)
            self._head(response)
        if response.begun and response.ending == "whole" and not response.chunked:
            self._conclude(response)
            self._write(response, b"".join(response.pieces))
            return
        for place, piece in enumerate(response.pieces):
            self._wait(response.pause if place else 0.0)
            if response.ending == "whole" and place == response.conclude_at:
                self._conclude(response)
            self._write(response, piece)
        self._end(response)

    def _conclude(self, response: Response) -> None:
        """The rest goes out; the client may ask the next thing before this thread goes on."""
        if self._has_gone(0.0):
            raise Gone
        response.settle(True)
        self.concluded = True

    def _end(self, response: Response) -> None:
        match response.ending:
            case "whole":
                if self.framed:
                    self.wfile.write(b"0\r\n\r\n")
            case "silent":
                self._wait(3_600.0)
                raise Gone
            case _:
                raise Gone

    def _head(self, response: Response) -> None:
        unknowns = self.server.world.unknowns
        self.packed = unknowns.compression == "gzip" and not response.chunked
        until_closed = unknowns.framing == "until closed"
        self.framed = response.chunked and not until_closed
        self.send_response(response.status)
        kept = {"Content-Type": response.content_type} if response.content_type else {}
        for name, value in {**kept, **response.headers}.items():
            self.send_header(name, value)
        if self.framed:
            self.send_header("Transfer-Encoding", "chunked")
        elif not until_closed or not response.pieces:
            self.send_header("Content-Length", str(self._length(response)))
        if self.packed:
            self.send_header("Content-Encoding", "gzip")
        if until_closed or unknowns.keep_alive == "closed each time":
            self.send_header("Connection", "close")
        self.end_headers()

    def _length(self, response: Response) -> int:
        if response.ending != "whole":
            return len(response.body()) + 100
        return len(self._packed(response.body()))

    def _packed(self, body: bytes) -> bytes:
        return gzip.compress(body, mtime=0) if self.packed else body

    def _write(self, response: Response, piece: bytes) -> None:
        if self._has_gone(0.0):
            raise Gone
        if self.framed:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        else:
            self.wfile.write(self._packed(piece) if response.ending == "whole" else piece)

    # -- time and the other side -------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        if seconds and self._has_gone(seconds):
            raise Gone

    def _has_gone(self, seconds: float) -> bool:
        """Whether the client has closed within so many seconds."""
        ready, _, _ = select.select([self.connection], [], [], seconds)
        if not ready:
            return False
        if not self.connection.recv(1, socket.MSG_PEEK):
            return True
        time.sleep(min(seconds, 1.0))  # it says more already, which can wait
        return False


class Listener(socketserver.ThreadingTCPServer):
    """The socket, and the connections that are open on it."""

    daemon_threads = False
    block_on_close = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, world: World, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.world = world
        self.service = Service(world)
        self.connections: set[socket.socket] = set()


class Peer:
    """A Stewrd that was written from the contract alone; a context manager.

    Args:
        world: What it knows and how it behaves.

    Attributes:
        url: Where it listens, once it runs; the same when it runs again.
    """

    def __init__(self, world: World | None = None) -> None:
        self.world = world if world is not None else World()
        self.url = ""
        self._port = 0

    def __enter__(self) -> Peer:
        self._listener = Listener(self.world, self._port)
        self._port = self._listener.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown()
        self._thread.join()
        for connection in list(self._listener.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was faster
        self._listener.server_close()
