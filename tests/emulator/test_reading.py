from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.emulator.reading import (
    Conversation,
    Heard,
    Said,
    ToolCall,
    is_envelope,
    read,
)

NONCE = "0123456789abcdef0123456789abcdef"


def part(name: str, attrs: Any, body: str | None = None, prose: str = "") -> str:
    head = f"[[stewrd:{NONCE} {name} {json.dumps(attrs)}]]{prose}"
    return head if body is None else f"{head}\n{body}"


def envelope(*parts: str) -> str:
    return "\n".join([part("parts", {}, prose=" What follows …"), *parts])


def lines(*values: dict[str, Any]) -> str:
    return "\n".join(json.dumps(value) for value in values)


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "text": text, **more}


def replay(*values: dict[str, Any], **attrs: Any) -> str:
    return part("transcript", {"kind": "replay", **attrs}, lines(*values))


def unheard(*values: dict[str, Any], **attrs: Any) -> str:
    return part("transcript", {"kind": "unheard", **attrs}, lines(*values))


def message(text: str, **attrs: Any) -> str:
    return part("message", attrs, text)


def texts(conversation: Conversation) -> list[str]:
    return [said.text for said in conversation.messages]


TWO = [("user", "a"), ("assistant", "A"), ("user", "b"), ("assistant", "B")]


def test_plain_texts_are_what_was_said() -> None:
    assert read([Heard("user", "hi"), Heard("assistant", "ho")]) == Conversation(
        messages=(Said("user", "hi"), Said("assistant", "ho"))
    )


def test_calls_and_outputs_are_heard_too() -> None:
    call = ToolCall("c1", "add", {"a": 1})
    log = [
        Heard("user", "add"),
        Heard("assistant", "so", tool_calls=[call]),
        Heard("tool", "3", tool_call_id="c1", name="add"),
    ]
    assert read(log).messages[1:] == (
        Said("assistant", "so", tool_calls=(call,)),
        Said("tool", "3", name="add", tool_call_id="c1"),
    )


def test_what_was_heard_is_a_pair_and_equals_one_if_it_is_no_more() -> None:
    plain = Heard("user", "hi")
    role, text = plain
    assert (role, text) == plain == ("user", "hi") == Heard("user", "hi")
    assert hash(plain) == hash(("user", "hi")) and not plain.of_tools
    call = ToolCall("c1", "add", {"a": 1})
    calls = Heard("assistant", "", tool_calls=[call])
    output = Heard("tool", "3", tool_call_id="c1", name="add")
    assert calls.of_tools and output.of_tools
    assert calls == Heard("assistant", "", tool_calls=[call])
    for more, less in ((calls, ("assistant", "")), (output, ("tool", "3"))):
        assert more != less and less != more
        assert [less] != [more]
    assert output != Heard("tool", "3", tool_call_id="c2", name="add")
    assert calls != Heard("assistant", "", tool_calls=[ToolCall("c1", "add", {"a": 2})])
    assert plain != "hi"
    assert repr(plain) == "Heard('user', 'hi')"
    assert repr(output) == "Heard('tool', '3', tool_call_id='c1', name='add')"


def test_nothing_is_an_empty_conversation() -> None:
    assert read([]) == Conversation()


def test_replay_is_the_whole_conversation() -> None:
    call = {"id": "c1", "name": "add", "arguments": {"a": 1}}
    text = envelope(
        part("instructions", {"replaces": False}, "Be brief.\n\nAlways."),
        part("summary", {"messages": 4}, "They met."),
        replay(
            user("q", name="ada", files=["a.txt"]),
            {"role": "assistant", "text": "", "tool_calls": [call]},
            {
                "role": "tool",
                "text": "3",
                "tool_call_id": "c1",
                "name": "add",
                "error": True,
            },
            omitted=4,
            omitted_files=["old.pdf"],
        ),
        message("and\nnow?\n", name="ada"),
    )
    assert read([("user", "before"), ("user", text), ("assistant", "x")]) == Conversation(
        instructions="Be brief.\n\nAlways.",
        messages=(
            Said("user", "q", name="ada", files=("a.txt",)),
            Said("assistant", "", tool_calls=(ToolCall("c1", "add", {"a": 1}),)),
            Said("tool", "3", name="add", tool_call_id="c1", error=True),
            Said("user", "and\nnow?\n", name="ada"),
            Said("assistant", "x"),
        ),
        omitted=4,
        omitted_files=("old.pdf",),
        summary="They met.",
        summarised=4,
    )


def test_unheard_messages_go_to_their_places() -> None:
    text = envelope(
        unheard(
            user("first", before=4),
            user("between", before=2),
            user("between too", before=2),
            user("last"),
        ),
        message("now"),
    )
    assert texts(read([*TWO, ("user", text)])) == [
        *["first", "a", "A", "between", "between too", "b", "B", "last", "now"]
    ]


def test_places_count_what_was_heard_before_the_envelope() -> None:
    one = envelope(unheard(user("x", before=1)), message("c"))
    two = envelope(unheard(user("y", before=2)), message("d"))
    told = read([("user", "a"), ("assistant", "A"), ("user", one), ("user", two)])
    assert texts(told) == ["a", "x", "y", "A", "c", "d"]


def test_what_is_left_out_later_is_counted_with_what_was_left_out_before() -> None:
    first = envelope(replay(user("a"), omitted=4, omitted_files=["a.pdf"]), message("b"))
    second = envelope(unheard(user("c"), omitted=2, omitted_files=["b.pdf"]), message("d"))
    told = read([("user", first), ("assistant", "B"), ("user", second)])
    assert (told.omitted, told.omitted_files) == (6, ("a.pdf", "b.pdf"))


def test_a_summary_stands_in_its_place_and_deletes_nothing() -> None:
    summary = {"role": "user", "text": "summary", "summary": True, "before": 2}
    told = read([*TWO, ("user", envelope(unheard(summary), message("now")))])
    assert texts(told) == ["a", "A", "summary", "b", "B", "now"]
    assert [said.summary for said in told.messages] == [False, False, True, False, False, False]


def test_continue_adds_no_user_message() -> None:
    tool = {"role": "tool", "text": "3", "tool_call_id": "c1"}
    text = envelope(replay(user("add"), tool), part("continue", {}))
    assert read([("user", text)]).messages[-1] == Said("tool", "3", tool_call_id="c1")


@pytest.mark.parametrize(
    ("attrs", "body", "after"),
    [
        ({"replaces": True}, "new", "new"),
        ({"replaces": False}, "new", "old\nnew"),
        ({"none": True}, "", ""),
    ],
)
def test_instructions_change(attrs: dict[str, bool], body: str, after: str) -> None:
    first = envelope(part("instructions", {"replaces": False}, "old"), message("a"))
    later = envelope(part("instructions", attrs, body or None), message("b"))
    assert read([("user", first), ("assistant", "A"), ("user", later)]).instructions == after


def test_instructions_outlive_a_plain_message() -> None:
    first = envelope(part("instructions", {}, "old"), message("a"))
    assert read([("user", first), ("user", "b")]).instructions == "old"


def test_a_demand_is_of_one_answer_only() -> None:
    text = envelope(part("demand", {}, "Call a tool."), message("a"))
    told = read([("user", text)])
    assert (told.demand, told.messages) == ("Call a tool.", (Said("user", "a"),))
    for heard in (
        Heard("assistant", "A"),
        Heard("user", "b"),
        Heard("user", envelope(message("b"))),
    ):
        assert read([("user", text), heard]).demand == ""


def test_the_message_is_verbatim_to_the_end() -> None:
    other = "f" * 32
    text = f"\n[[stewrd:{other} message {{}}]]\nx \r\n\u2028\x85\x0b end\n\n"
    assert texts(read([("user", envelope(message(text)))])) == [text]


def test_prose_and_brackets_in_heads() -> None:
    text = "\n".join(
        [
            part("parts", {"a": "]] }]]"}, prose=" reads ]] on"),
            part("message", {"name": "]]"}, "hi", prose=" the message:"),
        ]
    )
    assert read([("user", text)]).messages == (Said("user", "hi", name="]]"),)


def test_an_empty_replay() -> None:
    told = read([("user", envelope(part("transcript", {"kind": "replay"}), message("a")))])
    assert texts(told) == ["a"]


BROKEN = {
    "no part": envelope(),
    "message not last": envelope(message("a"), replay(user("b"))),
    "two messages": envelope(message("a"), message("b")),
    "message and continue": envelope(message("a"), part("continue", {})),
    "two transcripts": envelope(replay(), unheard(), message("a")),
    "unknown part": envelope(part("secret", {}, "x"), message("a")),
    "two demands": envelope(part("demand", {}, "x"), part("demand", {}, "y"), message("a")),
    "demand with an attribute": envelope(part("demand", {"a": 1}, "x"), message("a")),
    "demand at the end": envelope(message("a"), part("demand", {}, "x")),
    "unknown attribute": envelope(part("message", {"role": "system"}, "x")),
    "unknown kind": envelope(part("transcript", {"kind": "other"}), message("a")),
    "no kind": envelope(part("transcript", {}), message("a")),
    "unknown key": envelope(replay(user("x", colour="red")), message("a")),
    "unknown role": envelope(replay({"role": "system", "text": "x"}), message("a")),
    "text missing": envelope(replay({"role": "user"}), message("a")),
    "text is no text": envelope(replay(user(3)), message("a")),  # type: ignore[arg-type]
    "place in a replay": envelope(replay(user("x", before=0)), message("a")),
    "summary in a replay": envelope(replay(user("x", summary=True)), message("a")),
    "place beyond the end": envelope(unheard(user("x", before=1)), message("a")),
    "place before the start": envelope(unheard(user("x", before=-1)), message("a")),
    "place is true": envelope(unheard(user("x", before=True)), message("a")),
    "summary is no flag": envelope(unheard(user("x", summary=1)), message("a")),
    "line is no JSON": envelope(part("transcript", {"kind": "replay"}, "{"), message("a")),
    "line is no object": envelope(part("transcript", {"kind": "replay"}, "[]"), message("a")),
    "blank line": envelope(part("transcript", {"kind": "replay"}, "\n"), message("a")),
    "files are no names": envelope(replay(user("x", files=[1])), message("a")),
    "call without id": envelope(replay(user("x", tool_calls=[{}])), message("a")),
    "nonce in a text": envelope(message(f"it is {NONCE}")),
    "nonce in prose": envelope(part("message", {}, "a", prose=f" {NONCE}")),
    "broken head": envelope(f"[[stewrd:{NONCE} message {{]]", message("a")),
    "head without prose blank": envelope(part("message", {}, "a", prose="x")),
    "attributes are a list": envelope(f"[[stewrd:{NONCE} message []]]\na"),
    "first is not parts": message("a"),
    "upper-case nonce": envelope(message("a")).replace(NONCE, NONCE.upper()),
    "short nonce": envelope(message("a")).replace(NONCE, NONCE[1:]),
    "text before": "Look: " + envelope(message("a")),
    "line before": "\n" + envelope(message("a")),
    "text of nobody": "\n".join([part("parts", {}, "whose?"), message("a")]),
    "continue with a text": envelope(part("continue", {}, "x")),
    "withdrawn with a text": envelope(part("instructions", {"none": True}, "x"), message("a")),
    "flag is no flag": envelope(part("instructions", {"replaces": 1}, "x"), message("a")),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_malformed_envelope_is_plain_text(text: str) -> None:
    assert read([("user", text)]) == Conversation(messages=(Said("user", text),))
    assert not is_envelope(text)


def test_an_envelope_in_an_answer_is_only_text() -> None:
    text = envelope(message("a"))
    assert is_envelope(text)
    assert texts(read([("assistant", text)])) == [text]


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text())),
    st.text(),
    st.text(),
)
def test_whatever_is_said_comes_back(
    said: list[tuple[str, str]], instructions: str, current: str
) -> None:
    told = read(
        [
            (
                "user",
                envelope(
                    part("instructions", {}, instructions),
                    replay(*[{"role": role, "text": text} for role, text in said]),
                    message(current),
                ),
            )
        ]
    )
    assert told.instructions == instructions
    assert [(one.role, one.text) for one in told.messages] == [*said, ("user", current)]


@given(
    st.lists(st.sampled_from("xyz"), max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.text(max_size=3)), max_size=6),
)
def test_insertions_keep_what_was_heard_in_order(
    held: list[str], inserted: list[tuple[int, str]]
) -> None:
    values = [user(f"+{text}", before=min(before, len(held))) for before, text in inserted]
    told = texts(
        read(
            [
                *[("user", text) for text in held],
                ("user", envelope(unheard(*values), message("now"))),
            ]
        )
    )
    assert [text for text in told if text[:1] != "+"] == [*held, "now"]
    for value in values:
        assert told.count(value["text"]) == sum(other["text"] == value["text"] for other in values)
    for at in range(len(held) + 1):
        expected = [value["text"] for value in values if len(held) - value["before"] == at]
        before = sum(len(held) - value["before"] < at for value in values) + at
        assert told[before : before + len(expected)] == expected
