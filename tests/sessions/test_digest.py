"""Digests: what counts and what does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stewrd_integrations.sessions.digest import Covered, Digester, normalise
from stewrd_integrations.types import File, Message, ToolCall

DIGESTER = Digester(b"a key")
USER = Message("user", "Hello", name="ada", files=(File("a.txt", "x"),))
CALL = ToolCall("c1", "add", {"a": 1})


@pytest.mark.parametrize(
    "other",
    [
        replace(USER, text="hello"),
        replace(USER, role="tool"),
        replace(USER, name=None),
        replace(USER, name="bob"),
        replace(USER, files=()),
        replace(USER, files=(File("a.txt", "y"),)),
        replace(USER, files=(File("b.txt", "x"),)),
        replace(USER, tool_calls=(CALL,)),
        replace(USER, tool_call_id="c1"),
        replace(USER, text="adaHello", name=""),
    ],
)
def test_what_counts(other: Message) -> None:
    assert DIGESTER.message(other) != DIGESTER.message(USER)


@pytest.mark.parametrize(
    "other",
    [
        replace(USER, text="  Hello\n"),
        replace(USER, mark="m" * 32),
        replace(USER, text="wrapped: Hello", remembered="Hello"),
    ],
)
def test_what_does_not(other: Message) -> None:
    assert DIGESTER.message(other) == DIGESTER.message(USER)


def test_a_text_can_not_pass_for_a_text_with_a_file() -> None:
    text = json.dumps(["sum this", [["a.txt", "100", None]], [], None, False])
    filed = Message("user", "sum this", files=(File("a.txt", "100"),))
    assert DIGESTER.message(Message("user", text)) != DIGESTER.message(filed)


def test_an_assistants_name_and_the_files_of_our_answers_do_not_count() -> None:
    answer = Message("assistant", "Done", name="bot", files=(File("a.txt", "x"),), mark="m")
    assert DIGESTER.message(answer) == DIGESTER.message(Message("assistant", "Done"))


def test_the_files_of_a_foreign_answer_do() -> None:
    answer = Message("assistant", "Done", files=(File("a.txt", "x"),))
    other = replace(answer, files=(File("a.txt", "y"),))
    assert DIGESTER.message(answer) != DIGESTER.message(other)


def test_an_assistants_words_and_calls_do() -> None:
    answer = Message("assistant", "Done", tool_calls=(CALL,))
    others = [replace(answer, text="done"), replace(answer, tool_calls=())]
    others.append(replace(answer, tool_calls=(replace(CALL, arguments={"a": 2}),)))
    assert len({DIGESTER.message(message) for message in [answer, *others]}) == 4


def test_a_tools_error_counts() -> None:
    output = Message("tool", "no", tool_call_id="c1")
    assert DIGESTER.message(output) != DIGESTER.message(replace(output, error=True))


def test_digests_need_the_key() -> None:
    assert DIGESTER.message(USER) != Digester(b"another").message(USER)
    assert DIGESTER.key("a") != Digester(b"another").key("a")


def test_key_parts_do_not_run_together() -> None:
    assert DIGESTER.key("ab", "c") != DIGESTER.key("a", "bc")


def test_lone_surrogates_have_a_digest() -> None:
    assert DIGESTER.message(Message("user", "\ud800")) != DIGESTER.message(Message("user", "?"))


def test_line_endings_are_one() -> None:
    assert normalise(" a\r\nb\rc\n") == "a\nb\nc"


def test_what_a_digester_rolled_up_is_told_of_that_alone() -> None:
    """It remembers what was covered last, and the list that it rolled up last."""
    digester = Digester(b"a key")
    lists = [tuple(f"u{number}-{place}" for place in range(150)) for number in range(3)]
    covered = [Covered.of(digester, digests) for digests in lists]
    more = [one.extended(digester, ["a", "b"]) for one in covered]
    for digests, one, longer in zip(lists, covered, more, strict=True):
        afresh = Digester(b"a key")
        assert digester.prefix(digests, 7) == afresh.rolling(digests[:7])[-1]
        assert one.rolling(digester) == afresh.rolling(digests)[-1]
        assert longer.rolling(digester) == afresh.rolling([*digests, "a", "b"])[-1]
        assert longer == Covered.of(afresh, [*digests, "a", "b"])


def test_keys_under_others_are_what_they_would_be_in_one_go() -> None:
    assert DIGESTER.under("a", 'b"')("c", "é") == DIGESTER.key("a", 'b"', "c", "é")


def test_an_answer_has_the_digest_of_its_message() -> None:
    calls = (ToolCall("1", "find", {"a": 1}),)
    for text, asked in ((" yes\r\n", ()), ("\ud800", ()), ("", calls)):
        message = Message("assistant", text, tool_calls=asked)
        assert DIGESTER.answer(text, asked) == DIGESTER.message(message)
