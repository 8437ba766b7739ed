"""The align table: a test for each row, and what must hold for any lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewrd_integrations.sessions.align import Alignment, Fresh, TrimRule, align
from stewrd_integrations.sessions.digest import Covered, Digester

DIGESTER = Digester(b"key")
MARKED = TrimRule(0)
NAMED = TrimRule(2)
NEVER = TrimRule(None)


def covered(*digests: str) -> Covered:
    return Covered.of(DIGESTER, digests)


def shown_of(digests: list[str]) -> int:
    return max((i + 1 for i, digest in enumerate(digests) if digest[0] == "a"), default=0)


def hold(heard: list[str], now: list[str], trim: TrimRule = NAMED) -> Alignment:
    return align(DIGESTER, covered(*heard), now, shown_of(now), trim)


TWO = ["u1", "a1", "u2", "a2"]
THREE = [*TWO, "u3", "a3"]


def test_the_same_continues_with_what_follows() -> None:
    found = hold(TWO, [*TWO, "u3"])
    assert found.outcome == "same"
    assert found.fresh == (Fresh(4),)
    assert found.covered == covered(*TWO, "u3")


def test_several_messages_may_follow() -> None:
    assert hold(TWO, [*TWO, "u3", "u4"]).fresh == (Fresh(4), Fresh(5))


@pytest.mark.parametrize("trim", [NAMED, MARKED])
def test_a_trimmed_front_continues(trim: TrimRule) -> None:
    found = hold(THREE, [*THREE[2:], "u4"], trim)
    assert found.outcome == "trimmed"
    assert found.fresh == (Fresh(4),)
    assert found.covered == covered(*THREE, "u4"), "what was trimmed stays covered"


def test_a_name_wants_two_exchanges_of_a_trimmed_history() -> None:
    now = [*THREE[4:], "u4"]
    assert not hold(THREE, now, NAMED).continues
    assert hold(THREE, now, MARKED).outcome == "trimmed"


def test_trims_are_replayed_on_demand() -> None:
    assert not hold(THREE, [*THREE[2:], "u4"], NEVER).continues


def test_a_rewind_that_looks_like_a_trim_does_not_continue() -> None:
    same_words = ["ux", "aok", "ux", "aok", "ux", "aok"]
    assert not hold(same_words, ["ux", "aok", "ux", "aok", "unext"], MARKED).continues


def test_a_summary_in_front_is_fresh() -> None:
    found = hold(THREE, ["uS", *THREE[2:], "u4"])
    assert found.outcome == "summarised"
    assert found.fresh == (Fresh(0, before=4, summary=True), Fresh(5))
    assert found.covered == covered("uS", *THREE[2:], "u4")


def test_a_front_of_as_many_others_is_an_edit() -> None:
    assert not hold(THREE, ["uE", "aE", *THREE[2:], "u4"]).continues
    assert not hold(THREE, ["uE", *THREE[1:], "u4"]).continues
    assert not hold(THREE, ["uE", "uF", *THREE[1:], "u4"]).continues


def test_extras_are_fresh_in_their_places() -> None:
    found = hold(TWO, ["uX", "u1", "a1", "uY", "u2", "a2", "u3"])
    assert found.outcome == "extra"
    assert found.fresh == (Fresh(0, before=4), Fresh(3, before=2), Fresh(6))
    assert found.covered == covered("uX", "u1", "a1", "uY", "u2", "a2", "u3")


def test_an_extra_that_is_itself_covered_does_not_continue() -> None:
    assert not hold(TWO, ["u1", "a1", "u1", "u2", "a2", "u3"]).continues
    assert not hold(TWO, ["u2", "u1", "a1", "u2", "a2", "u3"]).continues


@pytest.mark.parametrize(
    "now",
    [
        ["u1", "aE", "u2", "a2", "u3"],
        ["u1", "a1", "uE", "a2", "u3"],
        ["u1", "a1", "u2", "aE", "u3"],
        ["u1", "u2", "a2", "u3"],
        ["u1", "a1", "a2", "u3"],
        ["u2", "a1", "u1", "a2", "u3"],
        ["u1", "a2", "u2", "a1", "u3"],
        ["u1", "a1", "u2"],
        ["u1", "a1", "uE"],
    ],
    ids=["answer", "question", "last answer", "drop answer", "drop question", "order"]
    + ["answers swapped", "regenerate", "edit the last"],
)
def test_missing_changed_or_out_of_order_does_not_continue(now: list[str]) -> None:
    found = hold(TWO, now, MARKED)
    assert not found.continues
    assert found.reason


def test_an_answer_of_the_application_is_fresh_after_the_tip() -> None:
    found = hold(TWO, [*TWO, "u3", "aF", "u4"])
    assert found.outcome == "foreign_tip"
    assert found.fresh == (Fresh(4), Fresh(5), Fresh(6))
    assert found.covered == covered(*TWO, "u3", "aF", "u4")


def test_nothing_covered_never_continues() -> None:
    assert not align(DIGESTER, Covered(), TWO, 4, MARKED).continues


def long(count: int) -> list[str]:
    return [f"{'ua'[i % 2]}{i}" for i in range(count)]


@pytest.mark.parametrize("count", [62, 64, 66, 130, 400])
def test_long_histories(count: int) -> None:
    heard = long(count)
    assert hold(heard, [*heard, "unext"]).outcome == "same"
    edited = [heard[0], "aE", *heard[2:], "unext"]
    assert not hold(heard, edited).continues
    assert hold(heard, [*heard[: count - 4], "uX", *heard[count - 4 :], "unext"]).fresh == (
        Fresh(count - 4, before=4),
        Fresh(count + 1),
    )
    assert hold(heard, [*heard[count - 20 :], "unext"]).outcome == "trimmed"
    assert hold(heard, ["uS", *heard[count - 20 :], "unext"]).outcome == "summarised"


def test_the_last_64_alone_are_a_trim() -> None:
    heard = long(130)
    assert hold(heard, [*heard[-64:], "unext"]).outcome == "trimmed"


def test_more_than_64_of_a_trimmed_history_cannot_be_checked() -> None:
    heard = long(130)
    assert not hold(heard, [*heard[-80:], "unext"]).continues


def test_bindings_stay_small() -> None:
    assert len(covered(*long(5_000)).recent) == Covered.KEPT
    assert covered(*long(5_000)).count == 5_000


def test_extending_bit_by_bit_is_the_same() -> None:
    bit = Covered()
    for digest in long(150):
        bit = bit.extended(DIGESTER, [digest])
    assert bit == covered(*long(150))
    assert bit.rolling(DIGESTER) == DIGESTER.rolling(long(150))[-1]


# -- for any lists ---------------------------------------------------------------------

words = st.sampled_from(["ux", "uy", "aok", "ano"])
histories = st.lists(words, min_size=1, max_size=12).filter(lambda h: h[-1][0] == "a")


def reconstruct(heard: list[str], now: list[str], fresh: tuple[Fresh, ...]) -> list[str]:
    """What a session holds after the fresh messages, put in their places from the end."""
    gaps: list[list[str]] = [[] for _ in range(len(heard) + 1)]
    for entry in fresh:
        gaps[len(heard) - (entry.before or 0)].append(now[entry.index])
    whole = gaps[0]
    for digest, gap in zip(heard, gaps[1:], strict=True):
        whole += [digest, *gap]
    return whole


@given(histories, st.lists(words, max_size=16), st.sampled_from([MARKED, NAMED, NEVER]))
def test_whatever_continues_is_right(heard: list[str], now: list[str], trim: TrimRule) -> None:
    """The session then holds what is shown, after what the application itself trimmed."""
    found = hold(heard, now, trim)
    if not found.continues:
        return
    whole = reconstruct(heard, now, found.fresh)
    if found.outcome in ("trimmed", "summarised"):
        assert whole[len(whole) - len(now) :] == now
    else:
        assert whole == now
        assert found.covered == covered(*now)


@given(histories, st.lists(words, max_size=4).filter(lambda t: all(d[0] == "u" for d in t)))
def test_an_untouched_history_always_continues(heard: list[str], tail: list[str]) -> None:
    found = hold(heard, [*heard, *tail], NEVER)
    assert found.outcome == "same"
    assert [entry.index for entry in found.fresh] == list(range(len(heard), len(heard + tail)))


@given(histories, st.data())
def test_an_edit_never_continues(heard: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(heard) - 1))
    edited = [*heard]
    edited[place] = heard[place][0] + "edited"
    assert not hold(heard, [*edited, "unext"], MARKED).continues
