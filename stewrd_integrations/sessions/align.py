"""The align table: does a session hold exactly what the framework shows, and what is new?

A pure function of digests. *Shown* is the history up to the last assistant message; the tip
is the last message that is covered. The walk goes backwards from the tip, so that repeated
short texts can't land in the wrong place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from ..values import dataclass
from .digest import Covered, Digester

Outcome: TypeAlias = Literal["same", "extra", "foreign_tip", "trimmed", "summarised", "refused"]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A message that the session has not heard.

    ``index`` is its place in the conversation; ``before`` says before how many of the covered
    messages it stands (None: after all of them; counted from the end, since the front may be
    trimmed); ``summary`` that it stands for everything earlier.
    """

    index: int
    before: int | None = None
    summary: bool = False

    def within(self, held: int) -> Fresh:
        """The same, for a session that holds only the last so many covered messages."""
        return self if self.before is None else replace(self, before=min(self.before, held))


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the table says of one binding and one conversation.

    ``reason`` names the rule and the place: messages count from 1, without instructions.
    ``covered`` is what will be covered once the fresh messages are sent.
    """

    outcome: Outcome
    reason: str
    fresh: tuple[Fresh, ...] = ()
    covered: Covered = Covered()

    @property
    def heard_no_more(self) -> bool:
        """Whether the session has heard nothing but what is shown."""
        return self.outcome not in ("trimmed", "summarised")

    @property
    def summaries(self) -> tuple[Fresh, ...]:
        """What stands for the front that is gone: a summary, or nothing."""
        return tuple(fresh for fresh in self.fresh if fresh.summary)

    @property
    def unsummarised(self) -> tuple[Fresh, ...]:
        """What is new beside that."""
        return tuple(fresh for fresh in self.fresh if not fresh.summary)

    @property
    def continues(self) -> bool:
        """Whether the session may go on."""
        return self.outcome != "refused"


@dataclass(frozen=True, slots=True)
class TrimRule:
    """Whether a trimmed history may continue.

    ``exchanges`` is how many covered exchanges must be shown, None that trims never continue;
    ``why`` says then what forbids them.
    """

    exchanges: int | None
    why: str = ""


def align(
    digester: Digester,
    covered: Covered,
    digests: Sequence[str],
    shown: int,
    trim: TrimRule,
) -> Alignment:
    """Hold a conversation against what a session has heard.

    Args:
        digester: The project's digests.
        covered: What the session has heard.
        digests: Every message of the conversation without its instructions.
        shown: How many of them are the history up to the last assistant message.
        trim: What is asked of a history whose front is gone.
    """
    if not covered.recent:
        return Alignment("refused", "another conversation began with the same words")
    walk = _walk_back(covered, digests, shown)
    if isinstance(walk, str):
        return Alignment("refused", told_apart(digester, covered, digests) or walk)
    if walk.left:
        return _front_is_gone(digester, covered, digests, shown, walk, trim)
    if covered.base_count and not _base_agrees(digester, covered, digests, walk):
        old = f"edited: something before the last {Covered.KEPT} messages differs"
        return Alignment("refused", told_apart(digester, covered, digests) or old)
    return _nothing_missing(digester, digests, shown, walk)


def told_apart(digester: Digester, covered: Covered, digests: Sequence[str]) -> str:
    """Where the conversation leaves what was heard, from its front; "" if that is not known.

    It is not where the front is another one: something may have been trimmed away too.
    """
    if not digests or digests[0] != covered.first:
        return ""
    base, heard = covered.base_count, covered.recent
    if base and (len(digests) < base or digester.prefix(tuple(digests), base) != covered.base):
        return f"edited or rewound: one of messages 2 to {base} differs or is gone"
    rest = digests[base:]
    same = base + next(
        (place for place, pair in enumerate(zip(rest, heard, strict=False)) if pair[0] != pair[1]),
        min(len(rest), len(heard)),
    )
    if same < len(digests):
        return f"edited: message {same + 1} differs"
    more = covered.count - same
    if more < 1:
        return ""
    if more == 1:
        return f"regenerated: message {same} was answered already"
    return f"rewound to message {same}: the session has heard {more} more"


def _numbered(indexes: Sequence[int]) -> str:
    """Messages by their numbers, which begin at 1."""
    first, *more = (index + 1 for index in indexes)
    if not more:
        return f"message {first}"
    if more[-1] - first == len(more):
        return f"messages {first} to {more[-1]}"
    return f"messages {first}, {', '.join(map(str, more[:3]))}{', …' * (len(more) > 3)}"


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where the walk ended.

    ``tip`` is the tip's place among the shown; ``extras`` the places passed over with the
    number of covered messages behind each; ``at`` how many shown messages are left in front
    when the recent ones are used up; ``left`` how many covered ones have no match because
    the shown history ended first.
    """

    tip: int
    extras: tuple[tuple[int, int], ...]
    at: int
    left: int


def _walk_back(covered: Covered, digests: Sequence[str], shown: int) -> _Walk | str:
    recent = covered.recent
    if tuple(digests[covered.base_count : shown]) == recent:
        return _Walk(shown - 1, (), covered.base_count, 0)  # nearly always, and at once
    tip = next((i for i in range(shown - 1, -1, -1) if digests[i] == recent[-1]), None)
    if tip is None:
        return "edited: the last answer that the session gave is missing or changed"
    known = set(recent)
    extras: list[tuple[int, int]] = []
    at, left = tip, len(recent) - 1
    while at > 0 and left > 0:
        if digests[at - 1] == recent[left - 1]:
            left -= 1
        elif digests[at - 1] in known:
            return f"edited: message {at} is missing, changed or out of order"
        else:
            extras.append((at - 1, len(recent) - left))
        at -= 1
    if left == 0 and not covered.base_count:
        front = range(at - 1, -1, -1)
        if any(digests[i] in known for i in front):
            return "edited: a message that the session has heard is shown out of order"
        extras.extend((i, len(recent)) for i in front)
        at = 0
    missing = left + covered.base_count if left or at == 0 else 0
    return _Walk(tip, tuple(reversed(extras)), at, missing)


def _base_agrees(digester: Digester, covered: Covered, digests: Sequence[str], walk: _Walk) -> bool:
    return (
        walk.at == covered.base_count and digester.prefix(tuple(digests), walk.at) == covered.base
    )


def _tail(digests: Sequence[str], walk: _Walk) -> tuple[Fresh, ...]:
    return tuple([Fresh(i) for i in range(walk.tip + 1, len(digests))])


def _nothing_missing(
    digester: Digester, digests: Sequence[str], shown: int, walk: _Walk
) -> Alignment:
    fresh = tuple(Fresh(i, before=before) for i, before in walk.extras) + _tail(digests, walk)
    now = Covered.of(digester, digests)
    if walk.tip != shown - 1:
        reason = f"the application wrote the last answer, message {shown}"
        return Alignment("foreign_tip", reason, fresh, now)
    if walk.extras:
        added = _numbered([index for index, _ in walk.extras])
        reason = f"added between what the session has heard: {added}"
        return Alignment("extra", reason, fresh, now)
    return Alignment("same", "the session has heard exactly this", fresh, now)


def _front_is_gone(
    digester: Digester,
    covered: Covered,
    digests: Sequence[str],
    shown: int,
    walk: _Walk,
    trim: TrimRule,
) -> Alignment:
    refusal = _refuse_trim(covered, digests, shown, walk, trim)
    if refusal:
        return Alignment("refused", told_apart(digester, covered, digests) or refusal)
    if not walk.extras:
        later = covered.extended(digester, digests[walk.tip + 1 :])
        reason = f"trimmed: the oldest messages are gone ({walk.left})"
        return Alignment("trimmed", reason, _tail(digests, walk), later)
    summary = tuple(Fresh(i, before, summary=True) for i, before in walk.extras)
    stands = _numbered([index for index, _ in walk.extras])
    return Alignment(
        "summarised",
        f"summarised: {stands} in the place of the oldest ({walk.left})",
        summary + _tail(digests, walk),
        Covered.of(digester, digests),
    )


def _refuse_trim(
    covered: Covered, digests: Sequence[str], shown: int, walk: _Walk, trim: TrimRule
) -> str:
    front = len(walk.extras)
    matched = digests[front : walk.tip + 1]
    known = set(covered.recent)
    if trim.exchanges is None:
        return f"trimmed: the oldest messages are gone ({walk.left}), and {trim.why}"
    if [i for i, _ in walk.extras] != list(range(front)):
        return "edited: messages that the session has heard are missing, and others were added"
    if front >= walk.left:
        return f"edited: {_numbered(range(front))} differ{'s' * (front == 1)}"
    if digests[0] == covered.first:
        return "edited: a part after message 1 is missing"
    if front and not _can_be_summary(covered, digests, front, walk):
        return f"edited: {_numbered(range(front))} can't be a summary of the oldest ({walk.left})"
    if any(digest in known for digest in digests[walk.tip + 1 : shown]):
        return "edited: a message that the session has heard is shown out of order"
    exchanges = min(_count(matched, "u"), _count(matched, "a"))
    if exchanges < trim.exchanges:
        return (
            f"trimmed: the oldest messages are gone ({walk.left}), and of the {trim.exchanges} "
            f"exchanges that it takes to be sure {exchanges} can be seen"
        )
    return ""


def _can_be_summary(covered: Covered, digests: Sequence[str], front: int, walk: _Walk) -> bool:
    if walk.tip <= front:
        return False  # of what it answers, nothing is shown unchanged
    # Beyond the last 64 messages nobody knows which were covered: one note, and no answers.
    return not covered.base_count or (front == 1 and digests[0][0] != "a")


def _count(digests: Sequence[str], role: str) -> int:
    return sum(digest[0] == role for digest in digests)
