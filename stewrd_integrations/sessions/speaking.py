"""What a turn says: everything, or only what a session has not heard."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InvalidInputError
from ..types import Message
from . import replay
from .align import Alignment
from .binding import Binding
from .call import History, Policy
from .effects import Decision, Flow, Summarise, Turn
from .keys import Keys


def check_budget(
    history: History, policy: Policy, demand: str = "", outputs: Sequence[Message] = ()
) -> None:
    """Refuse what is never cut, and would not fit into a replay.

    Args:
        history: The conversation.
        policy: The user's options.
        demand: What is asked of this very answer.
        outputs: Calls of tools and their outputs, if no run waits for these: then they are
            replayed like messages, and have no other limit than the API's if one does.

    Raises:
        InvalidInputError: The instructions and the current message alone pass the budget.
    """
    current = len(history.current.text) if history.current else 0
    told = sum(replay.cost(message) for message in outputs)
    size = current + told + len(history.instructions) + len(demand)
    if size > policy.replay_budget:
        what = "the tool outputs to be replayed" if outputs else "the current message"
        raise InvalidInputError(
            f"The instructions and {what} have {size:,} characters together, more than "
            f"replay_budget={policy.replay_budget:,}.",
            advice="Shorten them, send long material as files, or raise replay_budget.",
        )


def everything(keys: Keys) -> Flow[replay.Speech]:
    """The replay: the newest messages that fit, after a word on the older ones.

    Raises:
        InvalidInputError: What is never cut does not fit.
    """
    history, policy = keys.history, keys.policy
    check_budget(history, policy, keys.call.demand, history.outputs)
    tail: list[Message] = [history.current] if history.current else []
    budget = policy.replay_budget - len(history.instructions) - len(keys.call.demand)
    budget -= sum(len(message.text) for message in tail)
    window = replay.window(history.before, budget)
    summary = None
    if window.omitted and callable(policy.recap):
        summary = yield Summarise(window.omitted)
    instructions = None
    if history.instructions:
        instructions = replay.Instructions(history.instructions)
    return replay.replayed(
        window,
        tail,
        instructions,
        nonce=keys.call.ids.nonce,
        budget=budget - sum(replay.cost(message) for message in window.kept),
        summary=summary,
        demand=keys.call.demand,
    )


def the_rest(keys: Keys, binding: Binding, alignment: Alignment) -> replay.Speech:
    """What the session of a binding has not heard yet."""
    instructions = None
    if changes_instructions(keys, binding):
        replaces = bool(binding.instructions)
        instructions = replay.Instructions(keys.history.instructions, replaces)
    return replay.continued(
        keys.history.messages,
        [fresh.within(binding.held) for fresh in alignment.fresh],
        instructions,
        nonce=keys.call.ids.nonce,
        budget=keys.policy.replay_budget,
        demand=keys.call.demand,
    )


def changes_instructions(keys: Keys, binding: Binding) -> bool:
    """Whether the call has other instructions than the session was told."""
    return binding.instructions != keys.history.instructions_digest


def replaces_too_much(keys: Keys, binding: Binding) -> bool:
    """Whether a session shall not be told of other instructions, but another one of all."""
    if not changes_instructions(keys, binding):
        return False
    superseded = binding.superseded + binding.instructions_size
    policy = keys.policy
    return policy.on_instructions_change == "replay" or superseded > policy.replay_budget


def why_replaced(keys: Keys) -> str:
    """What `replaces_too_much` found."""
    if keys.policy.on_instructions_change == "replay":
        return 'the instructions changed, and on_instructions_change="replay"'
    return "the instructions changed, and those before them pass replay_budget"


def decision(
    kind: Turn,
    reason: str,
    speech: replay.Speech,
    generation: int = 0,
    used: int = 0,
    *,
    fresh: int,
) -> Decision:
    """How the turn travels, and what its speech leaves out."""
    return Decision(
        road="stateless" if kind == "stateless" else "session",
        turn=kind,
        reason=reason,
        omitted=speech.omitted,
        omitted_files=speech.omitted_files,
        generation=generation,
        messages_used=used,
        fresh=fresh,
    )
