"""A parser of server-sent events: bytes in, (event, data) pairs out.

Our own, because it has to be strict: UTF-8 only, a limit on an event's size, and only the three
line ends of the format (text methods also split on U+2028, which answers may contain).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import MalformedResponseError

MAX_EVENT = 1024 * 1024
"""Bytes that one event may have."""

_BOM = b"\xef\xbb\xbf"


class EventParser:
    """Feed it chunks cut anywhere; it gives each event as soon as its blank line is there."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """The events that this chunk completes.

        Raises:
            MalformedResponseError: The stream is not UTF-8, or an event is too large.
        """
        if not chunk:
            return
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        for piece in chunk.splitlines(keepends=True):
            self._line += piece
            if self._size + len(self._line) > MAX_EVENT:
                raise MalformedResponseError(f"An event of the stream is over {MAX_EVENT} bytes.")
            if piece.endswith((b"\n", b"\r")):
                yield from self._end_line()

    def rest(self) -> tuple[str, str]:
        """The event that the end of the input cut off, with what there is of it.

        Its last line counts although it has no line end.
        """
        line = _text(bytes(self._line))
        if line:
            self._take(line, len(line))
        return self._event, "\n".join(self._data)

    def _end_line(self) -> Iterator[tuple[str, str]]:
        line = bytes(self._line).rstrip(b"\r\n")
        self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if line:
            self._take(_decoded(line), len(line))
        else:
            yield from self._dispatch()

    def _take(self, line: str, size: int) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += size
        elif name == "event":
            self._event = value

    def _dispatch(self) -> Iterator[tuple[str, str]]:
        event, data = self._event, "\n".join(self._data)
        self._event, self._data, self._size = "", [], 0
        if data:
            yield event or "message", data


def _decoded(line: bytes) -> str:
    text = _text(line)
    if text is None:
        raise MalformedResponseError("The stream is not UTF-8.")
    return text


def _text(line: bytes) -> str | None:
    # None and no exception: a UnicodeDecodeError would hold the whole line.
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None
