from __future__ import annotations

from stewrd_integrations.emulator import Call, Context, Conversation, Said


def test_results_are_those_since_the_user_spoke() -> None:
    old = Said("tool", "old", name="add", tool_call_id="1")
    new = [Said("tool", text, name="add", tool_call_id=text) for text in ("3", "4")]
    said = (Said("user", "a"), old, Said("user", "b"), Said("assistant", ""), *new)
    assert Context(Conversation(messages=said), "").results == tuple(new)
    assert Context(Conversation(messages=said[:3]), "b").results == ()
    assert Context(Conversation(), "").results == ()


def test_a_summary_in_their_midst_is_not_the_user_who_speaks() -> None:
    tool = Said("tool", "3")
    said = (Said("user", "a"), tool, Said("user", "they met", summary=True), tool)
    assert Context(Conversation(messages=said), "").results == (tool, tool)


def test_a_call_needs_a_name_only() -> None:
    assert (Call("now").arguments, Call("now").id) == ({}, None)
