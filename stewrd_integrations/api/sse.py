"""A parser of server-sent events: bytes in, (event, data) pairs out.

Our own, because it has to be strict: UTF-8 only, limits on all that a hostile or broken server
could send without an end, and only the three line ends of the format (text methods also split on
U+2028, which answers may contain).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import MalformedResponseError

MAX_EVENT = 1024 * 1024
"""Bytes that one event may have, a line of it included."""

MAX_IDLE = 4 * 1024 * 1024
"""Bytes of comments, empty lines and unknown fields that may come between two events."""

LINE = 16
"""Bytes for which the end of such a line counts: to read a line takes time, however short."""

MAX_STREAM = 64 * 2**20
"""Bytes that a stream may have, unpacked: as many as any other answer."""

SLICE = 2**16
"""Bytes that are split into lines at once, as each line costs many times its bytes."""

_BOM = b"\xef\xbb\xbf"

_USUAL = re.compile(rb"event: ([a-z_]+)\r?\ndata: ([^\r\n]+)\r?\n\r?\n")
"""An event as nearly all of them are, which is read at once and means what its lines do."""


class EventParser:
    """Feed it chunks cut anywhere; it gives each event as soon as its blank line is there."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._idle = 0
        self._total = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """The events that this chunk completes.

        Raises:
            MalformedResponseError: The stream is not UTF-8, or something of it is too large.
        """
        self._total += len(chunk)
        if self._total > MAX_STREAM:
            raise _over("The stream", MAX_STREAM)
        start = 0
        if self._is_between() and len(chunk) <= SLICE:  # so no limit is passed
            while event := _USUAL.match(chunk, start):
                start = event.end()
                yield event[1].decode(), _decoded(event[2])
        for place in range(start, len(chunk), SLICE):
            yield from self._split(chunk[place : place + SLICE])

    def _is_between(self) -> bool:
        """Whether nothing has come since an event was complete."""
        begun = self._line or self._data or self._idle  # a name alone counts as idle, too
        return not (begun or self._after_cr or self._at_start)

    def _split(self, part: bytes) -> Iterator[tuple[str, str]]:
        if self._after_cr and part.startswith(b"\n"):
            part = part[1:]
        self._after_cr = part.endswith(b"\r")
        for piece in part.splitlines(keepends=True):
            if self._size + len(self._line) + len(piece) > MAX_EVENT:
                raise _over("An event of the stream", MAX_EVENT)
            if not piece.endswith((b"\n", b"\r")):
                self._line += piece
                continue
            line = self._whole_line(piece)
            if line:
                self._take(_decoded(line), len(line))
            elif event := self._dispatched():
                yield event

    def rest(self) -> tuple[str, str]:
        """The event that the end of the input cut off, with what there is of it.

        Its last line counts although it has no line end.
        """
        line = _text(bytes(self._line))
        if line:
            self._take(line, 0)
        return self._event, "\n".join(self._data)

    def _whole_line(self, end: bytes) -> bytes:
        line = end
        if self._line:  # most lines come in one piece
            line = bytes(self._line) + end
            self._line.clear()
        line = line.rstrip(b"\r\n")
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line

    def _take(self, line: str, size: int) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += size
        else:
            self._pass(size)
            if name == "event":
                self._event = value

    def _dispatched(self) -> tuple[str, str] | None:
        event, data = self._event, "\n".join(self._data)
        if not data:
            self._pass(self._size)
        self._event, self._data, self._size = "", [], 0
        if not data:
            return None
        self._idle = 0
        return event or "message", data

    def _pass(self, size: int) -> None:
        self._idle += size + LINE
        if self._idle > MAX_IDLE:
            raise _over("What came between two events of the stream", MAX_IDLE)


def _over(what: str, limit: int) -> MalformedResponseError:
    return MalformedResponseError(f"{what} is over {limit} bytes.")


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
