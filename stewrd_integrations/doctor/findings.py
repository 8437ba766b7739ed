"""What was found, and how it is told: in lines for people, or as JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Grade: TypeAlias = Literal["ok", "note", "problem"]

_WORDS: dict[Grade, str] = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
_INDENT = 27


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        grade: Whether it is well; a note is worth knowing, and no failure.
        found: What was seen.
        advice: What to do about it; a line that begins with a blank is a command.
    """

    name: str
    grade: Grade
    found: str
    advice: str = ""


def as_lines(finding: Finding, width: int | None = None) -> str:
    """A finding for people, wrapped to the terminal."""
    width = width or max(60, min(shutil.get_terminal_size().columns, 100))
    head = f"  {_WORDS[finding.grade]:<8} {finding.name:<15} "
    lines = _wrapped(head + finding.found, width, " " * _INDENT)
    mark = "-> "
    for line in finding.advice.splitlines():
        wrapped = _wrapped(" " * _INDENT + mark + line, width, " " * (_INDENT + 3))
        # What begins with a blank is a command, which is to be copied as it is.
        lines += [" " * _INDENT + mark + line] if line.startswith(" ") else wrapped
        mark = "   "
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    # Addresses and commands are to be copied, so they are not broken.
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def summary(findings: Iterable[Finding], credits_spent: str) -> str:
    """The last line."""
    problems = sum(finding.grade == "problem" for finding in findings)
    told = {0: "No problem was found.", 1: "1 problem."}.get(problems, f"{problems} problems.")
    return f"{told} {credits_spent}"


def as_json(findings: Iterable[Finding], credits_spent: float | None) -> dict[str, Any]:
    """All findings as plain JSON values; credits are null where the answer did not tell."""
    told = [asdict(finding) for finding in findings]
    well = all(finding["grade"] != "problem" for finding in told)
    return {"ok": well, "credits_spent": credits_spent, "findings": told}
