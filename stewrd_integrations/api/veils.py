"""What hides an API key in text that a server, or a proxy on the way, wrote.

Who refuses a request may repeat what it was sent, the key included, and error texts travel into
logs, tickets and the context of agents. So whatever becomes the text of an error is read through
the veil of the key that went with the request, in whichever form a key may have.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable

SHORTEST = 8
"""Characters; what is shorter is no secret, and would be found in words that are none."""

IN_ITS_PLACE = "[key]"

_GAP = r"[\s\ufffd]{0,8}"
"""What may have come between two characters; U+FFFD stands for what is not to be seen."""

_OURS = re.compile(r"sk-stw_[\x21-\x7e\ufffd]*")
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


class Veil:
    """Takes a key out of text, whoever quoted it.

    It is found as it is, in other letters' case, percent-encoded, with HTML's entities or JSON's
    escapes, broken into lines that may be indented, and in base64, as ``Basic`` credentials have
    it. Keys that look like Stewrd's are found without being known. A key itself is in no attribute.

    Args:
        key: The key in use, if there is one.
    """

    __slots__ = ("_mask", "covers")

    covers: Callable[[str], bool]
    """Whether a text holds the key as it is."""

    def __init__(self, key: str | None = None) -> None:
        self._mask, self.covers = _of_any() if key is None or len(key) < SHORTEST else _of(key)

    def __call__(self, text: str) -> str:
        """The text without the key."""
        return self._mask(text)

    def __repr__(self) -> str:
        return "Veil()"


def _of_any() -> tuple[Callable[[str], str], Callable[[str], bool]]:
    return _without_ours, lambda _text: False


def _of(key: str) -> tuple[Callable[[str], str], Callable[[str], bool]]:
    folded, made = key.lower(), list[re.Pattern[str]]()

    def mask(text: str) -> str:
        if not made:  # most requests meet no error, so it is made for the first one
            made.append(_pattern(key))
        return _without_ours(made[0].sub(IN_ITS_PLACE, text))

    return mask, lambda text: folded in text.lower()


def _without_ours(text: str) -> str:
    return _OURS.sub(IN_ITS_PLACE, text)


def _pattern(key: str) -> re.Pattern[str]:
    """Finds the key; nowhere in it does the key stand as it is."""
    forms = [f"(?i:{_spelled(key)})", *map(_spelled, _in_base64(key.encode()))]
    return re.compile("|".join(forms))


def _spelled(text: str) -> str:
    # Of three backslashes or more any part could be the escape of the next one, and searching would
    # take for ever: such a run is one piece.
    pieces = re.findall(r"\\{3,}|.", text)
    return _GAP.join(
        rf"\\{{{len(piece)},{4 * len(piece)}}}" if len(piece) > 1 else _forms(piece)
        for piece in pieces
    )


def _forms(character: str) -> str:
    """One character in all its spellings; each is bounded, so that searching takes linear time."""
    code = ord(character)
    named = f"|&{_NAMED[character]};" if character in _NAMED else ""
    literal = {"+": r"[+\-]", "/": r"[/_]"}.get(character, f"[{re.escape(character)}]")
    return (
        rf"(?:\\{{0,4}}{literal}|%(?:25){{0,3}}(?i:{code:02x})|&#0{{0,4}}{code};"
        rf"|&#(?i:x)0{{0,4}}(?i:{code:x});|\\{{1,4}}u00(?i:{code:02x})"
        rf"|\\{{1,4}}x(?i:{code:02x}){named})"
    )


def _in_base64(key: bytes) -> list[str]:
    """What base64 makes of the key, wherever in a text it begins, without its neighbours' bits."""
    first_own = (0, 2, 3)
    return [
        b64encode(b"\0" * before + key).decode()[first : (before + len(key)) * 8 // 6]
        for before, first in enumerate(first_own)
    ]
