"""Transcripts: the lines of a conversation, in order, for the frameworks' memory classes."""

from __future__ import annotations

import pytest

from ..stores import Store
from .bindings import ODD
from .chapter import Chapter

NAMES = (
    *ODD,
    "",
    "name",
    "Name",
    "name ",
    "name\0",
    "nam",
    "../name",
    "caf\u00e9",
    "cafe\u0301",
)
"""Names of conversations; all of them differ."""

LINES = {
    "empty": "",
    "padded": " \t padded ",
    "newlines": "two\nlines\n",
    "carriage returns": "carriage\r\nreturn\r",
    "NUL": "zero\0byte",
    "separators": "line\u2028and\u2029paragraph separators, \x85 and \x1e too",
    "unicode": "ünïcödé 漢字 🦜 \U0010ffff",
    "a lone surrogate": "half a parrot: \ud83e",
    "accents": "e\u0301 is not \u00e9",
    "JSON": '{"role": "user", "content": "\\"quoted\\" \\u0000"}',
    "an empty list": "[]",
    "null": "null",
    "a number": "1",
    "SQL": "'; DROP TABLE transcripts; --",
}
"""Lines of transcripts that have broken stores."""


class TranscriptSuite(Chapter):
    """The rules of transcripts alone.

    `StoreSuite` holds them too. Subclass this one where only transcripts differ, as with a key
    that encrypts them.
    """

    def test_an_unknown_transcript_is_empty(self, calls: Store) -> None:
        """A conversation that has not begun is no error."""
        assert calls.load("c") == []

    def test_lines_come_back_in_their_order(self, calls: Store) -> None:
        """A conversation in another order is another conversation."""
        calls.append("c", ["1", "2"])
        calls.append("c", ("3",))
        calls.append("c", ["2", "1"])
        assert calls.load("c") == ["1", "2", "3", "2", "1"]

    def test_equal_lines_are_all_kept(self, calls: Store) -> None:
        """People say "yes" more than once."""
        calls.append("c", ["yes", "yes"])
        calls.append("c", ["yes"])
        assert calls.load("c") == ["yes", "yes", "yes"]

    def test_nothing_appended_is_nothing(self, calls: Store) -> None:
        """An empty list neither creates a transcript nor changes one."""
        calls.append("c", [])
        assert calls.load("c") == []
        calls.append("c", ["1"])
        calls.append("c", [])
        assert calls.load("c") == ["1"]

    def test_replace_puts_lines_in_the_place_of_all(self, calls: Store) -> None:
        """A history that was edited is the new one, and nothing of the old one."""
        calls.append("c", ["1", "2", "3"])
        calls.append("c", ["4"], replace=True)
        assert calls.load("c") == ["4"]
        calls.append("c", ["5"])
        assert calls.load("c") == ["4", "5"]

    def test_replace_by_nothing_empties(self, calls: Store) -> None:
        """To take the last message away is an edit like others."""
        calls.append("c", ["1"])
        calls.append("c", [], True)
        assert calls.load("c") == []
        calls.append("c", ["2"])
        assert calls.load("c") == ["2"]

    def test_replace_of_an_unknown_transcript_begins_it(self, calls: Store) -> None:
        """There need be nothing to replace."""
        calls.append("c", ["1"], replace=True)
        assert calls.load("c") == ["1"]

    def test_clear_forgets(self, calls: Store) -> None:
        """What somebody asked to be forgotten is gone, and the name begins anew."""
        calls.append("c", ["1"])
        calls.clear("c")
        assert calls.load("c") == []
        calls.append("c", ["2"])
        assert calls.load("c") == ["2"]

    def test_to_clear_what_is_not_there_is_no_error(self, calls: Store) -> None:
        """It may have aged out a moment ago."""
        calls.clear("unknown")
        assert calls.load("unknown") == []

    def test_conversations_do_not_share(self, calls: Store) -> None:
        """One's words are never another's, to append, to replace and to clear."""
        for name in ("c1", "c2", "c3"):
            calls.append(name, [f"of {name}"])
        calls.append("c2", ["new"], replace=True)
        calls.clear("c3")
        assert [calls.load(name) for name in ("c1", "c2", "c3")] == [["of c1"], ["new"], []]

    def test_names_may_be_any_text(self, calls: Store) -> None:
        """Users choose them: names that differ by a blank, a case or an accent differ."""
        for name in NAMES:
            calls.append(name, [f"of {name}"])
        assert [calls.load(name) for name in NAMES] == [[f"of {name}"] for name in NAMES]

    @pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
    def test_a_line_may_be_any_text(self, calls: Store, line: str) -> None:
        """A line is a text to the store, not what it looks like: each comes back as it was."""
        calls.append("c", ["before", line])
        calls.append("c", [line, "after"])
        assert calls.load("c") == ["before", line, line, "after"]

    def test_a_line_may_be_long(self, calls: Store) -> None:
        """A message with a document in it has a million characters and more."""
        long = "0123456789" * 100_000
        calls.append("c", [long, "short"])
        assert calls.load("c") == [long, "short"]

    def test_a_transcript_may_have_many_lines(self, calls: Store) -> None:
        """Nothing is lost of a conversation that goes on for years."""
        lines = [f"{number}" for number in range(10_000)]
        calls.append("c", lines[:9_990])
        for line in lines[9_990:]:
            calls.append("c", [line])
        assert calls.load("c") == lines

    def test_a_transcript_that_was_read_is_the_callers_own(self, calls: Store) -> None:
        """To change the list changes nothing in the store."""
        calls.append("c", ["1"])
        calls.load("c").append("2")
        assert calls.load("c") == ["1"]

    def test_lines_that_were_appended_stay_the_callers_own(self, calls: Store) -> None:
        """Frameworks go on using the list that they passed."""
        lines = ["1"]
        calls.append("c", lines, replace=True)
        lines.append("2")
        assert calls.load("c") == ["1"]

    def test_the_colours_read_the_same_transcript(self, store: Store, calls: Store) -> None:
        """An application may write by one colour and read by the other."""
        calls.append("c", ["1"])
        store.append("c", ["2"])
        assert calls.load("c") == store.load("c") == ["1", "2"]
