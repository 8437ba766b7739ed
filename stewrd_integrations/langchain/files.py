"""Files in LangChain's content blocks: text goes along, and nothing else can."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..types import File

EXTENSIONS: Final[Mapping[str, str]] = {
    "text/plain": ".txt",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/markdown": ".md",
    "text/html": ".html",
    "text/css": ".css",
    "text/xml": ".xml",
    "text/x-python": ".py",
    "text/javascript": ".js",
    "text/yaml": ".yaml",
    "application/json": ".json",
    "application/x-ndjson": ".ndjson",
    "application/xml": ".xml",
    "application/yaml": ".yaml",
    "application/x-yaml": ".yaml",
    "application/toml": ".toml",
    "application/javascript": ".js",
    "application/sql": ".sql",
}
"""Names of text files by their mime types; not the machine's list, or digests would differ."""

_TEXTUAL = re.compile(r"text/.+|application/.+\+(?:json|xml|yaml)")
_TEXT_SUFFIXES = frozenset(EXTENSIONS.values()) | {".log", ".yml", ".ini", ".rst", ".tex", ".ts"}


class Unusable(Exception):
    """A block that can't be sent; the text says why, and ``advice`` what to do."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem)
        self.advice = advice


def file_of(block: Mapping[str, Any], number: int) -> File:
    """The text file that a ``file`` or ``text-plain`` block holds.

    Args:
        block: A standard content block.
        number: Its number among the files of its message, for a name if it has none.

    Raises:
        Unusable: It holds no text.
    """
    mime = str(block.get("mime_type") or "").partition(";")[0].strip().lower()
    name = next(_names(block), None)
    text = block.get("text")
    if not isinstance(text, str):
        text = _decoded(block, mime, name)
    return File(name or f"file-{number}{EXTENSIONS.get(mime, '.txt')}", text)


def distinct(files: list[File]) -> tuple[File, ...]:
    """The same files, with names that tell them apart."""
    taken: set[str] = set()
    named: list[File] = []
    for file in files:
        stem, dot, suffix = file.name.rpartition(".")
        if not stem:
            stem, dot, suffix = file.name, "", ""
        name, count = file.name, 2
        while name in taken:
            name, count = f"{stem}-{count}{dot}{suffix}", count + 1
        taken.add(name)
        named.append(File(name, file.content))
    return tuple(named)


def _names(block: Mapping[str, Any]) -> Iterator[str]:
    """Where frameworks put a file's name, the surest place first."""
    extras = _mapping(block.get("extras"))
    places = (block, extras, _mapping(block.get("metadata")), _mapping(extras.get("metadata")))
    for key in ("filename", "name", "title"):
        for place in places:
            name = place.get(key)
            if isinstance(name, str) and name.strip():
                yield name


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _decoded(block: Mapping[str, Any], mime: str, name: str | None) -> str:
    data = block.get("base64")
    if not isinstance(data, str):
        raise Unusable(
            "has no content of its own (a URL or a file id)",
            "Read the file and pass its text.",
        )
    if not _is_text(mime, name):
        raise Unusable(
            f"is a file of the type {mime or 'unknown'}",
            "Stewrd takes text only: extract the text, or give a text mime_type if it is text.",
        )
    try:
        return base64.b64decode("".join(data.split()), validate=True).decode("utf-8")
    except binascii.Error:
        raise Unusable("is not valid base64", "Encode the file's bytes as base64.") from None
    except UnicodeDecodeError:
        raise Unusable("is not UTF-8 text", "Convert the file to UTF-8.") from None


def _is_text(mime: str, name: str | None) -> bool:
    """Whether its type or its name says so; core calls any file of OpenAI's form a PDF."""
    if mime in EXTENSIONS or _TEXTUAL.fullmatch(mime):
        return True
    suffix = f".{(name or '').rpartition('.')[2].lower()}"
    return mime in ("", "application/octet-stream", "application/pdf") and suffix in _TEXT_SUFFIXES
