"""One line for each turn on the logger `stewrd_integrations`, at INFO: how it travelled, and why.

A turn is watched as the flow that it is, so that both drivers log the same, also what is streamed,
stands alone or goes on with a run of tools. A line holds no word of the conversation, no key and
no name: of a session the beginning of its id, and of a name the beginning of a keyed hash, so that
the lines of one conversation can be found. Log formatters find the same as ``record.stewrd``.
"""

from __future__ import annotations

import logging
from typing import Any

from .sessions.call import Call, Outcome
from .sessions.digest import Digester
from .sessions.effects import Abandoned, Decision, Effect, Flow, Put, Send, Submit

logger = logging.getLogger("stewrd_integrations")

SHOWN = 8
"""Characters of an id or a hash."""

AS_IT_WAS = "no message was sent: the conversation is as it was"
KEPT = "its session goes on with the next call"
GIVEN_UP = "its session is given up: the next call replays"
NO_SESSION = "it had no session to lose"


def watched(flow: Flow[Outcome], call: Call, digester: Digester, limit: int) -> Flow[Outcome]:
    """The same turn, which logs how it ended; the very same if nobody reads the log.

    Args:
        flow: The turn.
        call: What it answers.
        digester: Keyed by a secret of the project.
        limit: Messages that a session may hold.
    """
    if not logger.isEnabledFor(logging.INFO):
        return flow
    return _watch(flow, _Story(call, digester, limit))


def _watch(flow: Flow[Outcome], story: _Story) -> Flow[Outcome]:
    try:
        effect = next(flow)
        while True:
            story.sees(effect)
            try:
                answer = yield effect
            except GeneratorExit:
                flow.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the turn must hear of everything
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as ended:
        outcome: Outcome = ended.value
        _log(story.answered(outcome))
        return outcome
    except GeneratorExit:
        raise  # nobody performs it any more, as in a child of a fork
    except BaseException as error:
        _log(story.failed(error))
        raise


class _Story:
    """What a turn did so far."""

    def __init__(self, call: Call, digester: Digester, limit: int) -> None:
        self._call = call
        self._limit = limit
        self._sent: Send | Submit | None = None
        self._kept = False
        self._conversation: str | None = None
        if call.name is not None:
            hashed = digester.key("log", call.tenant or "", call.name)
            self._conversation = hashed[:SHOWN]

    def sees(self, effect: Effect) -> None:
        """The turn asks for this."""
        if isinstance(effect, (Send, Submit)):
            self._sent = effect
        elif isinstance(effect, Put) and self._sent is not None:
            # On the stateless road, the session of its conversation stands aside meanwhile.
            asked = self._sent.session_id or effect.binding.session_id
            self._kept = self._kept or (bool(asked) and effect.binding.session_id == asked)

    def answered(self, outcome: Outcome) -> dict[str, Any]:
        """The facts of a turn with an answer."""
        usage = outcome.reply.usage
        facts = self._facts(outcome.decision, outcome.session_id)
        return {**facts, "credits": usage.credits, "estimated": usage.estimated}

    def failed(self, error: BaseException) -> dict[str, Any]:
        """The facts of a turn without one; what is told of the way is of its last request."""
        sent = self._sent
        if sent is None:
            facts, state, charged = self._facts(None, None), AS_IT_WAS, "no"
        else:
            facts, charged = self._facts(sent.decision, sent.session_id), "maybe"
            state = GIVEN_UP if sent.session_id else NO_SESSION
        # What a session holds after a failure is not known.
        return {
            **facts,
            "used": None,
            "error": type(error).__name__,
            "charged": getattr(error, "charged", charged),
            "state": KEPT if self._kept else state,
        }

    def _facts(self, decision: Decision | None, session_id: str | None) -> dict[str, Any]:
        spoken = sum(message.role != "system" for message in self._call.messages)
        on_session = decision is not None and decision.road == "session"
        return {
            "turn": decision and decision.turn,
            "road": decision and decision.road,
            "session": session_id and session_id[:SHOWN],
            "conversation": self._conversation,
            "fresh": decision.fresh if decision else 0,
            "messages": max(spoken, 1),  # instructions alone are said as a message
            "used": decision.messages_used if decision and on_session else None,
            "limit": self._limit,
            "reason": decision.reason if decision else None,
        }


def _log(facts: dict[str, Any]) -> None:
    failed = f" failed with {facts['error']}" if "error" in facts else ""
    if facts.get("error") == Abandoned.__name__:
        failed = " left by its caller"
    why = " | ".join(filter(None, (facts.get("state"), facts["reason"])))
    logger.info("Stewrd:%s %s | %s", failed, _in_words(facts), why, extra={"stewrd": facts})


def _in_words(facts: dict[str, Any]) -> str:
    told = {name: facts[name] for name in ("turn", "road", "session", "conversation")}
    told["fresh"] = f"{facts['fresh']}/{facts['messages']}"
    told["used"] = facts["used"] and f"{facts['used']}/{facts['limit']}"
    if "error" in facts:
        told["charged"] = facts["charged"]
    else:
        credit = facts["credits"]
        told["credits"] = "?" if credit is None else f"{'~' * facts['estimated']}{credit:g}"
    return " ".join(f"{name}={value or '-'}" for name, value in told.items())
