"""A conversation while nobody calls: where it is kept under its name, and how it is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..types import Message
from . import notes
from .call import Call, History, Ids, Policy
from .digest import EMPTY, Covered, Digester
from .effects import ChangeNote, Flow, Now, Take
from .keys import Keys

AT_ONCE = 32
"""Keys that a store is asked for in one go."""


def at_rest(
    digester: Digester,
    project: str,
    name: str,
    tenant: str | None,
    messages: Sequence[Message] = (),
) -> Keys:
    """The keys of a named conversation as it lies there.

    Args:
        digester: Keyed by a secret of the project.
        project: Names the project in the store.
        name: The conversation's name.
        tenant: Whose conversation it is.
        messages: All of it, the last answer too.
    """
    digests = tuple(digester.message(message) for message in messages)
    history = History(tuple(messages), digests, len(messages), EMPTY, "", "")
    call = Call(messages=history.messages, ids=Ids("", "", ""), scope="", name=name, tenant=tenant)
    return Keys(digester, project, call, history, Policy())


def transcript(keys: Keys) -> str:
    """The key of the conversation's transcript: its name does not lie around in plain text."""
    return keys.digester.key(keys.note, "transcript")


def seal(keys: Keys) -> str:
    """What only a holder of the project's key can say of a name and its tenant."""
    return keys.digester.key(keys.note, "seal")


def forget(keys: Keys) -> Flow[None]:
    """Take every session that has heard the conversation, or a beginning of it, for good.

    The server can't be told to: a session's slot stays taken until it has been idle.
    """
    now = yield Now()
    yield ChangeNote(keys.note, notes.forgotten(now))
    sought = list(_sought(keys))
    for start in range(0, len(sought), AT_ONCE):
        some = tuple(sought[start : start + AT_ONCE])
        while (yield Take(some)) is not None:
            pass  # and it is not put back


def _sought(keys: Keys) -> dict[str, None]:
    """Whatever a binding can have been put under whose last answer is in the conversation."""
    sought: dict[str, None] = {keys.own_spare: None}
    covered = Covered()
    # Its first turn may have come before anybody told whose it is.
    call = replace(keys.call, tenant=None)
    unnamed = Keys(keys.digester, keys.project, call, keys.history, keys.policy)
    for message, digest in zip(keys.history.messages, keys.history.digests, strict=True):
        covered = covered.extended(keys.digester, [digest])
        if message.role != "assistant":
            continue
        sought.update(dict.fromkeys(keys.kept(covered, plain=False)))
        if message.mark:
            marks = (keys.mark(message.mark), unnamed.mark(message.mark))
            sought.update(dict.fromkeys(marks))
    return sought
