"""Which tools the built-in agent calls: those that the user's words or the instructions ask for.

A tool is asked for by its name, or by the last part of it (`weather` for `get_weather`),
with its arguments in parentheses or somewhere in the message. Tools named before and
after "then" are called one after the other, others at once. Instructions may demand it:
'You must call the tool "X".', "You must call at least one of the tools."; with "in every
answer", that holds until each tool was called. "You must not call any tool." forbids it,
"Call one tool at a time." keeps it in order. What is demanded of one answer alone, beside
its message or at the end of an output ("… the application demands the following. …"), is
done in that answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from .agent import Call, Context, Tool
from .filling import fill

_NAMED = re.compile(
    r"\bmust (?:call|use) the (?:tool|function) (?:named |called )?[\"“'`]?(\w{1,64})[^.\n]*",
    re.IGNORECASE,
)
_ANY = re.compile(
    r"\bmust (?:call|use) (?:(?:at least |exactly )?one of (?:the|these|your)|a|one of|some|the) "
    r"(?:tool|function)s?\b[^.\n]*",
    re.IGNORECASE,
)
_EVERY = re.compile(r"\b(?:every|each) (?:answer|message|turn)\b|\balways\b", re.IGNORECASE)
_NEVER = re.compile(
    r"\b(?:must not|do not|don't|never) (?:call|use) (?:any|a|the) (?:tool|function)s?\b",
    re.IGNORECASE,
)
_SINGLY = re.compile(
    r"\bone (?:tool|function) (?:call )?at a time\b|\bat most one (?:tool|function)\b",
    re.IGNORECASE,
)
_THEN = re.compile(r"\b(?:then|after that|afterwards)\b", re.IGNORECASE)
_DEMAND = "the application demands the following."
_FAILED = re.compile(r"\s*(?:error|exception|traceback|failed)\b", re.IGNORECASE)
_ERROR_FIELD = re.compile(r"\"error\"\s*:(?!\s*(?:null\b|false\b|\"\"))")
_SHORT = 2  # names that are likely words


class _Mention(NamedTuple):
    """A tool as the user names it, and where in the text."""

    start: int
    tool: Tool
    arguments: str | None


class _Wish(NamedTuple):
    call: Call
    stage: int


def calls(context: Context) -> list[Call]:
    """The calls that are due now: none, if all that was asked for has its result."""
    words = f"{context.conversation.instructions}\n{demand(context)}"
    if not context.tools or _NEVER.search(words):
        return []
    left = _demanded(context, _left(context, _wishes(context)))
    due = [wish.call for wish in left if wish.stage == left[0].stage]
    return due[:1] if _SINGLY.search(words) else due


def told(context: Context) -> str:
    """What the results say, one a line."""
    lines = []
    for name, text, said in zip(_called(context), found(context), context.results, strict=True):
        verb = "failed" if said.error or _is_error(text) else "answered"
        lines.append(f"The tool {name or 'you called'} {verb}: {text}")
    return "\n".join(lines)


def found(context: Context) -> list[str]:
    """What the results say, without what else is demanded in them."""
    return [_parted(said.text)[0] for said in context.results]


def demand(context: Context) -> str:
    """What is asked of this very answer."""
    last = context.conversation.messages[-1:]
    words = _parted(last[0].text)[1] if last and last[0].role == "tool" else ""
    return f"{context.conversation.demand}\n{words}".strip()


def _parted(output: str) -> tuple[str, str]:
    """An output, and the demand that follows it on a line of its own."""
    text, mark, words = output.rpartition(_DEMAND)
    return (text.rpartition("\n")[0].rstrip(), words) if mark else (output, "")


def asked(context: Context) -> str:
    """What the user said last."""
    said = [one for one in context.conversation.messages if one.role == "user" and not one.summary]
    return said[-1].text if said else ""


def _is_error(text: str) -> bool:
    return _FAILED.match(text) is not None or _ERROR_FIELD.search(text) is not None


def _called(context: Context) -> list[str | None]:
    """The name of the tool that each result is of."""
    messages = context.conversation.messages
    known = {call.id: call.name for said in messages for call in said.tool_calls}
    return [said.name or known.get(said.tool_call_id or "") for said in context.results]


def _left(context: Context, wishes: Sequence[_Wish]) -> list[_Wish]:
    """The wishes without those that have a result, by name; foreign results count for any."""
    left = sorted(wishes, key=lambda wish: wish.stage)
    for name in _called(context):
        same = [wish for wish in left if wish.call.name == name]
        for wish in (same or left)[:1]:
            left.remove(wish)
    return left


def _wishes(context: Context) -> list[_Wish]:
    text = asked(context)
    mentions = [each for tool in context.tools for each in _mentions(tool, text)]
    mentions.sort(key=lambda each: each.start)
    results = found(context)
    wishes = []
    for each, following in zip_longest(mentions, mentions[1:]):
        # One tool may be named after its arguments, several are named before theirs.
        start = each.start if len(mentions) > 1 else 0
        end = following.start if following else len(text)
        about = text[start:end] if each.arguments is None else each.arguments
        stage = len(_THEN.findall(text[: each.start]))
        others = [*(results if stage else ()), text[:start], text[end:]]
        wishes.append(
            _Wish(Call(each.tool.name, fill(each.tool.parameters, about, *others)), stage)
        )
    return wishes


def _mentions(tool: Tool, text: str) -> list[_Mention]:
    """Where a tool is asked for: at each place with arguments, else at the first place."""
    for name in (tool.name, tool.name.rpartition("_")[2]):
        found = [
            _Mention(match.start(), tool, _arguments(match[1]))
            for match in re.finditer(_naming(name), text, re.IGNORECASE)
        ]
        if found:
            return [each for each in found if each.arguments is not None] or found[:1]
    return []


def _naming(name: str) -> str:
    parentheses = r"[ ]?\(([^()\n]*)\)"
    optional = "" if len(name) <= _SHORT else "?"
    edge = "[A-Za-z0-9_]"
    return rf"(?<!{edge}){re.escape(name)}(?!{edge})(?:{parentheses}){optional}" if name else "(?!)"


def _arguments(text: str | None) -> str | None:
    """The text in parentheses, with quotation marks around its bare words."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    bare = re.compile(r"[^\W\d][^\"'“”=:]*")
    return ", ".join(f'"{part}"' if bare.fullmatch(part) else part for part in parts)


def _demanded(context: Context, left: list[_Wish]) -> list[_Wish]:
    """What is wished for as far as the instructions let it, and what they demand besides."""
    named, tools = _demanded_tools(context)
    if named:
        left = [wish for wish in left if wish.call.name == tools[-1].name]
    if left or not tools:
        return left
    # Frameworks that want a tool called as the form of the answer name it last.
    arguments = fill(tools[-1].parameters, asked(context), *found(context))
    return [_Wish(Call(tools[-1].name, arguments), 0)]


def _demanded_tools(context: Context) -> tuple[bool, list[Tool]]:
    """The tools of which one must be called, the best last, and whether it was named."""
    instructions = f"{context.conversation.instructions}\n{asked(context)}"
    for words, insists in ((demand(context), True), (instructions, False)):
        tools = {tool.name: tool for tool in context.tools}
        named = next((each for each in _NAMED.finditer(words) if each[1] in tools), None)
        sentence = named or _ANY.search(words)
        if sentence is not None:
            wanted = [tools[named[1]]] if named else list(context.tools)
            wanted = _open(context, wanted, sentence[0], insists)
            return bool(named and wanted), wanted
    return False, []


def _open(context: Context, tools: Sequence[Tool], sentence: str, insists: bool) -> list[Tool]:
    """The tools by which a demand can be met: it may be met already, by the calls of before."""
    called = _called(context)
    new = [tool for tool in tools if tool.name not in called]
    if insists:
        return [*(tool for tool in tools if tool.name in called), *new]
    return new if not called or _EVERY.search(sentence) else []
