"""The values that a text holds: its numbers, its quotations, and what it says of a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w|\.\d)"
# Digits that are no numbers: of dates, times and codes.
_CODE = r"\b(?:\w+-\w+-[\w-]+|[^\W\d]\w*-\d+|\d+:\d\d(?::\d\d)?)\b"
_QUOTATION = r"\"[^\"\n]+\"|“[^”\n]+”|\u2018[^\u2019\n]+\u2019|`[^`\n]+`|(?<!\w)'[^'\n]+'(?!\w)"
# Words go to the end of the sentence, or to where the next thing is told.
_WORDS = r"[^\s,;.!?()\"=:](?:(?! and )[^,;!?()\n\"=:])*?(?=\s*(?:[,;!?()\n]|\.(?:\s|$)| and |$))"
_FLAG = r"(?:true|false|yes|no|on|off)\b"
_TRUE = ("true", "yes", "on")
# Between a name and its value. A short name, which may be a word like "a", needs a sign.
_SIGN = r"\s*[=:]\s*"
_VERB = rf"(?:{_SIGN}|\s+(?:is|was|are|to|as)\s+)"
_GAP = rf"(?:{_VERB}|\s+)"
_SHORT = 2
_SENTENCE = 300  # characters, more or less
_SUBJECT = re.compile(
    r"\b(?:in|for|at|about|to|of|named|called)\s+(\S[^\n]*?)\s*[?.!]*\s*$", re.IGNORECASE
)


@dataclass
class _Found:
    start: int
    value: str
    taken: bool = False


class Values:
    """What the first text holds, then what the others hold. Each value is taken once."""

    def __init__(self, text: str, *others: str) -> None:
        self.text = text
        self._all = "\n".join([text, *others])
        quotations = list(re.finditer(_QUOTATION, self._all))
        bare = re.sub(f"{_QUOTATION}|{_CODE}", lambda match: " " * len(match[0]), self._all)
        self._quoted = [_Found(match.start() + 1, match[0][1:-1]) for match in quotations]
        self._numbers = [_Found(match.start(), match[0]) for match in re.finditer(_NUMBER, bare)]

    def number(
        self, fits: Callable[[int | float], bool], *, first_text: bool = False
    ) -> int | float | None:
        """The first number that is left and fits."""
        found = self._next(self._numbers, lambda text: fits(_number(text)), first_text)
        return None if found is None else _number(found)

    def quotation(self, fits: Callable[[str], bool], *, first_text: bool = False) -> str | None:
        """The first quotation that is left and fits."""
        return self._next(self._quoted, fits, first_text)

    def _next(
        self, found: Iterable[_Found], fits: Callable[[str], bool], first_text: bool
    ) -> str | None:
        end = len(self.text if first_text else self._all)
        for each in found:
            if not each.taken and each.start < end and fits(each.value):
                each.taken = True
                return each.value
        return None

    def has_number(self) -> bool:
        """Whether a number is left."""
        return not all(each.taken for each in self._numbers)

    def has_quotation(self) -> bool:
        """Whether a quotation is left."""
        return not all(each.taken for each in self._quoted)

    def number_of(self, name: str) -> int | float | None:
        """The number that is told of a name: "age: 36", "the age is 36", "age 36"."""
        told = self._told(name, _NUMBER, _SIGN if len(name) <= _SHORT else _GAP)
        return None if told is None else _number(told)

    def words_of(self, name: str) -> str | None:
        """The words that are told of a name, in quotation marks or not."""
        quoted = self._told(name, _QUOTATION, _SIGN if len(name) <= _SHORT else _GAP)
        if quoted is not None:
            return quoted[1:-1]
        return self._told(name, _WORDS, _SIGN if len(name) <= _SHORT else _VERB)

    def flag_of(self, name: str) -> bool | None:
        """The yes or no that is told of a name."""
        told = self._told(name, _FLAG, _SIGN if len(name) <= _SHORT else _GAP)
        return None if told is None else told.lower() in _TRUE

    def _told(self, name: str, value: str, between: str) -> str | None:
        parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])|[^\W_]+", name) or [name]
        label = r"[\s_-]*".join(re.escape(part) for part in parts)
        pattern = rf"(?<![A-Za-z0-9_])[\"'`]?{label}[\"'`]?{between}(?P<value>{value})"
        match = re.search(pattern, self._all, re.IGNORECASE)
        if match is None:
            return None
        for each in (*self._numbers, *self._quoted):
            each.taken = each.taken or match.start("value") <= each.start < match.end("value")
        return match["value"]

    def mentions(self, word: str) -> bool:
        """Whether a word occurs in any of the texts."""
        edge = "[A-Za-z0-9_]"
        pattern = rf"(?<!{edge}){re.escape(word)}(?!{edge})"
        return re.search(pattern, self._all, re.IGNORECASE) is not None

    def words(self) -> list[str]:
        """Every word of every text."""
        return re.findall(r"[^\s\"'“”,;:!?()]+", self._all)

    def find(self, pattern: str) -> str | None:
        """The first place that a pattern matches."""
        match = re.search(pattern, self._all)
        return None if match is None else match[0]

    def subject(self) -> str:
        """What the first text is about, or all of it: "… the weather in Oslo?" is about Oslo."""
        match = _SUBJECT.search(self.text[-_SENTENCE:])
        return (match[1] if match else self.text).strip()


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
