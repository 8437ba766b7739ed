"""A named conversation in a store: its transcript and its session, for the memory classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, cast

from .drivers import adrive, drive
from .errors import ConfigurationError, InvalidInputError
from .options import Options, checked_who
from .runtime import Runtime
from .sessions import forgetting, soundness
from .sessions.call import Outcome
from .sessions.digest import Digester
from .sessions.effects import Flow
from .sessions.keys import Keys
from .stores import Store
from .surroundings import Surroundings
from .types import Message
from .values import dataclass


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """The live session of a conversation, as far as this side knows.

    Attributes:
        session_id: Its id at Stewrd.
        messages_used: Messages that it holds, answers included.
        messages_left: Messages that it has room for.
        idle_deadline: When it expires if nothing more is said (UTC).
        generation: How many sessions the conversation has had, this one included.
    """

    session_id: str
    messages_used: int
    messages_left: int
    idle_deadline: datetime
    generation: int


class Conversation:
    """What a store keeps of one conversation: a transcript of lines, and the session's facts.

    Args:
        options: ``conversation_id`` and ``tenant`` say which one, ``store`` where it is, and
            ``api_key`` and ``base_url`` of which project.

    Its methods raise `StoreError` where the store fails: what was not kept or not forgotten must
    not look as if it were.

    Raises:
        ConfigurationError: An option is wrong, or there is no name.
    """

    def __init__(self, options: Options) -> None:
        self._runtime = Runtime(options)
        who = {"conversation_id": options.conversation_id, "tenant": options.tenant}
        try:
            checked = checked_who(who)
        except InvalidInputError as wrong:
            raise ConfigurationError(wrong.message, advice=wrong.advice) from None
        if checked["name"] is None:
            raise ConfigurationError(
                "A history needs the conversation's name.", advice="Pass a conversation_id."
            )
        self.name: str = checked["name"]
        self.tenant: str | None = checked["tenant"]
        self._store = self._runtime.store
        self._clock = options.clock

    def _keys(self, messages: Sequence[Message] = ()) -> Keys:
        # Asked for each time: keys may rotate.
        project, secret = self._runtime.client.identity()
        digester = Digester(secret)
        return forgetting.at_rest(digester, project, self.name, self.tenant, messages)

    def _transcript(self) -> str:
        return forgetting.transcript(self._keys())

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._store

    def project(self) -> str:
        """What the project is called in stores: 32 hex digits that don't give its key away."""
        return self._keys().project

    def seal(self) -> str:
        """What proves to a model of the same project that a name comes from here."""
        return forgetting.seal(self._keys())

    # -- the transcript ----------------------------------------------------------------

    def load(self) -> list[str]:
        """All lines, in order."""
        return self._store.load(self._transcript())

    def append(self, lines: Sequence[str], *, replace: bool = False) -> None:
        """Add lines at the end, or put them in the place of all, atomically."""
        self._store.append(self._transcript(), lines, replace)

    async def aload(self) -> list[str]:
        """`load` for the event loop."""
        return await self._store.aload(self._transcript())

    async def aappend(self, lines: Sequence[str], *, replace: bool = False) -> None:
        """`append` for the event loop."""
        await self._store.aappend(self._transcript(), lines, replace)

    # -- the session -------------------------------------------------------------------

    def session(self) -> SessionInfo | None:
        """The live session; None if there is none, or it has been idle for too long."""
        return self._info(self._store.note(self._keys().note))

    async def asession(self) -> SessionInfo | None:
        """`session` for the event loop."""
        return self._info(await self._store.anote(self._keys().note))

    def _info(self, note: Mapping[str, Any]) -> SessionInfo | None:
        facts = soundness.sound(note).get("session") or {}
        if not facts or facts["deadline"] <= self._clock():
            return None
        return SessionInfo(
            session_id=facts["id"],
            messages_used=facts["used"],
            messages_left=max(0, facts["limit"] - facts["used"]),
            idle_deadline=datetime.fromtimestamp(facts["deadline"], timezone.utc),
            generation=facts["generation"],
        )

    # -- an end ------------------------------------------------------------------------

    def forget(self, messages: Sequence[Message], lines: Sequence[str] = ()) -> None:
        """Forget the transcript and every session that has heard these messages.

        The transcript goes last: whoever is interrupted can ask for it once more.

        Args:
            messages: The whole conversation.
            lines: Another transcript, to take its place in one go.
        """
        self.disown(messages)
        if lines:
            self._store.append(self._transcript(), lines, True)
        else:
            self._store.clear(self._transcript())

    async def aforget(self, messages: Sequence[Message], lines: Sequence[str] = ()) -> None:
        """`forget` for the event loop."""
        await self.adisown(messages)
        if lines:
            await self._store.aappend(self._transcript(), lines, True)
        else:
            await self._store.aclear(self._transcript())

    def disown(self, messages: Sequence[Message]) -> None:
        """Forget every session that has heard these messages; the transcript stays."""
        flow, around = self._forgetting(messages)
        list(drive(flow, self._runtime.client, around))

    async def adisown(self, messages: Sequence[Message]) -> None:
        """`disown` for the event loop."""
        flow, around = self._forgetting(messages)
        async for _ in adrive(flow, self._runtime.async_client, around):
            pass

    def _forgetting(self, messages: Sequence[Message]) -> tuple[Flow[Outcome], Surroundings]:
        keys = self._keys(messages)
        around = Surroundings(self._store, keys.project, store_errors="error", clock=self._clock)
        # The drivers hand out whatever a flow ends with; their types speak of turns.
        return cast("Flow[Outcome]", forgetting.forget(keys)), around
