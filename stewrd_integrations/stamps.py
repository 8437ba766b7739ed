"""Stamps: how messages that a history hands out tell the model which conversation they are of.

A stamp stands in ``additional_kwargs["stewrd"]["conversation"]`` of a copy, never in what is
stored. It is sealed with a secret of the project, since messages often come from the outside,
and a name there is as good as the conversation itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import InvalidInputError
from .values import dataclass

OURS = "stewrd"
"""Where in a message's ``additional_kwargs`` a mark and a stamp stand."""

PLACE = "conversation"
_NONE: frozenset[Any] = frozenset()


@dataclass(frozen=True, slots=True)
class Stamp:
    """Whose words a message is among: a conversation's name inside its tenant, and the seal."""

    name: str
    tenant: str | None
    seal: str

    def among(self, extra: Mapping[str, Any], **more: str) -> dict[str, Any]:
        """A message's ``additional_kwargs`` with this stamp, and what else is said beside it."""
        told = {"name": self.name, "tenant": self.tenant, "seal": self.seal, **more}
        return {**extra, OURS: {**_ours(extra), PLACE: told}}


def found(extras: Iterable[Any]) -> frozenset[Stamp]:
    """The stamps in the ``additional_kwargs`` of a list's messages, true or not."""
    # First what is quickly over: lists have thousands of messages, and most say nothing here.
    telling = [extra for extra in extras if extra and OURS in extra and PLACE in _ours(extra)]
    return frozenset(filter(None, map(read, telling))) if telling else _NONE


def read(extra: Mapping[str, Any]) -> Stamp | None:
    """The stamp in a message's ``additional_kwargs``, true or not."""
    told = _ours(extra).get(PLACE) if extra else None
    match told:
        case None:
            return None  # most messages of most lists: quickly over
        case {"name": str(name), "tenant": None | str() as tenant, "seal": str(seal)}:
            return Stamp(name, tenant, seal)
        case _:
            return None


def beside(extra: Mapping[str, Any], word: str) -> str | None:
    """What is said beside the stamp under a word."""
    told = _ours(extra).get(PLACE)
    value = told.get(word) if isinstance(told, Mapping) else None
    return value if isinstance(value, str) else None


def without(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message's ``additional_kwargs`` without a stamp: themselves, or a copy."""
    ours = _ours(extra)
    if PLACE not in ours:
        return extra
    rest = {key: value for key, value in ours.items() if key != PLACE}
    bare = {key: value for key, value in extra.items() if key != OURS}
    return {**bare, OURS: rest} if rest else bare


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


def _ours(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    ours = extra.get(OURS)
    # Its exact type is looked at first, as `isinstance` takes long to say that one is a mapping.
    return ours if type(ours) is dict or isinstance(ours, Mapping) else {}
