from __future__ import annotations

from stewrd_integrations.emulator import Exchange

from .conftest import ADD, Lab, parsed


def test_notes_say_what_was_done() -> None:
    lab = Lab(session_tools="accepted", max_rounds=3)
    session = lab.create()
    lab.say(session, "Thanks", stream=True)
    asked = parsed(lab.say(session, "add(1, 2), then add(3, 4)", tools=ADD))
    again = parsed(lab.submit(asked))
    lab.submit(again)
    lab.run("Thanks", capabilities=["research"])
    lab.run("")
    assert [each.note for each in lab.world.requests] == [
        "session 1/10",
        "stream 2/50 messages 1 credit",
        "calls add 3/50 messages 1 credit",
        "round 1/3 calls add 3/50 messages",
        "round 2/3 8/50 messages",
        "3 credits",
        "The field 'message' is required and must not be empty.",
    ]
    assert [each.run_id for each in lab.world.requests] == [
        *[None, lab.world.runs[0].id, *[asked["id"]] * 3, lab.world.runs[-1].id, None]
    ]


def test_bodies_that_are_no_json_are_kept_as_text() -> None:
    lab = Lab()
    lab.post("/v1/agent", b"\xff{")
    lab.post("/v1/agent", b"")
    assert [each.body for each in lab.world.requests] == ["\ufffd{", None]


def test_somebody_may_be_told_of_each_answer() -> None:
    seen: list[Exchange] = []
    lab = Lab()
    lab.world._journal._on_answered = seen.append
    lab.run("Thanks")
    assert seen == lab.world.requests
