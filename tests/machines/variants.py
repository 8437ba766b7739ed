"""The models of the machines' applications: their options, and how they are called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from stewrd_integrations.errors import InvalidInputError, StewrdError

from .judge import recap_of
from .talks import Asked, Failed, Framework, Outcome, Toolbox
from .voices import MODELS, Say, Voice, aspoken, spoken

SLOTS, CAP = 8, 16
SHARE = {"a": 5, "b": 3}
"""Sessions of each application: together as many as the server gives."""

CREDITS = 4
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"replay_budget": 700, "tool_reserve": 0},
    {"on_trim": "replay", "on_instructions_change": "replay"},
    {"sessions": "never"},
    {"replay_budget": 700, "recap": lambda left_out: recap_of(len(left_out))},
    {"capabilities": ["chat"], "max_credits": CREDITS},
    {"session_message_limit": 8, "tool_reserve": 2},
    {"max_active_sessions": 1},
)
RECAPS, SPARING = 4, 5
SPARING_ONES = (SPARING, RECAPS, SPARING, 1)
SMALL = (1, RECAPS)
"""Those whose budget what tools give back may pass."""

ALL = (0, 6, 0, 0, *range(1, len(VARIANTS)))
"""The first conversations of a machine talk to those that open sessions."""

Key: TypeAlias = tuple[Framework, str, int]
"""A model: its framework, its application, and its variant."""


def model_of(key: Key, options: dict[str, Any]) -> Any:
    """A new model; the options count more than those of its variant."""
    framework, app, variant = key
    usual = {
        "max_retries": 0,
        "max_active_sessions": SHARE[app],
        "session_message_limit": CAP,
    }
    return MODELS[framework](**{**usual, **VARIANTS[variant], **options})


def wound(model: Any, clock: Callable[[], float]) -> Any:
    """Give a model a clock, which is no option of the frameworks' models."""
    object.__setattr__(model._runtime._options, "clock", clock)
    return model


def asked_of(
    loop: asyncio.AbstractEventLoop,
    voice: Voice,
    model: Any,
    system: str,
    held: Sequence[Any],
    who: dict[str, Any],
    tools: Toolbox,
    asked: Asked,
) -> Outcome:
    """Call a model in the mode that is asked for."""
    try:
        say = voice.say(model, system, held, who, tools)
        if "async" not in asked.mode:
            return spoken(voice, say, asked) or Failed()
        return loop.run_until_complete(_on_the_loop(voice, say, asked))
    except StewrdError as failed:
        return Failed.of(failed)


async def _on_the_loop(voice: Voice, say: Say, asked: Asked) -> Outcome:
    try:
        return await aspoken(voice, say, asked) or Failed()
    finally:
        await _settled()


async def _settled() -> None:
    """Wait for what frameworks leave to the loop: their inner generators, say."""
    await asyncio.sleep(0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def foreseen(
    voice: Voice, model: Any, system: str, held: Sequence[Any], who: dict[str, Any], tools: Toolbox
) -> Any:
    """What a model says that it would do with a list, or why it would not."""
    try:
        told = voice.explain(model, system, held, who, tools)
    except InvalidInputError as error:
        return error.message
    return (told.road, told.turn, told.session_id, told.omitted_messages, told.files)
