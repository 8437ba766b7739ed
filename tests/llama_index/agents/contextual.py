"""Tools that use their agent's context.

LlamaIndex recognises the argument by its annotation itself, so annotations are no text here.
"""

from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent


class Question(InputRequiredEvent):
    """What the human is asked."""

    text: str


class Reply(HumanResponseEvent):
    """What the human says."""

    text: str


async def count(ctx: Context) -> str:
    """Count one more."""
    async with ctx.store.edit_state() as kept:
        kept["state"]["number"] += 1
        return f"It is {kept['state']['number']} now."


async def ask_human(ctx: Context, question: str) -> str:
    """Ask the human."""
    answer = await ctx.wait_for_event(
        Reply,
        waiter_id=question,
        waiter_event=Question(text=question),
    )
    return f"The human says {answer.text}."
