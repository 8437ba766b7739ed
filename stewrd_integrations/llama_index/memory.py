"""`StewrdMemory`: one conversation's messages in a store, and its session."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.bridge.pydantic import (
    Field,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from llama_index.core.memory import BaseMemory
from typing_extensions import Self, override

from ..api.credentials import ApiKey
from ..conversations import Conversation, SessionInfo
from ..errors import ConfigurationError, InvalidInputError, StoreError
from ..runtime import Options
from ..stamps import Stamp
from ..types import Message
from .messages import read_messages
from .pending import Pending, leave
from .places import Place, recalled, remembered, store_elsewhere, told_store
from .stamps import stamped, without

if TYPE_CHECKING:
    from ..api.credentials import KeySource
    from ..stores import Store
    from .llm import StewrdLLM


class StewrdMemory(BaseMemory):
    """The messages of one conversation in a store, and the session that has heard them.

    Give it to a chat engine or an agent, whose model is a `StewrdLLM` of the same project and
    store; the model learns from it which conversation is at work:

        ```python
        from llama_index.core.chat_engine import SimpleChatEngine
        from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

        engine = SimpleChatEngine.from_defaults(llm=StewrdLLM(), memory=StewrdMemory("chat-42"))
        engine.chat("My name is Ada.")
        ```

    It holds all messages and never cuts the front off: the session has heard them anyway.

    The messages that it hands out are copies with a small stamp, from which a `StewrdLLM` of
    the same project learns name and tenant; what is stored and sent has none. A list of several
    memories' messages has no name; one of several tenants is refused.

    Two memories of one name, tenant and project on one store are the same. The project is
    known by its API key: under a new key, a transcript is found no more.

    As JSON, as agents keep it between runs, it says which conversation it is, and neither key
    nor text. Made of JSON in the same process, it finds key and store again; in another one,
    they come from ``STEWRD_API_KEY``, and from ``STEWRD_STORE`` unless the store was given as a
    URL without a query or a password.

    Args:
        conversation_id: The conversation's name; None makes a random one.
        tenant: Whose conversation it is; the model must not be told another one.
        store: A store or its URL, the same as the model's; else ``STEWRD_STORE``, or memory.
        api_key: The project's key; else ``STEWRD_API_KEY``.
        base_url: The API's address; else ``STEWRD_BASE_URL``, or the public API.
        place: What its JSON says of key and store.

    Whatever needs the store raises `StoreError` if that fails.

    Raises:
        ConfigurationError: An option is wrong.
    """

    conversation_id: str = Field(frozen=True)
    tenant: str | None = Field(default=None, frozen=True)
    base_url: str | None = Field(default=None, frozen=True)

    _conversation: Conversation = PrivateAttr()
    _place: Place = PrivateAttr()
    _pending: Pending | None = PrivateAttr(default=None)
    _in_parts: bool = PrivateAttr(default=False)

    def __init__(
        self,
        conversation_id: str | int | uuid.UUID | None = None,
        *,
        tenant: str | int | uuid.UUID | None = None,
        store: Store | str | None = None,
        api_key: KeySource = None,
        base_url: str | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> None:
        known = recalled(place or {})
        key = ApiKey(api_key) if known is None or api_key is not None else known.api_key
        del api_key  # a traceback that shows locals must not show it
        if store is None and place is not None:
            store = store_elsewhere(place) if known is None else known.store
        name = uuid.uuid4().hex if conversation_id is None else conversation_id
        conversation = Conversation(
            Options(
                api_key=key,
                base_url=base_url,
                conversation_id=cast("str", name),  # whatever it is, it is checked
                tenant=cast("str | None", tenant),
                store=store,
            )
        )
        facts = {"tenant": conversation.tenant, "base_url": base_url}
        super().__init__(**{"conversation_id": conversation.name, **facts})
        self._conversation = conversation
        told = known.told if known and store is known.store else told_store(store)
        self._place = Place(key, conversation.store, told)
        if place is not None and place.get("project") != conversation.project():
            raise ConfigurationError(
                "A memory came back from JSON under another project's key or address.",
                advice="Set STEWRD_API_KEY and STEWRD_BASE_URL to the project's, or make the "
                "memory anew: StewrdMemory(conversation_id, api_key=...).",
            )

    @override
    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "StewrdMemory"

    @override
    @classmethod
    def from_defaults(
        cls,
        chat_history: Sequence[ChatMessage] | None = None,
        llm: StewrdLLM | None = None,
        *,
        conversation_id: str | int | uuid.UUID | None = None,
        **options: Any,
    ) -> Self:
        """Make a memory.

        Args:
            chat_history: Messages to begin with, where the conversation has none yet.
            llm: The model, from which key, address, store and tenant are taken.
            conversation_id: The conversation's name; None makes a random one.
            **options: As the class takes them; they count more than the model's.

        Raises:
            ConfigurationError: An option is wrong.
            StoreError: The store failed.
        """
        if llm is not None:
            options = {**llm.place(), **options}
        memory = cls(conversation_id, **options)
        if chat_history and not memory._conversation.load():
            memory._conversation.append(_lines(chat_history))
        return memory

    # -- messages ----------------------------------------------------------------------

    @override
    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Copies of all messages, which tell a `StewrdLLM` whose they are.

        Args:
            input: What the user says next, where an engine tells it.
            **kwargs: Makes no difference.
        """
        return self._handed_out(self._conversation.load(), input)

    @override
    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """`get` for the event loop."""
        return self._handed_out(await self._conversation.aload(), input)

    @override
    def get_all(self) -> list[ChatMessage]:
        """Copies of all messages."""
        return stamped(_messages(self._conversation.load()), self._stamp())

    @override
    async def aget_all(self) -> list[ChatMessage]:
        """`get_all` for the event loop."""
        return stamped(_messages(await self._conversation.aload()), self._stamp())

    def _handed_out(self, lines: Sequence[str], said: str | None) -> list[ChatMessage]:
        messages, stamp = _messages(lines), self._stamp()
        self._settle()
        if said:
            self._pending = Pending(stamp, messages, said, alone=self._in_parts)
        leave(self._pending)
        return stamped(messages, stamp)

    def _stamp(self) -> Stamp:
        return Stamp(self.conversation_id, self.tenant, self._conversation.seal())

    def _settle(self) -> None:
        """What was left for a call is of no use any more."""
        if self._pending is not None:
            self._pending.over = True
        self._pending = None

    @override
    def put(self, message: ChatMessage) -> None:
        """Add a message at the end."""
        self.put_messages([message])

    @override
    async def aput(self, message: ChatMessage) -> None:
        """`put` for the event loop."""
        await self.aput_messages([message])

    @override
    def put_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Add messages at the end, all or none.

        Raises:
            InvalidInputError: One of them holds something that JSON has no place for.
        """
        self._conversation.append(self._taken_in(messages))

    @override
    async def aput_messages(self, messages: Sequence[ChatMessage]) -> None:
        """`put_messages` for the event loop."""
        await self._conversation.aappend(self._taken_in(messages))

    def _taken_in(self, messages: Sequence[ChatMessage]) -> list[str]:
        lines = _lines(messages)
        if self._pending and any(message.role != MessageRole.USER for message in messages):
            # An answer that was refined is none of the calls' own: the session that heard the
            # first of them can't go on, so the next turns don't begin one.
            self._in_parts = self._pending.calls > 1
            self._settle()
        return lines

    @override
    def set(self, messages: Sequence[ChatMessage]) -> None:
        """Put messages in the place of all.

        Where they only go on from what is there, the conversation goes on. Else it is
        another one, so every session that has heard it is forgotten.
        """
        self._settle()
        lines, kept = _lines(messages), self._conversation.load()
        more = _continuation(kept, lines)
        if more is None:
            self._conversation.forget(_heard(kept))
            more = lines
        if more:
            self._conversation.append(more)

    @override
    async def aset(self, messages: Sequence[ChatMessage]) -> None:
        """`set` for the event loop."""
        self._settle()
        lines, kept = _lines(messages), await self._conversation.aload()
        more = _continuation(kept, lines)
        if more is None:
            await self._conversation.aforget(_heard(kept))
            more = lines
        if more:
            await self._conversation.aappend(more)

    @override
    def reset(self) -> None:
        """Forget the messages and every session that has heard them.

        Stewrd has no call that deletes a session, so the old one takes its slot until it has
        been idle for 30 minutes.
        """
        self._settle()
        self._conversation.forget(_heard(self._conversation.load()))

    @override
    async def areset(self) -> None:
        """`reset` for the event loop."""
        self._settle()
        await self._conversation.aforget(_heard(await self._conversation.aload()))

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

    # -- copies and JSON ---------------------------------------------------------------

    @model_serializer(mode="wrap")
    def custom_model_dump(
        self,
        handler: SerializerFunctionWrapHandler,
        info: SerializationInfo,  # noqa: ARG002 - pydantic's
    ) -> dict[str, Any]:
        """Which conversation it is, and how it is found again."""
        place = remembered(self._place, self._conversation.project())
        return {**handler(self), "class_name": self.class_name(), "place": place}

    def __copy__(self) -> Self:
        return self._rebuilt()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self._rebuilt()  # clients and stores can't be copied; both use the same

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self).from_dict, (self.to_dict(),)

    def _rebuilt(self) -> Self:
        return type(self)(
            self.conversation_id,
            tenant=self.tenant,
            base_url=self.base_url,
            api_key=self._place.api_key,
            store=self._place.store,
        )


# -- lines of a transcript -------------------------------------------------------------


def _lines(messages: Iterable[ChatMessage]) -> list[str]:
    return [_line(message, place) for place, message in enumerate(messages, 1)]


def _line(message: ChatMessage, place: int) -> str:
    """LlamaIndex's own form of a message, lossless but for its stamp."""
    try:
        return json.dumps(without(message).model_dump(mode="json"))
    except (TypeError, ValueError) as error:
        problem = type(error).__name__
    raise InvalidInputError(
        f"Message {place} (from the {message.role.value}) holds something that is no JSON "
        f"({problem}).",
        advice="Look at its blocks and additional_kwargs: keep plain values there.",
    )


def _messages(lines: Iterable[str]) -> list[ChatMessage]:
    return [_message(line) for line in lines]


def _message(line: str) -> ChatMessage:
    told = _told(line)
    try:
        message = ChatMessage.model_validate(told) if told and "blocks" in told else None
    except (ValueError, TypeError):
        message = None
    if message is None:  # outside, since what was raised shows the line
        raise StoreError(
            "A transcript holds a line that is not a message.",
            advice="It was not written by this class, or by a later version; reset() forgets it.",
        )
    return message


def _told(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _continuation(kept: Sequence[str], lines: Sequence[str]) -> list[str] | None:
    """What the new lines add to those that are kept; None if they are no continuation."""
    told = [json.loads(line) for line in lines[: len(kept)]]
    if len(lines) < len(kept) or told != [_told(line) for line in kept]:
        return None
    return list(lines[len(kept) :])


def _heard(lines: Iterable[str]) -> list[Message]:
    """What of a transcript a session can have heard; the rest is no reason to keep it."""
    heard: list[Message] = []
    for line in lines:
        try:
            heard += read_messages([_message(line)])
        except (InvalidInputError, StoreError):
            continue
    return heard
