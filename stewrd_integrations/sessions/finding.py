"""Finding the binding of a conversation: the one whose session has heard exactly this."""

from __future__ import annotations

from dataclasses import replace

from .align import Alignment, Fresh, align
from .binding import DAY, Binding, leads_nowhere
from .digest import Covered
from .effects import Flow, Put, Take
from .keys import Keys


def find(keys: Keys) -> Flow[tuple[Binding | None, Alignment]]:
    """Take the first binding that aligns; others go back untouched, after all were tried.

    Returns the binding, or None, with what the align table says of it, or of the last refused.
    """
    unique = keys.kind == "content"
    verdict = Alignment("refused", "")
    rejected: list[Binding] = []
    binding: Binding | None = None
    for sought in keys.searches():
        while (binding := (yield Take(sought, unique))) is not None:
            if leads_nowhere(binding):
                continue  # it is dropped
            verdict = _aligned(keys, binding)
            if verdict.continues:
                break
            rejected.append(binding)
        if binding is not None:
            break
    for other in rejected:
        yield Put(other, DAY)
    if binding is not None and unique:
        yield Put(_tombstone(keys), DAY)
    return binding, verdict


def put_back(keys: Keys, binding: Binding) -> Put:
    """The binding as it was found, since nothing has come of the call."""
    if keys.kind == "content":
        # In the place of its tombstone, beside which it would not be the only one any more.
        binding = replace(binding, id=keys.call.ids.nonce)
    return Put(binding, DAY)


def _aligned(keys: Keys, binding: Binding) -> Alignment:
    history = keys.history
    marked = keys.tip_is_marked(binding)
    if marked is False:
        reason = f"the last answer, message {history.shown}, is another one with the same words"
        return Alignment("refused", reason)
    if not binding.covered.recent and binding.session_id is not None:
        everything = tuple(Fresh(index) for index in range(len(history.digests)))
        covered = Covered.of(keys.digester, history.digests)
        return Alignment("same", "its session has heard nothing yet", everything, covered)
    rule = keys.trim_rule(marked=marked)
    return align(keys.digester, binding.covered, history.digests, history.shown, rule)


def _tombstone(keys: Keys) -> Binding:
    """What stays behind where content matched.

    A second conversation of the same words is so told from the first, also when the first has
    moved on and comes back later by a rewind.
    """
    return Binding(id=keys.call.ids.nonce, session_id=None, covered=Covered(), keys=keys.sought)
