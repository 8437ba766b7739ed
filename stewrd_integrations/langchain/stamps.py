"""Stamps: how messages that a history hands out tell the model which conversation they are of.

A stamp stands in ``additional_kwargs["stewrd"]["conversation"]`` of a copy, never in what is
stored, and the model takes it off before anybody else sees the list. It is sealed with a secret
of the project, since messages often come from the outside, and a name there is as good as the
conversation itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue

from ..errors import InvalidInputError

OURS = "stewrd"
PLACE = "conversation"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Whose words a message is among: a conversation's name inside its tenant, and the seal."""

    name: str
    tenant: str | None
    seal: str

    def on(self, message: BaseMessage) -> BaseMessage:
        """A copy of the message with this stamp."""
        told = {"name": self.name, "tenant": self.tenant, "seal": self.seal}
        return _with(message, {**_ours(message), PLACE: told})


def of(messages: Iterable[object]) -> frozenset[Stamp]:
    """The stamps on a list's messages, true or not."""
    found = (_read(message) for message in messages if isinstance(message, BaseMessage))
    return frozenset(stamp for stamp in found if stamp is not None)


def without(message: BaseMessage) -> BaseMessage:
    """The message without a stamp: itself, or a copy."""
    ours = _ours(message)
    if PLACE not in ours:
        return message
    return _with(message, {key: value for key, value in ours.items() if key != PLACE})


def taken_off(shown: LanguageModelInput) -> tuple[LanguageModelInput, frozenset[Stamp]]:
    """A model's input without its stamps, and the stamps."""
    messages: Any = shown.to_messages() if isinstance(shown, PromptValue) else shown
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        return shown, frozenset()
    stamps = of(messages)
    if not stamps:
        return shown, stamps
    return [without(m) if isinstance(m, BaseMessage) else m for m in messages], stamps


def addressed(
    who: Mapping[str, Any], stamps: frozenset[Stamp], history: Stamp | None, tenant: object
) -> dict[str, Any]:
    """What a call says about itself, and what the stamps on its messages add.

    A name that the call gives counts more than a stamp. Where the stamps name several
    conversations, the list is none of them, so it has no name.

    Args:
        who: The options of the call; none of them is None.
        stamps: The true ones.
        history: That of the history at work, which counts where no tenant contradicts it.
        tenant: The model's own.

    Raises:
        InvalidInputError: The tenants differ, so one would read another's words.
    """
    said = who.get("tenant", tenant)
    said = None if said is None else str(said)
    if history is not None and said in (None, history.tenant):
        stamps |= {history}
    if not stamps:
        return dict(who)
    tenants = {stamp.tenant for stamp in stamps} | ({said} if said is not None else set())
    if len(tenants) > 1:
        raise InvalidInputError(
            "The list has messages of a history of another tenant than the call or than other "
            f"messages: {', '.join(sorted(map(repr, tenants)))}.",
            advice="Give the history and the model the same tenant, and a call the messages of "
            "one tenant only.",
        )
    names = {stamp.name for stamp in stamps}
    name = names.pop() if len(names) == 1 else None
    return {"conversation_id": name, **who, "tenant": tenants.pop()}


def _ours(message: BaseMessage) -> Mapping[str, Any]:
    ours = message.additional_kwargs.get(OURS)
    return ours if isinstance(ours, Mapping) else {}


def _read(message: BaseMessage) -> Stamp | None:
    match _ours(message).get(PLACE):
        case {"name": str(name), "tenant": None | str() as tenant, "seal": str(seal)}:
            return Stamp(name, tenant, seal)
        case _:
            return None


def _with(message: BaseMessage, ours: Mapping[str, Any]) -> BaseMessage:
    extra = {**message.additional_kwargs, OURS: ours}
    if not ours:
        del extra[OURS]
    return message.model_copy(update={"additional_kwargs": extra})
