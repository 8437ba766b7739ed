"""The parts of the chat, and here what it wants of a framework.

`langchain` and `llama_index` show how each of them streams and keeps a conversation; `chat` is
what the commands do, and `bar` what stands at the bottom of the screen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from stewrd_integrations.conversations import SessionInfo
    from stewrd_integrations.runtime import Explanation


@dataclass(frozen=True)
class Question:
    """What a person says, and the text files that go along: (name, text)."""

    text: str
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Step:
    """A capability of the agent went to work, or has finished."""

    capability: str
    begins: bool
    message: str | None = None


File: TypeAlias = Mapping[str, Any]
"""A file that the agent wrote: its name, and its content or the address to fetch it from."""

Facts: TypeAlias = Mapping[str, Any]
"""What an answer tells about itself: road, turn, reason, usage, files."""

Piece: TypeAlias = "str | Step | Facts"
"""Of an answer, as it comes: text, capabilities at work, and the facts at the end."""


class Talk(ABC):
    """A conversation with a name, on a framework."""

    name: str

    @abstractmethod
    def ask(self, question: Question, capabilities: Sequence[str]) -> Generator[Piece, None, None]:
        """Answer, piece by piece. The exchange is kept once it is complete, and not before."""

    @abstractmethod
    def explain(self, question: Question, capabilities: Sequence[str]) -> Explanation:
        """What `ask` would do, without doing it."""

    @property
    @abstractmethod
    def texts(self) -> list[str]:
        """What was said: questions and answers by turns."""

    @property
    @abstractmethod
    def files(self) -> list[File]:
        """What the agent wrote, the oldest first."""

    @property
    @abstractmethod
    def session(self) -> SessionInfo | None:
        """The session that has heard the conversation; None if there is none."""

    @abstractmethod
    def rewind(self, exchanges: int) -> None:
        """Drop the last exchanges."""

    @abstractmethod
    def beside(self, name: str) -> Talk:
        """Another conversation, on the same model."""

    @abstractmethod
    def copied(self, name: str) -> Talk:
        """The same words under another name, which no session has heard."""

    @abstractmethod
    def save(self, file: File, folder: Path) -> Path:
        """Save a file under a name that is safe and free."""

    @abstractmethod
    def close(self) -> None:
        """Give the connections back."""

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Questions with their answers."""
        return list(zip(self.texts[::2], self.texts[1::2], strict=False))


def many(number: float, thing: str) -> str:
    """So many things, in words."""
    return f"{number:g} {thing}{'' if number == 1 else 's'}"
