"""README.md and the pages of the documentation taken apart: code, output shown, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIFFERS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<mark>"),
    (re.compile(r'(?<="duration_ms": )\d+'), "<milliseconds>"),
)


@dataclass(frozen=True)
class Block:
    """A block of Python, the line where it begins, and the output shown right after it."""

    line: int
    code: str
    shown: str | None


class Page:
    """A Markdown file of the project."""

    def __init__(self, path: str) -> None:
        self.path = ROOT / path
        self.name = path

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    def blocks(self) -> list[Block]:
        """The Python blocks in order."""
        fences = list(_FENCE.finditer(self.text))
        found = []
        for fence, following in zip(fences, [*fences[1:], None], strict=False):
            if fence[1] == "python":
                shown = following[2] if following and following[1] == "text" else None
                line = self.text[: fence.start()].count("\n") + 2
                found.append(Block(line, fence[2], shown))
        return found

    def rows(self) -> list[list[str]]:
        """The cells of the tables, without heads."""
        lines = [line for line in self.text.splitlines() if line.startswith("| `")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


README = Page("README.md")
PAGES = (
    README,
    *(Page(f"docs/{path.name}") for path in sorted((ROOT / "docs").glob("*.md"))),
)


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, name in _DIFFERS:
        text = pattern.sub(name, text)
    return text.strip()
