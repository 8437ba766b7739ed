"""The Python that runs, and whether the packages are there in versions that fit."""

from __future__ import annotations

import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from .findings import Finding

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
"""Where a checkout says what it needs."""

OURS = "stewrd-integrations"
OLDEST = (3, 10)
USUAL = ("httpx", "pydantic", "langchain-core", "llama-index-core", "redis", "starlette")
"""What is looked for where the package was not installed, so that nobody knows its ranges."""

MAIN = {"langchain": "langchain-core", "llama-index": "llama-index-core"}
"""What an extra is for, where it needs more that comes with many programs."""

ALL = "all"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)(\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*([0-9][0-9.]*)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a package needs: another, in a range of versions, for an extra ("" for always)."""

    name: str
    range: str
    extra: str

    @classmethod
    def read(cls, text: str) -> Requirement | None:
        """Read a line of a package's metadata; None for one that needs the package itself."""
        match = _REQUIREMENT.fullmatch(text)
        if match is None or match[1].replace("_", "-").lower() == OURS:
            return None
        extra = _EXTRA.search(match[4] or "")
        return cls(match[1], match[3].strip(), extra[1] if extra else "")

    def fits(self, found: str) -> bool:
        """Whether a version is within the range."""
        clauses = _CLAUSE.findall(self.range)
        return all(_holds(_numbers(found), sign, _numbers(bound)) for sign, bound in clauses)


def _numbers(text: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def _holds(found: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    size = max(len(found), len(bound))
    left, right = found + (0,) * (size - len(found)), bound + (0,) * (size - len(bound))
    match sign:
        case ">=":
            return left >= right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case "<":
            return left < right
        case "!=":
            return left != right
        case "==":
            return left == right
        case _:  # ~=
            return left >= right and found[: len(bound) - 1] == bound[:-1]


def python_and_packages() -> Iterator[Finding]:
    """Look at all of them."""
    yield _python()
    try:
        ours, needed = version(OURS), requires(OURS) or []
    except PackageNotFoundError:
        yield from _not_installed()
        return
    yield Finding("package", "ok", f"{OURS} {ours}")
    yield from _groups(needed, OURS)


def _groups(needed: list[str], ours: str) -> Iterator[Finding]:
    groups: defaultdict[str, list[Requirement]] = defaultdict(list)
    for text in needed:
        requirement = Requirement.read(text)
        if requirement is not None and requirement.extra != ALL:
            groups[requirement.extra].append(requirement)
    for extra, group in sorted(groups.items()):
        yield _group(extra, group, ours)


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST:
        return Finding("Python", "problem", found, "Use Python 3.10 or newer.")
    return Finding("Python", "ok", found)


def _not_installed() -> Iterator[Finding]:
    project = _checkout()
    if project is not None:
        told = f"{OURS} {project.get('version', '')}, from the checkout at {PROJECT.parent}"
        yield Finding("package", "ok", told)
        yield from _groups(_needed(project), str(PROJECT.parent))
        return
    there = [f"{name} {found}" for name in USUAL if (found := _version(name))]
    yield Finding(
        "package",
        "note",
        f"{OURS} runs from its source and is not installed, so that nobody knows which versions "
        f"it needs; there are {', '.join(there) or 'none'}",
        "In the checkout:\n  pip install .",
    )


def _checkout() -> dict[str, Any] | None:
    """The project's table of the checkout that runs; None for none, and before Python 3.11."""
    try:
        toml: Any = import_module("tomllib")
        project = toml.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    except (ImportError, OSError, ValueError, KeyError):
        return None
    return project if project.get("name") == OURS else None


def _needed(project: dict[str, Any]) -> list[str]:
    """What it needs, as an installed package's metadata would tell it."""
    extras = project.get("optional-dependencies", {})
    found = [f'{one}; extra == "{extra}"' for extra, needed in extras.items() for one in needed]
    return [*project.get("dependencies", []), *found]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _group(extra: str, group: list[Requirement], ours: str) -> Finding:
    name = extra or "requirements"
    found = {one: _version(one.name) for one in group}
    there = ", ".join(f"{one.name} {got}" for one, got in found.items() if got)
    install = f'pip install --upgrade "{ours}[{extra}]"' if extra else f'pip install -U "{ours}"'
    wrong = [f"{one.name} {got}" for one, got in found.items() if got and not one.fits(got)]
    missing = [one for one, got in found.items() if not got]
    if wrong:
        ranges = ", ".join(f"{one.name}{one.range}" for one in group)
        told = f"{', '.join(wrong)} does not fit: {ranges} is needed"
        return Finding(name, "problem", told, f"  {install}")
    main = MAIN.get(extra, group[0].name)
    if extra and main in [one.name for one in missing]:
        return Finding(name, "note", "not installed", f"If you use it:\n  {install}")
    if missing:
        told = f"missing: {', '.join(one.name for one in missing)}"
        return Finding(name, "problem", told, f"  {install}")
    return Finding(name, "ok", there)
