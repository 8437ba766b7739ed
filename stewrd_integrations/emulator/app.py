"""A thin ASGI app over the world: it delivers, delays and cuts, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .wire import Request, Response
from .world import World

# Closes the connection of the client at this address, once what was sent is out.
HangUp = Callable[["tuple[str, int]"], None]

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def create_app(world: World, hang_up: HangUp) -> Starlette:
    """The app that serves a world. `hang_up` is the server's way to cut a connection."""

    async def answer(request: HttpRequest) -> HttpResponse:
        try:
            body = await request.body()
        except ClientDisconnect:
            # It left before it had asked anything; nobody is there to read this.
            return HttpResponse(status_code=400)
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(request.method, request.url.path, headers, body)
        response = await run_in_threadpool(world.handle, asked)
        return _Delivered(world, response, hang_up)

    return Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])


class _Delivered(HttpResponse):
    """A response of the world on its way through the socket."""

    def __init__(self, world: World, response: Response, hang_up: HangUp) -> None:
        super().__init__(status_code=response.status or 200)
        self._world = world
        self._response = response
        self._hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        try:
            if await self._deliver(send, gone):
                return
        finally:
            self._world.finished(self._response)
            gone.cancel()
        # Cut. The app must not return before the server knows that the connection
        # is closed, or the server would answer in its stead.
        self._hang_up(scope["client"])
        await _gone(receive)

    async def _deliver(self, send: Send, gone: asyncio.Future[None]) -> bool:
        """Send what there is to send; false if the connection is then to be cut."""
        response, delivery = self._response, self._response.delivery
        if await _left_within(delivery.latency, gone):
            return True
        if not delivery.answered:
            return False
        await send(_head(response))
        for at, chunk in enumerate(response.chunks):
            pause = delivery.chunk_delay if at else 0.0
            pause += delivery.stall if at == delivery.stall_at else 0.0
            if await _left_within(pause, gone):
                return True
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if delivery.complete:
            await send({"type": "http.response.body", "body": b""})
        return delivery.complete


def _head(response: Response) -> dict[str, object]:
    headers = [(name.encode(), value.encode()) for name, value in response.headers]
    headers.append((b"date", formatdate(usegmt=True).encode()))
    return {
        "type": "http.response.start",
        "status": response.status,
        "headers": headers,
    }


async def _left_within(seconds: float, gone: asyncio.Future[None]) -> bool:
    """Wait, but not for a client that has left."""
    if seconds > 0:
        await asyncio.wait([gone], timeout=seconds)
    return gone.done()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
