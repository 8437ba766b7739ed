"""What a tool tells an agent of the capabilities behind it, and what it takes.

The same words in every framework, so that agents choose alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import InvalidInputError
from .sessions.call import price

ABOUT: dict[str, tuple[str, str, str]] = {
    "chat": (
        "Ask another language model.",
        "a second opinion, a draft, a summary, a translation",
        "current facts, or what you can answer yourself",
    ),
    "research": (
        "Research a question on the web and get an answer that is put together from what was "
        "found.",
        "current facts, sources, comparisons, whatever you don't know for sure",
        "what you know already, or what stands in the conversation",
    ),
    "documents": (
        "Have a document written: a report, a letter, an offer.",
        "a finished document, which comes back as a file",
        "a short text, which you can write yourself",
    ),
    "code": (
        "Have code written, explained or mended.",
        "a program, a function, a bug that you are shown the code of",
        "code of a line or two, which you can write yourself",
    ),
    "data": (
        "Have data analysed: tables and numbers that you send along as files.",
        "sums, statistics, trends, questions about a table",
        "questions without data, or arithmetic that you can do yourself",
    ),
    "files": (
        "Have files read, converted or made.",
        "a question about a file, a file in another format, a file from a description",
        "texts that fit into an answer",
    ),
}
"""For each capability: what it does, when to use it, and when not to."""

ALONE = (
    "It sees only `message` and `files`, nothing of your conversation and nothing of earlier "
    "calls, so say all that it needs to know."
)
REMEMBERS = (
    "It remembers earlier calls, files included, and nothing else of your conversation: refer to "
    "them freely, and say the rest."
)


class TextFile(BaseModel):
    """A text file that is sent along."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, description="Name with an extension that tells the format, like sales.csv."
    )
    content: str = Field(description="The file's whole text. Binary formats can't be sent.")


class Question(BaseModel):
    """What an agent may pass."""

    model_config = ConfigDict(extra="forbid")

    message: str = Field(
        min_length=1,
        description="The task or the question in plain words: what is wanted, what for, in which "
        "form, and every name, date and number that matters.",
    )
    files: list[TextFile] = Field(
        default_factory=list,
        description="Text files to work on, if there are any. Put long texts and tables here "
        "rather than into the message.",
    )


def name_of(capabilities: Sequence[str]) -> str:
    """A tool's name, which no other capabilities have."""
    return "_".join(["stewrd", *capabilities])


def description_of(capabilities: Sequence[str], *, remembers: bool) -> str:
    """What an agent needs to know to choose well among its tools."""
    about = [ABOUT[capability] for capability in capabilities]
    credits = price(capabilities)
    return " ".join(
        [
            *(what for what, _, _ in about),
            f"Use it for {'; '.join(use for _, use, _ in about)}.",
            f"Don't use it for {'; '.join(avoid for _, _, avoid in about)}.",
            REMEMBERS if remembers else ALONE,
            f"It may take a minute. Each call costs {credits} credit{'' if credits == 1 else 's'}, "
            "so ask once, and for everything at once.",
        ]
    )


def question_of(arguments: Mapping[str, Any]) -> Question:
    """What an agent passed, checked.

    Raises:
        InvalidInputError: It is wrong; the text is for the agent.
    """
    try:
        return Question.model_validate(arguments)
    except ValidationError as error:
        told = wrong_arguments(error.errors())
    raise InvalidInputError(told)


def wrong_arguments(details: Sequence[Mapping[str, Any]]) -> str:
    """Wrong arguments, as the agent is told of them.

    Args:
        details: As pydantic's `ValidationError.errors` gives them.
    """
    found = [
        f"{'.'.join(map(str, detail['loc'])) or 'arguments'}: {detail['msg']}."
        for detail in details
    ]
    return f"The arguments are wrong, and nothing was sent. {' '.join(found)}"
