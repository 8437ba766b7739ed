"""Asking an agent for one of its capabilities: what the tools of every framework stand on.

A tool takes a task and files, and gives back an answer and facts about it. A framework adds how
it shows the answer, a failure and progress, and in which form it keeps a conversation.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from typing_extensions import Self, TypedDict

from .errors import ConfigurationError, InvalidInputError, StewrdError, StoreError
from .options import checked_who
from .runtime import Runtime, metadata
from .sessions.call import Call, Outcome
from .types import CAPABILITIES, Event, File, Message, ToolEnd, ToolStart

if TYPE_CHECKING:
    import uuid

    from .api.credentials import KeySource
    from .stores import Store

logger = logging.getLogger("stewrd_integrations")


class ToolOptions(TypedDict, total=False):
    """Options that tools share with the models, whose docs say what each means."""

    api_key: KeySource
    base_url: str | None
    tenant: str | int | uuid.UUID | None
    store: Store | str | None
    on_store_error: Literal["stateless", "error"]
    max_active_sessions: int
    max_credits: float | None
    replay_budget: int
    retry_on_compute_error: bool
    timeout: float | None
    stall_timeout: float | None
    max_retries: int
    http_client: Any
    http_async_client: Any
    default_headers: Mapping[str, str] | None


def checked(
    capabilities: Sequence[str] | None, conversation_id: object, options: ToolOptions
) -> tuple[tuple[str, ...], str | None]:
    """Check what tools are made of.

    Returns:
        The capabilities, each once, and the conversation's name.

    Raises:
        ConfigurationError: Something is wrong; unknown options are forgotten at once.
    """
    unknown = next((name for name in options if name not in ToolOptions.__annotations__), None)
    if unknown is not None:
        # The key may be among them, under another name.
        cast("dict[str, object]", options).clear()
        raise ConfigurationError(
            f"Tools have no option {unknown!r}.",
            advice=f"They have {', '.join(sorted(ToolOptions.__annotations__))}.",
        )
    try:
        who = checked_who({"capabilities": capabilities, "conversation_id": conversation_id})
    except InvalidInputError as wrong:
        raise ConfigurationError(wrong.message, advice=wrong.advice) from None
    if who["capabilities"] is None:
        raise ConfigurationError(
            "A tool needs its capabilities.",
            advice=f"Pass a list of some of {', '.join(CAPABILITIES)}.",
        )
    return tuple(dict.fromkeys(who["capabilities"])), who["name"]


# -- a call ----------------------------------------------------------------------------


class Listener(Protocol):
    """Who is told what the agent is at."""

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""

    def tell(self, item: Event | Outcome) -> None:
        """Pass it on if it tells of progress."""

    async def atell(self, item: Event | Outcome) -> None:
        """`tell` for the event loop."""


class Transcript(Protocol):
    """A conversation of tools, in the form in which a framework keeps it."""

    def load(self) -> Sequence[Message]:
        """What was said."""

    async def aload(self) -> Sequence[Message]:
        """`load` for the event loop."""

    def add(self, question: Message, outcome: Outcome) -> None:
        """Keep an exchange."""

    async def aadd(self, question: Message, outcome: Outcome) -> None:
        """`add` for the event loop."""


class Asker:
    """Asks the agent, and remembers what was said if there is a conversation.

    Args:
        runtime: What answers.
        transcript: The conversation; without one, each call stands alone.
    """

    def __init__(self, runtime: Runtime, transcript: Transcript | None = None) -> None:
        self._runtime = runtime
        self._transcript = transcript

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # clients and stores can't be copied; copies of a tool share them

    def ask(self, question: Message, capabilities: Sequence[str], listener: Listener) -> Outcome:
        """Ask once.

        Args:
            question: The user message.
            capabilities: What the agent may use.
            listener: Is told of progress.

        Raises:
            StewrdError: No answer came.
        """
        before = self._transcript.load() if self._transcript else ()
        call = self._call([*before, question], capabilities, listener)
        with closing(self._runtime.stream(call)) as items:
            for item in items:
                listener.tell(item)
        assert isinstance(item, Outcome)  # it comes last
        if self._transcript:
            with _paid_for():
                self._transcript.add(question, item)
        return item

    async def aask(
        self, question: Message, capabilities: Sequence[str], listener: Listener
    ) -> Outcome:
        """`ask` for the event loop."""
        before = await self._transcript.aload() if self._transcript else ()
        call = self._call([*before, question], capabilities, listener)
        async with aclosing(self._runtime.astream(call)) as items:
            async for item in items:
                await listener.atell(item)
        assert isinstance(item, Outcome)  # it comes last
        if self._transcript:
            with _paid_for():
                await self._transcript.aadd(question, item)
        return item

    def _call(
        self, messages: Sequence[Message], capabilities: Sequence[str], listener: Listener
    ) -> Call:
        # A plain answer tells more of its cost, so it is streamed only where somebody listens.
        alone = self._transcript is None
        own = {"capabilities": capabilities}
        return self._runtime.call(messages, own, one_shot=alone, stream=listener.wanted)

    def close(self) -> None:
        """Give the connections of sync calls back; the next call makes new ones."""
        self._runtime.close()

    async def aclose(self) -> None:
        """Give the connections of sync and async calls back."""
        await self._runtime.aclose()


@contextmanager
def _paid_for() -> Generator[None, None, None]:
    """An answer is worth more than the news of a store that failed to keep it."""
    try:
        yield
    except StoreError as error:
        logger.warning("Stewrd: an answer was not kept in its conversation: %s", error)


# -- what goes in ----------------------------------------------------------------------


class _TextFile(Protocol):
    name: str
    content: str


def user_message(text: str, files: Sequence[_TextFile]) -> Message:
    """The message to send; its files get names that tell them apart."""
    taken: set[str] = set()
    named = tuple(
        File(
            _free_name(file.name if file.name.strip() else f"file-{number}.txt", taken),
            file.content,
        )
        for number, file in enumerate(files, 1)
    )
    return Message("user", text, files=named)


def _free_name(name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    free, number = name, 2
    while free in taken:
        free, number = f"{stem}-{number}{dot}{suffix}", number + 1
    taken.add(free)
    return free


# -- what comes out --------------------------------------------------------------------


def content(outcome: Outcome) -> str:
    """What the agent reads: the answer, and which files came with it."""
    files = [
        f"{file.name} ({'to be downloaded' if file.content is None else 'text'})"
        for file in outcome.reply.files
    ]
    listed = [f"Files that came with it: {', '.join(files)}."] if files else []
    text = outcome.reply.message.strip()
    return "\n\n".join([*([text] if text else []), *listed])


def artifact(outcome: Outcome) -> dict[str, Any]:
    """What the application gets besides, as plain JSON values."""
    facts = metadata(outcome)["stewrd"]
    told = {name: value for name, value in facts.items() if name != "mark"}
    return {"answer": outcome.reply.message, **told}


def files_of(facts: object, *, advice: str) -> list[File]:
    """The files that an artifact, or what an answer tells about itself, lists.

    Args:
        facts: Whatever was found in the place of such facts.
        advice: What to pass instead, if it is something else.

    Raises:
        InvalidInputError: It is something else.
    """
    match facts:
        case {"files": [*files]} if all(_is_file(file) for file in files):
            return [File(file["name"], file["content"], file["url"]) for file in files]
        case _:
            raise InvalidInputError(
                "There is no answer of Stewrd to take files from.", advice=advice
            )


def _is_file(file: object) -> bool:
    match file:
        case {"name": str(), "content": str() | None, "url": str() | None}:
            return True
        case _:
            return False


def failure(tool: str, error: StewrdError) -> str:
    """A failed call, as the agent that made it is told of it: what is wrong, and what to do."""
    again = error.retryable and error.charged == "no"
    code = f"code: {error.code}; " if error.code else ""
    facts = f"{code}charged: {error.charged}; retryable: {'yes' if again else 'no'}"
    known = error.advice if error.charged == "no" else "The work may have been done all the same."
    to_do = "You may call it once more." if again else "Don't repeat the call: tell the user."
    return f"{tool} failed: {error.message} {known} ({facts}) {to_do}"


def progress(item: Event | Outcome, by: str) -> dict[str, Any] | None:
    """What an item of an answer tells of progress, as plain values.

    Args:
        item: The item.
        by: The tool's name.
    """
    match item:
        case ToolStart(tool, text):
            return {"type": "tool_start", "tool": tool, "message": text, "by": by}
        case ToolEnd(tool):
            return {"type": "tool_end", "tool": tool, "message": None, "by": by}
        case _:
            return None
