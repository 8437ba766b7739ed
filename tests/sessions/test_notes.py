"""Notes: who holds a name, what is beside a conversation, how often it was opened."""

from __future__ import annotations

import json
from typing import Any

from stewrd_integrations.sessions import notes

MAIN, SIDE = "main", "side"


def arrival(
    call: str, instructions: str = MAIN, pairs: set[str] | None = None, now: float = 0.0
) -> notes.Arrival:
    return notes.Arrival(call, instructions, frozenset(pairs or ()), now, now + 10)


def test_one_call_holds_a_name_until_its_time_is_up() -> None:
    first = notes.arrive(arrival("c1"))({})
    assert notes.holds(first, arrival("c1"))
    second = notes.arrive(arrival("c2", now=9.0))(first)
    assert not notes.holds(second, arrival("c2"))
    late = notes.arrive(arrival("c3", now=10.0))(second)
    assert notes.holds(late, arrival("c3"))


def test_only_the_holder_releases() -> None:
    held = notes.arrive(arrival("c1"))({})
    assert notes.holds(notes.released("c2", dropped=False)(held), arrival("c1"))
    free = notes.released("c1", dropped=True)(held)
    assert free["dropped"]
    assert notes.holds(notes.arrive(arrival("c2"))(free), arrival("c2"))


def told(*answers: tuple[str, str]) -> dict[str, Any]:
    note: dict[str, Any] = {}
    for instructions, pair in answers:
        note = notes.answered("c", instructions, pair, None, 1.0)(note)
    return note


def test_an_answer_passed_over_by_later_ones_makes_a_side_call() -> None:
    note = notes.arrive(arrival("c", pairs={"p2"}))(told((SIDE, "p1"), (MAIN, "p2")))
    assert notes.is_side_call(note, SIDE)
    assert not notes.is_side_call(note, MAIN)


def test_an_answer_not_passed_over_yet_does_not() -> None:
    note = notes.arrive(arrival("c", pairs={"p1"}))(told((MAIN, "p1"), (SIDE, "p2")))
    assert not notes.is_side_call(note, SIDE)


def test_the_same_instructions_again_do_not() -> None:
    note = notes.arrive(arrival("c", pairs={"p2"}))(told((MAIN, "p1"), (MAIN, "p2")))
    assert not notes.is_side_call(note, MAIN)


def test_an_answer_at_its_place_unlearns() -> None:
    note = notes.arrive(arrival("c", pairs={"p2"}))(told((SIDE, "p1"), (MAIN, "p2")))
    note = notes.answered("c", SIDE, "p3", None, 1.0)(note)
    note = notes.arrive(arrival("c", SIDE, pairs={"p2", "p3"}))(note)
    assert not notes.is_side_call(note, SIDE)
    assert notes.holds(note, arrival("c"))


def test_churn_counts_what_could_be_helped_within_half_an_hour() -> None:
    note: dict[str, Any] = {}
    for why in ("first", "rollover", "expired", "gone", "aborted", "failed", "lost", "lost"):
        note = notes.opened(why, 100.0)(note)
    assert not notes.churns(note, 100.0)
    note = notes.opened("misaligned", 100.0)(note)
    assert notes.churns(note, 100.0)
    assert not notes.churns(note, 100.0 + notes.RECENT)
    assert note["generation"] == 9


def test_notes_stay_small_and_are_json() -> None:
    note: dict[str, Any] = {}
    for number in range(200):
        note = notes.opened("lost", 1.0)(note)
        note = notes.answered("c", f"i{number}", f"p{number}", {"used": 2}, 1.0)(note)
        note = notes.arrive(arrival("c", pairs={f"p{number}"}))(note)
    assert len(json.dumps(note)) < 2_000


def test_pairs_are_those_of_all_shown_answers_however_they_are_asked_for() -> None:
    digests = ["u1", "a1", "u2", "a2", "a3", "u3", "a4"]
    told = notes.Pairs(digests, 6, "{}+{}".format)
    assert "a3+u3" not in told
    assert "a2+a3" in told and "u1+a1" in told and "u2+a2" in told
    assert "u3+a4" not in told, "it is beyond the shown"
    assert "+a1" in notes.Pairs(["a1", "u1"], 1, "{}+{}".format)


def test_no_more_pairs_are_joined_than_are_asked_for() -> None:
    joined: list[str] = []

    def join(before: str, digest: str) -> str:
        joined.append(digest)
        return before + digest

    told = notes.Pairs([f"{'ua'[place % 2]}{place}" for place in range(1_000)], 1_000, join)
    assert "u996a997" in told and "u998a999" in told
    assert joined == ["a999", "a997"]
