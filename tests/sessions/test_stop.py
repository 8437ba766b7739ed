"""Stop texts are cut on our side, wherever the pieces of the answer break."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from stewrd_integrations.sessions.stop import Stop


def cut(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    stop = Stop(stops)
    return "".join(map(stop.feed, pieces)) + stop.rest(), stop.hit


def test_nothing_to_stop_at() -> None:
    assert cut([], ["a", "b"]) == ("ab", False)
    assert cut([""], ["a", "b"]) == ("ab", False)


def test_split_over_pieces() -> None:
    assert cut(["END"], ["one E", "N", "D two"]) == ("one ", True)


def test_an_almost_stop_is_shown() -> None:
    assert cut(["END"], ["one EN"]) == ("one EN", False)


def test_the_first_of_several() -> None:
    assert cut(["z", "b"], ["abz"]) == ("a", True)


@example(["ab", "a"], ["b", "aba"])
@given(st.lists(st.text("ab", max_size=4)), st.lists(st.text("ab", min_size=1, max_size=3)))
def test_pieces_make_no_difference(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    ends = [(whole.find(stop) + len(stop), whole.find(stop)) for stop in stops if stop in whole]
    assert cut(stops, pieces) == (whole[: min(ends)[1]] if ends else whole, bool(ends))
