"""`StewrdMemory`: one conversation's messages in a store, and its session."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

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

from ..api.credentials import ApiKey, KeySource
from ..conversations import Conversation, SessionInfo
from ..errors import ConfigurationError, StoreError
from ..options import Options
from ..stamps import Stamp
from ..stores import Store
from .configured import ConfiguredLLM
from .lines import continuation, heard, lines_of, messages_of
from .pending import Pending, leave
from .places import Place, recalled, remembered, store_elsewhere, told_store
from .stamps import stamped


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
        class_name: Makes no difference; its JSON has it.

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
        class_name: str | None = None,  # noqa: ARG002 - LlamaIndex's dumps have it
    ) -> None:
        key, is_given = ApiKey(api_key), api_key is not None
        del api_key  # a traceback that shows locals must not show it
        known = None if place is None else recalled(place)
        if known is not None and not is_given:
            key = known.api_key
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
        llm: ConfiguredLLM | None = None,
        *,
        conversation_id: str | int | uuid.UUID | None = None,
        **options: Any,
    ) -> Self:
        """Make a memory.

        Args:
            chat_history: Messages to begin with, where the conversation has none yet.
            llm: The model, from which key, address, store and tenant are taken.
            conversation_id: The conversation's name; None makes a random one.
            **options: As the class takes them; they count more than the model's. A
                ``token_limit`` makes no difference: all messages are kept, and a session is
                sent the new ones only.

        Raises:
            ConfigurationError: An option is wrong.
            StoreError: The store failed.
        """
        if options.get("api_key") is not None:
            options["api_key"] = ApiKey(options["api_key"])  # hidden where locals are shown
        options.pop("token_limit", None)  # engines that make a memory of this class pass one
        _check_names(options)
        if llm is not None:
            options = {**_place_of(llm), **options}
        memory = cls(conversation_id, **options)
        if chat_history and not memory._conversation.load():
            memory._conversation.append(lines_of(chat_history))
        return memory

    # -- messages ----------------------------------------------------------------------

    @override
    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Copies of all messages, which tell a `StewrdLLM` whose they are.

        Args:
            input: What the user says next, where an engine tells it.
            **kwargs: Makes no difference.
        """
        self._leave(None)
        return self._handed_out(self._conversation.load(), input)

    @override
    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:
        """`get` for the event loop."""
        self._leave(None)
        return self._handed_out(await self._conversation.aload(), input)

    @override
    def get_all(self) -> list[ChatMessage]:
        """Copies of all messages."""
        return stamped(messages_of(self._conversation.load()), self._stamp())

    @override
    async def aget_all(self) -> list[ChatMessage]:
        """`get_all` for the event loop."""
        return stamped(messages_of(await self._conversation.aload()), self._stamp())

    def _handed_out(self, lines: Sequence[str], said: str | None) -> list[ChatMessage]:
        messages, stamp = messages_of(lines), self._stamp()
        if said:
            self._leave(Pending(stamp, messages, said, alone=self._in_parts))
        return stamped(messages, stamp)

    def _leave(self, pending: Pending | None) -> None:
        """Leave a stamp for the call that follows, or none."""
        self._settle()
        self._pending = pending
        leave(pending)

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
        lines, in_parts = self._taken_in(messages)
        self._conversation.append(lines)
        if in_parts:
            self._conversation.disown(heard(self._conversation.load()))

    @override
    async def aput_messages(self, messages: Sequence[ChatMessage]) -> None:
        """`put_messages` for the event loop."""
        lines, in_parts = self._taken_in(messages)
        await self._conversation.aappend(lines)
        if in_parts:
            await self._conversation.adisown(heard(await self._conversation.aload()))

    def _taken_in(self, messages: Sequence[ChatMessage]) -> tuple[list[str], bool]:
        """The messages as lines, and whether their answer is none of a session's own.

        Where an answer was refined, the session that heard the first call can't go on; and if it
        was another one's call, it must not. So the next turns don't begin one, either.
        """
        lines, in_parts = lines_of(messages), False
        if self._pending and any(message.role != MessageRole.USER for message in messages):
            in_parts = self._in_parts = self._pending.calls > 1
            self._settle()
        return lines, in_parts

    @override
    def set(self, messages: Sequence[ChatMessage]) -> None:
        """Put messages in the place of all.

        Where they only go on from what is there, the conversation goes on. Else it is
        another one, so every session that has heard it is forgotten.
        """
        self._settle()
        lines, kept = lines_of(messages), self._conversation.load()
        more = continuation(kept, lines)
        if more is None:
            self._conversation.forget(heard(kept), lines)
        elif more:
            self._conversation.append(more)

    @override
    async def aset(self, messages: Sequence[ChatMessage]) -> None:
        """`set` for the event loop."""
        self._settle()
        lines, kept = lines_of(messages), await self._conversation.aload()
        more = continuation(kept, lines)
        if more is None:
            await self._conversation.aforget(heard(kept), lines)
        elif more:
            await self._conversation.aappend(more)

    @override
    def reset(self) -> None:
        """Forget the messages and every session that has heard them.

        Stewrd has no call that deletes a session, so the old one takes its slot until it has
        been idle for 30 minutes. What can't be read, or not with the store's key, goes too.
        """
        self._settle()
        lines: list[str] = []
        with suppress(StoreError):  # unreadable; where the store fails, what follows does too
            lines = self._conversation.load()
        self._conversation.forget(heard(lines))

    @override
    async def areset(self) -> None:
        """`reset` for the event loop."""
        self._settle()
        lines: list[str] = []
        with suppress(StoreError):  # as in `reset`
            lines = await self._conversation.aload()
        await self._conversation.aforget(heard(lines))

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

    @override
    def model_copy(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        deep: bool = False,
    ) -> Self:
        """A memory of the same conversation, or of that which ``update`` says.

        Raises:
            ConfigurationError: An option is wrong.
        """
        given = {
            "conversation_id": self.conversation_id,
            "tenant": self.tenant,
            "base_url": self.base_url,
            "api_key": self._place.api_key,
            "store": self._place.store,
            **(update or {}),
        }
        given["api_key"] = ApiKey(given["api_key"])
        del update
        return self._made(given, self._place)

    @classmethod
    def _made(cls, given: Mapping[str, Any], place: Place) -> Self:
        """A memory that tells as much of the store as another one in the same place."""
        made = cls(**given)
        if made._place.store is place.store:
            made._place = replace(made._place, told=place.told)
        return made

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()  # clients and stores can't be copied; both use the same

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self).from_dict, (self.to_dict(),)


_OPTIONS = ("tenant", "store", "api_key", "base_url", "place")
_HABITS = {
    "session_id": "It is conversation_id here; the session at Stewrd is found by itself.",
    "chat_store": "Pass store=, a store of stewrd_integrations or its URL.",
}
"""What users of LlamaIndex's own memories would pass, and what to do instead."""


def _check_names(options: dict[str, Any]) -> None:
    unknown = next((name for name in options if name not in _OPTIONS), None)
    if unknown is not None:
        options.clear()  # the key may be among them, under another name
        raise ConfigurationError(
            f"StewrdMemory has no option {unknown!r}.",
            advice=_HABITS.get(unknown, f"It has conversation_id, {', '.join(_OPTIONS[:-1])}."),
        )


def _place_of(llm: object) -> dict[str, Any]:
    if isinstance(llm, ConfiguredLLM):
        return llm.place()
    raise ConfigurationError(
        f"llm is a {type(llm).__name__}, which has no conversations of Stewrd.",
        advice="Pass a StewrdLLM, or api_key and store.",
    )
