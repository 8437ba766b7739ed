"""One request and its answer, whole or in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import APIStatusError, InvalidInputError, MalformedResponseError, StewrdError
from ..types import Reply, Token, Usage
from ..values import dataclass
from .call import Call, price
from .digest import normalise
from .effects import Emit, Flow, Pieces, Send, Submit
from .stop import Stop
from .tools import framework_names, own_names, told_apart


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; ``text`` is what the caller was shown of it.

    ``cut`` says that this is not all: a stop text ended it, or a stream left some out. ``unclear``
    says that its calls have ids of ours, as the server's can't be told apart: no outputs can be
    given to its run.
    """

    reply: Reply
    text: str
    cut: bool
    unclear: bool = False


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
    except InvalidInputError as error:
        if isinstance(send, Submit):
            error.message = _naming_the_tool(error.message, call)
            error.args = (error.message,)
        raise
    except APIStatusError as error:
        error.message = own_names(error.message, call.tools)
        error.args = (error.message,)
        raise
    if send.session_id and reply.session_id not in (None, send.session_id):
        raise MalformedResponseError(
            "The answer says that it is of another session than the one that was asked.",
            request_id=reply.id,
        )
    if reply.status != "completed" and not call.tools and not hidden:
        raise MalformedResponseError(
            "The agent asked for the outputs of tools that it was not offered.",
            request_id=reply.id,
        )
    if call.stream and call.tools and text and not hidden:
        shown()  # the API can't stream with tools: one piece is all there is
        yield Emit(Token(text))
    unclear = False
    if reply.tool_calls:
        calls = told_apart(reply.tool_calls, call.ids.call[:16])
        unclear = calls != reply.tool_calls
        reply = replace(reply, tool_calls=framework_names(calls, call.tools))
    reply = _with_credits(reply, call, free=isinstance(send, Submit))
    return Answer(reply, text, stop.hit or not whole, unclear)


def _pieces(stop: Stop, shown: Callable[[], None]) -> Flow[tuple[Reply, str, bool]]:
    """Hand out a stream; gives back the reply, what was shown, and whether that was all."""
    pieces = Pieces(stop, shown)
    done = yield pieces
    message, said = done.reply.message, "".join(pieces.said)
    # The last event may know more than the tokens, all of it or the end.
    more = message[len(said) :] if message.startswith(said) else ""
    last = stop.feed(more) + stop.rest()
    if last:
        pieces.texts.append(last)
        shown()
        yield Emit(Token(last))
    whole = message == said + more or normalise(message) in normalise(said + more)
    return done.reply, "".join(pieces.texts), whole


def _naming_the_tool(text: str, call: Call) -> str:
    for message in call.messages:
        if message.role == "tool" and message.name and repr(message.tool_call_id) in text:
            return f"The tool {message.name!r}: {text}"
    return text


def cost_in_vain(error: BaseException, call: Call) -> int:
    """Credits that an attempt cost which another one takes the place of, by our reckoning."""
    charged = isinstance(error, StewrdError) and error.charged != "no"
    return (_estimate(call) or 0) if charged else 0


def _estimate(call: Call) -> int | None:
    return price(("chat",) if call.tools else call.capabilities)


def _with_credits(reply: Reply, call: Call, *, free: bool) -> Reply:
    if reply.usage.credits is not None:
        return reply
    estimate = 0 if free else _estimate(call)
    if estimate is None:
        return reply
    usage = Usage(
        credits=estimate,
        credits_remaining=reply.usage.credits_remaining,
        tokens=reply.usage.tokens,
        estimated=True,
    )
    return replace(reply, usage=usage)
