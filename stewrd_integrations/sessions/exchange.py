"""One request and its answer, whole or in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import APIStatusError, MalformedResponseError
from ..types import Done, Reply, Token, Usage
from .call import Call, price
from .digest import normalise
from .effects import Emit, Flow, Receive, Send, Submit
from .stop import Stop
from .tools import framework_names, own_names


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; ``text`` is what the caller was shown of it.

    ``cut`` says that this is not all: a stop text ended it, or a stream left some out.
    """

    reply: Reply
    text: str
    cut: bool


def exchange(
    send: Send | Submit, call: Call, shown: Callable[[], None], *, hidden: bool = False
) -> Flow[Answer]:
    """Send, and hand out what comes; ``shown`` is told before the first piece goes out.

    ``hidden`` is for an answer that nobody is to see.
    """
    stop = Stop(call.stop)
    try:
        if isinstance(send, Send) and send.stream:
            yield send
            reply, text, whole = yield from _pieces(stop, shown)
        else:
            reply = yield send
            text, whole = stop.feed(reply.message) + stop.rest(), True
    except APIStatusError as error:
        error.message = own_names(error.message, call.tools)
        error.args = (error.message,)
        raise
    if send.session_id and reply.session_id not in (None, send.session_id):
        raise MalformedResponseError(
            "The answer says that it is of another session than the one that was asked.",
            request_id=reply.id,
        )
    if reply.status != "completed" and not call.tools:
        raise MalformedResponseError(
            "The agent asked for the outputs of tools that it was not offered.",
            request_id=reply.id,
        )
    if call.stream and call.tools and text and not hidden:
        shown()  # the API can't stream with tools: one piece is all there is
        yield Emit(Token(text))
    reply = replace(reply, tool_calls=framework_names(reply.tool_calls, call.tools))
    free = isinstance(send, Submit)
    return Answer(_with_credits(reply, call, free=free), text, cut=stop.hit or not whole)


def _pieces(stop: Stop, shown: Callable[[], None]) -> Flow[tuple[Reply, str, bool]]:
    """Hand out a stream; gives back the reply, what was shown, and whether that was all."""
    said, texts = "", []
    while True:
        event = yield Receive()
        if isinstance(event, Done):
            break
        if isinstance(event, Token):
            said += event.text
            event = Token(stop.feed(event.text))
            texts.append(event.text)
            if not event.text:
                continue
        shown()
        yield Emit(event)
    message = event.reply.message
    # The last event may know more than the tokens, all of it or the end.
    more = message[len(said) :] if message.startswith(said) else ""
    last = stop.feed(more) + stop.rest()
    if last:
        texts.append(last)
        shown()
        yield Emit(Token(last))
    return event.reply, "".join(texts), normalise(message) in normalise(said + more)


def _with_credits(reply: Reply, call: Call, *, free: bool) -> Reply:
    if reply.usage.credits is not None:
        return reply
    estimate = 0 if free else price(("chat",) if call.tools else call.capabilities)
    if estimate is None:
        return reply
    usage = Usage(
        credits=estimate,
        credits_remaining=reply.usage.credits_remaining,
        tokens=reply.usage.tokens,
        estimated=True,
    )
    return replace(reply, usage=usage)
