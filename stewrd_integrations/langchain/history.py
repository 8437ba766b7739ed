"""`StewrdChatMessageHistory`: one conversation's messages in a store, and its session."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from typing_extensions import Self, override

from ..api.credentials import ApiKey, Secret
from ..api.pickling import portable, restored
from ..conversations import Conversation, SessionInfo
from ..errors import InvalidInputError, StoreError
from ..options import Options
from ..stamps import Stamp
from ..stores import Store
from ..types import Message
from .messages import from_langchain
from .stamps import stamped, without


class StewrdChatMessageHistory(BaseChatMessageHistory):
    """The messages of one conversation in a store, and the session that has heard them.

    For new applications, LangChain recommends LangGraph's checkpointers, which work with
    `ChatStewrd` as they are. This class serves what stands on histories, like
    `RunnableWithMessageHistory`:

        ```python
        from langchain_core.runnables.history import RunnableWithMessageHistory
        from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory

        chat = RunnableWithMessageHistory(ChatStewrd(), StewrdChatMessageHistory)
        chat.invoke("My name is Ada.", {"configurable": {"session_id": "chat-42"}})
        ```

    or alone, where it tells the model by itself which conversation it is:

        ```python
        history = StewrdChatMessageHistory("chat-42")
        history.add_user_message("My name is Ada.")
        history.add_message(ChatStewrd().invoke(history.messages))
        ```

    Put the new message in first, as here: so also the first turn, whose list would otherwise
    hold nothing of the history, has its name.

    The messages that it hands out are copies with a small stamp, from which a `ChatStewrd` of
    the same project learns name and tenant; what is stored, sent and traced has none. A list of
    several histories' messages has no name; one of several tenants is refused.

    Two histories of one name, tenant and project on one store are the same. The project is
    known by its API key: under a new key, a transcript is found no more. To keep it, read it
    with the old key and add it with the new one.

    Args:
        conversation_id: The conversation's name.
        tenant: Whose conversation it is; the model must not be told another one.
        store: A store or its URL, the same as the model's; else ``STEWRD_STORE``, or memory.
        api_key: The project's key; else ``STEWRD_API_KEY``.
        base_url: The API's address; else ``STEWRD_BASE_URL``, or the public API.

    Whatever needs the store raises `StoreError` if that fails.

    Raises:
        ConfigurationError: An option is wrong.
    """

    def __init__(
        self,
        conversation_id: str | int | uuid.UUID,
        *,
        tenant: str | int | uuid.UUID | None = None,
        store: Store | str | None = None,
        api_key: str | Secret | Callable[[], str | Secret] | ApiKey | None = None,
        base_url: str | None = None,
    ) -> None:
        super().__init__()
        self._options = Options(
            api_key=ApiKey(api_key),
            base_url=base_url,
            conversation_id=cast("str", conversation_id),  # whatever it is, it is checked
            tenant=cast("str | None", tenant),
            store=store,
        )
        del api_key  # a traceback that shows locals must not show it
        self._made: Conversation | None = Conversation(self._options)
        self._name, self._tenant = self._made.name, self._made.tenant

    def __repr__(self) -> str:
        if not hasattr(self, "_made"):
            return f"{type(self).__name__}(?)"  # a debugger may show one whose making was refused
        tenant = "" if self.tenant is None else f", tenant={self.tenant!r}"
        return f"{type(self).__name__}({self.conversation_id!r}{tenant})"

    @property
    def _conversation(self) -> Conversation:
        if self._made is None:
            store = restored({"store": self._options.store})["store"]
            self._made = Conversation(replace(self._options, store=store))
        return self._made

    def __getstate__(self) -> dict[str, Any]:
        # Without secrets, which are found in the environment where they are first needed again.
        store = portable({"store": self._options.store})["store"]
        options = replace(self._options, api_key=None, store=store)
        return {**self.__dict__, "_options": options, "_made": None}

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()  # clients and stores can't be copied; both use the same

    @property
    def conversation_id(self) -> str:
        """The conversation's name."""
        return self._name

    @property
    def tenant(self) -> str | None:
        """Whose conversation it is."""
        return self._tenant

    # -- messages ----------------------------------------------------------------------

    @property
    def messages(self) -> list[BaseMessage]:
        """Copies of all messages; to change the list changes nothing.

        Assigned to, it puts other messages in the place of all.
        """
        return self._stamped(self._conversation.load())

    @messages.setter
    def messages(self, messages: Sequence[BaseMessage]) -> None:
        self._conversation.append(_lines(messages), replace=True)

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return self._stamped(await self._conversation.aload())

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end, all or none.

        Raises:
            InvalidInputError: One of them holds something that JSON has no place for.
        """
        self._conversation.append(_lines(messages))

    @override
    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages` for the event loop."""
        await self._conversation.aappend(_lines(messages))

    def _stamped(self, lines: Sequence[str]) -> list[BaseMessage]:
        stamp = Stamp(self.conversation_id, self.tenant, self._conversation.seal())
        return [stamped(_message(line), stamp) for line in lines]

    # -- the session -------------------------------------------------------------------

    @property
    def session(self) -> SessionInfo | None:
        """The conversation's live session: its id, messages used and left, idle deadline.

        None if it has none: it has not begun, was answered without one, or the session has
        expired or was given up.
        """
        return self._conversation.session()

    async def aget_session(self) -> SessionInfo | None:
        """`session` for the event loop."""
        return await self._conversation.asession()

    @override
    def clear(self) -> None:
        """Forget the messages and the session that has heard them.

        Nothing of it can be continued any more, and the name begins anew. Stewrd has no call
        that deletes a session, so the old one takes its slot until it has been idle for 30
        minutes. Clear a conversation while nobody is being answered in it. What can't be read, or
        not with the store's key, goes too.
        """
        lines: list[str] = []
        with suppress(StoreError):  # where the store itself fails, so does what follows
            lines = self._conversation.load()
        self._conversation.forget(_heard(lines))

    @override
    async def aclear(self) -> None:
        """`clear` for the event loop."""
        lines: list[str] = []
        with suppress(StoreError):  # as in `clear`
            lines = await self._conversation.aload()
        await self._conversation.aforget(_heard(lines))


def _lines(messages: Iterable[BaseMessage]) -> list[str]:
    return [_line(message, place) for place, message in enumerate(messages, 1)]


def _line(message: BaseMessage, place: int) -> str:
    """LangChain's own form of a message: lossless but for its stamp, and whole if it is a chunk."""
    message = without(message)
    if isinstance(message, BaseMessageChunk):
        message = message_chunk_to_message(message)
    try:
        return json.dumps(message_to_dict(message))
    except (TypeError, ValueError) as error:
        problem = type(error).__name__
    raise InvalidInputError(
        f"Message {place} ({message.type}) holds something that is no JSON ({problem}).",
        advice="Look at its artifact, additional_kwargs and response_metadata: keep plain "
        "values there.",
    )


def _message(line: str) -> BaseMessage:
    try:
        (message,) = messages_from_dict([json.loads(line)])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = None
    if message is None:  # outside, since what was raised shows the line
        raise StoreError(
            "A transcript holds a line that is not a message.",
            advice="It was not written by this class, or by a later version; clear() forgets it.",
        )
    return message


def _heard(lines: Iterable[str]) -> list[Message]:
    """What of a transcript a session can have heard; the rest is no reason to keep it."""
    heard: list[Message] = []
    for line in lines:
        try:
            heard += from_langchain([_message(line)])
        except (InvalidInputError, StoreError):
            continue
    return heard
