"""What a tool gave back, as text: strangers write it, and a graph keeps it for good.

A message that can't be sent would end its thread, since it is shown again with every turn. So
nothing is refused here: text files go along, data is written as JSON, and of media the agent is
told that there were some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import ToolMessage

from ..types import File
from .files import Unusable, file_of

_MEDIA = frozenset({"image", "audio", "video", "file"})
# Where a block of media has them, or says where they are.
_PAYLOAD = frozenset({"base64", "url", "file_id", "data", "source", "image_url", "file"})


def content_of_tool(message: ToolMessage) -> tuple[str, list[File]]:
    """The text of a tool's message, and the text files in it."""
    texts: list[str] = []
    files: list[File] = []
    apart = False
    for block in message.content_blocks:
        text = block.get("text") if block.get("type") == "text" else None
        if isinstance(text, str):
            texts.append(f"\n{text}" if apart else text)
            apart = False
            continue
        file = _file(block, len(files) + 1)
        if file is not None:
            files.append(file)
        else:
            texts.append(f"\n{_stand_in(block)}" if texts else _stand_in(block))
            apart = True
    return "".join(texts), files


def _file(block: Mapping[str, Any], number: int) -> File | None:
    if block.get("type") not in ("file", "text-plain"):
        return None
    try:
        return file_of(block, number)
    except Unusable:
        return None


def _stand_in(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind in _MEDIA and _PAYLOAD & set(block):
        return f"[{kind}: not shown]"
    value = block.get("value") if kind == "non_standard" else block
    return json.dumps(value, ensure_ascii=False, default=str)
