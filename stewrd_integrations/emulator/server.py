"""The emulator on a real socket: a server in a thread, and the handles for a test."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, cast, final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .agent import Agent
from .app import create_app
from .faults import Fault, Kind, On
from .reading import Conversation, Heard
from .records import Exchange, Overlap, Run, SessionRecord
from .settings import Settings
from .world import World


@final
class Emulator:
    """A local Stewrd on a loopback socket, for tests, demos and development.

    It serves in a thread of its own, from `start()` to `stop()` or inside a `with`
    block, and so serves blocking and async code alike:

        with Emulator(history_limit=6) as stewrd:
            client = Stewrd(stewrd.api_key, base_url=stewrd.url)

    Every field of `Settings` is a keyword argument. There is no rate limit unless
    one is given (`rate_limit=60` is Stewrd's), so that tests are not throttled.
    `agent` answers in the place of the built-in rule set (see `Answer` for calls of
    custom tools); `port` 0 takes a free one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        agent: Agent | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        on_answered: Callable[[Exchange], None] | None = None,
        **changes: Any,
    ) -> None:
        self.settings = replace(settings or Settings(), **changes)
        fresh = f"sk-stw_emulator_{secrets.token_hex(12)}"
        self.api_key: str = self.settings.api_key or fresh
        self.world = World(
            self.settings,
            api_key=self.api_key,
            clock=self.now,
            agent=agent,
            on_answered=on_answered,
        )
        self._address = (host, port)
        self._ahead = 0.0
        self._server: _Server | None = None

    # -- the server --------------------------------------------------------------

    def start(self) -> Emulator:
        """Serve. An address that is taken is an OSError."""
        if self._server is None:
            listener = socket.create_server(self._address, backlog=512)
            self._address = listener.getsockname()[:2]
            self._server = _Server(self.world)
            self._server.start(listener)
        return self

    def stop(self) -> None:
        """Close every connection and the socket. What was recorded can still be read."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL. Before the start, with port 0, it is not known yet."""
        host, port = self._address
        if port == 0:
            raise RuntimeError("the emulator has no port before it is started")
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    # -- time and trouble ----------------------------------------------------------

    def now(self) -> float:
        """The emulator's time in seconds: that of the machine and what was advanced."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once, for idle sessions and the rate limit."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._ahead += seconds

    def expire(self, session_id: str | None = None) -> None:
        """Let one session die at once, or all. An unknown id is a KeyError."""
        self.world.expire(session_id)

    def expire_run(self, request_id: str | None = None) -> None:
        """Let the 5 minutes of one waiting run be over, or of all.

        Its outputs then get 404 context_expired. An id that nobody waits under is a
        KeyError.
        """
        self.world.expire_run(request_id)

    def fail_next(
        self,
        kind: Kind,
        *,
        on: On = "message",
        times: int = 1,
        after: bool = False,
        status: int | None = None,
        code: str | None = None,
        message: str | None = None,
        retry_after: str | float | None = None,
        chunks: int | None = None,
        seconds: float = 3600.0,
        shape: Literal["object", "list"] = "object",
    ) -> None:
        """Let the next requests of a kind fail; orders wait until theirs comes.

        `on`: "message" (of a session), "create", "agent", "tool_outputs", "send" (message
        or agent) or "any"; `times`: how many requests. The kinds:

        - "error", "html", "empty": an error `status` (502) with a JSON body (`code`,
          `message`), an HTML one or none, and with Retry-After if `retry_after` is
          given. `after` true: the work is done, appended and charged before.
        - "hang_up": the connection is closed without an answer; `after` as above.
        - "cut": the work is done and its answer breaks off in the middle, a stream
          after `chunks` events.
        - "garbage", "wrong_shape": 200 with a body that is not JSON, or that lacks
          what was asked for (`shape` "object"), or is a list (`shape` "list").
        - "slow": the work is done and the answer held back for `seconds`, a stream
          with `chunks` given after that many events.
        - "stream_error": an `error` event with the `code` after `chunks` tokens.
        - "no_done": a stream that ends without its `done` event.
        - "json_instead_of_stream": a plain JSON answer to `stream: true`.
        - "expire": the session dies right before the request, which gets 410; before
          tool outputs, it is the run that dies, and they get 404.

        The kinds of streams wait for a request with `stream: true`, "expire" for a
        session's message or for tool outputs. A wrong argument is a ValueError.
        """
        self.world.fail(
            Fault(
                kind=kind,
                on=on,
                times=times,
                after=after,
                status=status,
                code=code,
                message=message,
                retry_after=retry_after,
                chunks=chunks,
                seconds=seconds,
                shape=shape,
            )
        )

    # -- what there is to see --------------------------------------------------------

    def heard(self, session_id: str) -> list[Heard]:
        """The (role, text) that a session's log holds, tool calls and outputs included.

        An unknown id is a KeyError.
        """
        return self.world.heard(session_id)

    def context(self, session_id: str) -> Conversation:
        """A session's log as the agent reads it. An unknown id is a KeyError."""
        return self.world.context(session_id)

    @property
    def runs(self) -> list[Run]:
        """Every answer of the agent, on either road, and what the agent saw for it."""
        return self.world.runs

    @property
    def waiting_runs(self) -> list[str]:
        """The ids of the runs that wait for tool outputs, those first that wait longest."""
        return self.world.waiting_runs

    @property
    def requests(self) -> list[Exchange]:
        """Every HTTP request, in order of arrival."""
        return self.world.requests

    @property
    def refused(self) -> list[Exchange]:
        """The requests that got an error status which no `fail_next` had ordered."""
        return self.world.refused

    @property
    def overlaps(self) -> list[Overlap]:
        """Pairs of requests that were on one session at once."""
        return self.world.overlaps

    @property
    def sessions(self) -> dict[str, SessionRecord]:
        """Every session ever created, by id."""
        return self.world.sessions

    @property
    def active_sessions(self) -> int:
        """How many sessions take a slot."""
        return self.world.active_sessions

    @property
    def credits(self) -> int:
        """The balance."""
        return self.world.credits

    @property
    def over_limit(self) -> int:
        """How many messages were pushed out of full sessions; a good client: none."""
        return self.world.over_limit

    @property
    def pending_faults(self) -> int:
        """How many requests will still meet what `fail_next` ordered."""
        return self.world.pending_faults


class _Lines:
    """The open connections, by the address of the client."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def add(self, transport: asyncio.Transport) -> None:
        self._open[transport.get_extra_info("peername")[:2]] = transport
        # asyncio does this only for sockets that were made with an explicit protocol;
        # without it, the body of an answer may wait 40 ms for the client's ACK.
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self, client: tuple[str, int]) -> None:
        """Send what is written, then close; the client may be gone already."""
        transport = self._open.get((client[0], client[1]))
        if transport is not None:
            transport.close()

    def discard(self, transport: asyncio.Transport) -> None:
        gone = [client for client, line in self._open.items() if line is transport]
        for client in gone:
            del self._open[client]

    def abort(self) -> None:
        for transport in list(self._open.values()):
            transport.abort()


def _protocol(lines: _Lines) -> type[H11Protocol]:
    """uvicorn's protocol, which also tells `lines` of its connections.

    ASGI has no way to cut a connection, and a server that never cuts one is of no
    use to find out what a client does then.
    """

    class Protocol(H11Protocol):
        # uvicorn narrows the type of asyncio's protocol, and so does this.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio hands out a full transport, its base class says less
            self._line = transport
            lines.add(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            lines.discard(self._line)
            super().connection_lost(exc)

    return Protocol


class _Server(uvicorn.Server):
    """uvicorn in a thread, which starts and stops at once and not by a tick."""

    def __init__(self, world: World) -> None:
        self._lines = _Lines()
        config = uvicorn.Config(
            create_app(world, self._lines.close),
            http=_protocol(self._lines),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Rewritten addresses would not be those of the connections.
            proxy_headers=False,
            server_header=False,
            date_header=False,  # it would stand still between two ticks: the app tells the time
            timeout_keep_alive=600,
        )
        super().__init__(config)
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None

    def start(self, listener: socket.socket) -> None:
        self._thread = threading.Thread(
            target=self.run, args=([listener],), name="stewrd-emulator", daemon=True
        )
        self._thread.start()
        if not self._ready.wait(timeout=30):
            raise RuntimeError("the emulator did not start")

    def stop(self) -> None:
        assert self._loop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(cast(asyncio.Event, self._stopped).set)
        self._thread.join(timeout=5)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        await self.on_tick(0)
        self._ready.set()

    async def main_loop(self) -> None:
        await cast(asyncio.Event, self._stopped).wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        for server in self.servers:
            server.close()
        self._lines.abort()
        # Whoever waits for a delay is told that its client has left, and ends.
        tasks = list(self.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=1)
