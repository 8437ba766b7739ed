"""Saving the files that came with an answer of a tool or of the model, when one wants them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from ..api import downloads
from ..asking import files_of
from ..types import File

ADVICE = (
    "Pass the ToolMessage or the artifact of a StewrdTool that did not fail, or a message of "
    "ChatStewrd."
)


def save_files(
    answer: ToolMessage | AIMessage | Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    max_bytes: int = downloads.LARGEST,
    timeout: float = downloads.PATIENCE,
) -> list[Path]:
    """Save the files that came with an answer in a folder.

    A file may be an address only, which dies after 24 hours: it is downloaded over https from
    public servers alone, without the API key and without redirects. Each file gets a name of
    its number, the plain letters and digits of its own name, and its extension; what is in the
    folder stays as it is.

    Args:
        answer: A tool's message or its artifact, or a message of `ChatStewrd`.
        folder: Where to; it is made if it is not there.
        max_bytes: Bytes that a download may have, 64 MiB by default.
        timeout: Seconds that a download may take.

    Returns:
        Where the files are, in their order; empty if there are none.

    Raises:
        InvalidInputError: It is no answer of Stewrd, or one that failed.
        StewrdError: A file can't be downloaded; those before it are saved.
        OSError: The folder can't be written to.
    """
    return downloads.save_files(_files(answer), folder, max_bytes=max_bytes, timeout=timeout)


async def asave_files(
    answer: ToolMessage | AIMessage | Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    max_bytes: int = downloads.LARGEST,
    timeout: float = downloads.PATIENCE,
) -> list[Path]:
    """`save_files` for the event loop."""
    files = _files(answer)
    return await downloads.asave_files(files, folder, max_bytes=max_bytes, timeout=timeout)


def _files(answer: object) -> list[File]:
    match answer:
        case ToolMessage(artifact=facts):
            pass
        case AIMessage():
            facts = answer.response_metadata.get("stewrd")
        case _:
            facts = answer
    return files_of(facts, advice=ADVICE)
