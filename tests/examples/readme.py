"""README.md taken apart: its code, what it says is printed, and its tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

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


def blocks() -> list[Block]:
    """The Python blocks in order."""
    fences = list(_FENCE.finditer(TEXT))
    found = []
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        if fence[1] == "python":
            shown = following[2] if following and following[1] == "text" else None
            found.append(Block(TEXT[: fence.start()].count("\n") + 2, fence[2], shown))
    return found


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, name in _DIFFERS:
        text = pattern.sub(name, text)
    return text.strip()


def rows(section: str) -> list[list[str]]:
    """The cells of the tables in a section, without heads."""
    body = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
