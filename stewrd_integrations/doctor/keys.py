"""The API key: where it is, and whether it looks like one. It is never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .findings import Finding

VARIABLE = "STEWRD_API_KEY"
PREFIX = "sk-stw_"
COPY_IT = "Copy it again from the project's settings."
TAKE_OFF = "Take them off; some readers of .env files keep them."
GET_ONE = (
    "Copy one from the project's settings:\n"
    f"  export {VARIABLE}={PREFIX}...\n"
    "Without an account, run the emulator in another shell; it prints what to export here:\n"
    "  python -m stewrd_integrations.emulator"
)

_NEAR = re.compile(r"STEWRD.*(KEY|TOKEN|SECRET)", re.IGNORECASE)
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def find_key() -> tuple[str | None, Finding]:
    """The key that will be used, None if none can be, and what is to be said of it."""
    value = os.environ.get(VARIABLE)
    if not value or not value.strip():
        return None, _missing(set_but_empty=value is not None)
    key = value.strip()
    problem = _problem(key)
    if problem:
        advice = TAKE_OFF if "quotation" in problem else COPY_IT
        return None, Finding("key", "problem", f"{VARIABLE} {problem}", advice)
    told = f"{VARIABLE} is set: {PREFIX}..., {len(key)} characters"
    if not key.startswith(PREFIX):
        told = f"{VARIABLE} does not begin with {PREFIX}, as Stewrd's keys do"
        return key, Finding("key", "problem", told, COPY_IT)
    if key != value:
        return key, Finding("key", "ok", f"{told} (the white space around it is left out)")
    return key, Finding("key", "ok", told)


def _problem(key: str) -> str:
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "has quotation marks around it, which are not part of the key"
    if key.lower().startswith("bearer"):
        return 'begins with "Bearer", which is not part of the key'
    if not key.isascii():
        return "holds characters that no key has, such as a dash or dots of a word processor"
    if not _VISIBLE.fullmatch(key):
        return "holds white space or a control character in the middle"
    if set(key.removeprefix(PREFIX)) <= set(".x*-_"):
        return "is a placeholder"
    return ""


def _missing(*, set_but_empty: bool) -> Finding:
    found = f"{VARIABLE} is {'empty' if set_but_empty else 'not set'}"
    others = _others()
    if others:
        found += f", but there is {' and '.join(others)}"
        return Finding("key", "problem", found, f"Name it {VARIABLE}.")
    if _in_dotenv():
        found += ", but a file .env in this folder has it"
        advice = "Nothing reads that file by itself: export it, or use python-dotenv."
        return Finding("key", "problem", found, advice)
    return Finding("key", "problem", found, GET_ONE)


def _others() -> list[str]:
    """Names of variables that seem to hold the key; on Windows names know no case."""
    return sorted(
        name
        for name, value in os.environ.items()
        if name.upper() != VARIABLE and value.strip()
        if _NEAR.search(name) or value.strip().startswith(PREFIX)
    )


def _in_dotenv() -> bool:
    try:
        text = Path(".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return VARIABLE in text
