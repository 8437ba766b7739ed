"""Custom tools: their names, and the run that waits for what they gave back (R11)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from ..errors import BadRequestError
from ..types import Message, Tool, ToolCall, ToolOutput
from ..values import dataclass
from .align import Alignment
from .binding import Run
from .call import Call, History
from .digest import Digester

LIFE = 295.0
"""Seconds that a run waits: the API's five minutes, less a little for the way."""

ROUNDS = 10
"""How often a run is given outputs."""

_ILLEGAL = re.compile(r"[^A-Za-z0-9_]")
_LONGEST = 64


def legal_name(name: str) -> str:
    """A name that the API takes; the same for the same name, and no two share one."""
    if name and len(name) <= _LONGEST and not _ILLEGAL.search(name):
        return name
    told_apart = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4)
    return f"{_ILLEGAL.sub('_', name)[: _LONGEST - 9]}_{told_apart.hexdigest()}"


def legal_tools(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools under names that the API takes."""
    return tuple(replace(tool, name=legal_name(tool.name)) for tool in tools)


def framework_names(calls: Sequence[ToolCall], tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
    """The calls under the names that the framework gave its tools."""
    names = {legal_name(tool.name): tool.name for tool in tools}
    return tuple(replace(call, name=names.get(call.name, call.name)) for call in calls)


def own_names(text: str, tools: Sequence[Tool]) -> str:
    """A text about tools with the names that their user gave them, in quotes."""
    for tool in tools:
        legal = legal_name(tool.name)
        if legal != tool.name:
            own = repr(tool.name).replace("\\", "\\\\")
            text = re.sub(rf"(['\"]?)\b{legal}\b\1", own, text)
    return text


def offer(digester: Digester, call: Call, history: History) -> str:
    """Digest of what a run began under: its tools and its instructions."""
    tools = [[tool.name, tool.description, dict(tool.parameters)] for tool in call.tools]
    described = json.dumps(tools, sort_keys=True, default=str)
    return digester.key("offer", history.instructions_digest, described)


def demanded(digester: Digester, call: Call) -> str:
    """Digest of what is demanded of this very answer, "" for nothing."""
    return digester.key("demand", call.demand) if call.demand else ""


def demands_more(run: Run, call: Call, digester: Digester) -> bool:
    """Whether something is demanded that a run was not told, nor is by what its tools gave back."""
    if not call.demand or run.demanded == demanded(digester, call):
        return False
    last = call.messages[-1]
    return last.role != "tool" or call.demand not in last.text


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run waits for.

    ``then`` says that it is not the run's answer that is wanted: more was said since, a user's
    message at last, or other tools or instructions count by now, as after a handoff.
    """

    outputs: tuple[ToolOutput, ...]
    then: bool


def outputs_for(
    run: Run, history: History, alignment: Alignment, offered: str, now: float
) -> Outputs | str:
    """The outputs to give to a run, or why they can't be given to it."""
    fresh = _since(run, history, alignment)
    if fresh is None:
        return "messages were added before the calls of tools"
    given = list(takewhile(lambda message: message.role == "tool", fresh))
    if not given:
        return "the calls of tools were passed over"
    if not _match(run, given):
        return "the outputs are not those of the calls that were asked for"
    if run.rounds > ROUNDS:
        return f"the run has had its {ROUNDS} rounds of tools"
    if now > run.deadline:
        return "the run was gone: its tools took more than five minutes"
    outputs = tuple(ToolOutput(str(m.tool_call_id), output_text(m)) for m in given)
    return Outputs(outputs, then=len(fresh) > len(given) or run.offered != offered)


def told(digester: Digester, outputs: Sequence[ToolOutput]) -> str:
    """Digest of what a run is given."""
    given = sorted((output.tool_call_id, output.output) for output in outputs)
    return digester.key("outputs", json.dumps(given))


def told_apart(calls: tuple[ToolCall, ...], token: str) -> tuple[ToolCall, ...]:
    """The calls, under ids of our own if the server's are empty or occur twice."""
    ids = [call.id for call in calls]
    if all(one.strip() for one in ids) and len(set(ids)) == len(ids):
        return calls
    return tuple(replace(call, id=f"call_{token}_{n}") for n, call in enumerate(calls, 1))


def was_one_too_many(rounds: int, error: BaseException) -> bool:
    """Whether a server that counts otherwise may have refused outputs as a round too many."""
    refused = isinstance(error, BadRequestError) and error.code == "invalid_tool_outputs"
    return refused and rounds >= ROUNDS


def _since(run: Run, history: History, alignment: Alignment) -> list[Message] | None:
    """What came after the calls; None if the run began under another history.

    A summary is passed over: the run has heard all that it stands for.
    """
    if run.on_session or not alignment.heard_no_more:
        if any(fresh.before is not None for fresh in alignment.unsummarised):
            return None
        return [history.messages[fresh.index] for fresh in alignment.unsummarised]
    return list(history.messages[history.shown :]) if run.rolled == history.rolled else None


def _match(run: Run, given: Sequence[Message]) -> bool:
    ids = [message.tool_call_id for message in given]
    return len(ids) == len(set(ids)) and set(ids) == set(run.calls)


def output_text(message: Message) -> str:
    """What a tool gave back, as the one text that the API takes for it."""
    text = message.text
    if message.error and not text.lower().startswith("error"):
        text = f"Error: {text}"
    for file in message.files:
        text += f"\n\n[{file.name}]\n{file.content or file.url or ''}"
    return text
