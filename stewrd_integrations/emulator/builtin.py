"""The built-in agent: a small deterministic rule set.

It knows nothing but the conversation that it is shown, so that "what is my name?"
is answered rightly only if the history is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from . import calling, structuring
from .agent import Answer, Context, File
from .reading import Said


def _in(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.IGNORECASE)


def default_agent(context: Context) -> Answer:
    """Call the tools that are asked for, or answer by the first rule that applies.

    The answer is in JSON if that is wanted, else in the manner of the instructions.
    """
    calls = calling.calls(context)
    if calls:
        return Answer(calls=calls)
    answer = _answer(context)
    text = structuring.answer(context, answer.text)
    if text is None:
        text = _obey(context.conversation.instructions, answer.text)
    return Answer(text, answer.files, answer.capabilities_used)


def _answer(context: Context) -> Answer:
    written = _write_file(context)
    if written is not None:
        return written
    for rule in _RULES:
        text = rule(context)
        if text is not None:
            return Answer(text)
    return Answer(_small_talk(context))


# -- files ---------------------------------------------------------------------

_WRITE = re.compile(
    r"\b(?:write|create|make|generate)\b.*?(?:\b([\w-]+\.[a-z]{2,4})\b|\bas an? (csv)\b)",
    re.IGNORECASE | re.DOTALL,
)
_WRITERS = {"documents", "data", "files", "code"}


def _write_file(context: Context) -> Answer | None:
    match = _WRITE.search(context.message)
    if match is None:
        return None
    name = match[1] or "table.csv"
    if context.capabilities and not _WRITERS & set(context.capabilities):
        return Answer(
            f"I cannot create {name}: none of the capabilities of this request writes files."
        )
    used = () if context.capabilities else ("files",)
    return Answer(f"I have created {name}.", (File(name, _content(name, context)),), used)


def _content(name: str, context: Context) -> str:
    said = context.conversation.messages
    if name.lower().endswith(".csv"):
        rows = [f"{at},{one.role},{_quoted(one.text)}" for at, one in enumerate(said, 1)]
        return "\n".join(["number,role,text", *rows]) + "\n"
    return "".join(f"{one.role}: {one.text}\n" for one in said)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _attached(context: Context) -> str | None:
    if not context.files:
        return None
    return " ".join(_described(file) for file in context.files)


def _asked_of_file(context: Context) -> str | None:
    if not _in(r"\bfiles?\b|\battach", context.message) or "?" not in context.message:
        return None
    if not context.earlier_files:
        return "You have not sent me a file in this conversation."
    return " ".join(_described(file) for file in context.earlier_files)


def _described(file: File) -> str:
    lines = (file.content or "").splitlines()
    if not lines:
        return f"{file.name} is empty."
    counted = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
    return f"{file.name} has {counted}; the first one is “{_short(lines[0])}”."


# -- the conversation ----------------------------------------------------------


def _users(context: Context) -> list[Said]:
    """What the user said, the current message last."""
    said = context.conversation.messages
    return [one for one in said if one.role == "user" and not one.summary]


def _earlier(context: Context) -> list[Said]:
    users = _users(context)
    return users[:-1] if context.message else users


def _go_on(context: Context) -> str | None:
    if context.message:
        return None
    return calling.told(context) or "There is nothing to go on from."


def _first(context: Context) -> str | None:
    if not _in(
        r"\bfirst\b.*\b(?:i|my)\b|\b(?:i|my)\b.*\bfirst\b.*|\bmy first\b",
        context.message,
    ):
        return None
    return _cited("The first thing that you said was", _earlier(context)[:1])


def _before(context: Context) -> str | None:
    if not _in(r"\bi (?:just )?(?:say|said|ask|asked)\b.*\b(?:before|last)\b", context.message):
        return None
    return _cited("Before this, you said", _earlier(context)[-1:])


def _cited(lead: str, said: list[Said]) -> str:
    if not said:
        return "You have not said anything before this."
    return f"{lead}: “{said[0].text}”"


def _counted(context: Context) -> str | None:
    match = _in(r"\bhow many (messages|questions|times)\b", context.message)
    if match is None:
        return None
    users = _users(context)
    if match[1].lower() == "questions":
        number = sum("?" in one.text for one in users)
        return (
            f"You have asked me {number} question{'' if number == 1 else 's'}, this one included."
        )
    return (
        f"You have sent me {len(users)} message{'' if len(users) == 1 else 's'}, this one included."
    )


def _who(context: Context) -> str | None:
    if not _in(r"\bwho are you\b", context.message):
        return None
    match = _in(r"\byou are (.+?)(?:[.!\n]|$)", context.conversation.instructions)
    return f"I am {match[1] if match else 'the agent of the Stewrd emulator'}."


# -- facts -----------------------------------------------------------------------

_FACT = re.compile(
    r"\b((?:my|our|the) [^.!?\n,;:]{1,60}?) (?:is|are|was|were) ([^!?\n;]+)",
    re.IGNORECASE,
)
_CALLED = re.compile(
    r"\b(?:call me|i am called|i'm called|user(?:'s)? name is) ([\w-]+)", re.IGNORECASE
)
_HOME = re.compile(r"\bi live in ([^.!?\n,;]+)", re.IGNORECASE)
_REMEMBER = re.compile(r"\bremember that ([^!?\n]+)", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?:what(?:'s| is| are| was| were)|who (?:is|are)|tell me|remind me of) "
    r"((?:my|our|the) [^?.!\n]+)",
    re.IGNORECASE,
)


def _facts(text: str) -> Iterator[tuple[str, str]]:
    """The (what, is what) of a text. Questions tell nothing."""
    for sentence in re.split(r"(?<=[.!?])\s+|\n+|, and | and (?=(?:my|our|i) )", text):
        if sentence.rstrip().endswith("?") or _ASKED.search(sentence):
            continue
        for match in _FACT.finditer(sentence):
            yield match[1].lower(), match[2].strip(" .")
        for match in _CALLED.finditer(sentence):
            yield "my name", match[1]
        for match in _HOME.finditer(sentence):
            yield "where i live", match[1].strip()


def _known(context: Context) -> dict[str, str]:
    """Every fact told before the current message; what was told later counts."""
    conversation = context.conversation
    summaries = [one.text for one in conversation.messages if one.summary]
    sources = [conversation.instructions, conversation.summary or "", *summaries]
    sources += [one.text for one in _earlier(context)]
    return {what: value for text in sources for what, value in _facts(text)}


def _recalled(context: Context) -> str | None:
    message = context.message
    if _in(r"\bwhere do i live\b", message):
        return _recall(context, "where i live", "You live in {}.", "where you live")
    if _in(r"\bwho am i\b", message):
        return _recall(context, "my name", "Your name is {}.", "your name")
    match = _ASKED.search(message)
    if match is None:
        return None
    what = match[1].lower().strip()
    return _recall(context, what, _yours(what).capitalize() + " is {}.", _yours(what))


def _recall(context: Context, what: str, known: str, unknown: str) -> str:
    value = _known(context).get(what)
    return f"You have not told me {unknown}." if value is None else known.format(value)


def _asked_to_remember(context: Context) -> str | None:
    if not _in(r"\bwhat\b.*\b(?:remember|know about me)\b", context.message):
        return None
    kept = [
        match[1].strip(" .") for one in _earlier(context) for match in _REMEMBER.finditer(one.text)
    ]
    kept = kept or [_fact(what, value) for what, value in _known(context).items()]
    return (
        f"I remember: {'; '.join(kept)}." if kept else "You have not told me anything to remember."
    )


def _told(context: Context) -> str | None:
    facts = dict(_facts(context.message))
    if "my name" in facts and len(facts) == 1:
        return f"Nice to meet you, {facts['my name']}."
    if "where i live" in facts and len(facts) == 1:
        return f"I will remember that you live in {facts['where i live']}."
    if facts:
        told = " and ".join(_fact(what, value) for what, value in facts.items())
        return f"I will remember that {told}."
    match = _REMEMBER.search(context.message)
    return f"I will remember that {match[1].strip(' .')}." if match else None


def _yours(what: str) -> str:
    return re.sub(r"^my\b", "your", what)


def _fact(what: str, value: str) -> str:
    return f"you live in {value}" if what == "where i live" else f"{_yours(what)} is {value}"


# -- manners ---------------------------------------------------------------------

_END = re.compile(
    r"\b(?:end|finish|close)\b[^.\n]*? with (?:the words? )?[\"“']?([^\"”'\n]+?)[\"”']?\.?(?:\n|$)",
    re.IGNORECASE,
)
_BEGIN = re.compile(
    r"\b(?:start|begin)\b[^.\n]*? with (?:the words? )?[\"“']?([^\"”'\n]+?)[\"”']?\.?(?:\n|$)",
    re.IGNORECASE,
)


def _obey(instructions: str, text: str) -> str:
    if _in(r"\bupper[ -]?case\b|\bcapital letters\b", instructions):
        text = text.upper()
    elif _in(r"\blower[ -]?case\b", instructions):
        text = text.lower()
    begin, end = _BEGIN.search(instructions), _END.search(instructions)
    return (f"{begin[1]} " if begin else "") + text + (f" {end[1]}" if end else "")


def _small_talk(context: Context) -> str:
    if re.match(
        r"\s*(?:hi|hello|hey|good (?:morning|evening))\b",
        context.message,
        re.IGNORECASE,
    ):
        return "Hello! What can I do for you?"
    if re.match(r"\s*(?:thanks|thank you)\b", context.message, re.IGNORECASE):
        return "You are welcome."
    if context.message.rstrip().endswith("?"):
        question = _short(context.message)
        return f"You ask “{question}”: I only know what you tell me in this conversation."
    return f"Understood: “{_short(context.message)}”. Tell me more, or ask me about what you said."


def _short(text: str, limit: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


_RULES: tuple[Callable[[Context], str | None], ...] = (
    _go_on,
    _attached,
    _counted,
    _first,
    _before,
    _asked_to_remember,
    _who,
    _recalled,
    _asked_of_file,
    _told,
)
