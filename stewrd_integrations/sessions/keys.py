"""Under which keys a conversation's binding is kept and looked for (R3).

A call uses exactly one kind of key, the strongest it has, and never falls through to a
weaker one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal, TypeAlias

from .align import TrimRule
from .binding import Binding
from .call import Call, History, Policy
from .digest import Covered, Digester

Kind: TypeAlias = Literal["name", "mark", "content", "none"]

LOOKED_BACK = 4
"""How many of the last assistant messages are tried: trims and foreign messages."""


class Keys:
    """Every key of one call, inside its project and tenant.

    Attributes:
        kind: The strongest kind of key that the call has.
    """

    def __init__(
        self, digester: Digester, project: str, call: Call, history: History, policy: Policy
    ) -> None:
        self.digester = digester
        self.project = project
        self.call = call
        self.history = history
        self.policy = policy
        self.kind = self._kind()
        tenant = self.call.tenant
        scope = ("any",) if tenant is None else ("tenant", tenant)
        self._key = digester.under(project, *scope)
        self._named = digester.under(project, *scope, "name", call.name or "")
        self._note = ""

    def _kind(self) -> Kind:
        if self.call.name is not None:
            return "name"
        if any(message.mark for message in self.history.messages[: self.history.shown]):
            return "mark"
        return "content" if self.policy.match_by_content else "none"

    @property
    def sought(self) -> tuple[str, ...]:
        """The keys to look under, the surest first."""
        return tuple(key for keys in self.searches() for key in keys)

    def searches(self) -> Iterator[tuple[str, ...]]:
        """The same in two goes: nearly all are found by the first key, and each takes time."""
        if not self.history.shown or self.kind == "none":
            return
        if self.kind == "content":
            yield (self._content(self.history.rolled),)
            return
        if self.kind == "mark":
            marks = [self.history.messages[place].mark for place in self._last_answers()]
            known = [mark for mark in marks if mark]
            if known:
                yield (self.mark(known[0]),)
            if known[1:]:
                yield tuple(map(self.mark, known[1:]))
            return
        instructions, rolled = self.history.instructions_digest, self.history.rolled
        yield (self._named("whole", instructions, rolled),)
        tips = [self.history.digests[place] for place in self._last_answers()]
        yield (self._named("rolled", rolled), *(self._named("tip", tip) for tip in tips))

    def kept(self, covered: Covered, *, plain: bool) -> tuple[str, ...]:
        """The keys to put a binding under that covers this.

        ``plain`` says that the session knows no more than what was said: only then may it be
        found by the content alone, which another may have come to in another way.
        """
        rolled = covered.rolling(self.digester)
        if self.call.name is not None:
            instructions, tip = self.history.instructions_digest, covered.recent[-1]
            whole = self._named("whole", instructions, rolled)
            return (whole, self._named("rolled", rolled), self._named("tip", tip))
        keys = (self.mark(self.call.ids.mark),)
        by_content = plain and self.policy.match_by_content
        return (*keys, self._content(rolled)) if by_content else keys

    @property
    def note(self) -> str:
        """The note of the call's name."""
        self._note = self._note or self._named("note")
        return self._note

    @property
    def thread_note(self) -> str:
        """The note of the call's thread."""
        return self._key("thread", self.call.thread or "")

    @property
    def project_note(self) -> str:
        """What is known of the project, whoever the tenant."""
        return self.digester.key(self.project, "project")

    @property
    def spare(self) -> str:
        """Where a session waits that was opened and never heard a word."""
        return self.digester.key(self.project, "spare")

    @property
    def tenant_spare(self) -> str:
        """Where such a session waits for the same tenant only."""
        return self._key("spare")

    @property
    def own_spare(self) -> str:
        """Where one waits for the same name only, or for the very same list."""
        if self.call.name is not None:
            return self._named("spare")
        rolled = self.digester.rolling(self.history.digests)[-1]
        return self._key("spare", self.call.scope, self.history.instructions_digest, rolled)

    def mark(self, token: str) -> str:
        """The key of a mark."""
        return self._key("mark", token)

    def _content(self, rolled: str) -> str:
        instructions = self.history.instructions_digest
        return self._key("content", self.call.scope, instructions, rolled)

    def _last_answers(self) -> list[int]:
        """The places of the last few assistant messages, the last one first."""
        places, messages = range(self.history.shown - 1, -1, -1), self.history.messages
        answers = (place for place in places if messages[place].role == "assistant")
        return list(islice(answers, LOOKED_BACK))

    def trim_rule(self, *, marked: bool | None) -> TrimRule:
        """How sure a trimmed history must be to continue a binding.

        A name alone is not very sure of a short rest of a history; a mark on it is: ``marked``
        is what `tip_is_marked` says.
        """
        if self.policy.on_trim == "replay":
            return TrimRule(None, 'on_trim="replay"')
        if self.kind == "content":
            return TrimRule(None, "the rest is known by its words alone")
        return TrimRule(0 if marked else 2)

    def tip_is_marked(self, binding: Binding) -> bool | None:
        """Whether the last covered answer, as shown, has this binding's mark.

        None if it has no mark at all. False means that other words were said before it, or
        under other instructions, though it reads the same: the binding is somebody else's.
        """
        tip = binding.covered.recent[-1] if binding.covered.recent else None
        for place in range(self.history.shown - 1, -1, -1):
            if self.history.digests[place] == tip:
                mark = self.history.messages[place].mark
                return None if mark is None else self.mark(mark) == binding.tip_mark
        return None
